//! Floods of HTTP/2: each is ended with the right word and counted by its own
//! reason, while a neighbour's requests all succeed.

use super::Scene;
use crate::support::clients::{Frame, Frames, block};
use crate::support::within;
use h2::Reason;
use std::time::Duration;

/// The largest step of a window; no window has room for it (RFC 9113, section
/// 6.9.1).
const FULL: [u8; 4] = (u32::MAX >> 1).to_be_bytes();

fn head(stream: u32, body: bool) -> Frame {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/hold"),
    ];
    Frame::headers(stream, block(&fields), body)
}

fn of(kind: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Frame {
    Frame::new(kind, 0, stream, payload)
}

/// For each of these streams a request, and a frame behind it.
fn on_streams(frame: impl Fn(u32) -> Frame) -> Vec<Frame> {
    let streams = (1..8_000).step_by(2);
    streams
        .flat_map(|stream| [head(stream, false), frame(stream)])
        .collect()
}

fn times(frame: &Frame) -> Vec<Frame> {
    vec![frame.clone(); 8_000]
}

/// A header block of some KiB that unpacks to far more: a field that is put
/// into the dynamic table, and named thousands of times (RFC 7541, section 6).
fn bomb() -> Frame {
    let mut payload = head(1, false).payload;
    // Its value's length, 3,072, as an integer with a prefix of 7 bits.
    payload.extend(b"\x40\x01x\x7f\x81\x17");
    payload.extend([b'y'; 3_072]);
    payload.extend([0xbe; 8_000]);
    Frame::headers(1, payload, false)
}

/// Requests that have two methods.
fn malformed() -> Vec<Frame> {
    let doubled = block(&[(":method", "GET"), (":method", "GET")]);
    let streams = (1..8_000).step_by(2);
    streams
        .map(|stream| Frame::headers(stream, doubled.clone(), false))
        .collect()
}

fn floods() -> Vec<(&'static str, Vec<Frame>)> {
    let cancel = u32::from(Reason::CANCEL).to_be_bytes();
    let mut endless = head(1, true);
    endless.flags = 0;
    let after = |first: Frame, frame: Frame| [vec![first], times(&frame)].concat();
    vec![
        ("settings", times(&of(Frame::SETTINGS, 0, []))),
        ("priority", times(&of(2, 1, [0, 0, 0, 0, 9]))),
        (
            "window_updates",
            times(&of(Frame::WINDOW_UPDATE, 0, [0, 0, 0, 1])),
        ),
        ("frames", times(&of(0xbb, 0, [7; 8]))),
        ("pings", after(head(1, true), of(Frame::PING, 0, [7; 8]))),
        ("data_frames", after(head(1, true), of(Frame::DATA, 1, []))),
        (
            "continuation",
            after(endless, of(Frame::CONTINUATION, 1, [])),
        ),
        (
            "resets",
            on_streams(|stream| of(Frame::RST_STREAM, stream, cancel)),
        ),
        ("malformed", malformed()),
        ("head", vec![bomb()]),
    ]
}

/// Pour all of it while reading, up to GOAWAY: why it came.
async fn away(mut client: Frames, flood: Vec<Frame>) -> Reason {
    let bytes: Vec<u8> = flood.iter().flat_map(Frame::bytes).collect();
    // The end may come before all was taken.
    let _ = client.send_bytes(bytes).await;
    client.until(Frame::GOAWAY).await.goaway().1
}

#[tokio::test]
async fn each_flood_is_ended_by_its_own_limit_and_nobody_else_is() {
    let scene = Scene::with("keepalive = { least = \"0s\" }").await;
    let mut honest = scene.frames().await;
    let mut stream = 1;
    for (reason, flood) in floods() {
        let client = scene.frames().await;
        let (told, ()) = tokio::join!(away(client, flood), async {
            for _ in 0..20 {
                honest.get(stream, "/honest").await;
                assert_eq!(honest.answer(stream).await, b"ok", "beside {reason}");
                stream += 2;
            }
        });
        assert_eq!(told, Reason::ENHANCE_YOUR_CALM, "{reason}");
        scene.until_limited(reason, 1).await;
        scene.serves(reason).await;
    }
    drop(honest);
    scene.server.desk.release();
    scene.over().await;
}

/// Rapid reset (CVE-2023-44487): what was taken back as soon as it was sent costs
/// no server a connection, which honest requests would have to wait for.
#[tokio::test]
async fn what_is_taken_back_at_once_goes_to_no_server() {
    let scene = Scene::with("").await;
    let mut client = scene.frames().await;
    client.until(Frame::SETTINGS).await;
    let cancel = u32::from(Reason::CANCEL).to_be_bytes();
    let mut stream = 1;
    for _ in 0..5 {
        let mut bytes = Vec::new();
        for _ in 0..5 {
            bytes.extend(head(stream, false).bytes());
            bytes.extend(of(Frame::RST_STREAM, stream, cancel).bytes());
            stream += 2;
        }
        bytes.extend(Frames::get_bytes(stream, "/honest"));
        client.send_bytes(bytes).await.expect("sent");
        assert_eq!(client.answer(stream).await, b"ok");
        stream += 2;
    }
    let seen = scene.server.desk.seen();
    assert_eq!((seen.requests, seen.connections), (5, 1), "{seen:?}");
    drop(client);
    scene.over().await;
}

/// `MadeYouReset` (CVE-2025-8671): whoever opens a window too far makes us reset
/// the stream. Those whose server was asked are taken back as well.
#[tokio::test]
async fn who_makes_us_reset_its_streams_is_ended_once() {
    let scene = Scene::with("").await;
    let client = scene.frames().await;
    let flood = on_streams(|stream| of(Frame::WINDOW_UPDATE, stream, FULL));
    assert_eq!(away(client, flood).await, Reason::ENHANCE_YOUR_CALM);
    let reached = async {
        loop {
            let (malformed, resets) = (
                scene.limited("malformed").await,
                scene.limited("resets").await,
            );
            match malformed + resets {
                0 => tokio::time::sleep(Duration::from_millis(5)).await,
                ended => return assert_eq!(ended, 1, "{malformed} {resets}"),
            }
        }
    };
    within("it is counted", reached).await;
    scene.serves("after it").await;
    scene.server.desk.release();
    scene.over().await;
}

/// A client that takes little at a time may open its windows at each 4 KiB.
#[tokio::test]
async fn windows_that_are_opened_at_each_step_of_a_body_are_no_flood() {
    let scene = Scene::with("limits = { frames = 20 }").await;
    let mut client = scene.frames().await;
    client.get(1, "/bytes/1000000").await;
    let (mut taken, mut opened, mut ended) = (0, 0, false);
    while !ended {
        let frame = client.frame().await.expect("a frame");
        if frame.kind != Frame::DATA {
            continue;
        }
        taken += frame.payload.len();
        ended = frame.flags & Frame::END_STREAM != 0;
        while opened + 4096 <= taken && !ended {
            let step = 4096_u32.to_be_bytes();
            client.send(of(Frame::WINDOW_UPDATE, 0, step)).await;
            client.send(of(Frame::WINDOW_UPDATE, 1, step)).await;
            opened += 4096;
        }
    }
    assert_eq!(taken, 1_000_000);
    client.get(3, "/honest").await;
    assert_eq!(client.answer(3).await, b"ok");
    drop(client);
    scene.over().await;
}

/// A client may open windows and measure at each answer, for ever.
#[tokio::test]
async fn housekeeping_of_a_busy_connection_is_no_flood() {
    let scene = Scene::with("limits = { frames = 20 }").await;
    let mut client = scene.frames().await;
    for turn in 0..200 {
        let stream = 2 * turn + 1;
        client.get(stream, "/honest").await;
        for _ in 0..2 {
            client.send(of(Frame::WINDOW_UPDATE, 0, [0, 0, 0, 1])).await;
            client.send(of(Frame::PING, 0, [7; 8])).await;
        }
        assert_eq!(client.answer(stream).await, b"ok", "{turn}");
    }
    drop(client);
    scene.over().await;
}
