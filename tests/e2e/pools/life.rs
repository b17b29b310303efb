//! How long a connection is kept, how many are, and what one carries.

use super::*;
use crate::support::servers::Server;
use std::fmt::Write as _;
use tokio::task::JoinSet;

/// Begin so many requests that are held, each by a client of its own.
async fn hold(proxy: &Proxy, server: &Server, number: usize) -> JoinSet<u16> {
    let before = server.desk.seen().requests;
    let mut held = JoinSet::new();
    for _ in 0..number {
        let mut client = client(proxy).await;
        held.spawn(async move {
            let reply = client.get("/hold").await;
            reply.expect("an answer").status.as_u16()
        });
    }
    let all = move |seen: &crate::support::seen::Seen| seen.requests == before + number;
    server.desk.until("the requests", all).await;
    held
}

async fn are_good(mut held: JoinSet<u16>) {
    while let Some(status) = held.join_next().await {
        assert_eq!(status.expect("a client"), 200);
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    for http in ["h1", "h2"] {
        let server = match http {
            "h1" => Server::http1().await,
            _ => Server::http2().await,
        };
        let keys = format!("http = \"{http}\"");
        let proxy = Proxy::start(&site(server.address, &keys, "idle = \"100ms\"")).await;
        assert_eq!(get(&proxy, "/").await.status, 200);
        server.desk.until("its end", |seen| seen.open == 0).await;
        until_closed(&proxy, "idle", 1).await;
        assert_eq!(open(&proxy, "idle").await, 0);
    }
}

#[tokio::test]
async fn a_connection_past_its_age_takes_no_new_request() {
    let server = Server::http1().await;
    let age = "max_age = \"300ms\", jitter = \"0%\"";
    let proxy = Proxy::start(&site(server.address, "", age)).await;
    // The younger one is idle. When its age has come, that of the other has.
    let held = hold(&proxy, &server, 1).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    until_closed(&proxy, "age", 1).await;
    server.desk.until("its end", |seen| seen.open == 1).await;
    server.desk.release();
    are_good(held).await;
    until_closed(&proxy, "age", 2).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    let seen = server.desk.seen();
    assert_eq!((seen.connections, seen.requests), (3, 3));
}

#[tokio::test]
async fn an_http2_connection_past_its_age_has_a_successor_and_finishes_its_streams() {
    let server = Server::http2().await;
    let age = "max_age = \"300ms\", jitter = \"0%\"";
    let proxy = Proxy::start(&site(server.address, "http = \"h2\"", age)).await;
    let held = hold(&proxy, &server, 3).await;
    // Also while there is no other request, since there are streams.
    let second = |seen: &crate::support::seen::Seen| seen.connections == 2;
    server.desk.until("the next connection", second).await;
    for _ in 0..10 {
        assert_eq!(get(&proxy, "/").await.status, 200);
    }
    assert_eq!(server.desk.seen().cancelled, 0);
    server.desk.release();
    are_good(held).await;
    until_closed(&proxy, "age", 1).await;
    let seen = server.desk.seen();
    assert_eq!((seen.finished, seen.cancelled), (13, 0));
}

#[tokio::test]
async fn connections_that_grow_old_under_load_cost_nobody_anything() {
    for http in ["h1", "h2"] {
        let server = match http {
            "h1" => Server::http1().await,
            _ => Server::http2().await,
        };
        let pool = "max_age = \"20ms\", max_requests = 50, jitter = \"50%\"";
        let keys = format!("http = \"{http}\"");
        let proxy = Proxy::start(&site(server.address, &keys, pool)).await;
        let mut load = JoinSet::new();
        for _ in 0..4 {
            let mut client = client(&proxy).await;
            load.spawn(async move {
                for _ in 0..200 {
                    // Bytes enough for ages to come in the middle of answers.
                    let reply = client.get("/bytes/20000").await.expect("an answer");
                    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 20_000));
                }
            });
        }
        while let Some(ended) = load.join_next().await {
            ended.expect("a client");
        }
        assert!(made(&proxy).await > 4, "{http}");
        let ended = closed(&proxy, "age").await + closed(&proxy, "requests").await;
        assert!(ended > 0, "{http}");
        for reason in ["server", "exchange", "ping"] {
            assert_eq!(closed(&proxy, reason).await, 0, "{http}: {reason}");
        }
        let seen = server.desk.seen();
        assert_eq!((seen.requests, seen.cancelled), (800, 0), "{http}");
    }
}

#[tokio::test]
async fn a_connection_carries_so_many_requests_and_no_more() {
    for (http, connections) in [("h1", 4), ("h2", 4)] {
        let server = match http {
            "h1" => Server::http1().await,
            _ => Server::http2().await,
        };
        let keys = format!("http = \"{http}\"");
        let proxy = Proxy::start(&site(server.address, &keys, "max_requests = 3")).await;
        for _ in 0..10 {
            assert_eq!(get(&proxy, "/").await.status, 200);
        }
        assert_eq!(server.desk.seen().connections, connections, "{http}");
        until_closed(&proxy, "requests", 3).await;
    }
}

#[tokio::test]
async fn each_worker_keeps_so_many_idle_connections_and_no_more() {
    let server = Server::http1().await;
    let text = workers(2) + &of_workers(server.address, "", "max_idle = 2");
    let proxy = Proxy::start(&text).await;
    let held = hold(&proxy, &server, 20).await;
    assert_eq!(open(&proxy, "in_use").await, 20);
    server.desk.release();
    are_good(held).await;
    server.desk.until("the closes", |seen| seen.open <= 4).await;
    until_closed(&proxy, "excess", 16).await;
    let idle = open(&proxy, "idle").await;
    assert!((1..=4).contains(&idle), "{idle}");
    assert_eq!(open(&proxy, "in_use").await, 0);
}

#[tokio::test]
async fn a_policy_that_changes_keeps_connections_and_another_way_to_connect_does_not() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&site(server.address, "", "idle = \"1h\"")).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    let reload = async |pool: &str| {
        proxy.write_config(&site(server.address, "", pool));
        let reply = proxy.ask(http::Method::POST, "/v1/reload", "").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    reload("idle = \"30m\", max_requests = 1000").await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    assert_eq!(server.desk.seen().connections, 1, "it was kept");
    let mut keepalive = "idle = \"30m\"".to_owned();
    write!(keepalive, ", user_timeout = \"20s\"").expect("text");
    reload(&keepalive).await;
    server.desk.until("its end", |seen| seen.open == 0).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    until_closed(&proxy, "drain", 1).await;
    // Its policy holds at once, for what is open.
    reload("idle = \"100ms\", user_timeout = \"20s\"").await;
    server.desk.until("its end", |seen| seen.open == 0).await;
    until_closed(&proxy, "idle", 1).await;
    assert_eq!(made(&proxy).await, 2);
}
