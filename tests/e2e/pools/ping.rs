//! HTTP/2 connections on which nothing comes any more.

use super::*;
use crate::serving::script::Script;
use crate::support::clients::{Frame, Frames, Grpc, Http2, Raw};
use crate::support::servers::Server;
use http::Request;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use tonic::Code;

const SOON: &str = "ping = { after = \"100ms\", answer = \"100ms\" }";

/// A server that answers every stream with 200, until it is told to do nothing
/// any more: then it reads on and says nothing on its connections, like one behind
/// a wire that was cut. When it is told otherwise, later connections are answered.
struct Hole {
    script: Script,
    silent: Arc<AtomicBool>,
    /// Streams that came and were not answered.
    lost: Arc<AtomicUsize>,
}

impl Hole {
    async fn new() -> Self {
        let silent = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(AtomicUsize::new(0));
        let (quiet, count) = (Arc::clone(&silent), Arc::clone(&lost));
        let script = Script::http1(move |wire: Raw| {
            connection(wire, Arc::clone(&quiet), Arc::clone(&count))
        })
        .await;
        Self {
            script,
            silent,
            lost,
        }
    }

    async fn until_lost(&self, number: usize) {
        let lost = async {
            while self.lost.load(SeqCst) < number {
                sleep(LOOK).await;
            }
        };
        within("streams in the hole", lost).await;
    }
}

async fn connection(mut wire: Raw, silent: Arc<AtomicBool>, lost: Arc<AtomicUsize>) {
    if wire.read_until("SM\r\n\r\n").await.is_err() {
        return;
    }
    let mut frames = Frames::begun(wire);
    frames.send(Frame::new(Frame::SETTINGS, 0, 0, [])).await;
    let mut gone = false;
    while let Ok(frame) = frames.frame().await {
        gone |= silent.load(SeqCst);
        if gone {
            lost.fetch_add(usize::from(frame.kind == Frame::HEADERS), SeqCst);
            continue;
        }
        let answer = match frame.kind {
            // `:status: 200` (RFC 7541, appendix A).
            Frame::HEADERS => Frame::headers(frame.stream, [0x88], false),
            Frame::PING if frame.flags & Frame::ACK == 0 => {
                Frame::new(Frame::PING, Frame::ACK, 0, frame.payload)
            }
            Frame::SETTINGS if frame.flags & Frame::ACK == 0 => {
                Frame::new(Frame::SETTINGS, Frame::ACK, 0, [])
            }
            _ => continue,
        };
        frames.send(answer).await;
    }
    if gone {
        // The socket stays open at this end.
        pending::<()>().await;
    }
}

#[tokio::test]
async fn a_black_holed_server_is_found_by_ping() {
    let hole = Hole::new().await;
    let keys = "http = \"h2\"";
    let proxy = Proxy::start(&site(hole.script.address, keys, SOON)).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    hole.silent.store(true, SeqCst);
    let http2 = Http2::connect(proxy.address("web")).await;
    let asked = Request::post("http://localhost/")
        .body(())
        .expect("a request");
    let (answer, _body) = http2.open(asked, true).await.expect("opened");
    let grpc = Grpc::connect(proxy.address("web")).await;
    let called = grpc.echo("x");
    let gone = async {
        hole.until_lost(2).await;
        // From now on it would answer what comes on another connection.
        hole.silent.store(false, SeqCst);
    };
    let (answer, called, ()) = tokio::join!(within("an answer", answer), called, gone);
    assert_eq!(answer.expect("told").status(), 502);
    let called = called.expect_err("told");
    assert_eq!(called.code(), Code::Unavailable, "{called:?}");
    until_closed(&proxy, "ping", 1).await;
    assert_eq!(get(&proxy, "/").await.status, 200, "by another connection");
    assert_eq!(made(&proxy).await, 2);
}

#[tokio::test]
async fn a_black_holed_server_is_found_before_anybody_asks() {
    let hole = Hole::new().await;
    let keys = "http = \"h2\"";
    let proxy = Proxy::start(&site(hole.script.address, keys, SOON)).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    hole.silent.store(true, SeqCst);
    until_closed(&proxy, "ping", 1).await;
    hole.silent.store(false, SeqCst);
    let asked = Request::post("http://localhost/")
        .body(())
        .expect("a request");
    let http2 = Http2::connect(proxy.address("web")).await;
    let (answer, _body) = http2.open(asked, true).await.expect("opened");
    let answer = within("an answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(made(&proxy).await, 2);
}

#[tokio::test]
async fn a_request_that_may_be_sent_twice_is_served_by_another_connection() {
    let hole = Hole::new().await;
    let text = site(hole.script.address, "http = \"h2\"", SOON).replace(
        "{ upstream = \"site\" }",
        "{ upstream = \"site\", retries = 2, retry = {} }",
    );
    let proxy = Proxy::start(&text).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    hole.silent.store(true, SeqCst);
    let asked = get(&proxy, "/");
    let gone = async {
        hole.until_lost(1).await;
        hole.silent.store(false, SeqCst);
    };
    let (reply, ()) = tokio::join!(asked, gone);
    assert_eq!(reply.status, 200);
    until_closed(&proxy, "ping", 1).await;
}

#[tokio::test]
async fn a_server_that_answers_its_pings_may_be_silent() {
    let server = Server::http2().await;
    let pool = "ping = { after = \"20ms\", answer = \"10s\" }, idle = \"1h\"";
    let proxy = Proxy::start(&site(server.address, "http = \"h2\"", pool)).await;
    let mut held = client(&proxy).await;
    let held = tokio::spawn(async move { held.get("/hold").await.expect("an answer") });
    let arrived = |seen: &crate::support::seen::Seen| seen.requests == 1;
    server.desk.until("the request", arrived).await;
    // Many a silence long, by a clock that is not ours.
    let other = Server::http1().await;
    let idle = Proxy::start(&site(other.address, "", "idle = \"400ms\"")).await;
    assert_eq!(get(&idle, "/").await.status, 200);
    until_closed(&idle, "idle", 1).await;
    assert!(!held.is_finished());
    server.desk.release();
    assert_eq!(held.await.expect("a client").text(), "held");
    assert_eq!(closed(&proxy, "ping").await, 0);
    assert_eq!(server.desk.seen().connections, 1);
}
