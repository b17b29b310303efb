//! Connections that are too old, and what is in flight on them.

use super::{OK, Scene, limited};
use crate::drain::scene::Plan;
use crate::support::clients::{Ended, Http2, Raw, WebSocket};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use h2::Reason;
use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const OLD: &str = "max_age = \"500ms\"\nmax_age_grace = \"500ms\"";

#[tokio::test]
async fn what_outlives_its_connection_gets_the_farewell_of_its_protocol() {
    let scene = Scene::with(OLD).await;
    let mut http1 = scene.raw().await;
    let asks = "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
    http1.send(asks).await.expect("sent");
    let http2 = Http2::connect(scene.proxy.address("web")).await;
    let (held, _) = http2
        .open(Http2::request("/hold"), true)
        .await
        .expect("a stream");
    let begun = http2.begin("/begin").await.expect("a head");
    let call = Request::post("http://localhost/hold")
        .header("content-type", "application/grpc")
        .body(())
        .expect("a request");
    let (called, _) = http2.open(call, true).await.expect("a stream");

    let (answer, end) = http1.rest().await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("age of its connection"), "{answer}");
    assert_eq!(end, Ended::Fin);
    assert_eq!(http2.goaways(1).await[0].reason, Reason::NO_ERROR);
    let held = within("an answer", held).await.expect("an answer");
    assert_eq!(held.status(), 503);
    let called = within("an answer", called).await.expect("an answer");
    assert_eq!(called.headers()["grpc-status"], "14");
    let says = called.headers()["grpc-message"].to_str().expect("text");
    assert!(says.contains("age of its connection"), "{says}");
    let broken = Http2::whole(begun).await.expect_err("it was not whole");
    assert_eq!(broken.reason(), Some(Reason::CANCEL));
    scene.until_limited("max_age_grace", 2).await;
    assert_eq!(scene.limited("max_age").await, 2);
    scene.serves("the next").await;
    // The receipt of a drain is of that drain.
    scene.over().await;
}

#[tokio::test]
async fn tunnels_leave_for_their_age_too() {
    let (websocket, tcp) = (Server::websocket().await, Server::tcp().await);
    let mut proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n{OLD}\n\
         [listener.db]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"db\"\n{OLD}\n\
         [upstream.site]\nservers = [\"{}\"]\n[upstream.db]\nservers = [\"{}\"]\n{}",
        websocket.address,
        tcp.address,
        Plan::CALM
    ))
    .await;
    let mut client = WebSocket::connect(proxy.address("web"), "/").await;
    assert_eq!(client.echo("hello").await.expect("an echo"), "hello");
    let (code, _) = client.closed().await.expect("a Close");
    assert_eq!(code, 1001);
    let mut stream = TcpStream::connect(proxy.address("db"))
        .await
        .expect("connected");
    stream.write_all(b"hello").await.expect("sent");
    let mut raw = Raw::over(Box::new(stream));
    raw.read_until("hello").await.expect("an echo");
    assert_eq!(raw.rest().await, (Vec::new(), Ended::Fin));
    for listener in ["web", "db"] {
        assert_eq!(
            limited(&proxy, listener, "max_age_grace").await,
            1,
            "{listener}"
        );
    }
    proxy.signal(Signal::TERM);
    assert_eq!(crate::drain::scene::ended(&mut proxy).await.cut, 0);
}

#[tokio::test]
async fn without_a_grace_what_is_in_flight_goes_on() {
    let scene = Scene::with("max_age = \"200ms\"").await;
    let mut client = scene.raw().await;
    let asks = "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(asks).await.expect("sent");
    scene.until_limited("max_age", 1).await;
    scene.server.desk.release();
    let answer = client.read_until("held").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(!answer.contains(OK));
    assert_eq!(scene.limited("max_age_grace").await, 0);
    scene.over().await;
}
