//! Frames and heads of HTTP/2 that no client may send, each with the error
//! that RFC 9113 has for it.

use super::Wire;
use crate::support::clients::{Ended, Frame, block};
use h2::Reason;

/// How a connection or a stream is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// GOAWAY, and the end of the connection.
    Away(Reason),
    /// `RST_STREAM`; other streams go on.
    Reset(Reason),
    /// An answer; other streams go on.
    Status(u16),
}

use Told::{Away, Reset, Status};

/// Where RFC 9113 has a `finer` word than the engine, which ends the connection
/// with `PROTOCOL_ERROR`: as safe, and allowed in place of an error of the
/// stream (section 5.4), but coarse.
fn coarse(finer: Told) -> Told {
    let said = Away(Reason::PROTOCOL_ERROR);
    assert_ne!(finer, said, "not coarse at all");
    said
}

/// What is wrong, what is sent after the preface, and what comes of it.
type Case = (&'static str, Vec<Frame>, Told);

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", "/bad"),
];

/// A request whose fields are GET's and `further`.
fn get(stream: u32, further: &[(&str, &str)]) -> Frame {
    let fields = [&GET[..], further].concat();
    Frame::headers(stream, block(&fields), false)
}

/// A request with a body to come.
fn post(stream: u32, further: &[(&str, &str)]) -> Frame {
    let mut fields = [&GET[..], further].concat();
    fields[0].1 = "POST";
    fields[3].1 = "/sink";
    Frame::headers(stream, block(&fields), true)
}

/// A request of exactly these fields.
fn only(fields: &[(&str, &str)]) -> Vec<Frame> {
    vec![Frame::headers(1, block(fields), false)]
}

fn frame(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Frame {
    Frame::new(kind, flags, stream, payload)
}

fn setting(name: u16, value: u32) -> Frame {
    let mut payload = name.to_be_bytes().to_vec();
    payload.extend(value.to_be_bytes());
    frame(Frame::SETTINGS, 0, 0, payload)
}

/// RFC 9113, sections 4 to 6.
#[rustfmt::skip]
fn frames() -> Vec<Case> {
    const PRIORITY: u8 = 2;
    const PUSH_PROMISE: u8 = 5;
    let protocol = Away(Reason::PROTOCOL_ERROR);
    let size = Away(Reason::FRAME_SIZE_ERROR);
    let flow = Away(Reason::FLOW_CONTROL_ERROR);
    let open = || post(1, &[]);
    let half = |flags| frame(Frame::HEADERS, flags, 1, block(&GET));
    let window = |stream, by: u32| frame(Frame::WINDOW_UPDATE, 0, stream, by.to_be_bytes());
    vec![
        ("DATA on stream 0", vec![frame(Frame::DATA, 0, 0, *b"x")], protocol),
        ("DATA on an idle stream", vec![frame(Frame::DATA, 0, 1, *b"x")], protocol),
        ("DATA larger than allowed", vec![open(), frame(Frame::DATA, 0, 1, vec![0; 16_385])], size),
        ("DATA of nothing but padding", vec![open(), frame(Frame::DATA, Frame::PADDED, 1, [5, 0, 0])], protocol),
        ("HEADERS on stream 0", vec![get(0, &[])], protocol),
        ("HEADERS on an even stream", vec![get(2, &[])], protocol),
        ("HEADERS on an earlier stream", vec![get(5, &[]), get(3, &[])], protocol),
        ("HEADERS larger than allowed", vec![frame(Frame::HEADERS, Frame::END_HEADERS, 1, vec![0; 16_385])], size),
        ("HEADERS of nothing but padding", vec![frame(Frame::HEADERS, Frame::PADDED | Frame::END_HEADERS, 1, [9, 0x82])], protocol),
        ("RST_STREAM on stream 0", vec![frame(Frame::RST_STREAM, 0, 0, [0; 4])], protocol),
        ("RST_STREAM on an idle stream", vec![frame(Frame::RST_STREAM, 0, 1, [0; 4])], protocol),
        ("RST_STREAM of 5 bytes", vec![open(), frame(Frame::RST_STREAM, 0, 1, [0; 5])], coarse(size)),
        ("SETTINGS on a stream", vec![frame(Frame::SETTINGS, 0, 1, [])], protocol),
        ("SETTINGS of 5 bytes", vec![frame(Frame::SETTINGS, 0, 0, [0; 5])], coarse(size)),
        ("SETTINGS acknowledged with more", vec![frame(Frame::SETTINGS, Frame::ACK, 0, [0; 6])], coarse(size)),
        ("SETTINGS that push twice", vec![setting(2, 2)], protocol),
        ("SETTINGS with a huge window", vec![setting(4, 1 << 31)], coarse(flow)),
        ("SETTINGS with small frames", vec![setting(5, 100)], protocol),
        ("SETTINGS with huge frames", vec![setting(5, 1 << 24)], protocol),
        ("PUSH_PROMISE", vec![frame(PUSH_PROMISE, Frame::END_HEADERS, 1, [0, 0, 0, 2, 0x82])], protocol),
        ("PING on a stream", vec![frame(Frame::PING, 0, 1, [0; 8])], protocol),
        ("PING of 7 bytes", vec![frame(Frame::PING, 0, 0, [0; 7])], coarse(size)),
        ("GOAWAY on a stream", vec![frame(Frame::GOAWAY, 0, 1, [0; 8])], protocol),
        ("GOAWAY of 7 bytes", vec![frame(Frame::GOAWAY, 0, 0, [0; 7])], coarse(size)),
        ("PRIORITY on stream 0", vec![frame(PRIORITY, 0, 0, [0; 5])], protocol),
        ("WINDOW_UPDATE of nothing", vec![window(0, 0)], protocol),
        ("WINDOW_UPDATE of nothing on a stream", vec![open(), window(1, 0)], coarse(Reset(Reason::PROTOCOL_ERROR))),
        ("WINDOW_UPDATE on an idle stream", vec![window(1, 1)], protocol),
        ("WINDOW_UPDATE of 3 bytes", vec![frame(Frame::WINDOW_UPDATE, 0, 0, [0; 3])], coarse(size)),
        ("a window beyond 2^31-1", vec![window(0, (1 << 31) - 1)], flow),
        ("a stream's window beyond 2^31-1", vec![open(), window(1, (1 << 31) - 1)], Reset(Reason::FLOW_CONTROL_ERROR)),
        ("CONTINUATION without HEADERS", vec![frame(Frame::CONTINUATION, Frame::END_HEADERS, 1, [0x82])], protocol),
        ("CONTINUATION after the end", vec![open(), frame(Frame::CONTINUATION, Frame::END_HEADERS, 1, [0x82])], protocol),
        ("CONTINUATION of another stream", vec![half(0), frame(Frame::CONTINUATION, Frame::END_HEADERS, 3, [])], protocol),
        ("DATA amid a header block", vec![half(0), frame(Frame::DATA, 0, 1, *b"x")], protocol),
        ("PING amid a header block", vec![half(0), frame(Frame::PING, 0, 0, [0; 8])], protocol),
        ("a frame of no known kind amid a header block", vec![half(0), frame(0xf0, 0, 0, [])], protocol),
        ("DATA after END_STREAM", vec![get(1, &[]), frame(Frame::DATA, 0, 1, *b"x")], coarse(Reset(Reason::STREAM_CLOSED))),
        ("a second head without END_STREAM", vec![open(), Frame::headers(1, block(&[("x", "y")]), true)], Reset(Reason::PROTOCOL_ERROR)),
    ]
}

/// RFC 7541; RFC 9113, section 4.3.
#[rustfmt::skip]
fn compression() -> Vec<Case> {
    let block = |bytes: &[u8]| vec![Frame::headers(1, bytes, false)];
    let away = coarse(Away(Reason::COMPRESSION_ERROR));
    vec![
        ("an index of 0", block(&[0x80]), away),
        ("an index beyond both tables", block(&[0x82, 0xff, 0x00]), away),
        ("an index without an end", block(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), away),
        ("a name longer than the block", block(&[0x82, 0x00, 0x7e, b'a']), away),
        ("a table larger than allowed", block(&[0x3f, 0xff, 0xff, 0x03, 0x82]), away),
        ("a table resized too late", block(&[0x82, 0x20]), away),
        ("Huffman's end of string", block(&[0x82, 0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00]), away),
    ]
}

/// RFC 9113, sections 8.1 to 8.5.
#[rustfmt::skip]
fn heads() -> Vec<Case> {
    let malformed = Reset(Reason::PROTOCOL_ERROR);
    let [method, scheme, authority, path] = GET;
    let with = |field| vec![get(1, &[field])];
    let data = |size, end| {
        frame(
            Frame::DATA,
            if end { Frame::END_STREAM } else { 0 },
            1,
            vec![b'x'; size],
        )
    };
    vec![
        ("no method", only(&[scheme, authority, path]), malformed),
        ("no scheme", only(&[method, authority, path]), malformed),
        ("no path", only(&[method, scheme, authority]), malformed),
        ("an empty path", only(&[method, scheme, authority, (":path", "")]), malformed),
        ("a path without a slash", only(&[method, scheme, authority, (":path", "x")]), malformed),
        ("a path that is a URL", only(&[method, scheme, authority, (":path", "http://a/")]), malformed),
        ("an asterisk for GET", only(&[method, scheme, authority, (":path", "*")]), Status(400)),
        ("a blank in the path", only(&[method, scheme, authority, (":path", "/a b")]), malformed),
        ("a method that is no token", only(&[(":method", "G T"), scheme, authority, path]), coarse(malformed)),
        ("neither authority nor Host", only(&[method, scheme, path]), Status(400)),
        ("an empty authority", only(&[method, scheme, (":authority", ""), path]), malformed),
        ("user information", only(&[method, scheme, (":authority", "u@localhost"), path]), Status(400)),
        ("a path in the authority", only(&[method, scheme, (":authority", "a/b"), path]), malformed),
        ("the method twice", with(method), malformed),
        ("the path twice", with((":path", "/other")), malformed),
        ("the authority twice", with((":authority", "other")), malformed),
        ("the scheme twice", with((":scheme", "https")), malformed),
        ("a pseudo-header after a field", only(&[method, scheme, ("x", "y"), authority, path]), malformed),
        ("a pseudo-header nobody knows", with((":x", "y")), coarse(malformed)),
        ("a response's pseudo-header", with((":status", "200")), malformed),
        ("a protocol that was not offered", with((":protocol", "websocket")), malformed),
        ("CONNECT", only(&[(":method", "CONNECT"), (":authority", "localhost:80")]), Status(501)),
        ("Host against authority", with(("host", "other")), Status(400)),
        ("two Hosts", vec![get(1, &[("host", "localhost"), ("host", "localhost")])], Status(400)),
        ("an upper-case name", with(("X-Upper", "y")), coarse(malformed)),
        ("an empty name", with(("", "y")), coarse(malformed)),
        ("a blank in a name", with(("x y", "z")), coarse(malformed)),
        ("a colon in a name", with(("x:y", "z")), coarse(malformed)),
        ("a line break in a value", with(("x", "a\r\nb: c")), coarse(malformed)),
        ("NUL in a value", with(("x", "a\0b")), coarse(malformed)),
        ("a blank before a value", with(("x", " y")), Status(400)),
        ("a tab after a value", with(("x", "y\t")), Status(400)),
        ("a query without a path", only(&[method, scheme, authority, (":path", "?x")]), Status(400)),
        ("a fragment without a path", only(&[method, scheme, authority, (":path", "#x")]), Status(400)),
        ("a quote in a name", with(("x\"", "y")), Status(400)),
        ("no length after all", with(("content-length", "")), Status(400)),
        ("a length with a leading zero", with(("content-length", "00")), Status(400)),
        ("two lengths", vec![get(1, &[("content-length", "0"), ("content-length", "0")])], Status(400)),
        ("connection", with(("connection", "close")), malformed),
        ("keep-alive", with(("keep-alive", "timeout=5")), malformed),
        ("proxy-connection", with(("proxy-connection", "close")), malformed),
        ("transfer-encoding", with(("transfer-encoding", "chunked")), malformed),
        ("upgrade", with(("upgrade", "websocket")), malformed),
        ("te other than trailers", with(("te", "gzip")), malformed),
        ("a length without a body", with(("content-length", "5")), malformed),
        ("a length that is no number", with(("content-length", "+5")), malformed),
        ("two lengths", vec![post(1, &[("content-length", "5"), ("content-length", "6")]), data(5, true)], malformed),
        ("more than the length", vec![post(1, &[("content-length", "5")]), data(6, false)], malformed),
        ("less than the length", vec![post(1, &[("content-length", "5")]), data(4, true)], malformed),
    ]
}

/// What becomes of `bad`, on a connection of its own.
async fn told(wire: &Wire, bad: &[Frame]) -> Told {
    let mut client = wire.frames().await;
    let bytes: Vec<u8> = bad.iter().flat_map(Frame::bytes).collect();
    client.send_bytes(bytes).await.expect("sent");
    let told = loop {
        let Ok(frame) = client.frame().await else {
            panic!("the end without a word");
        };
        match frame.kind {
            Frame::GOAWAY => {
                let (_, reason) = frame.goaway();
                let (_, end) = client.rest().await;
                assert_eq!(end, Ended::Fin, "after GOAWAY: {reason:?}");
                return Away(reason);
            }
            Frame::RST_STREAM => break Reset(frame.reset()),
            Frame::HEADERS => break Status(status(&frame)),
            _ => {}
        }
    };
    // The connection is as good as ever.
    client.get(101, "/honest").await;
    loop {
        let frame = client.frame().await.expect("a frame");
        if frame.stream == 101 && frame.kind == Frame::DATA {
            assert_eq!(frame.payload, b"ok");
            return told;
        }
    }
}

/// The status, in the two ways that the proxy encodes it.
fn status(head: &Frame) -> u16 {
    match head.payload[..] {
        // Indexed, in the static table.
        [0x88, ..] => 200,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        // The name indexed, the value in letters or by Huffman.
        [0x48, 3, a, b, c, ..] => [a, b, c]
            .iter()
            .fold(0, |n, d| n * 10 + u16::from(d - b'0')),
        [0x48, 0x82, a, b, ..] => huffman(u16::from_be_bytes([a, b])),
        _ => panic!("{head:?}"),
    }
}

/// Three digits of RFC 7541, appendix B: `0`, `1` and `2` have 5 bits, the
/// others 6, beginning with that of `3`.
fn huffman(mut bits: u16) -> u16 {
    (0..3).fold(0, |number, _| {
        let (digit, size) = match bits >> 11 {
            short @ 0..3 => (short, 5),
            _ => ((bits >> 10) - 0x19 + 3, 6),
        };
        bits <<= size;
        number * 10 + digit
    })
}

async fn each_is_told(cases: Vec<Case>) {
    let wire = Wire::new().await;
    let mut wrong = Vec::new();
    for (what, bad, expected) in cases {
        let told = told(&wire, &bad).await;
        wire.serves(what).await;
        if told != expected {
            wrong.push(format!("{what}: {told:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let desk = &wire.server.desk;
    let seen = wire.seen();
    // Where a body was the matter, its head was good; nothing was whole.
    let passed = |head: &&String| !head.starts_with("GET /honest ") && !head.contains(" /sink ");
    assert_eq!(seen.heads.iter().find(passed), None);
    let posts = seen.heads.iter().filter(|head| head.contains(" /sink "));
    let ended = desk.until("their ends", |seen| {
        seen.open == 0 || seen.finished + seen.cancelled == seen.requests
    });
    let ended = ended.await;
    assert_eq!(
        ended.finished,
        seen.heads.len() - posts.count(),
        "{ended:?}"
    );
    wire.over().await;
}

#[tokio::test]
async fn every_bad_frame_has_its_error() {
    each_is_told(frames()).await;
}

#[tokio::test]
async fn every_bad_header_block_ends_the_connection() {
    each_is_told(compression()).await;
}

#[tokio::test]
async fn every_malformed_head_ends_its_stream_only() {
    each_is_told(heads()).await;
}

/// A stream that is over is one that came earlier (RFC 9113, section 5.1.1).
#[tokio::test]
async fn a_stream_that_was_answered_is_not_opened_again() {
    let wire = Wire::new().await;
    let mut client = wire.frames().await;
    client.get(1, "/honest").await;
    assert_eq!(client.answer(1).await, b"ok");
    client.send(get(1, &[])).await;
    let goaway = client.until(Frame::GOAWAY).await.goaway();
    assert_eq!(goaway, (1, Reason::PROTOCOL_ERROR));
    assert_eq!(client.rest().await.1, Ended::Fin);
    let seen = wire.seen();
    assert_eq!(seen.requests, 1, "{seen:?}");
    wire.serves("a stream twice").await;
    wire.over().await;
}

/// The engine leaves these out before anybody sees them; what matters is that
/// they are gone.
#[tokio::test]
async fn what_is_left_out_is_left_out_for_everybody() {
    let wire = Wire::new().await;
    let mut client = wire.frames().await;
    let [method, scheme, authority, _] = GET;
    let fields = [method, scheme, authority, (":path", "/left#out")];
    client.send(Frame::headers(1, block(&fields), false)).await;
    assert_eq!(client.answer(1).await, b"ok");
    let head = wire.seen().heads.pop().expect("a head");
    assert!(head.starts_with("GET /left HTTP/1.1\n"), "{head}");
    client.send(post(3, &[])).await;
    let trailers = block(&[(":path", "/out"), ("x", "y")]);
    client.send(Frame::headers(3, trailers, false)).await;
    assert_eq!(client.answer(3).await, b"whole 0");
    drop(client);
    wire.over().await;
}
