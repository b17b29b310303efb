//! Retire, over HTTP/2: GOAWAY in two steps, and no stream lost between them.

use super::scene::{Plan, Scene, Via};
use crate::support::clients::{Frame, Frames, Http2};
use crate::support::proxy::Signal;
use crate::support::within;
use std::time::{Duration, Instant};

const LAST: u32 = 0x7fff_ffff;

async fn connect(scene: &Scene, via: Via) -> Frames {
    Frames::over(scene.wire(via, "h2").await).await
}

#[tokio::test]
async fn an_idle_connection_sees_both_goaways() {
    for via in Via::BOTH {
        let scene = Scene::start(&Plan::CALM).await;
        let mut used = connect(&scene, via).await;
        used.get(1, "/").await;
        assert_eq!(used.answer(1).await, b"ok");
        let mut unused = connect(&scene, via).await;
        unused.until(Frame::SETTINGS).await;
        scene
            .until_connections("two connections", |all| {
                let idle = all.iter().filter(|one| one["state"] == "idle");
                idle.count() == 2
            })
            .await;
        scene.proxy.signal(Signal::TERM);
        for (mut client, last) in [(used, 1), (unused, 0)] {
            assert_eq!(client.goaway().await, LAST);
            client.pong().await;
            assert_eq!(client.goaway().await, last);
        }
        scene.over().await;
    }
}

#[tokio::test]
async fn a_busy_connection_sees_both_goaways_and_its_streams_end_well() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut clients = Vec::new();
    for via in Via::BOTH {
        let client = scene.http2(via).await;
        assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
        let (held, _) = client
            .open(Http2::request("/hold"), true)
            .await
            .expect("a stream");
        clients.push((client, held));
    }
    let desk = scene.http1.desk.clone();
    desk.until("the requests", |seen| seen.requests == 4).await;
    scene.proxy.signal(Signal::TERM);
    for (client, _) in &clients {
        let goaways = client.goaways(2).await;
        let last: Vec<u32> = goaways.iter().map(|goaway| goaway.last_stream).collect();
        assert_eq!(last, [LAST, 3]);
    }
    desk.release();
    for (client, held) in clients {
        let response = within("a head", held).await.expect("a head");
        let reply = Http2::whole(response).await.expect("a reply");
        assert_eq!(reply.text(), "held");
        let (ended, goaways) = client.closed().await;
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(goaways.len(), 2, "{goaways:?}");
    }
    assert_eq!(scene.over().await.finished, 2);
}

#[tokio::test]
async fn a_connection_of_one_long_stream_sees_both_goaways() {
    let scene = Scene::start(&Plan::CALM).await;
    let client = scene.http2(Via::Clear).await;
    let mut events = client.begin("/events").await.expect("a head");
    within("an event", events.body_mut().data())
        .await
        .expect("an event")
        .expect("an event");
    scene.proxy.signal(Signal::TERM);
    let goaways = client.goaways(2).await;
    let last: Vec<u32> = goaways.iter().map(|goaway| goaway.last_stream).collect();
    assert_eq!(last, [LAST, 1]);
    // The stream itself goes on, for as long as its client likes.
    within("an event", events.body_mut().data())
        .await
        .expect("an event")
        .expect("an event");
    drop(events);
    client.closed().await.0.expect("an end in order");
    assert_eq!(scene.over().await.finished, 1);
}

#[tokio::test]
async fn a_stream_that_races_goaway_is_served() {
    for via in Via::BOTH {
        let scene = Scene::start(&Plan::CALM).await;
        let mut client = connect(&scene, via).await;
        client.get(1, "/").await;
        assert_eq!(client.answer(1).await, b"ok");
        scene.proxy.signal(Signal::TERM);
        assert_eq!(client.goaway().await, LAST);
        // Sent before the client looked at what has come.
        for stream in [3, 5, 7] {
            client.get(stream, "/").await;
        }
        client.pong().await;
        let mut ended = Vec::new();
        let mut last = None;
        while ended.len() < 3 || last.is_none() {
            let frame = client.frame().await.expect("a frame");
            if frame.kind == Frame::GOAWAY {
                last = Some(frame.payload[3]);
            } else if frame.kind == Frame::DATA && frame.flags & Frame::END_STREAM != 0 {
                assert_eq!(frame.payload, b"ok");
                ended.push(frame.stream);
            }
        }
        ended.sort_unstable();
        assert_eq!((ended, last), (vec![3, 5, 7], Some(7)));
        assert_eq!(scene.over().await.finished, 3);
    }
}

#[tokio::test]
async fn a_stream_behind_the_answer_to_ping_is_served() {
    for via in Via::BOTH {
        let scene = Scene::start(&Plan::CALM).await;
        let mut client = connect(&scene, via).await;
        client.get(1, "/").await;
        assert_eq!(client.answer(1).await, b"ok");
        scene.proxy.signal(Signal::TERM);
        assert_eq!(client.goaway().await, LAST);
        let ping = client.until(Frame::PING).await;
        // As client libraries have it: a PING is answered before all else,
        // requests that were ready when GOAWAY came among it.
        let answer = Frame::new(Frame::PING, Frame::ACK, 0, ping.payload);
        let both = [answer.bytes(), Frames::get_bytes(3, "/")].concat();
        client.send_bytes(both).await.expect("sent");
        let mut body = Vec::new();
        let mut last = None;
        while body.is_empty() || last.is_none() {
            let frame = client.frame().await.expect("a frame");
            match frame.kind {
                Frame::GOAWAY => last = Some(frame.goaway().0),
                Frame::DATA => body = frame.payload,
                _ => {}
            }
        }
        assert_eq!((&body[..], last), (&b"ok"[..], Some(3)));
        assert_eq!(scene.over().await.finished, 1);
    }
}

#[tokio::test]
async fn a_client_that_answers_no_ping_does_not_hold_the_exit() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut busy = connect(&scene, Via::Clear).await;
    busy.get(1, "/hold").await;
    let mut idle = connect(&scene, Via::Clear).await;
    idle.until(Frame::SETTINGS).await;
    let desk = scene.http1.desk.clone();
    desk.until("the request", |seen| seen.requests == 1).await;
    scene.proxy.signal(Signal::TERM);
    assert_eq!(busy.goaway().await, LAST);
    assert_eq!(idle.goaway().await, LAST);
    desk.release();
    assert_eq!(busy.answer(1).await, b"held");
    let done = Instant::now();
    assert_eq!(busy.goaway().await, 1);
    assert_eq!(idle.goaway().await, 0);
    // Neither ends its side: that is what must not matter.
    let sums = scene.over().await;
    assert!(done.elapsed() < Duration::from_secs(10));
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (1, 0, 0));
    drop((busy, idle));
}
