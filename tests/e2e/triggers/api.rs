//! The admin interface of a living process, from before a drain to its exit.

use super::{held, let_go, plan, web};
use crate::support::clients::{Raw, Reply};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use http::Method;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
}

/// Whether this is a problem of this status, in the words of RFC 9457.
#[track_caller]
fn is_problem(reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    let problem = json(reply);
    assert_eq!(problem["status"], status);
    assert!(problem["title"].is_string(), "{problem}");
    problem["detail"].as_str().expect("a detail").to_owned()
}

/// Ask for `path` on a connection of its own; none if nobody answers any more.
async fn status_of(admin: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(admin).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.get(9..12).map(str::to_owned)
}

/// Probe until nobody answers: what was answered.
async fn probed(admin: SocketAddr, path: &'static str) -> Vec<String> {
    let mut answers = Vec::new();
    while let Some(answer) = status_of(admin, path).await {
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn a_drain_is_reported_from_its_beginning_to_its_receipt() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&web(&server, &plan("300ms"))).await;
    let client = held(&proxy, &server).await;
    is_problem(&proxy.get("/v1/drain/receipt").await, 404);
    let before = proxy.json("/v1/drain").await;
    assert_eq!(
        (&before["draining"], &before["ready"]),
        (&false.into(), &true.into())
    );
    let begun = proxy.ask(Method::POST, "/v1/drain", "").await;
    assert_eq!(begun.status, 202);
    let begun = json(&begun);
    assert_eq!(
        (&begun["stage"], &begun["phase"]),
        (&"announce".into(), &"active".into())
    );
    assert!(
        begun["deadlines"]["refuse_in_ms"].as_u64() <= Some(300),
        "{begun}"
    );
    let ready = tokio::spawn(probed(proxy.admin(), "/readyz"));
    let live = tokio::spawn(probed(proxy.admin(), "/livez"));
    proxy
        .until_event("stage", |line| line["stage"] == "finish")
        .await;
    let mut waiting = Raw::connect(proxy.admin()).await;
    let ask = "GET /v1/drain?wait=true HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    waiting.send(ask).await.expect("sent");
    let finishing = proxy.json("/v1/drain").await;
    assert_eq!(
        (&finishing["stage"], &finishing["phase"]),
        (&"finish".into(), &"draining".into())
    );
    assert_eq!(finishing["deadlines"]["refuse_in_ms"], 0);
    assert_eq!(finishing["in_flight"]["http1"], 1);
    assert!(finishing["elapsed_ms"].as_f64() >= begun["elapsed_ms"].as_f64());
    // Asked again it is the same drain, and there is no way back.
    let again = proxy.ask(Method::POST, "/v1/drain", "").await;
    assert_eq!(
        (again.status, &json(&again)["stage"]),
        (202.try_into().expect("a status"), &"finish".into())
    );
    let late = proxy.ask(Method::DELETE, "/v1/drain", "").await;
    assert!(is_problem(&late, 409).contains("announce"));
    is_problem(&proxy.get("/v1/drain/receipt").await, 404);
    let_go(client, &server).await;
    let told = waiting.rest().await;
    assert_eq!(proxy.exit().await.code(), Some(0));
    let told = String::from_utf8_lossy(&told.0).into_owned();
    let (head, body) = told.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let receipt: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(
        (&receipt["complete"], &receipt["trigger"]),
        (&true.into(), &"api".into())
    );
    assert_eq!(receipt["accept_filter"], "attached");
    assert_eq!(receipt["requests"]["http1"]["finished"], 1);
    let ready = ready.await.expect("no panic");
    assert!(
        ready.iter().all(|answer| answer == "503"),
        "never again: {ready:?}"
    );
    let live = live.await.expect("no panic");
    assert!(live.iter().all(|answer| answer == "200"), "{live:?}");
    assert!(!ready.is_empty() && !live.is_empty());
}

#[tokio::test]
async fn what_is_not_understood_is_a_problem_and_begins_nothing() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&web(&server, &plan("0s"))).await;
    let big: &'static str = Box::leak("x".repeat(64 * 1024 + 1).into_boxed_str());
    for (method, path, body, status, says) in [
        (Method::POST, "/v1/drain", "{", 400, "no JSON object"),
        (Method::POST, "/v1/drain", "null", 400, "no JSON object"),
        (
            Method::POST,
            "/v1/drain",
            "{\"listener\":\"nowhere\"}",
            404,
            "listener",
        ),
        (
            Method::POST,
            "/v1/drain",
            "{\"lsitener\":\"web\"}",
            400,
            "lsitener",
        ),
        (Method::POST, "/v1/drain?wiat=true", "", 400, "wiat=true"),
        (Method::POST, "/v1/drain", big, 413, "65536"),
        (Method::POST, "/v1/drian", "", 404, "openapi"),
        (Method::PUT, "/v1/drain", "", 405, "POST"),
        (Method::DELETE, "/v1/drain/receipt", "", 405, "GET"),
        (
            Method::DELETE,
            "/v1/drain",
            "",
            409,
            "no drain is under way",
        ),
        (
            Method::GET,
            "/v1/drain?wait=true",
            "",
            409,
            "no drain is under way",
        ),
    ] {
        let reply = proxy.ask(method.clone(), path, body).await;
        let detail = is_problem(&reply, status);
        assert!(detail.contains(says), "{method} {path}: {detail}");
    }
    assert_eq!(proxy.get("/readyz").await.status, 200);
    assert_eq!(proxy.json("/v1/drain").await["draining"], false);
}

#[tokio::test]
async fn slow_admin_clients_do_not_hold_the_exit() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&web(&server, &plan("0s"))).await;
    let mut slow = Vec::new();
    for part in [
        "",
        "GET /v1/sta",
        "GET /v1/status HTTP/1.1\r\nhost: localhost\r\n",
        "POST /v1/drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{",
        "DELETE /v1/drain HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\n",
    ] {
        let mut client = Raw::connect(proxy.admin()).await;
        client.send(part).await.expect("sent");
        slow.push(client);
    }
    let mut idle = Raw::connect(proxy.admin()).await;
    let ask = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    idle.send(ask).await.expect("sent");
    idle.read_until("live\n").await.expect("an answer");
    proxy.signal(Signal::TERM);
    let status = within("the exit", proxy.exit()).await;
    assert_eq!(status.code(), Some(0));
    let unfinished = |line: &Value| line["message"] == "admin: responses left unfinished";
    assert!(!proxy.log().iter().any(unfinished), "nobody was waited for");
    for client in slow {
        let (answer, _) = client.rest().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.contains(" 409 "), "{answer}");
    }
}

const LINGER: &str = "[admin]\nlisten = \"127.0.0.1:0\"\nlinger = \"60s\"\n\n";

#[tokio::test]
async fn the_final_metrics_are_scraped_before_the_exit() {
    let server = Server::http1().await;
    let config = LINGER.to_owned() + &web(&server, &plan("0s"));
    let mut proxy = Proxy::start(&config).await;
    // A scrape before the end of the drain is not the last one.
    assert_eq!(proxy.get("/metrics").await.status, 200);
    proxy.signal(Signal::TERM);
    proxy.until_event("SHUTDOWN_COMPLETED", |_| true).await;
    assert_eq!(proxy.get("/readyz").await.status, 503);
    let receipt = proxy.json("/v1/drain/receipt").await;
    assert_eq!(receipt["lost"], 0, "{receipt}");
    assert!(!proxy.has_exited(), "nobody has scraped yet");
    let scraped = proxy.get("/metrics").await;
    let scraped = String::from_utf8_lossy(&scraped.body).into_owned();
    let took = "app_shutdown_duration_seconds_count 1";
    assert!(scraped.contains(took), "{scraped}");
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn who_interrupts_twice_waits_for_no_scrape() {
    let server = Server::http1().await;
    let config = LINGER.to_owned() + &web(&server, &plan("0s"));
    let mut proxy = Proxy::start(&config).await;
    proxy.signal(Signal::INT);
    proxy.until_event("SHUTDOWN_COMPLETED", |_| true).await;
    assert!(!proxy.has_exited(), "nobody has scraped yet");
    proxy.signal(Signal::INT);
    assert_eq!(proxy.exit().await.code(), Some(0));
}
