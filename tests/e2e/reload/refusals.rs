//! What cannot be run by changes nothing, and says why.

use super::{ends, start};
use crate::support::clients::Http1;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use http::Method;
use std::net::TcpListener;

#[tokio::test]
async fn a_config_that_cannot_be_run_by_changes_nothing() {
    let (proxy, _server, config) = start().await;
    let mut client = Http1::connect(proxy.address("web")).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address");
    let more = format!(
        "[listener.more]\nlisten = \"{address}\"\nroutes = [{{ upstream = \"site\" }}]\n\n[listener.web]"
    );
    for (from, to, status, says) in [
        ("[listener.web]", "[listener.web", 422, "this is not TOML"),
        (
            "upstream = \"site\"",
            "upstream = \"sight\"",
            422,
            "there is no upstream",
        ),
        (
            "[listener.web]",
            "[process]\nworkers = 7\n[listener.web]",
            409,
            "`process.workers`",
        ),
        ("[listener.web]", &more, 503, "cannot listen on"),
    ] {
        proxy.write_config(&config.replacen(from, to, 1));
        let reply = proxy.ask(Method::POST, "/v1/reload", "").await;
        assert_eq!(reply.status, status, "{to}: {}", reply.text());
        assert!(reply.text().contains(says), "{to}: {}", reply.text());
        assert_eq!(client.get("/").await.expect("a reply").status, 200);
        let status = proxy.json("/v1/status").await;
        assert_eq!(status["listeners"].as_array().map(Vec::len), Some(3));
    }
    let metrics = proxy.get("/metrics").await;
    for line in [
        "{result=\"invalid\"} 2",
        "{result=\"refused\"} 1",
        "{result=\"failed\"} 1",
    ] {
        let line = format!("ebbtide_reload_total{line}");
        assert!(metrics.text().contains(&line), "{line}: {}", metrics.text());
    }
    drop(client);
    ends(proxy).await;
}

#[tokio::test]
async fn a_signal_reloads_and_what_is_wrong_is_in_the_log() {
    let (proxy, _server, config) = start().await;
    proxy.write_config("nonsense");
    proxy.signal(Signal::HUP);
    let line = proxy
        .until_event("reload", |line| line["result"] == "invalid")
        .await;
    assert!(
        line["message"].as_str().expect("text").contains("not TOML"),
        "{line}"
    );
    proxy.write_config(&config.replace("announce = \"0s\"", "announce = \"1ms\""));
    proxy.signal(Signal::HUP);
    let line = proxy
        .until_event("reload", |line| line["result"] == "applied")
        .await;
    assert!(
        line["message"]
            .as_str()
            .expect("text")
            .contains("drain plan"),
        "{line}"
    );
    ends(proxy).await;
}

#[tokio::test]
async fn a_reload_while_draining_is_refused() {
    let (proxy, _server, config) = start().await;
    let plan = config.replace("announce = \"0s\"", "announce = \"60s\"");
    super::reload(&proxy, &plan).await;
    proxy.ask(Method::POST, "/v1/drain", "").await;
    let refused = proxy.ask(Method::POST, "/v1/reload", "").await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("draining"), "{}", refused.text());
    proxy.ask(Method::DELETE, "/v1/drain", "").await;
    super::reload(&proxy, &config).await;
    ends(proxy).await;
}

#[tokio::test]
async fn a_reload_is_held_to_the_time_that_is_given() {
    let server = Server::http1().await;
    let config = super::config(server.address);
    let mut command = Proxy::command();
    command.env("EBBTIDE_GRACE", "2m");
    let proxy = Proxy::start_as(&config, command).ready(&config).await;
    proxy.write_config(&config.replace("announce = \"0s\"", "announce = \"1s\""));
    let reply = proxy.ask(Method::POST, "/v1/reload", "").await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    let says = "a drain can take 2m1s, but SIGKILL comes after 2m";
    assert!(reply.text().contains(says), "{}", reply.text());
    ends(proxy).await;
}
