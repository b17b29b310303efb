//! The cut: whoever ignores the farewell is ended by force and counted, with
//! the reason; and an operator who asks twice waits for nobody.

use super::scene::{Plan, Scene, Via};
use crate::support::clients::{Frame, Raw, WebSocket};
use crate::support::proxy::Signal;
use crate::support::servers::Server;
use serde_json::Value;

/// Everything comes to its deadline, and soon after to its cut.
const SHORT: Plan = Plan {
    http: "500ms",
    grpc: "500ms",
    websocket: "500ms",
    tcp: "500ms",
    farewell: "500ms",
    ..Plan::CALM
};

const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u8 = 4;

/// More than any socket holds.
const FLOOD: &str = "/flood/1000000000";

/// The receipt has `count` exchanges of `protocol` with this outcome, and
/// whom it names came to one of these `ends`. Not everybody has to be named: a
/// task that gets no turn in time ends with the process.
#[track_caller]
fn assert_ends(receipt: &Value, protocol: &str, outcome: &str, count: u64, ends: &[&str]) {
    let ledger = &receipt["requests"][protocol];
    assert_eq!(ledger[outcome], count, "{receipt}");
    for one in receipt["told"].as_array().expect("a list") {
        let text = |field: &str| one[field].as_str().expect("text").to_owned();
        let end = ["protocol", "outcome", "what"].map(text).join(" ");
        assert!(ends.contains(&&*end), "{end}: {receipt}");
    }
}

/// Asked for early: what answers is gone soon after the last connection.
struct Awaited(Raw);

impl Awaited {
    /// Ask for the receipt. The answer to another question, sent along with
    /// this one, says that it has been heard.
    async fn ask(scene: &Scene) -> Self {
        let mut raw = Raw::connect(scene.proxy.admin()).await;
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let both = get("/v1/drain") + &get("/v1/drain?wait=true");
        raw.send(both).await.expect("sent");
        raw.head().await.expect("the first answer");
        Self(raw)
    }

    async fn receipt(self) -> Value {
        let (bytes, _) = self.0.rest().await;
        let text = String::from_utf8(bytes).expect("text");
        let (_, body) = text.split_once("\r\n\r\n").expect("a second answer");
        serde_json::from_str(body).expect("JSON")
    }
}

/// Drain to the exit, and give the receipt. The rest of the scene lives on in
/// `kept` until then: nobody leaves of their own accord.
async fn receipt<T>(scene: Scene, kept: T) -> Value {
    scene.proxy.signal(Signal::TERM);
    scene.stage("finish").await;
    let awaited = Awaited::ask(&scene).await;
    scene.over().await;
    drop(kept);
    awaited.receipt().await
}

/// A client of HTTP/2 that gives the server room for all, asks for more than
/// any socket holds, and never reads. `content` says what it takes it for.
async fn deaf(scene: &Scene, content: &str) -> Raw {
    let mut raw = Raw::connect(scene.address("multi")).await;
    raw.send(Frame::PREFACE).await.expect("sent");
    let room = 0x7fff_0000_u32.to_be_bytes();
    let mut window = vec![0, INITIAL_WINDOW_SIZE];
    window.extend(room);
    // HPACK (RFC 7541): GET and http from the static table, then the names of
    // :authority, :path and content-type with values of our own.
    let mut block = vec![0x82, 0x86];
    for (name, value) in [
        (&[0x01][..], "localhost"),
        (&[0x04], FLOOD),
        (&[0x0f, 0x10], content),
    ] {
        block.extend(name);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend(value.as_bytes());
    }
    for frame in [
        Frame::new(Frame::SETTINGS, 0, 0, window),
        Frame::new(WINDOW_UPDATE, 0, 0, room),
        Frame::new(HEADERS, END_STREAM | END_HEADERS, 1, block),
    ] {
        raw.send(frame.bytes()).await.expect("sent");
    }
    raw
}

/// A client of HTTP/1.1 that asks for more than any socket holds, and never
/// reads.
async fn deaf_http1(scene: &Scene, via: Via) -> Raw {
    let mut raw = scene.raw(via).await;
    let request = format!("GET {FLOOD} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw.send(request).await.expect("sent");
    raw
}

/// Wait until servers have noticed that nobody takes what they send.
async fn stuck(server: &Server, count: usize) {
    let blocked = server.desk.until("blocked servers", |seen| {
        let noted = seen
            .reasons
            .iter()
            .filter(|reason| reason.starts_with("blocked"));
        noted.count() >= count
    });
    blocked.await;
}

#[tokio::test]
async fn who_never_reads_http1_is_cut() {
    let scene = Scene::start(&SHORT).await;
    let mut deaf = Vec::new();
    for via in Via::BOTH {
        deaf.push(deaf_http1(&scene, via).await);
    }
    stuck(&scene.http1, 2).await;
    let receipt = receipt(scene, deaf).await;
    assert_ends(&receipt, "http1", "cut", 2, &["http1 cut farewell"]);
}

/// Over HTTP/2 the word to a stream is given to the connection; where nobody
/// takes it from there, the connection is what is cut.
async fn told_in_vain(content: &str, protocol: &str, word: &str) {
    let scene = Scene::start(&SHORT).await;
    let deaf = [deaf(&scene, content).await];
    stuck(&scene.http2, 1).await;
    let receipt = receipt(scene, deaf).await;
    let end = format!("{protocol} farewelled {word}");
    assert_ends(&receipt, protocol, "farewelled", 1, &[&end]);
    assert_eq!(receipt["connections"]["cut"], 1, "{receipt}");
}

#[tokio::test]
async fn who_never_reads_http2_is_cut() {
    told_in_vain("text/plain", "http2", "reset").await;
}

#[tokio::test]
async fn who_never_reads_grpc_is_cut() {
    told_in_vain("application/grpc", "grpc", "grpc_trailers").await;
}

#[tokio::test]
async fn a_websocket_that_answers_no_close_is_cut() {
    let scene = Scene::start(&SHORT).await;
    let mut silent = Vec::new();
    for via in Via::BOTH {
        let wire = scene.wire(via, "http/1.1").await;
        let mut socket = WebSocket::over(wire, "/chat").await;
        assert_eq!(socket.echo("hello").await.expect("an echo"), "hello");
        // The library answers a Close only when it reads one.
        silent.push(socket);
    }
    let receipt = receipt(scene, silent).await;
    assert_ends(&receipt, "websocket", "cut", 2, &["websocket cut farewell"]);
}

#[tokio::test]
async fn a_tunnel_whose_client_stays_is_cut() {
    let scene = Scene::start(&SHORT).await;
    let mut tunnels = Vec::new();
    for via in Via::BOTH {
        let mut tunnel = scene.tunnel(via).await;
        tunnel.send("hello\n").await.expect("sent");
        tunnel.read_until("hello\n").await.expect("a line");
        tunnels.push(tunnel);
    }
    let receipt = receipt(scene, tunnels).await;
    assert_ends(&receipt, "tcp", "cut", 2, &["tcp cut farewell"]);
}

#[tokio::test]
async fn a_second_interrupt_cuts_all_that_is_there() {
    let scene = Scene::start(&Plan {
        handshake: "60s",
        ..Plan::CALM
    })
    .await;
    let mut half = scene.raw(Via::Clear).await;
    half.send("GET / HTTP/1.1\r\nHost: loc")
        .await
        .expect("sent");
    let http1 = deaf_http1(&scene, Via::Clear).await;
    let http2 = deaf(&scene, "text/plain").await;
    let grpc = deaf(&scene, "application/grpc").await;
    let mut socket = WebSocket::connect(scene.address("web"), "/chat").await;
    assert_eq!(socket.echo("hello").await.expect("an echo"), "hello");
    let mut tunnel = scene.tunnel(Via::Clear).await;
    tunnel.send("hello\n").await.expect("sent");
    tunnel.read_until("hello\n").await.expect("a line");
    stuck(&scene.http1, 1).await;
    stuck(&scene.http2, 2).await;
    scene.proxy.signal(Signal::INT);
    scene.stage("finish").await;
    let awaited = Awaited::ask(&scene).await;
    scene.proxy.signal(Signal::INT);
    scene.over().await;
    let receipt = awaited.receipt().await;
    let ends = [
        // The half-open one among them: it had said enough for that.
        "http1 cut operator",
        "websocket cut operator",
        "tcp cut operator",
        // A stream of HTTP/2 may or may not have its word before its
        // connection is cut.
        "http2 cut operator",
        "http2 farewelled reset",
        "grpc cut operator",
        "grpc farewelled grpc_trailers",
    ];
    for protocol in ["http1", "websocket", "tcp"] {
        assert_ends(&receipt, protocol, "cut", 1, &ends);
    }
    for protocol in ["http2", "grpc"] {
        assert_ends(&receipt, protocol, "finished", 0, &ends);
        assert_ends(&receipt, protocol, "opened", 1, &ends);
    }
    assert_eq!(receipt["connections"]["cut"], 6, "{receipt}");
    assert_eq!(half.rest().await.0, b"", "nothing is said to it");
    assert_eq!(tunnel.rest().await.0, b"");
    drop((http1, http2, grpc, socket));
}
