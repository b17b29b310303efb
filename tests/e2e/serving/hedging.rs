//! A request that is not answered for a while goes to another server as well.

use super::client::{Client, full, get, nothing, request};
use super::script::Script;
use crate::support::clients::{Grpc, Http1, Http2, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::seen::Desk;
use crate::support::servers::Server;
use crate::support::within;
use http::Method;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

const DRAIN: &str = "[drain]\ngrace = \"20s\"\nannounce = \"0s\"\nspread = \"0s\"\nhandshake = \"100ms\"\n\
     last_request = \"100ms\"\nfarewell = \"1s\"\nfinish = { http = \"1s\", grpc = \"1s\", websocket = \"1s\", tcp = \"1s\" }\n";

/// Long enough that a server which answers does so before, on any machine.
const NEVER: &str = "hedge = \"60s\"";
const SOON: &str = "hedge = \"20ms\"";

async fn proxy(servers: &[SocketAddr], speaks: &str, retry: &str) -> Proxy {
    let servers: Vec<_> = servers.iter().map(|one| format!("\"{one}\"")).collect();
    Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\n\
         routes = [{{ upstream = \"site\", retry = {{ {retry} }} }}]\n\n\
         [upstream.site]\nservers = [{}]\nhttp = \"{speaks}\"\n\n{DRAIN}",
        servers.join(", ")
    ))
    .await
}

async fn clients(proxy: &Proxy) -> [Client; 2] {
    let address = proxy.address("web");
    [
        Client::Http1(Http1::connect(address).await),
        Client::Http2(Http2::connect(address).await),
    ]
}

async fn both(speaks: &str) -> [Server; 2] {
    if speaks == "h1" {
        [Server::http1().await, Server::http1().await]
    } else {
        [Server::http2().await, Server::http2().await]
    }
}

/// What became of second requests.
async fn hedges(proxy: &Proxy, result: &str) -> u64 {
    let metrics = proxy.get("/metrics").await;
    let name = format!("ebbtide_upstream_hedges_total{{upstream=\"site\",result=\"{result}\"}} ");
    let mut lines = metrics.text().lines();
    let count = lines.find_map(|line| line.strip_prefix(&name));
    count.expect("the metric").parse().expect("a number")
}

/// What is in flight on each server.
fn on_servers(status: &Value) -> Vec<u64> {
    let servers = status["upstreams"][0]["servers"].as_array();
    let each = servers.expect("servers").iter();
    each.map(|one| one["in_flight"].as_u64().expect("a number"))
        .collect()
}

async fn until_on(proxy: &Proxy, expected: &[u64]) -> Value {
    let such = |status: &Value| on_servers(status) == expected;
    proxy.until_status(such).await
}

async fn until_asked(desks: [&Desk; 2], times: usize) {
    for desk in desks {
        desk.until("it there", |seen| seen.requests == times).await;
    }
}

#[tokio::test]
async fn the_first_answer_is_taken_and_the_other_try_is_cancelled() {
    for speaks in ["h1", "h2"] {
        for winner in [0, 1] {
            let servers = both(speaks).await;
            let addresses = [servers[0].address, servers[1].address];
            let proxied = proxy(&addresses, speaks, SOON).await;
            let [mut first, mut second] = clients(&proxied).await;
            let client = if winner == 0 { &mut first } else { &mut second };
            let (reply, ()) = tokio::join!(client.ask(get("site", "/hold")), async {
                until_asked([&servers[0].desk, &servers[1].desk], 1).await;
                let status = until_on(&proxied, &[1, 1]).await;
                let counts = status["in_flight"].as_object().expect("counts");
                let all: u64 = counts.values().filter_map(Value::as_u64).sum();
                assert_eq!(all, 1, "to its client it is one: {status}");
                servers[winner].desk.release();
            });
            let reply = reply.expect("a reply");
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "held"));
            let loser = &servers[1 - winner].desk;
            let seen = loser.until("its end", |seen| seen.cancelled == 1).await;
            if speaks == "h1" {
                loser.until("a close", |seen| seen.open == 0).await;
            } else {
                assert_eq!(seen.open, 1, "its connection serves on");
            }
            until_on(&proxied, &[0, 0]).await;
            assert_eq!(
                hedges(&proxied, "won").await + hedges(&proxied, "lost").await,
                1
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_hedged_that_is_answered_in_time_or_may_not_be() {
    let servers = both("h1").await;
    let addresses = [servers[0].address, servers[1].address];
    let calm = proxy(&addresses, "h1", NEVER).await;
    let hasty = proxy(&addresses, "h1", "methods = [\"POST\"], hedge = \"1ms\"").await;
    let off = proxy(&addresses, "h1", "").await;
    let alone = proxy(&addresses[..1], "h1", "hedge = \"1ms\"").await;
    let mut expected = 0;
    for (proxied, method) in [
        (&calm, Method::GET),
        (&off, Method::GET),
        (&alone, Method::GET),
        (&hasty, Method::POST),
        (&hasty, Method::PUT),
        (&hasty, Method::DELETE),
    ] {
        let [mut client, _] = clients(proxied).await;
        let body = if method == Method::POST {
            full("hello")
        } else {
            nothing()
        };
        expected += 1;
        let path = if proxied.admin() == calm.admin() {
            "/"
        } else {
            "/begin"
        };
        let sent = client
            .send(request(method.clone(), "site", path, body))
            .await;
        assert_eq!(sent.expect("an answer").status(), 200);
        // Longer than what is hasty waits.
        sleep(Duration::from_millis(20)).await;
        let asked: usize = servers.iter().map(|one| one.desk.seen().requests).sum();
        assert_eq!(asked, expected, "{method}");
    }
    for proxied in [&calm, &hasty, &off, &alone] {
        for result in ["won", "lost", "forgone"] {
            assert_eq!(hedges(proxied, result).await, 0);
        }
    }
}

#[tokio::test]
async fn a_post_that_waits_is_not_hedged_though_it_may_be_sent_again() {
    let servers = both("h1").await;
    let addresses = [servers[0].address, servers[1].address];
    let retry = "methods = [\"POST\"], hedge = \"1ms\"";
    let proxied = proxy(&addresses, "h1", retry).await;
    let [mut client, _] = clients(&proxied).await;
    let asked = |servers: &[Server; 2]| -> usize {
        servers.iter().map(|one| one.desk.seen().requests).sum()
    };
    for method in [Method::POST, Method::PUT] {
        let before = asked(&servers);
        let body = full("hello");
        let sent = client.ask(request(method, "site", "/hold", body));
        let (reply, ()) = tokio::join!(sent, async {
            let there = async {
                while asked(&servers) == before {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            within("it there", there).await;
            sleep(Duration::from_millis(20)).await;
            assert_eq!(asked(&servers), before + 1);
            for server in &servers {
                server.desk.release();
            }
        });
        assert_eq!(reply.expect("a reply").text(), "held");
    }
}

#[tokio::test]
async fn an_answer_that_would_be_tried_again_does_not_win() {
    let held = Server::http1().await;
    let busy = Script::http1(async |mut wire: Raw| {
        while wire.head().await.is_ok() {
            let answer = "HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbusy";
            if wire.send(answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let proxied = proxy(&[held.address, busy.address], "h1", SOON).await;
    for (mut client, times) in clients(&proxied).await.into_iter().zip(1..) {
        let (reply, ()) = tokio::join!(client.ask(get("site", "/hold")), async {
            held.desk
                .until("it there", |seen| seen.requests == times)
                .await;
            if times == 1 {
                // Whether it was the second, or the first whose retry this is.
                until_on(&proxied, &[1, 0]).await;
            }
            held.desk.release();
        });
        let reply = reply.expect("a reply");
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "held"));
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_ejected_though_others_answer_for_it() {
    let silent = Script::http1(async |mut wire: Raw| while wire.head().await.is_ok() {}).await;
    let good = Server::http1().await;
    let addresses = format!("\"{}\", \"{}\"", silent.address, good.address);
    let proxied = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\n\
         routes = [{{ upstream = \"site\", retry = {{ {SOON}, least = 1000 }} }}]\n\n\
         [upstream.site]\nservers = [{addresses}]\neject = {{ resets = 3 }}\n"
    ))
    .await;
    let [mut client, _] = clients(&proxied).await;
    let ejected = || {
        let mut log = proxied.log().into_iter();
        log.any(|line| line["event"] == "server_ejected")
    };
    for _ in 0..100 {
        let reply = client.ask(get("site", "/")).await.expect("a reply");
        assert_eq!(reply.text(), "ok");
        if ejected() {
            break;
        }
    }
    let line = proxied.until_event("server_ejected", |_| true).await;
    assert_eq!(line["server"], silent.address.to_string());
}

#[tokio::test]
async fn a_call_is_hedged_where_its_route_names_the_method() {
    let servers = [Server::grpc().await, Server::grpc().await];
    let addresses = [servers[0].address, servers[1].address];
    let named = format!("methods = [\"POST\"], {SOON}");
    let proxied = proxy(&addresses, "h2", &named).await;
    let client = Grpc::connect(proxied.address("web")).await;
    let (line, ()) = tokio::join!(client.hold("hello"), async {
        until_asked([&servers[0].desk, &servers[1].desk], 1).await;
        until_on(&proxied, &[1, 1]).await;
        servers[1].desk.release();
    });
    assert_eq!(line.expect("a line").text, "hello");
    servers[0]
        .desk
        .until("its end", |seen| seen.cancelled == 1)
        .await;
    until_on(&proxied, &[0, 0]).await;
    let unnamed = proxy(&addresses, "h2", "hedge = \"1ms\"").await;
    let client = Grpc::connect(unnamed.address("web")).await;
    servers[0].desk.release();
    assert_eq!(client.hold("once").await.expect("a line").text, "once");
    assert_eq!(
        hedges(&unnamed, "won").await + hedges(&unnamed, "lost").await,
        0
    );
}

/// The server that was asked first, where one is.
async fn first_of(servers: &[Server; 2]) -> usize {
    let [one, other] = servers;
    tokio::select! {
        _ = one.desk.until("it there", |seen| seen.requests == 1) => 0,
        _ = other.desk.until("it there", |seen| seen.requests == 1) => 1,
    }
}

#[tokio::test]
async fn the_drain_of_a_server_ends_a_second_try_there_and_not_the_first() {
    let servers = both("h2").await;
    let addresses = [servers[0].address, servers[1].address];
    let proxied = proxy(&addresses, "h2", "hedge = \"300ms\"").await;
    let [_, mut client] = clients(&proxied).await;
    let (reply, ()) = tokio::join!(client.ask(get("site", "/hold")), async {
        let first = first_of(&servers).await;
        let [one, other] = [&servers[first], &servers[1 - first]];
        other
            .desk
            .until("it there", |seen| seen.requests == 1)
            .await;
        let path = format!("/v1/upstreams/site/servers/{}/drain", other.address);
        assert!(
            proxied
                .ask(Method::POST, &path, "")
                .await
                .status
                .is_success()
        );
        let seen = other
            .desk
            .until("its end", |seen| seen.cancelled == 1)
            .await;
        assert_eq!(seen.requests, 1);
        let mut left = [0, 0];
        left[first] = 1;
        until_on(&proxied, &left).await;
        one.desk.release();
    });
    assert_eq!(reply.expect("a reply").text(), "held");
    until_on(&proxied, &[0, 0]).await;
    assert_eq!(hedges(&proxied, "lost").await, 1);
}

#[tokio::test]
async fn in_a_drain_both_tries_end_with_their_exchange() {
    let servers = both("h2").await;
    let addresses = [servers[0].address, servers[1].address];
    let mut proxied = proxy(&addresses, "h2", SOON).await;
    let [_, mut client] = clients(&proxied).await;
    let waiting = tokio::spawn(async move { client.ask(get("site", "/hold")).await });
    until_asked([&servers[0].desk, &servers[1].desk], 1).await;
    proxied.signal(Signal::TERM);
    let reply = waiting.await.expect("a task").expect("a reply");
    assert_eq!(reply.status, 503, "told at its deadline");
    for server in &servers {
        server
            .desk
            .until("its end", |seen| seen.cancelled == 1)
            .await;
    }
    let over = proxied.until_event("SHUTDOWN_COMPLETED", |_| true).await;
    assert_eq!(over["cut"], 0, "{over}");
    assert_eq!(proxied.exit().await.code(), Some(0));
}

#[tokio::test]
async fn where_requests_are_limited_a_second_one_needs_room_too() {
    let servers = both("h1").await;
    let addresses = servers.each_ref().map(|one| format!("\"{}\"", one.address));
    let proxied = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\n\
         routes = [{{ upstream = \"site\", retry = {{ {SOON} }} }}]\n\n\
         [upstream.site]\nservers = [{}]\nlimits = {{ requests = 1 }}\n",
        addresses.join(", ")
    ))
    .await;
    let [mut client, _] = clients(&proxied).await;
    let (reply, ()) = tokio::join!(client.ask(get("site", "/hold")), async {
        let forgone = async {
            while hedges(&proxied, "forgone").await == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        within("no second one", forgone).await;
        let asked = servers.each_ref().map(|one| one.desk.seen().requests);
        assert_eq!(asked[0] + asked[1], 1);
        for server in &servers {
            server.desk.release();
        }
    });
    assert_eq!(reply.expect("a reply").text(), "held");
}

#[tokio::test]
async fn second_requests_are_no_more_than_the_budget() {
    let servers = both("h2").await;
    let addresses = [servers[0].address, servers[1].address];
    let retry = "hedge = \"1ms\", budget = \"0%\", least = 0";
    let proxied = proxy(&addresses, "h2", retry).await;
    let [_, client] = clients(&proxied).await;
    let Client::Http2(client) = client else {
        unreachable!("the second is")
    };
    let mut waiting = Vec::new();
    for _ in 0..15 {
        let (response, _) = client
            .open(Http2::request("/hold"), true)
            .await
            .expect("open");
        waiting.push(response);
    }
    let until = |count: u64| {
        let such = move |status: &Value| on_servers(status).iter().sum::<u64>() == count;
        proxied.until_status(such)
    };
    // Ten to begin with.
    until(25).await;
    let forgone = async {
        while hedges(&proxied, "forgone").await < 5 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    within("the rest forgone", forgone).await;
    until(25).await;
    for server in &servers {
        server.desk.release();
    }
    for response in waiting {
        assert_eq!(response.await.expect("an answer").status(), 200);
    }
    until(0).await;
    let ended = hedges(&proxied, "won").await + hedges(&proxied, "lost").await;
    assert_eq!(ended, 10);
}
