//! `conf/consul.toml` before an agent: out of discovery and back.

use crate::support::clients::Http1;
use crate::support::consul::Agent;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use http::Method;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../../../conf/consul.toml");

/// The example, with the addresses of this machine and a token.
fn config(folder: &TempDir, server: &Server, agent: &Agent, token: &str) -> String {
    let file = folder.path().join("consul-token");
    std::fs::write(&file, token).expect("written");
    let changes = [
        ("0.0.0.0:8080", "127.0.0.1:0".to_owned()),
        (
            "\"10.0.0.11:8080\", \"10.0.0.12:8080\"",
            format!("\"{}\"", server.address),
        ),
        (
            "health  = { http = \"/healthz\", every = \"5s\" }",
            String::new(),
        ),
        ("127.0.0.1:8500", agent.address.to_string()),
        ("file:consul-token", format!("file:{}", file.display())),
        ("[drain]", "[drain]\nreceipt = \"receipt.json\"".to_owned()),
    ];
    changes.iter().fold(EXAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from}");
        text.replace(from, to)
    })
}

fn announcing(text: &str, time: &str) -> String {
    let from = "announce = \"10s\"";
    assert!(text.contains(from));
    text.replace(from, &format!("announce = \"{time}\""))
        .replace("grace    = \"60s\"", "grace = \"10m\"")
}

fn receipt(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("kept");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn a_drain_leaves_discovery_and_comes_back_if_it_is_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, agent) = (Server::http1().await, Agent::with_web("secret").await);
    let text = config(&folder, &server, &agent, "secret\n");
    let proxy = Proxy::start(&announcing(&text, "60s")).await;
    proxy.ask(Method::POST, "/v1/drain", "").await;
    let leaves = |reason: Option<&str>| {
        let reason = reason.map(str::to_owned);
        move |services: &crate::support::consul::Services| services.get("web") == Some(&reason)
    };
    agent.until("maintenance", leaves(Some("drain"))).await;
    let mut client = Http1::connect(proxy.address("web")).await;
    assert_eq!(client.get("/").await.expect("an answer").status, 200);
    proxy.ask(Method::DELETE, "/v1/drain", "").await;
    agent.until("its end", leaves(None)).await;
}

#[tokio::test]
async fn a_drain_that_refuses_is_gone_from_the_catalog() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, agent) = (Server::http1().await, Agent::with_web("secret").await);
    let text = config(&folder, &server, &agent, "secret\n");
    let mut proxy = Proxy::start(&announcing(&text, "0s")).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    assert!(agent.services().is_empty(), "{:?}", agent.services());
    let receipt = receipt(&proxy.path("receipt.json"));
    let mut hooks = receipt["hooks"].as_array().expect("hooks").iter();
    let hook = hooks.find(|hook| hook["on"] == "refuse").expect("it ran");
    assert_eq!(hook["end"], "done", "{hook}");
    let run = format!(
        "PUT http://{}/v1/agent/service/deregister/web",
        agent.address
    );
    assert_eq!(hook["run"], run);
}

#[tokio::test]
async fn a_token_that_is_not_good_enough_is_in_the_receipt_and_holds_nothing_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, agent) = (Server::http1().await, Agent::with_web("secret").await);
    let text = config(&folder, &server, &agent, "another\n");
    let mut proxy = Proxy::start(&announcing(&text, "0s")).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    assert_eq!(agent.services().len(), 1);
    let receipt = receipt(&proxy.path("receipt.json"));
    let hooks = receipt["hooks"].as_array().expect("hooks");
    assert_eq!(hooks.len(), 2, "{hooks:?}");
    for hook in hooks {
        assert_eq!(hook["end"], "failed");
        assert_eq!(hook["error"], "the server answered 403 Forbidden");
    }
}
