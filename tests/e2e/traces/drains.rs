//! Drains as traces: their stages, and whom they ended.

use super::*;
use crate::support::clients::Raw;
use crate::support::collector::{Got, Seen};
use crate::support::proxy::Signal;
use http::Method;
use serde_json::Value;

/// A request that waits for its answer.
async fn hold(proxy: &Proxy, server: &Server, requests: usize) -> Raw {
    let mut client = Raw::connect(proxy.address("web")).await;
    let asked = client.send("GET /hold HTTP/1.1\r\nhost: a\r\n\r\n").await;
    asked.expect("sent");
    server
        .desk
        .until("the request", move |seen| seen.requests == requests)
        .await;
    client
}

fn drain(got: &Got) -> &Seen {
    let drains = got.named("drain");
    assert_eq!(drains.len(), 1, "{got:#?}");
    drains[0]
}

fn stages(got: &Got) -> Vec<&str> {
    let under = got.under(drain(got));
    let stages = under.iter().map(|seen| &*seen.span.name);
    stages.filter(|name| *name != "hook").collect()
}

async fn json(proxy: &Proxy, path: &str) -> Value {
    let reply = proxy.get(path).await;
    serde_json::from_slice(&reply.body).expect(path)
}

#[tokio::test]
async fn a_drain_is_a_trace_with_its_stages_and_whom_it_ended() {
    let (collector, server) = (Collector::grpc().await, Server::http1().await);
    let config = site(&process(collector.address, "ratio = 1"), &server);
    let config = config.replace("announce = \"0s\"", "announce = \"1ms\"")
        + "[[hook]]\non = \"refuse\"\nexec = [\"true\"]\n";
    let mut proxy = Proxy::start(&config).await;
    get(&proxy, "/before", &[]).await;
    let before = collector.until("spans", |got| got.spans.len() == 2).await;
    assert!(
        before
            .spans
            .iter()
            .all(|seen| seen.says("shutdown_initiated").is_empty())
    );

    let client = hold(&proxy, &server, 2).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    drop(client);
    let got = collector.got();
    let root = drain(&got);
    assert_eq!(root.parent, "");
    let reached = stages(&got);
    assert_eq!(
        reached[..4],
        ["announce", "refuse", "retire", "finish"],
        "{got:#?}"
    );
    assert!(reached.contains(&"farewell"), "{reached:?}");
    assert_eq!(root.says("ebbtide.drain.trigger"), "sigterm");
    assert_eq!(root.says("ebbtide.drain.farewelled"), "1");
    assert_eq!(root.says("ebbtide.drain.outcome"), "completed");
    let under = got.under(root);
    let hook = under.iter().find(|seen| seen.span.name == "hook");
    assert_eq!(hook.expect("a hook").says("ebbtide.hook.result"), "done");

    let ended = got.exchanges();
    let ended = ended.iter().find(|seen| seen.says("url.path") == "/hold");
    let ended = ended.expect("it was recorded");
    assert_eq!(ended.says("ebbtide.outcome"), "farewelled");
    assert_eq!(ended.says("ebbtide.what"), "unanswered");
    assert_eq!(ended.links(), [(root.trace.clone(), root.id.clone())]);
    assert_eq!(root.links(), [(ended.trace.clone(), ended.id.clone())]);
    let alive = got
        .spans
        .iter()
        .filter(|seen| !before.spans.iter().any(|old| old.id == seen.id));
    for seen in alive {
        assert_eq!(seen.says("shutdown_initiated"), "true", "{seen:#?}");
    }
    // It is the last of the process.
    let last = got.spans.last().expect("spans");
    assert_eq!(last.trace, root.trace);

    let receipt = std::fs::read_to_string(proxy.path("receipt.json")).expect("kept");
    let receipt: Value = serde_json::from_str(&receipt).expect("JSON");
    assert_eq!(receipt["trace"], *root.trace);
    for event in ["shutdown_start", "stage", "deadline", "SHUTDOWN_COMPLETED"] {
        let line = proxy.until_event(event, |_| true).await;
        assert_eq!(line["trace"], *root.trace, "{line}");
    }
}

#[tokio::test]
async fn a_drain_that_is_taken_back_is_a_trace_too() {
    let (collector, server) = (Collector::grpc().await, Server::http1().await);
    let config = site(&process(collector.address, "ratio = 0"), &server);
    let proxy = Proxy::start(&config.replace("announce = \"0s\"", "announce = \"60s\"")).await;
    let asked = proxy.ask(Method::POST, "/v1/drain", "").await;
    assert!(asked.status.is_success(), "{}", asked.text());
    let said = json(&proxy, "/v1/drain").await["trace"].clone();
    assert_eq!(json(&proxy, "/v1/status").await["trace"], said);
    let back = proxy.ask(Method::DELETE, "/v1/drain", "").await;
    assert!(back.status.is_success(), "{}", back.text());
    let got = collector
        .until("the drain", |got| got.spans.len() == 2)
        .await;
    let root = drain(&got);
    assert_eq!(
        (&*root.trace, root.says("ebbtide.drain.outcome")),
        (said.as_str().expect("an id"), "cancelled")
    );
    assert_eq!(stages(&got), ["announce"]);
    assert_eq!(json(&proxy, "/v1/drain").await["trace"], Value::Null);
}

#[tokio::test]
async fn a_listener_that_is_drained_alone_has_its_own_trace() {
    let (collector, server) = (Collector::grpc().await, Server::http1().await);
    let config = site(&process(collector.address, "ratio = 0"), &server);
    let proxy = Proxy::start(&config).await;
    let asked = proxy
        .ask(Method::POST, "/v1/drain", r#"{"listener": "web"}"#)
        .await;
    assert!(asked.status.is_success(), "{}", asked.text());
    let got = collector
        .until("the drain", |got| !got.named("drain").is_empty())
        .await;
    let root = drain(&got);
    assert_eq!(root.says("ebbtide.listener"), "web");
    let receipt = json(&proxy, "/v1/drain/receipt?listener=web").await;
    assert_eq!(receipt["trace"], *root.trace);
    let line = proxy.until_event("listener_drained", |_| true).await;
    assert_eq!(line["trace"], *root.trace, "{line}");
}

#[tokio::test]
async fn a_server_that_is_drained_has_its_own_trace() {
    let (collector, server) = (Collector::grpc().await, Server::http1().await);
    let config = site(&process(collector.address, "ratio = 1"), &server);
    let proxy = Proxy::start(&config).await;
    let client = hold(&proxy, &server, 1).await;
    let path = format!("/v1/upstreams/site/servers/{}/drain", server.address);
    let asked = proxy.ask(Method::POST, &path, "").await;
    assert!(asked.status.is_success(), "{}", asked.text());
    let got = collector
        .until("the drain", |got| !got.named("drain").is_empty())
        .await;
    drop(client);
    let root = drain(&got);
    assert_eq!(
        root.says("ebbtide.server"),
        format!("site/{}", server.address)
    );
    let ended = one(&got);
    assert_eq!(ended.says("shutdown_initiated"), "true");
    assert_eq!(ended.links(), [(root.trace.clone(), root.id.clone())]);
    assert_eq!(root.links(), [(ended.trace.clone(), ended.id.clone())]);
    assert_eq!(json(&proxy, &path).await["trace"], *root.trace);
}
