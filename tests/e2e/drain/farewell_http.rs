//! The farewell of HTTP exchanges: told what can be told, never faked.

use super::scene::{Plan, Scene, Via, call, ended};
use crate::support::clients::{Ended, Http2, Raw, WebSocket};
use crate::support::proxy::{Proxy, Signal};
use crate::support::within;
use h2::Reason;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Only HTTP comes to its deadline.
const SHORT: Plan = Plan {
    http: "600ms",
    ..Plan::CALM
};

#[tokio::test]
async fn unanswered_http1_requests_get_503() {
    let scene = Scene::start(&SHORT).await;
    let mut held = Vec::new();
    for via in Via::BOTH {
        let mut client = scene.raw(via).await;
        client
            .send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .expect("sent");
        held.push(client);
        // A body that is never whole, and bytes that nobody will read.
        let mut client = scene.raw(via).await;
        client
            .send("POST /hold HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nbegun")
            .await
            .expect("sent");
        held.push(client);
    }
    let desk = scene.http1.desk.clone();
    desk.until("all requests", |seen| seen.requests == 4).await;
    scene.proxy.signal(Signal::TERM);
    for client in held {
        let (answer, end) = client.rest().await;
        let answer = String::from_utf8(answer)
            .expect("text")
            .to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 503 "), "{answer}");
        for field in ["retry-after: ", "connection: close\r\n"] {
            assert!(answer.contains(&format!("\r\n{field}")), "{answer}");
        }
        assert_eq!(end, Ended::Fin);
    }
    // A server that waits for a body's rest does not look for its end.
    desk.until("the ends of two", |seen| seen.cancelled >= 2)
        .await;
    assert_eq!(scene.over().await.farewelled, 4);
}

#[tokio::test]
async fn unanswered_http2_streams_get_503() {
    let scene = Scene::start(&SHORT).await;
    for via in Via::BOTH {
        let client = scene.http2(via).await;
        tokio::spawn(async move {
            let reply = client.get("/hold").await.expect("a reply");
            assert_eq!(reply.status, 503);
            assert!(reply.header("retry-after").is_some(), "{reply:?}");
            // Kept open until here: the stream's end is not the client's doing.
            client.closed().await
        });
    }
    let multi = Http2::connect(scene.address("multi")).await;
    let (held, _) = multi
        .open(Http2::request("/hold"), true)
        .await
        .expect("a stream");
    let (one, other) = (scene.http1.desk.clone(), scene.http2.desk.clone());
    one.until("the requests", |seen| seen.requests == 2).await;
    other.until("the request", |seen| seen.requests == 1).await;
    scene.proxy.signal(Signal::TERM);
    assert_eq!(within("a head", held).await.expect("a head").status(), 503);
    other
        .until("CANCEL", |seen| seen.reasons == ["CANCEL"])
        .await;
    assert_eq!(scene.over().await.farewelled, 3);
}

#[tokio::test]
async fn a_chunked_http1_response_ends_without_its_last_chunk() {
    let scene = Scene::start(&SHORT).await;
    let mut begun = Vec::new();
    for via in Via::BOTH {
        let mut client = scene.raw(via).await;
        client
            .send("GET /begin HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .expect("sent");
        let head = client.read_until("begun\r\n").await.expect("a piece");
        assert!(head.contains("chunked"), "{head}");
        begun.push(client);
    }
    scene.proxy.signal(Signal::TERM);
    for client in begun {
        assert_eq!(client.rest().await, (Vec::new(), Ended::Fin));
    }
    assert_eq!(scene.over().await.farewelled, 2);
}

/// A server that promises 100 bytes and sends 4, to everybody.
async fn promise(head: &'static str) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bind");
    let address = listener.local_addr().expect("address");
    let accepting = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    if stream
                        .read_buf(&mut asked)
                        .await
                        .is_ok_and(|read| read == 0)
                    {
                        return;
                    }
                }
                stream.write_all(head.as_bytes()).await.expect("sent");
                stream.write_all(b"half").await.expect("sent");
                let _ = stream.read(&mut [0]).await;
            });
        }
    });
    (address, accepting)
}

async fn before(server: std::net::SocketAddr) -> Proxy {
    Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
         [upstream.site]\nservers = [\"{server}\"]\n\n{SHORT}"
    ))
    .await
}

#[tokio::test]
async fn a_response_of_known_length_ends_short() {
    let (server, accepting) = promise("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await;
    let mut proxy = before(server).await;
    let mut client = Raw::connect(proxy.address("web")).await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    client.read_until("\r\n\r\nhalf").await.expect("a piece");
    proxy.signal(Signal::TERM);
    assert_eq!(client.rest().await, (Vec::new(), Ended::Fin));
    assert_eq!(ended(&mut proxy).await.farewelled, 1);
    accepting.abort();
}

#[tokio::test]
async fn a_response_that_ends_with_its_connection_ends_in_a_reset() {
    let (server, accepting) = promise("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
    let mut proxy = before(server).await;
    let mut client = Raw::connect(proxy.address("web")).await;
    client
        .send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    client.read_until("\r\n\r\nhalf").await.expect("a piece");
    proxy.signal(Signal::TERM);
    assert_eq!(client.rest().await, (Vec::new(), Ended::Reset));
    assert_eq!(ended(&mut proxy).await.farewelled, 1);
    accepting.abort();
}

#[tokio::test]
async fn a_begun_http2_response_is_reset_and_cancelled_at_the_server() {
    let scene = Scene::start(&SHORT).await;
    let multi = Http2::connect(scene.address("multi")).await;
    let clients = [
        multi,
        scene.http2(Via::Clear).await,
        scene.http2(Via::Tls).await,
    ];
    let mut begun = Vec::new();
    for client in &clients {
        let mut response = client.begin("/begin").await.expect("a head");
        let piece = within("a piece", response.body_mut().data()).await;
        assert_eq!(piece.expect("a piece").expect("a piece"), "begun");
        begun.push(response);
    }
    scene.proxy.signal(Signal::TERM);
    for response in begun {
        let error = Http2::whole(response).await.expect_err("no whole answer");
        assert_eq!(error.reason(), Some(Reason::CANCEL), "{error}");
    }
    let (one, other) = (scene.http1.desk.clone(), scene.http2.desk.clone());
    other
        .until("CANCEL", |seen| seen.reasons == ["CANCEL"])
        .await;
    one.until("their ends", |seen| seen.cancelled == 2).await;
    assert_eq!(scene.over().await.farewelled, 3);
}

#[tokio::test]
async fn what_has_more_time_is_left_alone() {
    let scene = Scene::start(&SHORT).await;
    let client = scene.http2(Via::Clear).await;
    let (held, _) = client
        .open(Http2::request("/hold"), true)
        .await
        .expect("a stream");
    let begun = client.begin("/begin").await.expect("a head");
    let (kept, mut upload) = call(&client, "Hold").await;
    let mut socket = WebSocket::connect(scene.address("web"), "/chat").await;
    let mut tunnel = scene.tunnel(Via::Tls).await;
    let desk = scene.grpc.desk.clone();
    desk.until("the call", |seen| seen.requests == 1).await;
    scene.proxy.signal(Signal::TERM);
    assert_eq!(within("a head", held).await.expect("a head").status(), 503);
    Http2::whole(begun).await.expect_err("reset");
    // The sibling on the same connection, and every other protocol, go on.
    tunnel.send("late\n").await.expect("sent");
    tunnel.read_until("late\n").await.expect("a line");
    assert_eq!(socket.echo("late").await.expect("an echo"), "late");
    desk.release();
    upload.send_data(bytes::Bytes::new(), true).expect("an end");
    let response = within("a head", kept).await.expect("a head");
    let reply = Http2::whole(response).await.expect("a reply");
    assert_eq!(reply.trailer("grpc-status"), Some("0"));
    socket.close().await.expect("a Close");
    drop(tunnel);
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (3, 2, 0));
}
