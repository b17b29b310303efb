//! What a new config changes, and what it leaves alone.

use super::{config, ends, reload, start};
use crate::support::clients::{Http1, Raw};
use crate::support::servers::Server;
use crate::support::within;
use http::Method;
use serde_json::json;
use std::io::ErrorKind;
use tokio::net::TcpStream;

#[tokio::test]
async fn an_equal_config_changes_nothing() {
    let (proxy, _server, config) = start().await;
    let mut client = Http1::connect(proxy.address("web")).await;
    assert_eq!(client.get("/").await.expect("a reply").status, 200);
    let done = reload(&proxy, &config).await;
    assert_eq!(done["applied"], false);
    assert_eq!(done["untouched"], 1);
    assert_eq!(proxy.json("/v1/config").await["generation"], 1);
    assert_eq!(
        client.get("/").await.expect("the same connection").status,
        200
    );
    let metrics = proxy.get("/metrics").await;
    let line = "ebbtide_reload_total{result=\"unchanged\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    drop(client);
    ends(proxy).await;
}

#[tokio::test]
async fn routes_and_headers_act_on_the_next_request_of_a_connection() {
    let (proxy, _server, config) = start().await;
    let mut client = Http1::connect(proxy.address("web")).await;
    let before = client.get("/").await.expect("a reply");
    assert_eq!(before.header("x-gen"), None);
    let with_header = r#"{ upstream = "site", set_response_headers = { x-gen = "2" } }"#;
    let changed = config.replacen(r#"{ upstream = "site" }"#, with_header, 1);
    let done = reload(&proxy, &changed).await;
    assert_eq!(done["changes"], json!(["changes listener web: routes"]));
    let after = client.get("/").await.expect("the same connection");
    assert_eq!(after.header("x-gen"), Some("2"));
    let shown = proxy.json("/v1/config").await;
    assert_eq!(shown["generation"], 2);
    let route = &shown["config"]["listener"]["web"]["routes"][0];
    assert_eq!(route["set_response_headers"], json!({ "x-gen": "2" }));
    let nowhere = changed.replacen("{ upstream", r#"{ path = "/only", upstream"#, 1);
    reload(&proxy, &nowhere).await;
    assert_eq!(client.get("/").await.expect("a reply").status, 404);
    drop(client);
    ends(proxy).await;
}

#[tokio::test]
async fn a_request_in_flight_ends_as_it_began() {
    let (proxy, server, config) = start().await;
    let mut client = Http1::connect(proxy.address("web")).await;
    let held = tokio::spawn(async move {
        let held = client.get("/hold").await;
        (client, held)
    });
    server
        .desk
        .until("a request", |seen| seen.requests == 1)
        .await;
    let other = Server::http1().await;
    let moved = config.replace(&server.address.to_string(), &other.address.to_string());
    let done = reload(&proxy, &moved).await;
    assert!(
        done["changes"].to_string().contains("drains server"),
        "{done}"
    );
    server.desk.release();
    let (mut client, held) = within("a reply", held).await.expect("the task");
    assert_eq!(held.expect("a reply").text(), "held");
    assert_eq!(client.get("/").await.expect("a reply").status, 200);
    assert_eq!(server.desk.seen().requests, 1);
    assert_eq!(
        other.desk.seen().requests,
        1,
        "the next one goes to the new server"
    );
    // The connection to the server that is gone is not kept.
    server.desk.until("its end", |seen| seen.open == 0).await;
    drop(client);
    ends(proxy).await;
}

#[tokio::test]
async fn listeners_come_and_go_and_the_others_stay() {
    let (proxy, server, config) = start().await;
    let mut stays = Http1::connect(proxy.address("web")).await;
    assert_eq!(stays.get("/").await.expect("a reply").status, 200);
    let mut goes = Raw::connect(proxy.address("tcp")).await;
    goes.send("GET /hold HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("open");
    server.desk.until("both", |seen| seen.requests == 2).await;
    let begin = config.find("[listener.tcp]").expect("there");
    let end = config.find("[upstream.site]").expect("there");
    let more = "[listener.more]\nlisten = \"127.0.0.1:0\"\nroutes = [{ upstream = \"site\" }]\n\n";
    let changed = format!("{}{more}{}", &config[..begin], &config[end..]);
    let done = reload(&proxy, &changed).await;
    assert_eq!(done["drains"], json!(["tcp"]));
    assert_eq!(done["untouched"], 1);
    let line = proxy
        .until_event("listening", |line| line["listener"] == "more")
        .await;
    let address = line["address"]
        .as_str()
        .expect("an address")
        .parse()
        .expect("one");
    let mut new = Http1::connect(address).await;
    assert_eq!(new.get("/").await.expect("a reply").status, 200);
    assert_eq!(stays.get("/").await.expect("a reply").status, 200);
    let status = proxy.json("/v1/status").await;
    assert_eq!(status["phase"], "active");
    let refused = async {
        loop {
            match TcpStream::connect(proxy.address("tcp")).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    within("a refusal", refused).await;
    server.desk.release();
    let head = goes.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    drop(goes);
    let receipt = proxy.json("/v1/drain?listener=tcp&wait=true").await;
    assert_eq!(
        (&receipt["trigger"], &receipt["lost"]),
        (&json!("reload"), &json!(0))
    );
    drop((stays, new));
    ends(proxy).await;
}

#[tokio::test]
async fn a_certificate_acts_on_the_next_handshake() {
    let (proxy, _server, config) = start().await;
    let first = proxy.certificate();
    let wire = first.connect(proxy.address("secure"), "http/1.1").await;
    let mut old = Http1::over(wire).await;
    assert_eq!(old.get("/").await.expect("a reply").status, 200);
    let second = crate::support::certificate::Certificate::new();
    second.write(proxy.directory());
    let done = reload(&proxy, &config).await;
    assert_eq!(done["changes"], json!(["changes listener secure: tls"]));
    let wire = second.connect(proxy.address("secure"), "http/1.1").await;
    let mut new = Http1::over(wire).await;
    assert_eq!(new.get("/").await.expect("a reply").status, 200);
    assert_eq!(old.get("/").await.expect("the old connection").status, 200);
    drop((old, new));
    ends(proxy).await;
}

#[tokio::test]
async fn the_plan_of_the_next_drain_is_the_new_one() {
    let (proxy, _server, config) = start().await;
    let changed = config.replace("announce = \"0s\"", "announce = \"30s\"");
    let done = reload(&proxy, &changed).await;
    assert_eq!(done["changes"], json!(["changes the drain plan"]));
    proxy.ask(Method::POST, "/v1/drain", "").await;
    let progress = proxy.json("/v1/drain").await;
    assert_eq!(progress["stage"], "announce");
    assert_eq!(progress["plan"]["announce_ms"], 30_000);
    proxy.ask(Method::DELETE, "/v1/drain", "").await;
    reload(&proxy, &config).await;
    ends(proxy).await;
}

#[tokio::test]
async fn a_dry_run_tells_and_changes_nothing() {
    let (proxy, server, text) = start().await;
    let mut client = Http1::connect(proxy.address("web")).await;
    assert_eq!(client.get("/").await.expect("a reply").status, 200);
    let begin = text.find("[listener.web]").expect("there");
    let end = text.find("[listener.secure]").expect("there");
    proxy.write_config(&format!("{}{}", &text[..begin], &text[end..]));
    let path = "/v1/reload?dry_run=true";
    let reply = proxy.ask(Method::POST, path, "").await;
    let told: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(told["applied"], false);
    assert_eq!(told["drains"], json!(["web"]));
    let changes = told["changes"].to_string();
    assert!(changes.contains("drains listener web"), "{changes}");
    assert!(changes.contains("drains 1 connection"), "{changes}");
    assert_eq!(client.get("/").await.expect("still served").status, 200);
    assert_eq!(config(server.address), text);
    drop(client);
    ends(proxy).await;
}

#[tokio::test]
async fn the_form_of_the_log_changes_with_the_next_line() {
    let (proxy, _server, config) = start().await;
    let with = |format: &str| {
        format!("[process]\nworkers = 2\nlogs = {{ format = \"{format}\" }}\n{config}")
    };
    reload(&proxy, &with("text")).await;
    let as_text = |line: &serde_json::Value| {
        let text = line.as_str();
        text.is_some_and(|text| text.contains("changes the log level, the log format"))
    };
    proxy.until_log("a line of text", as_text).await;
    reload(&proxy, &with("json")).await;
    let as_json = |line: &serde_json::Value| line["message"] == "changes the log format";
    proxy.until_event("reload", as_json).await;
    ends(proxy).await;
}
