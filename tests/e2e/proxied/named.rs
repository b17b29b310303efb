//! Who a header names is the client, everywhere; what follows it is served.

use super::{Header, Scene, binary};
use crate::drain::scene::{Plan, elapse, ended, kept, retire};
use crate::support::clients::{Http2, Raw};
use crate::support::proxy::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn answered(raw: &mut Raw) {
    let answer = raw.read_until("\r\n\r\nok").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

impl Scene {
    /// What the server was told of the client of its latest request.
    fn forwarded_for(&self) -> String {
        let seen = self.http1.desk.seen();
        let head = seen.heads.last().expect("a request");
        let mut fields = head.lines();
        let field = fields.find_map(|line| line.strip_prefix("x-forwarded-for: "));
        field.expect("the field").to_owned()
    }

    /// The one connection is the named client's, by way of this socket.
    async fn is_of(&self, client: &str, socket: &str) {
        let named = |one: &Value| one["peer"] == client;
        let one = self.view("the named client", named).await;
        assert_eq!(one["balancer"], socket, "{one}");
    }
}

#[tokio::test]
async fn http1_in_clear_text_is_the_named_clients() {
    let scene = Scene::start("true").await;
    for header in Header::all() {
        // In one segment: nothing of the request may be lost.
        let bytes = [&header.bytes, REQUEST].concat();
        let stream = scene.send("web", &bytes).await;
        let socket = stream.local_addr().expect("an address").to_string();
        let mut raw = Raw::over(Box::new(stream));
        answered(&mut raw).await;
        assert_eq!(scene.forwarded_for(), header.ip());
        scene.is_of(header.client, &socket).await;
        let of_it = |line: &Value| line["peer"] == header.client;
        scene.proxy.until_event("access", of_it).await;
        drop(raw);
        scene.gone().await;
    }
}

#[tokio::test]
async fn http2_over_tls_is_the_named_clients() {
    let scene = Scene::start("true").await;
    let certificate = scene.proxy.certificate();
    for header in Header::all() {
        // The header and the ClientHello in one segment.
        let mut client = certificate.handshake("h2");
        let mut bytes = header.bytes.clone();
        client.write_tls(&mut bytes).expect("a ClientHello");
        let stream = scene.send("secure", &bytes).await;
        let socket = stream.local_addr().expect("an address").to_string();
        let wire = certificate.go_on(stream, client, "h2").await;
        let client = Http2::over(wire).await;
        let reply = client.get("/").await.expect("a reply");
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"));
        assert_eq!(scene.forwarded_for(), header.ip());
        scene.is_of(header.client, &socket).await;
        drop(client);
        scene.gone().await;
    }
}

#[tokio::test]
async fn a_tunnel_is_the_named_clients_and_carries_what_follows() {
    let scene = Scene::start("true").await;
    for header in Header::all() {
        let bytes = [&header.bytes, &b"hello"[..]].concat();
        let stream = scene.send("db", &bytes).await;
        let socket = stream.local_addr().expect("an address").to_string();
        let mut raw = Raw::over(Box::new(stream));
        assert_eq!(raw.read_until("hello").await.expect("an echo"), "hello");
        scene.is_of(header.client, &socket).await;
        raw.finish().await.expect("FIN sent");
        assert_eq!(raw.rest().await.0, b"", "the header is not for the server");
        scene.gone().await;
    }
    assert_eq!(scene.tcp.desk.seen().finished, 4);
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let scene = Scene::start("true").await;
    for header in Header::all() {
        let (first, rest) = header.bytes.split_at(1);
        let mut stream = scene.send("web", first).await;
        // The first is taken before the others come; how these arrive is the
        // kernel's affair.
        let begun = |one: &Value| one["state"] == "proxy_header";
        let one = scene.view("a header begun", begun).await;
        assert_eq!(one["waits_for"], "the rest of the PROXY header");
        for byte in rest {
            stream.write_all(&[*byte]).await.expect("sent");
        }
        stream.write_all(REQUEST).await.expect("sent");
        let mut raw = Raw::over(Box::new(stream));
        answered(&mut raw).await;
        assert_eq!(scene.forwarded_for(), header.ip());
        drop(raw);
        scene.gone().await;
    }
}

#[tokio::test]
async fn who_is_not_named_is_who_connected() {
    let scene = Scene::start("true").await;
    let headers = [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.7 192.0.2.1 1 2\r\n".to_vec(),
        binary(0x20, 0x00, b""),
        binary(0x20, 0x11, b"\xc0\0\x02\x07\xc0\0\x02\x01\x12\x67\x01\xbb"),
        binary(0x21, 0x00, b"abc"),
        binary(0x21, 0x31, &[b'/'; 216]),
    ];
    for header in headers {
        let stream = scene.send("web", &[&header, REQUEST].concat()).await;
        let socket = stream.local_addr().expect("an address").to_string();
        let mut raw = Raw::over(Box::new(stream));
        answered(&mut raw).await;
        assert_eq!(scene.forwarded_for(), "127.0.0.1");
        let one = scene.view("the connection", |_| true).await;
        assert_eq!(one["peer"], socket.as_str());
        assert!(one.get("balancer").is_none(), "{one}");
        drop(raw);
        scene.gone().await;
    }
}

/// Readiness is the balancer's to heed; what becomes of a request concerns its
/// client.
#[tokio::test]
async fn the_receipt_names_the_balancer_as_newcomer_and_the_client_as_told() {
    let plan = Plan {
        announce: "60s",
        ..Plan::CALM
    };
    let mut scene = Scene::start_with("true", &plan).await;
    scene.proxy.signal(Signal::INT);
    let announcing = |line: &Value| line["stage"] == "announce";
    scene.proxy.until_event("stage", announcing).await;
    let request = b"GET /begin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let bytes = [&Header::line().bytes, &request[..]].concat();
    let mut raw = Raw::over(Box::new(scene.send("web", &bytes).await));
    raw.read_until("begun\r\n").await.expect("a piece");
    scene.proxy.signal(Signal::INT);
    ended(&mut scene.proxy).await;
    let receipt = kept(&scene.proxy);
    let newcomers = &receipt["compliance"]["newcomers"];
    assert_eq!(newcomers["count"], 1, "{receipt:#}");
    assert_eq!(newcomers["senders"][0]["address"], "127.0.0.1");
    let told = receipt["told"].as_array().expect("a list");
    assert_eq!(told.len(), 1, "{receipt:#}");
    assert_eq!(told[0]["peer"], Header::line().client, "{receipt:#}");
}

/// A client that does not heed what it is told is named, and no balancer.
#[tokio::test]
async fn the_receipt_names_the_client_that_asks_behind_connection_close() {
    let plan = Plan {
        last_request: "20s",
        ..Plan::CALM
    };
    let mut scene = Scene::start_with("true", &plan).await;
    let bytes = [&Header::line().bytes, REQUEST].concat();
    let mut raw = Raw::over(Box::new(scene.send("web", &bytes).await));
    answered(&mut raw).await;
    retire(&scene.proxy).await;
    let begin = "GET /begin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    raw.send(begin).await.expect("sent");
    raw.read_until("begun\r\n").await.expect("a piece");
    elapse(&scene.proxy, 1_100.0).await;
    raw.send(begin).await.expect("sent");
    scene.http1.desk.release();
    raw.finish().await.expect("FIN");
    raw.rest().await;
    ended(&mut scene.proxy).await;
    let ignored = &kept(&scene.proxy)["compliance"]["ignored_close"];
    assert_eq!(ignored["count"], 1, "{ignored:#}");
    assert_eq!(ignored["senders"][0]["address"], Header::line().ip());
}
