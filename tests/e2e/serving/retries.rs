//! Requests that one server fails and another one serves, as their routes say.

use super::client::{Client, full, get, open, piece, request};
use super::script::Script;
use crate::support::clients::{Grpc, Http1, Http2, Raw, Reply};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::{Server, pattern};
use crate::support::within;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Method, Request, Response};
use http_body::Frame;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// One route to these servers.
fn config(servers: &[SocketAddr], keys: &str, route: &str) -> String {
    let servers: Vec<_> = servers
        .iter()
        .map(|server| format!("\"{server}\""))
        .collect();
    format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\", {route} }}]\n\n\
         [upstream.site]\nservers = [{}]\n{keys}\n",
        servers.join(", ")
    )
}

async fn proxy(servers: &[SocketAddr], keys: &str, route: &str) -> Proxy {
    Proxy::start(&config(servers, keys, route)).await
}

async fn clients(proxy: &Proxy) -> [Client; 2] {
    let address = proxy.address("web");
    [
        Client::Http1(Http1::connect(address).await),
        Client::Http2(Http2::connect(address).await),
    ]
}

async fn ask(client: &mut Client, method: Method, body: Bytes) -> Reply {
    let asked = request(method, "site", "/echo", full(body));
    client.ask(asked).await.expect("a reply")
}

/// What a metric of the upstream counts for a reason.
async fn counted(proxy: &Proxy, what: &str, reason: &str) -> usize {
    let metrics = proxy.get("/metrics").await;
    let name = format!("ebbtide_upstream_{what}_total{{upstream=\"site\",reason=\"{reason}\"}} ");
    let line = metrics
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(&name));
    line.expect("the metric").parse().expect("a number")
}

/// A server that reads no body, gives this answer to everything, and counts.
async fn saying(answer: &'static str) -> (Script, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let script = Script::http1(move |mut wire: Raw| {
        let count = Arc::clone(&count);
        async move {
            while wire.head().await.is_ok() {
                count.fetch_add(1, SeqCst);
                if wire.send(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (script, asked)
}

const BUSY: &str = "HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbusy";

/// A server over HTTP/2 that answers with this status once it has the request.
async fn refusing(status: u16) -> Script {
    Script::http2(
        move |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
            }
            let answer = Response::builder().status(status).body(());
            // Gone, if the client is.
            let _ = respond.send_response(answer.expect("a response"), true);
        },
    )
    .await
}

#[tokio::test]
async fn a_get_that_one_server_fails_is_served_by_another_and_a_post_is_not() {
    let (busy, asked) = saying(BUSY).await;
    let good = Server::http1().await;
    let proxy = proxy(&[busy.address, good.address], "", "retry = {}").await;
    for mut client in clients(&proxy).await {
        for _ in 0..10 {
            let reply = client.ask(get("site", "/")).await.expect("a reply");
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"));
        }
    }
    let retried = asked.load(SeqCst);
    assert!((8..=12).contains(&retried), "every second: {retried}");
    assert!(
        busy.connections() <= 4,
        "they serve again: {}",
        busy.connections()
    );
    assert_eq!(counted(&proxy, "retries", "answer").await, retried);
    let [mut client, _] = clients(&proxy).await;
    let mut statuses = [0, 0];
    for _ in 0..10 {
        let reply = ask(&mut client, Method::POST, Bytes::from_static(b"once")).await;
        statuses[usize::from(reply.status == 503)] += 1;
    }
    assert_eq!(statuses, [5, 5], "it may have been processed");
    assert_eq!(counted(&proxy, "retries_forgone", "method").await, 5);
}

#[tokio::test]
async fn a_body_is_replayed_as_it_was_where_the_route_allows_its_method() {
    let route = "retry = { methods = [\"POST\"], least = 1000 }";
    for speaks in ["h1", "h2"] {
        let good = if speaks == "h1" {
            Server::http1().await
        } else {
            Server::http2().await
        };
        let bad = if speaks == "h1" {
            saying(BUSY).await.0
        } else {
            refusing(504).await
        };
        let keys = format!("http = \"{speaks}\"");
        let proxy = proxy(&[bad.address, good.address], &keys, route).await;
        for mut client in clients(&proxy).await {
            for size in [0, 1, 5_000, 60_000] {
                let body = pattern(size);
                for _ in 0..2 {
                    let reply = ask(&mut client, Method::POST, body.clone()).await;
                    assert_eq!(reply.status, 200, "{speaks}, {size}");
                    assert_eq!(reply.body, body);
                }
            }
        }
        assert!(counted(&proxy, "retries", "answer").await >= 4);
    }
}

#[tokio::test]
async fn a_body_that_is_still_coming_goes_on_at_another_server() {
    let (busy, asked) = saying(BUSY).await;
    let good = Server::http1().await;
    let route = "retry = { methods = [\"POST\"] }";
    let proxy = proxy(&[busy.address, good.address], "", route).await;
    for mut client in clients(&proxy).await {
        for _ in 0..2 {
            let before = (asked.load(SeqCst), good.desk.seen().requests);
            let (frames, body) = open();
            let reply = client.send(request(Method::POST, "site", "/echo", body));
            let sending = async {
                let part =
                    |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
                frames.send(part("one ")).await.expect("room");
                // The rest is for who answers with it.
                good.desk
                    .until("it there", |seen| seen.requests > before.1)
                    .await;
                frames.send(part("and two")).await.expect("room");
                drop(frames);
            };
            let (reply, ()) = tokio::join!(reply, sending);
            let mut body = reply.expect("an answer").into_body();
            let mut all = Vec::new();
            while let Some(data) = piece(&mut body).await {
                all.extend_from_slice(&data.expect("data"));
            }
            assert_eq!(all, b"one and two");
        }
    }
    assert_eq!(asked.load(SeqCst), 2, "each client once");
}

#[tokio::test]
async fn a_body_beyond_the_buffer_is_not_sent_again() {
    let bad = refusing(503).await;
    let good = Server::http2().await;
    let route = "retry = { methods = [\"POST\"], buffer = \"1KiB\" }";
    let proxy = proxy(&[bad.address, good.address], "http = \"h2\"", route).await;
    let [mut client, _] = clients(&proxy).await;
    let mut statuses = Vec::new();
    for size in [1024, 1024, 1025, 1025] {
        let reply = ask(&mut client, Method::POST, pattern(size)).await;
        statuses.push(reply.status.as_u16());
    }
    statuses[2..].sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 503]);
    assert_eq!(counted(&proxy, "retries_forgone", "body").await, 1);
}

#[tokio::test]
async fn when_every_server_fails_retries_are_no_more_than_their_budget() {
    let (one, at_one) = saying(BUSY).await;
    let (other, at_other) = saying(BUSY).await;
    let route = "retries = 10, retry = { budget = \"20%\", least = 0, backoff = \"0s\" }";
    let proxy = proxy(&[one.address, other.address], "", route).await;
    let [mut client, _] = clients(&proxy).await;
    for _ in 0..200 {
        let reply = client.ask(get("site", "/")).await.expect("a reply");
        assert_eq!((reply.status.as_u16(), reply.text()), (503, "busy"));
    }
    let asked = at_one.load(SeqCst) + at_other.load(SeqCst);
    // Ten to begin with, and one for each five.
    assert!((240..=250).contains(&asked), "{asked} for 200");
    let retried = counted(&proxy, "retries", "answer").await;
    assert_eq!(retried, asked - 200);
    assert!(counted(&proxy, "retries_forgone", "budget").await > 100);
}

#[tokio::test]
async fn a_server_that_is_silent_for_too_long_is_left_for_another() {
    // Long enough for the good one on a machine that has other things to do.
    let route = "retries = 3, retry = { try_timeout = \"500ms\" }";
    let silent = Script::http1(async |mut wire: Raw| while wire.head().await.is_ok() {}).await;
    let good = Server::http1().await;
    let proxied = proxy(&[silent.address, good.address], "", route).await;
    for mut client in clients(&proxied).await {
        for _ in 0..2 {
            let reply = client.ask(get("site", "/")).await.expect("a reply");
            assert_eq!(reply.text(), "ok");
        }
    }
    assert!(counted(&proxied, "retries", "timeout").await >= 2);
    let route = "retry = { try_timeout = \"50ms\" }";
    let reset = Arc::new(Notify::new());
    let told = Arc::clone(&reset);
    let silent = Script::http2(move |_, mut respond: SendResponse<Bytes>| {
        let told = Arc::clone(&told);
        async move {
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            assert_eq!(reset.expect("a reset"), h2::Reason::CANCEL);
            told.notify_one();
        }
    })
    .await;
    let proxied = proxy(&[silent.address], "http = \"h2\"", route).await;
    let [mut client, _] = clients(&proxied).await;
    let reply = client.ask(get("site", "/")).await.expect("a reply");
    assert_eq!(reply.status, 504, "nobody answers");
    within("the reset", reset.notified()).await;
    assert_eq!(counted(&proxied, "retries_forgone", "tries").await, 1);
}

#[tokio::test]
async fn what_is_broken_off_before_its_answer_goes_elsewhere_and_after_its_begin_nowhere() {
    let closing = Script::http1(async |mut wire: Raw| drop(wire.head().await)).await;
    let good = Server::http1().await;
    let proxied = proxy(&[closing.address, good.address], "", "retry = {}").await;
    for mut client in clients(&proxied).await {
        for _ in 0..4 {
            let reply = client.ask(get("site", "/")).await.expect("a reply");
            assert_eq!(reply.text(), "ok");
        }
    }
    assert_eq!(counted(&proxied, "retries", "broken_off").await, 4);
    let begun = Script::http1(async |mut wire: Raw| {
        if wire.head().await.is_ok() {
            let _ = wire
                .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                .await;
        }
    })
    .await;
    let good = Server::http1().await;
    let proxied = proxy(&[begun.address, good.address], "", "retry = {}").await;
    for (client, asked) in clients(&proxied).await.into_iter().zip(1..) {
        // Who is broken off may lose its connection, so it comes last.
        let mut client = client;
        let mut whole = 0;
        for _ in 0..2 {
            let Ok(response) = client.send(get("site", "/")).await else {
                break;
            };
            assert_eq!(response.status(), 200);
            whole += usize::from(super::client::whole(response).await.is_ok());
        }
        assert!(whole <= 1, "one is cut short");
        assert!(
            good.desk.seen().requests <= asked,
            "and asked for nowhere else"
        );
    }
    assert_eq!(counted(&proxied, "retries", "broken_off").await, 0);
}

#[tokio::test]
async fn a_pooled_connection_that_closes_under_a_post_costs_no_retry() {
    let closing = Script::http1(async |mut wire: Raw| {
        if wire.read_until("hello").await.is_ok() {
            let _ = wire
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            // The next one is read, and not answered.
            let _ = wire.read_until("hello").await;
        }
    })
    .await;
    let route = "retry = { methods = [\"POST\"], budget = \"0%\", least = 0 }";
    let proxied = proxy(&[closing.address], "", route).await;
    for mut client in clients(&proxied).await {
        // More than the retries that there are to begin with.
        for _ in 0..15 {
            let mut asked = request(Method::POST, "site", "/", full("hello"));
            asked.headers_mut().insert("content-length", 5.into());
            let reply = client.ask(asked).await.expect("a reply");
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"));
        }
    }
    assert_eq!(closing.connections(), 30, "each answers one");
    assert_eq!(counted(&proxied, "retries", "broken_off").await, 0);
    assert_eq!(counted(&proxied, "retries_forgone", "budget").await, 0);
}

#[tokio::test]
async fn a_server_that_says_when_to_come_back_is_asked_then_and_another_at_once() {
    let first = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&first);
    let soon = Script::http1(move |mut wire: Raw| {
        let count = Arc::clone(&count);
        async move {
            while wire.head().await.is_ok() {
                let answer = match count.fetch_add(1, SeqCst) {
                    0 => "HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
                    _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nme",
                };
                if wire.send(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let proxied = proxy(&[soon.address], "", "retry = { longest = \"5s\" }").await;
    let [mut client, _] = clients(&proxied).await;
    let began = Instant::now();
    let reply = client.ask(get("site", "/")).await.expect("a reply");
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "me"));
    assert!(began.elapsed() >= Duration::from_secs(1), "as it asked for");

    let late = "HTTP/1.1 503 X\r\nRetry-After: 60\r\nContent-Length: 4\r\n\r\nlate";
    let (late, asked) = saying(late).await;
    let alone = proxy(&[late.address], "", "retry = {}").await;
    let [mut client, _] = clients(&alone).await;
    let reply = client.ask(get("site", "/")).await.expect("a reply");
    assert_eq!((reply.status.as_u16(), reply.text()), (503, "late"));
    assert_eq!(
        reply.header("retry-after"),
        Some("60"),
        "it is the client's"
    );
    assert_eq!(asked.load(SeqCst), 1);
    assert_eq!(counted(&alone, "retries_forgone", "time").await, 1);
    let good = Server::http1().await;
    let both = proxy(&[late.address, good.address], "", "retry = {}").await;
    let [mut client, _] = clients(&both).await;
    for _ in 0..2 {
        let reply = client.ask(get("site", "/")).await.expect("a reply");
        assert_eq!(reply.text(), "ok");
    }
}

#[tokio::test]
async fn a_call_that_one_server_is_not_available_for_is_answered_by_another() {
    let away = Script::http2(|_, mut respond: SendResponse<Bytes>| async move {
        let answer = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "14")
            .body(());
        let _ = respond.send_response(answer.expect("a response"), true);
    })
    .await;
    let good = Server::grpc().await;
    let servers = [away.address, good.address];
    let told = "retry = { methods = [\"POST\"] }";
    for (route, failing) in [(told, 0), ("retry = {}", 2)] {
        let proxy = proxy(&servers, "http = \"h2\"", route).await;
        let client = Grpc::connect(proxy.address("web")).await;
        let mut failed = 0;
        for _ in 0..4 {
            match client.call("/test.Lines/Echo", "hello", None).await {
                Ok(line) => assert_eq!(line.text, "hello"),
                Err(status) => {
                    assert_eq!(status.code(), tonic::Code::Unavailable);
                    failed += 1;
                }
            }
        }
        assert_eq!(failed, failing, "{route}");
    }
}

const DRAIN: &str = "[drain]\ngrace = \"20s\"\nannounce = \"0s\"\nspread = \"0s\"\nhandshake = \"100ms\"\n\
     last_request = \"100ms\"\nfarewell = \"1s\"\nfinish = { http = \"1s\", grpc = \"1s\", websocket = \"1s\", tcp = \"1s\" }\n";

#[tokio::test]
async fn in_a_drain_a_request_is_sent_again_until_its_deadline_and_no_longer() {
    let (busy, asked) = saying(BUSY).await;
    let leave = Arc::new(Notify::new());
    let at_held = Arc::new(AtomicUsize::new(0));
    let (left, count) = (Arc::clone(&leave), Arc::clone(&at_held));
    let held = Script::http1(move |mut wire: Raw| {
        let (left, count) = (Arc::clone(&left), Arc::clone(&count));
        async move {
            if wire.head().await.is_ok() {
                count.fetch_add(1, SeqCst);
                left.notified().await;
            }
        }
    })
    .await;
    let good = Server::http1().await;
    let keys = format!(
        "\n[upstream.busy]\nservers = [\"{}\"]\n\n{DRAIN}",
        busy.address
    );
    let route = "retry = {} }, { upstream = \"busy\", retries = 10, retry = { backoff = \"10s\", longest = \"10s\" }";
    let text = config(&[held.address, good.address], &keys, route).replacen(
        "{ upstream = \"site\"",
        "{ path = \"/site\", upstream = \"site\"",
        1,
    );
    let mut proxy = Proxy::start(&text).await;
    let [mut pausing, mut moving] = clients(&proxy).await;
    let paused = tokio::spawn(async move { pausing.ask(get("site", "/")).await });
    let there = Arc::clone(&at_held);
    let moved = tokio::spawn(async move {
        // Its turn is the first or the second.
        let first = moving.ask(get("site", "/site")).await;
        if there.load(SeqCst) > 0 {
            return first;
        }
        moving.ask(get("site", "/site")).await
    });
    let both = async {
        while asked.load(SeqCst) == 0 || at_held.load(SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("both there", both).await;
    proxy.signal(Signal::TERM);
    proxy.until_event("shutdown_start", |_| true).await;
    leave.notify_one();
    let moved = moved.await.expect("a task").expect("a reply");
    assert_eq!((moved.status.as_u16(), moved.text()), (200, "ok"));
    let paused = paused.await.expect("a task").expect("a reply");
    assert_eq!(paused.status, 503);
    assert!(paused.text().contains("drain of this proxy"), "{paused:?}");
    let over = proxy.until_event("SHUTDOWN_COMPLETED", |_| true).await;
    assert_eq!(over["cut"], 0, "{over}");
    assert_eq!(proxy.exit().await.code(), Some(0));
}
