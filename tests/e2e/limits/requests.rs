//! Targets and bodies that are too large, and clients that give or take a byte
//! at a time.

use super::Scene;
use crate::support::clients::{Frame, block};
use h2::Reason;
use std::time::Duration;

/// How often one who merely holds on says something.
const PAUSE: Duration = Duration::from_millis(200);

fn post(path: &str, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

fn head(stream: u32, path: &str, further: &[(&str, &str)], body: bool) -> Frame {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
    ];
    Frame::headers(stream, block(&[&fields[..], further].concat()), body)
}

#[tokio::test]
async fn a_target_too_long_is_refused_as_such() {
    let scene = Scene::with("limits = { uri = \"1KiB\" }").await;
    let long = "y".repeat(1_024);
    let mut raw = scene.raw().await;
    let asks = format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw.send(asks).await.expect("sent");
    let answer = raw.head().await.expect("a head");
    assert!(answer.starts_with("HTTP/1.1 414 "), "{answer}");
    scene.until_limited("uri", 1).await;
    let mut client = scene.frames().await;
    // :method GET, :scheme http, :authority; then :path, its length an integer
    // with a prefix of 7 bits.
    let mut payload = b"\x82\x86\x41\x09localhost\x04\x7f\x82\x07/".to_vec();
    payload.extend(long.bytes());
    client.send(Frame::headers(1, payload, false)).await;
    let says = client.answer(1).await;
    assert_eq!(says, b"the request target is too long");
    scene.until_limited("uri", 2).await;
    client.get(3, "/honest").await;
    assert_eq!(client.answer(3).await, b"ok");
    drop(client);
    scene.serves("after long targets").await;
    assert!(
        scene
            .server
            .desk
            .seen()
            .heads
            .iter()
            .all(|head| !head.contains("yyy"))
    );
    scene.over().await;
}

#[tokio::test]
async fn a_body_too_large_is_refused_when_that_shows() {
    let scene = Scene::with("limits = { body = \"1KiB\" }").await;
    let mut raw = scene.raw().await;
    let declared = post("/declared", "Content-Length: 1025\r\n");
    raw.send(declared).await.expect("sent");
    let answer = raw.head().await.expect("a head");
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    scene.until_limited("body", 1).await;
    assert_eq!(scene.server.desk.seen().requests, 0, "nobody was asked");
    let mut raw = scene.raw().await;
    let chunked = post("/hold", "Transfer-Encoding: chunked\r\n");
    let chunk = format!("400\r\n{}\r\n", "y".repeat(1_024));
    raw.send(format!("{chunked}{chunk}1\r\ny\r\n"))
        .await
        .expect("sent");
    let answer = raw.head().await.expect("a head");
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    scene.until_limited("body", 2).await;
    let mut client = scene.frames().await;
    client
        .send(head(1, "/declared", &[("content-length", "1025")], true))
        .await;
    assert_eq!(client.answer(1).await, b"the request body is too large");
    client.send(head(3, "/hold", &[], true)).await;
    client
        .send(Frame::new(Frame::DATA, 0, 3, vec![7; 1_025]))
        .await;
    assert_eq!(client.answer(3).await, b"the request body is too large");
    scene.until_limited("body", 4).await;
    client.get(5, "/honest").await;
    assert_eq!(client.answer(5).await, b"ok");
    let mut raw = scene.raw().await;
    let whole = post("/echo", "Content-Length: 1024\r\n") + &"y".repeat(1_024);
    raw.send(whole).await.expect("sent");
    raw.read_until(&"y".repeat(1_024)).await.expect("an echo");
    drop((raw, client));
    scene.over().await;
}

#[tokio::test]
async fn calls_are_bounded_by_their_route_alone() {
    let scene = Scene::with("limits = { body = \"1KiB\", body_idle = \"1s\" }").await;
    let mut client = scene.frames().await;
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    client.send(head(1, "/hold", &grpc, true)).await;
    client
        .send(Frame::new(Frame::DATA, 0, 1, vec![7; 4_096]))
        .await;
    scene
        .server
        .desk
        .until("the call", |seen| seen.requests == 1)
        .await;
    assert_eq!(scene.limited("body").await, 0);
    drop(client);
    scene.over().await;
}

#[tokio::test]
async fn a_body_that_trickles_is_ended() {
    let scene = Scene::with("limits = { body_idle = \"1s\", body_rate = 1000 }").await;
    let mut raw = scene.raw().await;
    let slow = post("/hold", "Content-Length: 100000\r\n");
    raw.send(slow).await.expect("sent");
    let mut client = scene.frames().await;
    client.send(head(1, "/hold", &[], true)).await;
    let mut pause = tokio::time::interval(PAUSE);
    // A pause is never as long as `body_idle`.
    while scene.limited("body_rate").await < 2 {
        pause.tick().await;
        let _ = raw.send("y").await;
        let byte = Frame::new(Frame::DATA, 0, 1, [7]);
        let _ = client.send_bytes(byte.bytes()).await;
    }
    let answer = raw.head().await.expect("a head");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(client.answer(1).await, b"the request body took too long");
    assert_eq!(scene.limited("body_idle").await, 0);
    drop(client);
    scene.serves("after slow bodies").await;
    scene.over().await;
}

#[tokio::test]
async fn an_answer_that_is_taken_by_the_byte_is_ended() {
    let scene = Scene::with("limits = { send_idle = \"1s\", send_rate = 1000 }").await;
    let mut client = scene.frames().await;
    // SETTINGS_INITIAL_WINDOW_SIZE: nothing.
    let shut = Frame::new(Frame::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]);
    client.send(shut).await;
    client.get(1, "/bytes/1000").await;
    let mut pause = tokio::time::interval(PAUSE);
    while scene.limited("send_rate").await == 0 {
        pause.tick().await;
        let byte = Frame::new(Frame::WINDOW_UPDATE, 0, 1, [0, 0, 0, 1]);
        client.send(byte).await;
    }
    let ended = client.until(Frame::RST_STREAM).await;
    assert_eq!((ended.stream, ended.reset()), (1, Reason::CANCEL));
    assert_eq!(scene.limited("send_idle").await, 0);
    drop(client);
    scene.serves("after a slow reader").await;
    scene.over().await;
}
