//! What goes on beside the drain of a server: checks of its health, and the
//! drain of the process.

use super::{Pair, asks, config, path_of, plan, told};
use crate::support::clients::{Http1, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::seen::Seen;
use crate::support::servers::Server;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn idle_connections_close_and_no_new_ones_are_opened() {
    for (servers, more) in [
        ([Server::http1().await, Server::http1().await], ""),
        (
            [Server::http2().await, Server::http2().await],
            "http = \"h2\"",
        ),
    ] {
        let pair = Pair::start(servers, more).await;
        let mut client = Http1::connect(pair.proxy.address("web")).await;
        let [one, two] = &pair.servers;
        while one.desk.seen().requests == 0 || two.desk.seen().requests == 0 {
            assert_eq!(client.get("/").await.expect("an answer").status, 200);
        }
        assert_eq!(one.desk.seen().open, 1);
        pair.drain(one, "").await;
        one.desk.until("no connection", |seen| seen.open == 0).await;
        let progress = pair.until(one, "drained").await;
        assert_eq!(progress["receipt"]["lost"], 0);
        let before = (one.desk.seen().requests, one.desk.seen().connections);
        for _ in 0..6 {
            assert_eq!(client.get("/").await.expect("an answer").status, 200);
        }
        let after = (one.desk.seen().requests, one.desk.seen().connections);
        assert_eq!(before, after);
        assert_eq!(two.desk.seen().open, 1, "the other's are not touched");
        drop(client);
        pair.over().await;
    }
}

#[tokio::test]
async fn health_is_still_checked_and_shown() {
    let servers = [Server::http1().await, Server::http1().await];
    let health = "health = { http = \"/healthz\", every = \"50ms\" }";
    let pair = Pair::start(servers, health).await;
    let drained = &pair.servers[0];
    pair.drain(drained, "").await;
    let checks = |seen: &Seen| {
        let heads = seen.heads.iter();
        heads.filter(|head| head.contains("/healthz")).count()
    };
    let before = checks(&drained.desk.seen());
    let more = drained
        .desk
        .until("two more checks", |seen| checks(seen) >= before + 2);
    more.await;
    let status = pair.proxy.json("/v1/status").await;
    let server = &status["upstreams"][0]["servers"][0];
    assert_eq!(
        *server,
        json!({
            "name": drained.address.to_string(),
            "up": true,
            "draining": true,
            "state": "drained",
            "in_flight": 0,
            "standing": "serving",
            "why": null,
            "weight_milli": 1000
        })
    );
    let metrics = pair.proxy.get("/metrics").await;
    for (name, value) in [("server_up", 1), ("server_draining", 1), ("in_flight", 0)] {
        let line = format!(
            "ebbtide_upstream_{name}{{upstream=\"site\",server=\"{}\"}} {value}",
            drained.address
        );
        assert!(metrics.text().contains(&line), "{line}: {}", metrics.text());
    }
    pair.over().await;
}

#[tokio::test]
async fn without_a_server_that_takes_it_a_request_is_refused_with_the_reason() {
    let pair = Pair::http1().await;
    for server in &pair.servers {
        pair.drain(server, "").await;
    }
    let mut client = Http1::connect(pair.proxy.address("web")).await;
    let reply = client.get("/").await.expect("an answer");
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("every server"), "{}", reply.text());
    assert!(reply.text().contains("drained"), "{}", reply.text());
    let (bytes, _) = Raw::connect(pair.proxy.address("tcp")).await.rest().await;
    assert_eq!(bytes, b"", "a tunnel is closed");
    let refused = pair.proxy.until_log("why", |line| {
        line["message"] == "tunnel refused" && line["error"].to_string().contains("drained")
    });
    refused.await;
    drop(client);
    pair.over().await;
}

#[tokio::test]
async fn the_earlier_deadline_wins_be_it_the_servers_or_the_process() {
    let (one, two) = (Server::http1().await, Server::http1().await);
    let short = plan("60s").replace("http = \"60s\"", "http = \"400ms\"");
    let proxy = Proxy::start(&config(&[&one, &two], "", &short)).await;
    let mut pair = Pair {
        proxy,
        servers: [one, two],
    };
    let first = asks(&pair.proxy, "/hold").await;
    let drained = pair.with_requests(1).await;
    pair.drain(drained, "{\"finish\":\"1h\"}").await;
    // The process's comes first, for this one and for the other.
    let second = asks(&pair.proxy, "/hold").await;
    let other = pair.other(drained);
    other.desk.until("it", |seen| seen.requests == 1).await;
    pair.proxy.signal(Signal::TERM);
    for client in [first, second] {
        let (answer, _) = client.rest().await;
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("drain of this proxy"), "{answer}");
    }
    let sums = crate::drain::scene::ended(&mut pair.proxy).await;
    assert_eq!((sums.farewelled, sums.cut), (2, 0));
}

#[tokio::test]
async fn a_server_is_drained_while_the_process_drains() {
    let mut pair = Pair::http1().await;
    let mut first = asks(&pair.proxy, "/hold").await;
    let drained = pair.with_requests(1).await;
    let other = pair.other(drained);
    let mut second = asks(&pair.proxy, "/hold").await;
    other.desk.until("it", |seen| seen.requests == 1).await;
    pair.proxy.signal(Signal::TERM);
    pair.proxy
        .until_event("stage", |line| line["stage"] == "finish")
        .await;
    pair.drain(drained, "{\"finish\":\"0s\"}").await;
    let head = first.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(
        told(&pair.receipt(drained).await),
        ["http1 farewelled unanswered server_drained"]
    );
    other.desk.release();
    second.read_until("held").await.expect("the answer");
    drop((first, second));
    let sums = crate::drain::scene::ended(&mut pair.proxy).await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (1, 1, 0));
}

#[tokio::test]
async fn asking_again_changes_nothing_and_another_time_is_refused() {
    let pair = Pair::http1().await;
    let client = asks(&pair.proxy, "/hold").await;
    let drained = pair.with_requests(1).await;
    let first = pair.drain(drained, "{\"finish\":\"30s\"}").await;
    for body in ["", "{\"finish\":\"30s\"}", "{\"finish\":\"30000ms\"}"] {
        let again = pair.drain(drained, body).await;
        assert_eq!(again["plan"], first["plan"], "{body}");
        assert!(again["elapsed_ms"].as_f64() >= first["elapsed_ms"].as_f64());
    }
    let other = pair
        .proxy
        .ask(Method::POST, &path_of(drained), "{\"finish\":\"5s\"}")
        .await;
    assert_eq!(other.status, 409);
    assert!(other.text().contains("another time"), "{}", other.text());
    for path in [
        "/v1/upstreams/nowhere/servers/a/drain",
        "/v1/upstreams/site/servers/127.0.0.1:1/drain",
    ] {
        for method in [Method::POST, Method::DELETE] {
            let unknown = pair.proxy.ask(method, path, "").await;
            assert_eq!(unknown.status, 404);
            let known = if path.contains("nowhere") {
                "site".to_owned()
            } else {
                drained.address.to_string()
            };
            assert!(unknown.text().contains(&known), "{}", unknown.text());
        }
    }
    drained.desk.release();
    drop(client);
    pair.over().await;
}
