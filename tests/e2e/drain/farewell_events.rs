//! The farewell of event streams: an end in order, between two events.

use super::scene::{Plan, Scene, Via};
use crate::support::clients::{Ended, Http1, Http2, connect};
use crate::support::proxy::Signal;
use crate::support::within;
use h2::{Reason, RecvStream};
use http::Response;

/// Only HTTP comes to its deadline.
const SHORT: Plan = Plan {
    http: "600ms",
    ..Plan::CALM
};

/// What `/events/half` has sent before it waits.
const HALF: &str = "data: 0\r\n\r\ndata: ";
/// The same up to the next boundary.
const WHOLE: &str = "data: 0\r\n\r\ndata: 1\r\n\r\n";

/// The next piece of a body whose window stays as it is.
async fn piece(response: &mut Response<RecvStream>) -> Option<Result<bytes::Bytes, h2::Error>> {
    within("a piece", response.body_mut().data()).await
}

/// Read `size` bytes and give the window back.
async fn read(response: &mut Response<RecvStream>, size: usize) -> String {
    let mut text = String::new();
    while text.len() < size {
        let bytes = piece(response).await.expect("bytes").expect("bytes");
        open_window(response, bytes.len());
        text.push_str(std::str::from_utf8(&bytes).expect("text"));
    }
    text
}

fn open_window(response: &mut Response<RecvStream>, size: usize) {
    let window = response.body_mut().flow_control();
    window.release_capacity(size).expect("it was taken");
}

/// A client that lets each stream send `window` bytes.
async fn narrow(scene: &Scene, listener: &str, window: u32) -> Http2 {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    Http2::with(builder, connect(scene.address(listener)).await).await
}

#[tokio::test]
async fn over_http1_it_ends_between_two_events() {
    let scene = Scene::start(&SHORT).await;
    let mut streams = Vec::new();
    for via in Via::BOTH {
        let mut client = Http1::over(scene.wire(via, "http/1.1").await).await;
        let response = client.send(Http1::request("/events")).await;
        streams.push((client, response.expect("a head")));
    }
    scene.proxy.signal(Signal::TERM);
    for (client, response) in streams {
        let reply = Http1::whole(response).await.expect("an end in order");
        let events = reply.text();
        assert!(events.starts_with("data: 0\n\n"), "{events}");
        assert!(events.ends_with("\n\n"), "{events}");
        client.closed().await.expect("an end in order");
    }
    let desk = &scene.http1.desk;
    desk.until("their ends", |seen| seen.cancelled == 2).await;
    assert_eq!(scene.over().await.farewelled, 2);
}

#[tokio::test]
async fn over_http2_it_ends_between_two_events() {
    let scene = Scene::start(&SHORT).await;
    let clients = [
        Http2::connect(scene.address("multi")).await,
        scene.http2(Via::Clear).await,
        scene.http2(Via::Tls).await,
    ];
    let mut streams = Vec::new();
    for client in &clients {
        let mut response = client.begin("/events").await.expect("a head");
        assert_eq!(read(&mut response, 9).await, "data: 0\n\n");
        streams.push(response);
    }
    scene.proxy.signal(Signal::TERM);
    for response in streams {
        let reply = Http2::whole(response).await.expect("an end in order");
        assert!(reply.text().ends_with("\n\n"), "{reply:?}");
        assert_eq!(reply.trailers, None);
    }
    for client in clients {
        client.closed().await.0.expect("an end in order");
    }
    let (one, other) = (&scene.http1.desk, &scene.http2.desk);
    other
        .until("CANCEL", |seen| seen.reasons == ["CANCEL"])
        .await;
    one.until("their ends", |seen| seen.cancelled == 2).await;
    assert_eq!(scene.over().await.farewelled, 3);
}

#[tokio::test]
async fn an_event_under_way_goes_on_to_its_end() {
    let scene = Scene::start(&SHORT).await;
    let mut raw = scene.raw(Via::Clear).await;
    raw.send("GET /events/half HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    raw.read_until(HALF).await.expect("a half");
    let clients = [
        Http2::connect(scene.address("multi")).await,
        scene.http2(Via::Clear).await,
    ];
    let mut halves = Vec::new();
    for client in &clients {
        let mut response = client.begin("/events/half").await.expect("a head");
        assert_eq!(read(&mut response, HALF.len()).await, HALF);
        halves.push(response);
    }
    scene.proxy.signal(Signal::TERM);
    scene.stage("farewell").await;
    scene.http1.desk.release();
    scene.http2.desk.release();
    let rest = &WHOLE[HALF.len()..];
    for half in halves {
        let reply = Http2::whole(half).await.expect("an end in order");
        assert_eq!(reply.text(), rest);
    }
    let (tail, end) = raw.rest().await;
    let tail = String::from_utf8(tail).expect("text");
    assert_eq!(tail, format!("\r\n5\r\n{rest}\r\n0\r\n\r\n"));
    assert_eq!(end, Ended::Fin);
    let sums = scene.over().await;
    assert_eq!((sums.farewelled, sums.cut), (3, 0));
}

#[tokio::test]
async fn an_event_without_an_end_is_cut() {
    let scene = Scene::start(&Plan {
        farewell: "300ms",
        ..SHORT
    })
    .await;
    let mut raw = scene.raw(Via::Clear).await;
    raw.send("GET /events/half HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    raw.read_until(HALF).await.expect("a half");
    let client = scene.http2(Via::Clear).await;
    let mut half = client.begin("/events/half").await.expect("a head");
    assert_eq!(read(&mut half, HALF.len()).await, HALF);
    scene.proxy.signal(Signal::TERM);
    Http2::whole(half).await.expect_err("no end in order");
    let (tail, _) = raw.rest().await;
    assert_eq!(String::from_utf8(tail).expect("text").trim(), "");
    let sums = scene.over().await;
    assert_eq!((sums.farewelled, sums.cut), (0, 2));
}

#[tokio::test]
async fn a_shut_window_does_not_hold_up_an_end_between_two_events() {
    let scene = Scene::start(&SHORT).await;
    for listener in ["web", "multi"] {
        let client = narrow(&scene, listener, 9).await;
        let mut response = client.begin("/events").await.expect("a head");
        let event = piece(&mut response).await.expect("an event");
        assert_eq!(event.expect("an event"), "data: 0\n\n");
        tokio::spawn(async move {
            let end = piece(&mut response).await;
            assert!(end.is_none(), "an end in order, not {end:?}");
            client.closed().await
        });
    }
    scene.proxy.signal(Signal::TERM);
    let sums = scene.over().await;
    assert_eq!((sums.farewelled, sums.cut), (2, 0));
}

#[tokio::test]
async fn a_window_that_opens_late_lets_the_event_through() {
    let scene = Scene::start(&SHORT).await;
    let client = narrow(&scene, "multi", 4).await;
    let mut response = client.begin("/events").await.expect("a head");
    let part = piece(&mut response).await.expect("a part");
    assert_eq!(part.expect("a part"), "data");
    scene.proxy.signal(Signal::TERM);
    scene.stage("farewell").await;
    open_window(&mut response, 4);
    let reply = Http2::whole(response).await.expect("an end in order");
    assert_eq!(reply.text(), ": 0\n\n");
    let sums = scene.over().await;
    assert_eq!((sums.farewelled, sums.cut), (1, 0));
}

#[tokio::test]
async fn a_window_that_stays_shut_within_an_event_is_reset_at_the_cut() {
    let scene = Scene::start(&Plan {
        farewell: "300ms",
        ..SHORT
    })
    .await;
    let client = narrow(&scene, "multi", 4).await;
    let mut response = client.begin("/events").await.expect("a head");
    piece(&mut response).await.expect("a part").expect("a part");
    scene.proxy.signal(Signal::TERM);
    let end = piece(&mut response).await.expect("no end in order");
    let error = end.expect_err("no end in order");
    // The stream's end, or its connection's, which is cut in the same moment.
    let reset = error.reason() == Some(Reason::CANCEL);
    assert!(reset || error.is_io(), "{error}");
    let sums = scene.over().await;
    assert_eq!((sums.farewelled, sums.cut), (0, 1));
}
