//! What is allowed once, and sent without end: bounded, and at its own
//! connection's cost only.

use super::Wire;
use crate::drain::scene::until_connections;
use crate::support::clients::{Ended, Frame, Frames, block};
use crate::support::within;
use h2::Reason;

const REFUSED: Reason = Reason::REFUSED_STREAM;
const CALM: Reason = Reason::ENHANCE_YOUR_CALM;

/// Read on to GOAWAY, and to the end: why it came.
async fn away(mut client: Frames) -> Reason {
    let (_, reason) = client.until(Frame::GOAWAY).await.goaway();
    let (_, end) = client.rest().await;
    assert!(matches!(end, Ended::Fin | Ended::Reset));
    reason
}

/// Frames that may not all be taken: the end may come first.
async fn pour(client: &mut Frames, frames: impl IntoIterator<Item = Frame>) {
    let bytes: Vec<u8> = frames.into_iter().flat_map(|one| one.bytes()).collect();
    let _ = client.send_bytes(bytes).await;
}

fn get(stream: u32, path: &str) -> Frame {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
    ];
    Frame::headers(stream, block(&fields), false)
}

fn reset(stream: u32) -> Frame {
    let reason = u32::from(Reason::CANCEL).to_be_bytes();
    Frame::new(Frame::RST_STREAM, 0, stream, reason)
}

#[tokio::test]
async fn a_stream_too_many_is_refused_and_the_others_go_on() {
    let wire = Wire::new().await;
    let mut client = wire.frames().await;
    client.until(Frame::SETTINGS).await;
    let ack = Frame::new(Frame::SETTINGS, Frame::ACK, 0, []);
    client.send(ack).await;
    for stream in (1..16).step_by(2) {
        client.send(get(stream, "/hold")).await;
    }
    let desk = wire.server.desk.clone();
    desk.until("eight requests", |seen| seen.requests == 8)
        .await;
    client.send(get(17, "/refused")).await;
    let refused = client.until(Frame::RST_STREAM).await;
    assert_eq!((refused.stream, refused.reset()), (17, REFUSED));
    desk.release();
    let mut ended = 0;
    while ended < 8 {
        let frame = client.frame().await.expect("a frame");
        ended += usize::from(frame.kind == Frame::DATA && frame.flags & Frame::END_STREAM != 0);
    }
    client.get(19, "/honest").await;
    assert_eq!(client.answer(19).await, b"ok");
    let seen = wire.seen();
    assert!(!seen.heads.iter().any(|head| head.contains("/refused")));
    drop(client);
    wire.over().await;
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let wire = Wire::new().await;
    let before = wire.seen();
    let long = "y".repeat(100);
    let names: Vec<String> = (0..100).map(|at| format!("x-{at}")).collect();
    for (what, fields, size) in [("many fields", 21, 1), ("a large head", 19, 100)] {
        let mut client = wire.frames().await;
        let value = &long[..size];
        // Each name is counted as often as it is sent.
        let copies = if size == 1 { 1 } else { 4 };
        let further: Vec<_> = (0..fields * copies)
            .map(|at| (names[at].as_str(), value))
            .collect();
        let mut head = get(1, "/large");
        head.payload.extend(block(&further));
        client.send(head).await;
        let answer = client.until(Frame::HEADERS).await;
        // 431, by Huffman after the index of its name.
        assert_eq!(answer.payload[..4], [0x48, 0x83, 0x69, 0x90], "{what}");
        client.get(3, "/honest").await;
        assert_eq!(client.answer(3).await, b"ok", "{what}");
    }
    let seen = wire.seen();
    assert!(
        !seen.heads[before.heads.len()..]
            .iter()
            .any(|head| head.contains("/large"))
    );
    wire.over().await;
}

/// CVE-2023-44487: requests that are taken back at once, in one go, and ones
/// that are taken back when the server has them.
#[tokio::test]
async fn rapid_resets_end_their_connection_and_no_other() {
    let wire = Wire::new().await;
    let mut honest = wire.frames().await;
    let mut client = wire.frames().await;
    let pairs = (1..20_000)
        .step_by(2)
        .flat_map(|stream| [get(stream, "/rapid"), reset(stream)]);
    pour(&mut client, pairs).await;
    assert_eq!(away(client).await, CALM);

    let mut client = wire.frames().await;
    let desk = wire.server.desk.clone();
    for stream in (1..20_000).step_by(2) {
        let before = desk.seen().requests;
        if client
            .send_bytes(get(stream, "/hold").bytes())
            .await
            .is_err()
        {
            break;
        }
        let arrived = desk.until("the request", |seen| seen.requests > before);
        // The connection may be over by now.
        let soon = std::time::Duration::from_millis(500);
        if tokio::time::timeout(soon, arrived).await.is_err() {
            break;
        }
        if client.send_bytes(reset(stream).bytes()).await.is_err() {
            break;
        }
    }
    assert_eq!(away(client).await, CALM);
    let seen = wire.seen();
    assert!(seen.requests < 1_000, "{} requests", seen.requests);

    honest.get(1, "/honest").await;
    assert_eq!(honest.answer(1).await, b"ok");
    drop(honest);
    desk.release();
    wire.over().await;
}

/// A client may take back a request now and then, for ever.
#[tokio::test]
async fn a_client_that_takes_back_some_requests_is_served() {
    let wire = Wire::new().await;
    let mut client = wire.frames().await;
    let desk = wire.server.desk.clone();
    for turn in 0..600 {
        let stream = turn * 6 + 1;
        client.get(stream, "/hold").await;
        let requests = desk.until("the request", |seen| seen.requests > 3 * turn as usize);
        requests.await;
        client.send(reset(stream)).await;
        for stream in [stream + 2, stream + 4] {
            client.get(stream, "/honest").await;
            assert_eq!(client.answer(stream).await, b"ok", "{turn}");
        }
    }
    drop(client);
    desk.release();
    wire.over().await;
}

#[tokio::test]
async fn a_header_block_without_end_is_ended() {
    let wire = Wire::new().await;
    let small = block(&[("x", "y")]);
    for (what, piece) in [("empty pieces", Vec::new()), ("small pieces", small)] {
        let before = wire.seen();
        let mut client = wire.frames().await;
        let mut begun = get(1, "/endless");
        begun.flags = Frame::END_STREAM;
        let more = std::iter::repeat_n(Frame::new(Frame::CONTINUATION, 0, 1, piece), 20_000);
        pour(&mut client, std::iter::once(begun).chain(more)).await;
        assert_eq!(away(client).await, CALM, "{what}");
        wire.serves_as_before(&before, what).await;
    }
    wire.over().await;
}

/// What asks for an answer, from a client that reads none: nothing is kept
/// for it beyond the socket's buffers, and it has `send_idle` to read.
#[tokio::test]
async fn questions_without_end_are_not_hoarded() {
    let wire = Wire::with(", send_idle = \"1s\"").await;
    let memory = wire.proxy.peak_memory();
    for question in [
        Frame::new(Frame::PING, 0, 0, [7; 8]),
        Frame::new(Frame::SETTINGS, 0, 0, []),
    ] {
        let before = wire.seen();
        let mut client = wire.frames().await;
        let many: Vec<u8> = std::iter::repeat_n(question.bytes(), 10_000)
            .flatten()
            .collect();
        let flood = async {
            // Far more than sockets hold; it ends when the proxy has had enough.
            while client.send_bytes(&many).await.is_ok() {}
        };
        let what = format!("an end of {question:?}");
        within(&what, flood).await;
        wire.serves_as_before(&before, &what).await;
    }
    until_connections(&wire.proxy, "nobody", <[_]>::is_empty).await;
    let grown = wire.proxy.peak_memory() - memory;
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more");
    wire.over().await;
}
