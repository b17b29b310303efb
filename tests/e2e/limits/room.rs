//! Room at an upstream: how much may be in flight, who waits, who is refused, and
//! that others do not notice.

use super::{HONEST, OK, Scene, config};
use crate::drain::scene::{Plan, call, ended};
use crate::support::clients::{Ended, Http2, Raw, WebSocket};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use http::Method;
use std::time::Duration;

const HOLD: &str = "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The table of limits of the upstream `site`.
fn limits(keys: &str) -> String {
    format!("[upstream.site.limits]\n{keys}\n")
}

/// How often an upstream had no room, for this.
async fn refused(proxy: &Proxy, upstream: &str, reason: &str) -> u64 {
    let metrics = proxy.get("/metrics").await;
    let name = format!(
        "ebbtide_upstream_requests_refused_total{{upstream=\"{upstream}\",reason=\"{reason}\"}} "
    );
    let mut lines = metrics.text().lines();
    let count = lines.find_map(|line| line.strip_prefix(&name));
    count.expect(reason).parse().expect("a number")
}

/// Wait until so many are in flight to the upstream `site`, and wait there.
async fn until(scene: &Scene, in_flight: u64, queued: u64) {
    let such = |status: &serde_json::Value| {
        let site = &status["upstreams"][0];
        site["in_flight"] == in_flight && site["queued"] == queued
    };
    scene.proxy.until_status(such).await;
}

async fn asks(scene: &Scene, request: &str) -> Raw {
    let mut client = scene.raw().await;
    client.send(request).await.expect("sent");
    client
}

fn asks_for(path: &str) -> String {
    HOLD.replace("/hold", path)
}

/// It is answered that there is no room, for this, and its connection stays.
async fn told(client: &mut Raw, reason: &str) {
    let answer = client.head().await.expect(reason).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 503 "), "{answer}");
    let field = format!(
        "\r\nproxy-status: ebbtide; error=connection_limit_reached; details=\"{reason}\"\r\n"
    );
    assert!(answer.contains(&field), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert!(!answer.contains("\r\nconnection: close"), "{answer}");
    client.read_until("try again").await.expect(reason);
}

#[tokio::test]
async fn an_upstream_that_hangs_leaves_room_for_the_others() {
    for (http, hangs) in [("h1", Server::http1().await), ("h2", Server::http2().await)] {
        crowd(http, &hangs).await;
    }
}

/// Forty clients come to the one that hangs; twelve are its share.
async fn crowd(http: &str, hangs: &Server) {
    let site = Server::http1().await;
    let mut proxy = Proxy::start(&format!(
        "[process]\nconnections = 16\nlogs = {{ format = \"json\" }}\n\
         [listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ path = \"/hold\", upstream = \
         \"hangs\" }}, {{ upstream = \"site\" }}]\n[upstream.hangs]\nservers = [\"{}\"]\nhttp = \
         \"{http}\"\n[upstream.site]\nservers = [\"{}\"]\n{}",
        hangs.address,
        site.address,
        Plan::CALM
    ))
    .await;
    let address = proxy.address("web");
    let beside = async {
        for turn in 0..60 {
            let mut honest = Raw::connect(address).await;
            honest.send(HONEST).await.expect("sent");
            let answer = honest.read_until(OK).await.expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{turn}: {answer}");
        }
    };
    let crowd = async {
        let come = |_| async move {
            let mut client = Raw::connect(address).await;
            client.send(HOLD).await.expect("sent");
            client
        };
        let clients = futures_util::future::join_all((0..40).map(come)).await;
        let there = hangs.desk.until("its share", |seen| seen.requests == 12);
        there.await;
        while refused(&proxy, "hangs", "share").await < 28 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        clients
    };
    let (clients, ()) = within("all", futures_util::future::join(crowd, beside)).await;
    // They hang still, and nobody else notices.
    let many = Http2::connect(address).await;
    for _ in 0..20 {
        assert_eq!(many.get("/").await.expect("an answer").status, 200);
    }
    drop(many);
    hangs.desk.release();
    let mut answers = [0, 0];
    for client in clients {
        let mut client = client;
        let head = client.head().await.expect("an answer");
        let served = head.starts_with("HTTP/1.1 200 ");
        answers[usize::from(served)] += 1;
        if !served {
            assert!(head.contains("details=\"share\""), "{head}");
            assert!(head.contains("connection: close"), "{head}");
            assert_eq!(client.rest().await.1, Ended::Fin);
        }
    }
    assert_eq!(answers, [28, 12]);
    assert_eq!(hangs.desk.seen().requests, 12);
    proxy.signal(Signal::TERM);
    assert_eq!(ended(&mut proxy).await.cut, 0);
}

#[tokio::test]
async fn who_is_too_many_waits_in_order_and_who_finds_no_place_is_told() {
    let table = limits("requests = 1\nqueue = 2\nqueue_time = \"60s\"");
    let scene = Scene::and("", &table).await;
    let mut first = asks(&scene, HOLD).await;
    until(&scene, 1, 0).await;
    let mut second = asks(&scene, &asks_for("/second")).await;
    until(&scene, 1, 1).await;
    let streams = Http2::connect(scene.proxy.address("web")).await;
    let (third, _) = streams
        .open(Http2::request("/third"), true)
        .await
        .expect("a stream");
    until(&scene, 1, 2).await;

    let mut more = asks(&scene, HONEST).await;
    told(&mut more, "queue").await;
    let refusal = streams.get("/fourth").await.expect("an answer");
    assert_eq!(refusal.status, 503);
    let (called, _) = call(&streams, "Echo").await;
    let called = within("an answer", called).await.expect("an answer");
    assert_eq!(called.headers()["grpc-status"], "14", "UNAVAILABLE");
    let field = called.headers()["proxy-status"].to_str().expect("text");
    assert!(field.ends_with("details=\"queue\""), "{field}");
    assert_eq!(refused(&scene.proxy, "site", "queue").await, 3);
    let metrics = scene.proxy.get("/metrics").await;
    for line in [
        "ebbtide_upstream_requests_in_flight{upstream=\"site\"} 1",
        "ebbtide_upstream_requests_queued{upstream=\"site\"} 2",
        "ebbtide_upstream_requests_limit{upstream=\"site\"} 1",
        "ebbtide_upstream_requests_waited_total{upstream=\"site\"} 2",
    ] {
        assert!(metrics.text().lines().any(|one| one == line), "{line}");
    }
    assert_eq!(scene.server.desk.seen().requests, 1);

    scene.server.desk.release();
    first.read_until("held").await.expect("an answer");
    second.read_until(OK).await.expect("an answer");
    let third = within("an answer", third).await.expect("an answer");
    assert_eq!(third.status(), 200);
    let seen = scene.server.desk.seen();
    let asked: Vec<_> = seen.heads.iter().map(|head| &head[..10]).collect();
    assert_eq!(asked, ["GET /hold ", "GET /secon", "GET /third"]);
    // On the connection that was refused.
    more.send(HONEST).await.expect("sent");
    more.read_until(OK).await.expect("an answer");
    drop((streams, more));
    scene.over().await;
}

#[tokio::test]
async fn who_waited_long_enough_is_told_and_who_leaves_makes_place() {
    let table = limits("requests = 1\nqueue = 1\nqueue_time = \"60s\"");
    let scene = Scene::and("", &table).await;
    let mut first = asks(&scene, HOLD).await;
    until(&scene, 1, 0).await;
    let gone = asks(&scene, HONEST).await;
    until(&scene, 1, 1).await;
    drop(gone);
    until(&scene, 1, 0).await;
    let streams = Http2::connect(scene.proxy.address("web")).await;
    let (answer, stream) = streams
        .open(Http2::request("/gone"), true)
        .await
        .expect("a stream");
    until(&scene, 1, 1).await;
    drop((answer, stream));
    until(&scene, 1, 0).await;

    let short = limits("requests = 1\nqueue = 1\nqueue_time = \"50ms\"");
    reload(&scene, &short).await;
    let mut late = asks(&scene, HONEST).await;
    told(&mut late, "queue_time").await;
    reload(&scene, &limits("requests = 1\nqueue = 0")).await;
    told(&mut asks(&scene, HONEST).await, "requests").await;
    assert_eq!(scene.server.desk.seen().requests, 1);
    scene.server.desk.release();
    first.read_until("held").await.expect("an answer");
    drop((streams, late, first));
    scene.over().await;
}

async fn reload(scene: &Scene, table: &str) {
    scene.proxy.write_config(&config(&scene.server, "", table));
    let done = scene.proxy.ask(Method::POST, "/v1/reload", "").await;
    assert_eq!(done.status, 200, "{}", done.text());
}

#[tokio::test]
async fn a_reload_moves_the_limit_under_those_who_wait() {
    let of = |requests| {
        let keys = format!("requests = {requests}\nqueue = 9\nqueue_time = \"60s\"");
        limits(&keys)
    };
    let scene = Scene::and("", &of(1)).await;
    let mut there = Vec::new();
    for queued in 0..4 {
        there.push(asks(&scene, HOLD).await);
        until(&scene, 1, queued).await;
    }
    reload(&scene, &of(3)).await;
    until(&scene, 3, 1).await;
    let desk = &scene.server.desk;
    desk.until("two more", |seen| seen.requests == 3).await;
    reload(&scene, &of(2)).await;
    there.push(asks(&scene, HOLD).await);
    until(&scene, 3, 2).await;
    desk.release();
    for mut client in there {
        let answer = client.read_until("held").await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(desk.seen().requests, 5, "each was asked once");
    scene.over().await;
}

#[tokio::test]
async fn a_drain_serves_who_waits_and_tells_who_waits_at_its_deadline() {
    for (released, http) in [(true, "60s"), (false, "100ms")] {
        let server = Server::http1().await;
        let plan = Plan { http, ..Plan::CALM };
        let table = limits("requests = 1\nqueue_time = \"60s\"");
        let text = config(&server, "", &table).replace(&Plan::CALM.to_string(), &plan.to_string());
        let proxy = Proxy::start(&text).await;
        let mut scene = Scene { proxy, server };
        let mut first = asks(&scene, HOLD).await;
        until(&scene, 1, 0).await;
        // Held as well: the place of the first may be its own a moment before the end.
        let mut second = asks(&scene, HOLD).await;
        until(&scene, 1, 1).await;
        scene.proxy.signal(Signal::TERM);
        let finish = |status: &serde_json::Value| status["stage"] == "finish";
        if released {
            scene.proxy.until_status(finish).await;
            scene.server.desk.release();
            first.read_until("held").await.expect("an answer");
            second.read_until("held").await.expect("an answer");
        } else {
            for client in [first, second] {
                let (answer, end) = client.rest().await;
                let answer = String::from_utf8_lossy(&answer).into_owned();
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                assert!(answer.contains("its deadline passed"), "{answer}");
                assert_eq!(end, Ended::Fin);
            }
        }
        let sums = ended(&mut scene.proxy).await;
        assert_eq!(sums.cut, 0);
        assert_eq!(sums.farewelled, if released { 0 } else { 2 });
    }
}

#[tokio::test]
async fn tunnels_have_their_place_for_as_long_as_they_last() {
    let (websocket, tcp) = (Server::websocket().await, Server::tcp().await);
    let mut proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [listener.db]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"db\"\n\
         [upstream.site]\nservers = [\"{}\"]\nlimits = {{ requests = 1, queue = 0 }}\n\
         [upstream.db]\nservers = [\"{}\"]\nlimits = {{ requests = 1, queue = 1, queue_time = \
         \"60s\" }}\n{}",
        websocket.address,
        tcp.address,
        Plan::CALM
    ))
    .await;
    let mut socket = WebSocket::connect(proxy.address("web"), "/").await;
    assert_eq!(socket.echo("there").await.expect("an echo"), "there");
    let mut client = Raw::connect(proxy.address("web")).await;
    client.send(HONEST).await.expect("sent");
    told(&mut client, "requests").await;
    socket.close().await.expect("closed");
    let free = |status: &serde_json::Value| status["upstreams"][0]["in_flight"] == 0;
    proxy.until_status(free).await;
    let next = WebSocket::connect(proxy.address("web"), "/").await;
    next.close().await.expect("closed");

    let mut one = Raw::connect(proxy.address("db")).await;
    one.send("one").await.expect("sent");
    one.read_until("one").await.expect("an echo");
    let mut two = Raw::connect(proxy.address("db")).await;
    two.send("two").await.expect("sent");
    let waits = |status: &serde_json::Value| status["upstreams"][1]["queued"] == 1;
    proxy.until_status(waits).await;
    let three = Raw::connect(proxy.address("db")).await;
    assert_eq!(three.rest().await, (Vec::new(), Ended::Fin));
    assert_eq!(refused(&proxy, "db", "queue").await, 1);
    drop(one);
    two.read_until("two").await.expect("an echo");
    drop((two, client));
    proxy.signal(Signal::TERM);
    assert_eq!(ended(&mut proxy).await.cut, 0);
}

#[tokio::test]
async fn a_limit_that_adapts_keeps_what_would_only_wait_at_a_busy_server() {
    let of = |adaptive| {
        let keys = "queue_time = \"60s\"";
        format!("{}[upstream.site.adaptive]\n{adaptive}\n", limits(keys))
    };
    let scene = Scene::and("", &of("most = 64\nevery = \"20ms\"\nprobe = \"1s\"")).await;
    let limit = async || scene.proxy.json("/v1/status").await["upstreams"][0]["limit"].clone();
    assert_eq!(limit().await, 64, "nothing is known yet");
    let streams = Http2::connect(scene.proxy.address("web")).await;
    let ask = async || {
        let answer = streams.get("/busy").await.expect("an answer");
        assert_eq!(answer.status, 200);
    };
    // Sixty-four clients, for as long as it takes; the server works on four.
    let found = std::cell::Cell::new(false);
    let client = async || {
        while !found.get() {
            ask().await;
        }
    };
    let clients = futures_util::future::join_all((0..64).map(|_| client()));
    let watch = async {
        let low = |status: &serde_json::Value| {
            let limit = status["upstreams"][0]["limit"].as_u64();
            limit.is_some_and(|limit| limit < 32)
        };
        scene.proxy.until_status(low).await;
        found.set(true);
    };
    futures_util::future::join(clients, watch).await;
    assert_eq!(refused(&scene.proxy, "site", "queue_time").await, 0);
    reload(&scene, &limits("queue_time = \"60s\"")).await;
    assert!(limit().await.is_null(), "it is switched off");
    drop(streams);
    scene.over().await;
}
