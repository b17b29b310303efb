//! Each limit is counted by its own reason, once for each time it is reached.

use super::{HONEST, OK, Scene};
use crate::support::clients::{Ended, Frame, Frames, block};
use h2::Reason;

const TIGHT: &str = "keepalive = { least = \"10s\" }\nlimits = { head = \"8KiB\", \
                     headers = 20, streams = 2, head_time = \"1s\", body_idle = \"1s\", \
                     send_idle = \"1s\" }";

/// Every reason that something was counted under.
async fn counted(scene: &Scene) -> Vec<String> {
    let metrics = scene.proxy.get("/metrics").await;
    let lines = metrics.text().lines();
    let web = "ebbtide_limited_total{listener=\"web\",reason=\"";
    let counts = lines.filter_map(|line| line.strip_prefix(web)?.split_once("\"} "));
    let reached = counts.filter(|(_, count)| *count != "0");
    reached.map(|(reason, _)| reason.to_owned()).collect()
}

#[tokio::test]
async fn heads_and_bodies_of_http1_are_counted_by_what_was_too_much() {
    let scene = Scene::with(TIGHT).await;
    assert!(counted(&scene).await.is_empty());
    let host = "Host: localhost\r\n";
    let long = "y".repeat(9_000);
    let many = "X: y\r\n".repeat(21);
    for (what, request, status, reason, count) in [
        ("a target", format!("GET /{long}"), 414, "uri", 1),
        (
            "a field",
            format!("GET / HTTP/1.1\r\nX: {long}"),
            431,
            "head",
            1,
        ),
        (
            "fields",
            format!("GET / HTTP/1.1\r\n{host}{many}\r\n"),
            431,
            "headers",
            1,
        ),
        (
            "half a head",
            format!("GET / HTTP/1.1\r\n{host}"),
            408,
            "head_time",
            1,
        ),
        (
            "a length",
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 9999999999999999999\r\n\r\n"),
            413,
            "body",
            1,
        ),
        (
            "half a body",
            format!("POST /hold HTTP/1.1\r\n{host}Content-Length: 9\r\n\r\nhalf"),
            408,
            "body_idle",
            1,
        ),
    ] {
        let mut raw = scene.raw().await;
        raw.send(request).await.expect("sent");
        let answer = raw.head().await.expect(what);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{what}: {answer}"
        );
        scene.until_limited(reason, count).await;
        scene.serves(what).await;
    }
    scene.over().await;
}

#[tokio::test]
async fn who_is_silent_is_counted_by_where_it_was_silent() {
    let scene = Scene::with(&format!("idle = \"1s\"\n{TIGHT}")).await;
    let silent = scene.raw().await;
    assert_eq!(silent.rest().await, (Vec::new(), Ended::Fin));
    scene.until_limited("idle", 1).await;
    let mut preface = scene.raw().await;
    preface.send("PRI * HTTP/2.0").await.expect("sent");
    assert_eq!(preface.rest().await, (Vec::new(), Ended::Fin));
    scene.until_limited("handshake_time", 1).await;
    let mut idle = scene.raw().await;
    idle.send(HONEST).await.expect("sent");
    idle.read_until(OK).await.expect("an answer");
    assert_eq!(idle.rest().await, (Vec::new(), Ended::Fin));
    scene.until_limited("idle", 2).await;
    let mut deaf = scene.raw().await;
    let asks = "GET /bytes/100000000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    deaf.send(asks).await.expect("sent");
    deaf.head().await.expect("a head");
    scene.until_limited("send_idle", 1).await;
    assert_eq!(counted(&scene).await.len(), 3);
    drop(deaf);
    scene.over().await;
}

fn get(stream: u32, path: &str, further: &[(&str, &str)]) -> Frame {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
    ];
    Frame::headers(stream, block(&[&fields[..], further].concat()), false)
}

async fn away(mut client: Frames) -> Reason {
    let (_, reason) = client.until(Frame::GOAWAY).await.goaway();
    reason
}

#[tokio::test]
async fn what_the_http2_engine_refuses_by_itself_is_counted() {
    let scene = Scene::with(TIGHT).await;
    let mut client = scene.frames().await;
    client.until(Frame::SETTINGS).await;
    client
        .send(Frame::new(Frame::SETTINGS, Frame::ACK, 0, []))
        .await;
    for stream in [1, 3] {
        client.send(get(stream, "/hold", &[])).await;
    }
    let desk = scene.server.desk.clone();
    desk.until("two requests", |seen| seen.requests == 2).await;
    client.send(get(5, "/too-many", &[])).await;
    let refused = client.until(Frame::RST_STREAM).await;
    assert_eq!(
        (refused.stream, refused.reset()),
        (5, Reason::REFUSED_STREAM)
    );
    scene.until_limited("streams", 1).await;
    desk.release();
    let mut ended = 0;
    while ended < 2 {
        let frame = client.frame().await.expect("a frame");
        ended += usize::from(frame.kind == Frame::DATA && frame.flags & Frame::END_STREAM != 0);
    }
    let long = "y".repeat(120);
    let names: Vec<String> = (0..70).map(|at| format!("x-{at}")).collect();
    let wide: Vec<_> = names.iter().map(|name| (name.as_str(), &*long)).collect();
    client.send(get(7, "/wide", &wide)).await;
    let answer = client.until(Frame::HEADERS).await;
    assert_eq!((answer.stream, answer.flags & Frame::END_STREAM), (7, 1));
    scene.until_limited("head", 1).await;
    let narrow: Vec<_> = names[..21]
        .iter()
        .map(|name| (name.as_str(), "y"))
        .collect();
    client.send(get(9, "/many", &narrow)).await;
    client.answer(9).await;
    scene.until_limited("headers", 1).await;
    client.send(get(11, "/honest", &[])).await;
    assert_eq!(client.answer(11).await, b"ok");
    assert_eq!(counted(&scene).await.len(), 3);
    drop(client);
    scene.over().await;
}

#[tokio::test]
async fn floods_of_http2_are_counted_by_what_they_were_of() {
    let scene = Scene::with(TIGHT).await;
    let ping = Frame::new(Frame::PING, 0, 0, [7; 8]);
    let mut pings = scene.frames().await;
    pings
        .send_bytes(ping.bytes().repeat(8))
        .await
        .expect("sent");
    assert_eq!(away(pings).await, Reason::ENHANCE_YOUR_CALM);
    scene.until_limited("pings", 1).await;
    let mut endless = scene.frames().await;
    let mut begun = get(1, "/endless", &[]);
    begun.flags = Frame::END_STREAM;
    let mut bytes = begun.bytes();
    bytes.extend(
        Frame::new(Frame::CONTINUATION, 0, 1, [])
            .bytes()
            .repeat(200),
    );
    // It may be ended before all was sent.
    let _ = endless.send_bytes(bytes).await;
    assert_eq!(away(endless).await, Reason::ENHANCE_YOUR_CALM);
    scene.until_limited("continuation", 1).await;
    assert_eq!(counted(&scene).await.len(), 2);
    scene.serves("after floods").await;
    scene.over().await;
}
