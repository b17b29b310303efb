//! Limits that have no other place: each with its attacker, its count, and
//! somebody honest beside it.

use super::{HONEST, OK, Scene, limited};
use crate::support::clients::{Ended, Frame, Frames, Raw, block};
use crate::support::within;
use h2::Reason;
use serde_json::Value;

/// A second listener, before the same server.
const OTHER: &str =
    "[listener.other]\nlisten = \"127.0.0.1:0\"\nroutes = [{ upstream = \"site\" }]";

async fn answered(raw: &mut Raw, what: &str) {
    raw.send(HONEST).await.expect(what);
    raw.read_until(OK).await.expect(what);
}

#[tokio::test]
async fn who_finds_a_listener_full_waits_while_all_others_are_served() {
    let scene = Scene::and("limits = { connections = 2 }", OTHER).await;
    let (mut one, mut two) = (scene.raw().await, scene.raw().await);
    answered(&mut one, "the first").await;
    answered(&mut two, "the second").await;
    let mut waiting = scene.raw().await;
    waiting.send(HONEST).await.expect("sent");
    scene.until_limited("connections", 1).await;
    answered(&mut one, "the first once more").await;
    let mut other = Raw::connect(scene.proxy.address("other")).await;
    answered(&mut other, "at another listener").await;
    assert_eq!(limited(&scene.proxy, "other", "connections").await, 0);
    drop(two);
    waiting.read_until(OK).await.expect("its turn");
    drop((one, waiting, other));
    scene.over().await;
}

#[tokio::test]
async fn first_bytes_without_an_end_are_counted_by_what_they_begin() {
    let scene = Scene::and(
        "tls = { cert = \"site.pem\", key = \"site.key\" }",
        "[listener.named]\nlisten = \"127.0.0.1:0\"\nproxy_protocol = true\n\
         routes = [{ upstream = \"site\" }]\n\n\
         [listener.routed]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
         routes = [{ sni = \"a.example.com\", upstream = \"site\" }]",
    )
    .await;
    // A ClientHello of 16 MiB in the fullest records that there are.
    let mut piece = vec![1, 0xff, 0xff, 0xff];
    piece.resize(16_384, 0);
    let record = [&[22, 3, 1, 0x40, 0][..], &piece].concat();
    let overlong = [&b"PROXY UNKNOWN "[..], &[b'x'; 8_192]].concat();
    for (listener, bytes, reason) in [
        ("web", record.repeat(8), "hello"),
        ("routed", record.repeat(8), "hello"),
        ("named", overlong, "proxy_header"),
    ] {
        let mut raw = Raw::connect(scene.proxy.address(listener)).await;
        // It may be ended before all was sent.
        let _ = raw.send(bytes).await;
        raw.rest().await;
        let counted = async {
            while limited(&scene.proxy, listener, reason).await != 1 {
                tokio::task::yield_now().await;
            }
        };
        within(reason, counted).await;
    }
    let secure = scene.proxy.address("web");
    let wire = scene.proxy.certificate().connect(secure, "h2").await;
    let mut honest = Frames::over(wire).await;
    honest.get(1, "/honest").await;
    assert_eq!(honest.answer(1).await, b"ok");
    let mut named = Raw::connect(scene.proxy.address("named")).await;
    let header = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n";
    named.send(header).await.expect("sent");
    answered(&mut named, "who is named").await;
    drop((honest, named));
    scene.over().await;
}

#[tokio::test]
async fn a_request_that_was_here_too_often_is_ended_and_counted() {
    let scene = Scene::with("").await;
    let mut raw = scene.raw().await;
    let via = "Via: 1.1 ebbtide\r\n".repeat(8);
    let asks = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{via}\r\n");
    raw.send(asks).await.expect("sent");
    let answer = raw.head().await.expect("a head");
    assert!(answer.starts_with("HTTP/1.1 508 "), "{answer}");
    scene.until_limited("hops", 1).await;
    assert_eq!(scene.server.desk.seen().requests, 0);
    scene.serves("beside it").await;
    drop(raw);
    scene.over().await;
}

/// Hear an answer, and answer every PING before it.
async fn patient(mut client: Frames, stream: u32) -> Vec<u8> {
    loop {
        let frame = client.frame().await.expect("a frame");
        if frame.kind == Frame::PING && frame.flags & Frame::ACK == 0 {
            let answer = Frame::new(Frame::PING, Frame::ACK, 0, frame.payload);
            client.send(answer).await;
        } else if frame.kind == Frame::DATA && frame.stream == stream {
            return frame.payload;
        }
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_counted_and_one_that_answers_is_not() {
    let scene = Scene::with("keepalive = { after = \"200ms\", answer = \"1s\" }").await;
    let (mut gone, mut there) = (scene.frames().await, scene.frames().await);
    gone.get(1, "/hold").await;
    there.get(1, "/hold").await;
    let there = tokio::spawn(patient(there, 1));
    within("its end", gone.rest()).await;
    scene.until_limited("keepalive", 1).await;
    scene.server.desk.release();
    assert_eq!(there.await.expect("an answer"), b"held");
    scene.over().await;
}

#[tokio::test]
async fn a_window_that_stays_shut_ends_its_stream_and_no_other() {
    let scene = Scene::with("limits = { send_idle = \"1s\" }").await;
    let mut client = scene.frames().await;
    // SETTINGS_INITIAL_WINDOW_SIZE: nothing.
    let shut = Frame::new(Frame::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]);
    client.send(shut).await;
    client.get(1, "/bytes/1000").await;
    client.get(3, "/honest").await;
    let open = Frame::new(Frame::WINDOW_UPDATE, 0, 3, [0, 0, 0, 9]);
    client.send(open).await;
    assert_eq!(client.answer(3).await, b"ok");
    let ended = client.until(Frame::RST_STREAM).await;
    assert_eq!((ended.stream, ended.reset()), (1, Reason::CANCEL));
    scene.until_limited("send_idle", 1).await;
    client.get(5, "/honest").await;
    let open = Frame::new(Frame::WINDOW_UPDATE, 0, 5, [0, 0, 0, 9]);
    client.send(open).await;
    assert_eq!(client.answer(5).await, b"ok");
    drop(client);
    scene.over().await;
}

#[tokio::test]
async fn without_descriptors_who_comes_waits_and_who_is_there_is_served() {
    let scene = Scene::with("").await;
    let mut there = scene.raw().await;
    answered(&mut there, "with enough of them").await;
    let few = scene.proxy.descriptors() as u64 + 12;
    let before = scene.proxy.limit_descriptors(few);
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(scene.raw().await);
    }
    scene.until_reached("descriptors").await;
    answered(&mut there, "who is there").await;
    scene.proxy.limit_descriptors(before);
    let mut last = crowd.pop().expect("who came last");
    answered(&mut last, "in its turn").await;
    drop((there, last, crowd));
    scene.over().await;
}

/// Each on a stream of its own, and ended by it, they are none too many.
#[tokio::test]
async fn empty_data_is_bounded_by_the_key_too_and_may_end_requests() {
    let scene = Scene::with("limits = { frames = 20 }").await;
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/honest"),
    ];
    let head = |stream| Frame::headers(stream, block(&fields), true);
    let mut honest = scene.frames().await;
    for stream in (1..200).step_by(2) {
        honest.send(head(stream)).await;
        let end = Frame::new(Frame::DATA, Frame::END_STREAM, stream, []);
        honest.send(end).await;
        assert_eq!(honest.answer(stream).await, b"ok");
    }
    let mut client = scene.frames().await;
    client.send(head(1)).await;
    let empty = Frame::new(Frame::DATA, 0, 1, []);
    client
        .send_bytes(empty.bytes().repeat(60))
        .await
        .expect("sent");
    let (_, reason) = client.until(Frame::GOAWAY).await.goaway();
    assert_eq!(reason, Reason::ENHANCE_YOUR_CALM);
    scene.until_limited("data_frames", 1).await;
    honest.get(201, "/honest").await;
    assert_eq!(honest.answer(201).await, b"ok");
    drop(honest);
    scene.over().await;
}

/// Else 17 bytes would be a line of the log.
#[tokio::test]
async fn frames_that_nobody_asked_for_are_not_logged_one_by_one() {
    let scene = Scene::with("keepalive = { least = \"0s\" }").await;
    let mut client = scene.frames().await;
    let answer = Frame::new(Frame::PING, Frame::ACK, 0, [7; 8]);
    // It may be ended before all was sent.
    let _ = client.send_bytes(answer.bytes().repeat(4_000)).await;
    let (_, reason) = client.until(Frame::GOAWAY).await.goaway();
    assert_eq!(reason, Reason::ENHANCE_YOUR_CALM);
    scene.until_limited("pings", 1).await;
    let calm = |line: &Value| line["message"] == "told to calm down";
    scene.proxy.until_log("that it was a flood", calm).await;
    let log = scene.proxy.log();
    let of_engine = |line: &&Value| line["target"].as_str().is_some_and(|t| t.starts_with("h2"));
    assert_eq!(log.iter().find(of_engine), None);
    scene.serves("after it").await;
    scene.over().await;
}

/// Its own side goes on as it likes: what it sends is not read for long.
#[tokio::test]
async fn who_pours_on_after_its_end_is_closed_all_the_same() {
    let scene = Scene::with("").await;
    let mut raw = scene.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        .await
        .expect("sent");
    let more = "y".repeat(1 << 16);
    // Closed, it answers with a reset.
    let poured = async { while raw.send(&more).await.is_ok() {} };
    within("its end", poured).await;
    scene.until_limited("head", 1).await;
    scene.serves("after it").await;
    let (told, end) = raw.rest().await;
    assert!(
        matches!(end, Ended::Fin | Ended::Reset),
        "{}",
        told.escape_ascii()
    );
    scene.over().await;
}
