//! Servers are told who the client is, and of nobody else's request.

use super::{Header, binary};
use crate::drain::scene::{Plan, ended, retire};
use crate::support::clients::{Http2, Raw, WebSocket};
use crate::support::proxy::Proxy;
use crate::support::seen::Seen;
use crate::support::servers::Server;
use crate::support::{BoxWire, within};
use std::net::SocketAddr;
use tokio::net::TcpStream;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A client and its address.
async fn client(proxy: &Proxy, listener: &str) -> (BoxWire, SocketAddr) {
    let address = proxy.address(listener);
    let stream = within("a connection", TcpStream::connect(address)).await;
    let stream = stream.expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    let source = stream.local_addr().expect("an address");
    (Box::new(stream), source)
}

/// The header of this version about a client of a listener on the loopback.
fn header(version: &str, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    if version == "v1" {
        let (from, to) = (source.ip(), destination.ip());
        let ports = format!("{} {}", source.port(), destination.port());
        return format!("PROXY TCP4 {from} {to} {ports}\r\n").into_bytes();
    }
    let [from, to] = [source, destination].map(|address| match address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets(),
        std::net::IpAddr::V6(_) => panic!("{address} is not of the loopback"),
    });
    let ports = [source.port(), destination.port()].map(u16::to_be_bytes);
    binary(
        0x21,
        0x11,
        &[from, to, ports.concat().try_into().expect("four")].concat(),
    )
}

/// A proxy whose upstream `site` sends headers of this version.
async fn proxy(version: &str, server: &Server, listener: &str, upstream: &str) -> Proxy {
    let address = server.address;
    Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\n{listener}\n\
         [upstream.site]\nservers = [\"{address}\"]\nproxy_protocol = \"{version}\"\n{upstream}\n{}",
        Plan::CALM
    ))
    .await
}

const HTTP: &str = "routes = [{ upstream = \"site\" }]";
const TCP: &str = "protocol = \"tcp\"\nupstream = \"site\"";

/// Wait until the server has been told of just these, and all have left.
async fn told(server: &Server, headers: &[Vec<u8>]) {
    let all = |seen: &Seen| seen.headers.len() >= headers.len() && seen.open == 0;
    let seen = server.desk.until("the headers", all).await;
    assert_eq!(seen.headers, headers);
    assert_eq!(seen.connections, headers.len());
}

#[tokio::test]
async fn each_request_of_http1_has_its_clients_header_and_no_pool() {
    for version in ["v1", "v2"] {
        let server = Server::headed_http1().await;
        let proxy = proxy(version, &server, HTTP, "").await;
        let destination = proxy.address("web");
        let (wire, one) = client(&proxy, "web").await;
        let mut first = Raw::over(wire);
        let (wire, other) = client(&proxy, "web").await;
        let mut second = Raw::over(wire);
        let mut expected = Vec::new();
        // In turns: whatever were kept of one, the other would be given.
        for _ in 0..3 {
            for (raw, source) in [(&mut first, one), (&mut second, other)] {
                raw.send(REQUEST).await.expect("sent");
                let answer = raw.read_until("\r\n\r\nok").await.expect("an answer");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                expected.push(header(version, source, destination));
            }
        }
        told(&server, &expected).await;
    }
}

#[tokio::test]
async fn each_stream_to_http2_has_a_connection_of_its_clients() {
    let server = Server::headed_http2().await;
    let proxy = proxy("v2", &server, HTTP, "http = \"h2\"").await;
    let (wire, source) = client(&proxy, "web").await;
    let client = Http2::over(wire).await;
    let held = client.open(Http2::request("/hold"), true).await;
    let (held, _) = held.expect("a stream");
    server
        .desk
        .until("the first", |seen| seen.requests == 1)
        .await;
    assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
    server.desk.release();
    let response = within("a response", held).await.expect("a response");
    assert_eq!(
        Http2::whole(response).await.expect("a reply").text(),
        "held"
    );
    let one = header("v2", source, proxy.address("web"));
    told(&server, &[one.clone(), one]).await;
}

#[tokio::test]
async fn a_tunnel_begins_with_its_clients_header() {
    for version in ["v1", "v2"] {
        let server = Server::headed_tcp().await;
        let proxy = proxy(version, &server, TCP, "").await;
        let (wire, source) = client(&proxy, "web").await;
        let mut raw = Raw::over(wire);
        raw.send("hello").await.expect("sent");
        assert_eq!(raw.read_until("hello").await.expect("an echo"), "hello");
        raw.finish().await.expect("FIN sent");
        raw.rest().await;
        told(&server, &[header(version, source, proxy.address("web"))]).await;
    }
}

#[tokio::test]
async fn a_websocket_is_its_clients() {
    let server = Server::headed_websocket().await;
    let proxy = proxy("v1", &server, HTTP, "").await;
    let (wire, source) = client(&proxy, "web").await;
    let mut socket = WebSocket::over(wire, "/chat").await;
    assert_eq!(socket.echo("hello").await.expect("an echo"), "hello");
    socket.close().await.expect("closed");
    told(&server, &[header("v1", source, proxy.address("web"))]).await;
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let certificate = crate::support::certificate::Certificate::new();
    let server = Server::headed_http1_tls(certificate.server(&[])).await;
    let directory = tempfile::tempdir().expect("a directory");
    certificate.write(directory.path());
    let ca = directory.path().join("site.pem");
    let tls = format!("tls = {{ sni = \"localhost\", ca = \"{}\" }}", ca.display());
    for (listener, version) in [(HTTP, "v2"), (TCP, "v1")] {
        let proxy = proxy(version, &server, listener, &tls).await;
        let before = server.desk.seen().headers.len();
        let (wire, source) = client(&proxy, "web").await;
        let mut raw = Raw::over(wire);
        raw.send(REQUEST).await.expect("sent");
        raw.read_until("\r\n\r\nok").await.expect("an answer");
        let seen = server.desk.seen().headers;
        let expected = header(version, source, proxy.address("web"));
        assert_eq!(seen[before..], [expected]);
    }
}

#[tokio::test]
async fn who_came_through_a_balancer_is_passed_on() {
    let server = Server::headed_tcp().await;
    let listener = format!("proxy_protocol = true\n{TCP}");
    let proxy = proxy("v1", &server, &listener, "").await;
    let mut expected = Vec::new();
    for header in Header::all() {
        let (wire, _) = client(&proxy, "web").await;
        let mut raw = Raw::over(wire);
        raw.send([&header.bytes, &b"hello"[..]].concat())
            .await
            .expect("sent");
        assert_eq!(raw.read_until("hello").await.expect("an echo"), "hello");
        let line = if header.client.starts_with('[') {
            "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"
        } else {
            "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"
        };
        expected.push(line.as_bytes().to_vec());
    }
    told(&server, &expected).await;
}

#[tokio::test]
async fn checks_speak_for_nobody() {
    let local = binary(0x20, 0x00, b"");
    for (version, expected) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", &local)] {
        for check in ["http = \"/\"", "tcp = true"] {
            let server = Server::headed_http1().await;
            let health = format!("health = {{ {check}, every = \"20ms\" }}");
            let proxy = proxy(version, &server, HTTP, &health).await;
            let some = |seen: &Seen| seen.headers.len() >= 3;
            let seen = server.desk.until("checks", some).await;
            let all = seen.headers.iter().all(|header| header == expected);
            assert!(all, "{check}: {seen:?}");
            let status = proxy.json("/v1/status").await;
            assert_eq!(status["upstreams"][0]["servers"][0]["up"], true, "{status}");
        }
    }
}

#[tokio::test]
async fn in_a_drain_what_is_in_flight_finishes() {
    let server = Server::headed_http1().await;
    let mut proxy = proxy("v2", &server, HTTP, "").await;
    let (wire, source) = client(&proxy, "web").await;
    let mut raw = Raw::over(wire);
    raw.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    server.desk.until("it", |seen| seen.requests == 1).await;
    retire(&proxy).await;
    server.desk.release();
    let answer = raw.read_until("\r\n\r\nheld").await.expect("an answer");
    let answer = answer.to_ascii_lowercase();
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    drop(raw);
    let destination = proxy.address("web");
    let sums = ended(&mut proxy).await;
    assert_eq!((sums.finished, sums.cut), (1, 0));
    told(&server, &[header("v2", source, destination)]).await;
}
