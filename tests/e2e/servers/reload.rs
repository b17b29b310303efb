//! Servers that a reload takes away are drained; what a reload keeps, stays as
//! it is.

use super::{Pair, asks, config, json, path_of, plan, told};
use crate::support::clients::{Http1, Raw};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use http::Method;
use serde_json::{Value, json};

/// Everything comes to its deadline soon.
fn short() -> String {
    plan("60s").replace("= \"60s\"", "= \"400ms\"")
}

async fn reload(proxy: &Proxy, config: &str, query: &str) -> Value {
    proxy.write_config(config);
    let path = format!("/v1/reload{query}");
    json(&proxy.ask(Method::POST, &path, "").await, 200)
}

#[tokio::test]
async fn one_that_is_taken_away_is_drained_to_its_deadline() {
    let (one, two) = (Server::http1().await, Server::http1().await);
    let before = config(&[&one, &two], "", &short());
    let proxy = Proxy::start(&before).await;
    let pair = Pair {
        proxy,
        servers: [one, two],
    };
    let mut client = asks(&pair.proxy, "/hold").await;
    let gone = pair.with_requests(1).await;
    let other = pair.other(gone);
    let mut sibling = asks(&pair.proxy, "/hold").await;
    other.desk.until("it", |seen| seen.requests == 1).await;
    let after = config(&[other], "", &short());
    let told_only = reload(&pair.proxy, &after, "?dry_run=true").await;
    let changes = told_only["changes"].to_string();
    assert!(
        changes.contains("drains 1 server (1 in flight)"),
        "{changes}"
    );
    let name = json!({ "upstream": "site", "server": gone.address.to_string() });
    assert_eq!(told_only["servers"], json!([name]));
    let untouched = pair.proxy.json(&path_of(gone)).await;
    assert_eq!(untouched["state"], "serving");
    let done = reload(&pair.proxy, &after, "").await;
    assert_eq!(done["servers"], json!([name]));
    let progress = pair.proxy.json(&path_of(gone)).await;
    assert_eq!(
        (&progress["removed"], &progress["trigger"]),
        (&json!(true), &json!("reload"))
    );
    let head = client.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(
        told(&pair.receipt(gone).await),
        ["http1 farewelled unanswered server_drained"]
    );
    let back = pair.take_back(gone).await;
    assert_eq!(back.status, 409, "{}", back.text());
    assert!(back.text().contains("no config"), "{}", back.text());
    // The sibling has no deadline: its server stays.
    other.desk.release();
    sibling.read_until("held").await.expect("the answer");
    drop((client, sibling));
    pair.over().await;
}

#[tokio::test]
async fn a_drain_by_api_survives_a_reload_that_keeps_the_server() {
    let pair = Pair::http1().await;
    let [one, two] = &pair.servers;
    let client = asks(&pair.proxy, "/hold").await;
    let drained = pair.with_requests(1).await;
    let begun = pair.drain(drained, "{\"finish\":\"50s\"}").await;
    for more in ["connect_timeout = \"3s\"", "connect_timeout = \"4s\"", ""] {
        let done = reload(&pair.proxy, &config(&[one, two], more, &plan("60s")), "").await;
        assert_eq!(
            (&done["applied"], &done["servers"]),
            (&json!(true), &json!([]))
        );
        let progress = pair.progress(drained).await;
        assert_eq!(progress["state"], "draining");
        assert_eq!(progress["plan"]["finish"], begun["plan"]["finish"]);
        assert_eq!(progress["in_flight"]["http1"], 1);
    }
    let before = drained.desk.seen().requests;
    let mut others = Http1::connect(pair.proxy.address("web")).await;
    for _ in 0..6 {
        assert_eq!(others.get("/").await.expect("an answer").status, 200);
    }
    assert_eq!(drained.desk.seen().requests, before);
    drained.desk.release();
    pair.until(drained, "drained").await;
    drop((client, others));
    pair.over().await;
}

#[tokio::test]
async fn one_that_is_put_back_is_fresh() {
    let pair = Pair::http1().await;
    let [one, two] = &pair.servers;
    pair.drain(one, "").await;
    pair.until(one, "drained").await;
    reload(&pair.proxy, &config(&[two], "", &plan("60s")), "").await;
    reload(&pair.proxy, &config(&[one, two], "", &plan("60s")), "").await;
    let progress = pair.progress(one).await;
    assert_eq!(
        (&progress["state"], &progress["removed"]),
        (&json!("serving"), &json!(false))
    );
    let mut client = Http1::connect(pair.proxy.address("web")).await;
    while one.desk.seen().requests == 0 {
        assert_eq!(client.get("/").await.expect("an answer").status, 200);
    }
    drop(client);
    pair.over().await;
}

#[tokio::test]
async fn one_that_goes_with_its_listener_serves_it_to_its_end() {
    let (stays, gone) = (Server::http1().await, Server::tcp().await);
    let listener = |name: &str, upstream: &str| {
        format!(
            "[listener.{name}]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"{upstream}\"\n\n"
        )
    };
    let upstream = |name: &str, server: &Server| {
        format!("[upstream.{name}]\nservers = [\"{}\"]\n\n", server.address)
    };
    let plan = plan("60s").replace("announce = \"0s\"", "announce = \"3s\"");
    let kept = listener("kept", "site") + &upstream("site", &stays) + &plan;
    let both = listener("leaves", "echo") + &upstream("echo", &gone) + &kept;
    let proxy = Proxy::start(&both).await;
    let done = reload(&proxy, &kept, "").await;
    assert_eq!(done["drains"], json!(["leaves"]));
    assert_eq!(done["servers"][0]["upstream"], "echo");
    // While its listener announces, new tunnels are served, one after another.
    for _ in 0..3 {
        let mut tunnel = Raw::connect(proxy.address("leaves")).await;
        tunnel.send("hello\n").await.expect("sent");
        tunnel.read_until("hello\n").await.expect("an echo");
    }
    let path = format!(
        "/v1/upstreams/echo/servers/{}/drain?wait=true",
        gone.address
    );
    let receipt = json(&proxy.get(&path).await, 200);
    assert_eq!(
        (&receipt["trigger"], &receipt["lost"]),
        (&json!("reload"), &json!(0))
    );
    assert_eq!(receipt["requests"]["tcp"]["opened"], 3, "{receipt:#}");
    let receipt = proxy.json("/v1/drain?listener=leaves&wait=true").await;
    assert_eq!(receipt["lost"], 0);
    let pair = Pair {
        proxy,
        servers: [stays, gone],
    };
    pair.over().await;
}
