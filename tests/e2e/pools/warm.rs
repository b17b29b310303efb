//! Connections that are made before anybody asks.

use super::*;
use crate::serving::script::Script;
use crate::support::clients::Raw;
use crate::support::servers::Server;
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::sync::Notify;

async fn server(http: &str) -> Server {
    match http {
        "h1" => Server::http1().await,
        _ => Server::http2().await,
    }
}

#[tokio::test]
async fn a_warm_connection_serves_the_first_request() {
    for http in ["h1", "h2"] {
        let server = server(http).await;
        let keys = format!("http = \"{http}\"");
        let proxy = Proxy::start(&site(server.address, &keys, "warm = 1")).await;
        until_idle(&proxy, 1).await;
        assert_eq!(server.desk.seen().requests, 0);
        assert_eq!(get(&proxy, "/").await.status, 200);
        assert_eq!(server.desk.seen().connections, 1, "{http}");
    }
}

#[tokio::test]
async fn each_worker_has_its_own() {
    let server = Server::http1().await;
    let text = workers(3) + &of_workers(server.address, "", "warm = 2");
    let proxy = Proxy::start(&text).await;
    until_idle(&proxy, 6).await;
    for _ in 0..12 {
        assert_eq!(get(&proxy, "/").await.status, 200);
    }
    assert_eq!(server.desk.seen().connections, 6, "enough for each of them");
}

#[tokio::test]
async fn a_reload_that_wants_more_has_more() {
    let server = Server::http1().await;
    let proxy = Proxy::start(&site(server.address, "", "warm = 1")).await;
    until_idle(&proxy, 1).await;
    proxy.write_config(&site(server.address, "", "warm = 3"));
    let reply = proxy.ask(Method::POST, "/v1/reload", "").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    until_idle(&proxy, 3).await;
    assert_eq!(server.desk.seen().connections, 3, "one is the same");
}

#[tokio::test]
async fn a_server_that_returns_from_its_drain_is_warm_again() {
    let server = Server::http2().await;
    let keys = "http = \"h2\"";
    let proxy = Proxy::start(&site(server.address, keys, "warm = 1")).await;
    until_idle(&proxy, 1).await;
    let path = format!("/v1/upstreams/site/servers/{}/drain", server.address);
    let reply = proxy.ask(Method::POST, &path, "").await;
    assert!(reply.status.is_success(), "{}", reply.text());
    server.desk.until("its end", |seen| seen.open == 0).await;
    until_closed(&proxy, "drain", 1).await;
    assert_eq!(made(&proxy).await, 1);
    let reply = proxy.ask(Method::DELETE, &path, "").await;
    assert!(reply.status.is_success(), "{}", reply.text());
    until_idle(&proxy, 1).await;
    assert_eq!(server.desk.seen().requests, 0);
}

/// A server that closes its connections when told, health checks aside, and
/// says whether it is well.
async fn moody(well: &Arc<AtomicBool>, close: &Arc<Notify>) -> Script {
    let (well, close) = (Arc::clone(well), Arc::clone(close));
    Script::http1(move |mut wire: Raw| {
        let (well, close) = (Arc::clone(&well), Arc::clone(&close));
        async move {
            loop {
                tokio::select! {
                    head = wire.head() => {
                        let Ok(head) = head else { return };
                        let check = head.starts_with("GET /healthz ");
                        let good = !check || well.load(SeqCst);
                        let status = if good { "200 OK" } else { "503 No" };
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                        if wire.send(answer).await.is_err() {
                            return;
                        }
                    }
                    () = close.notified() => return,
                }
            }
        }
    })
    .await
}

const CHECKED: &str = "health = { http = \"/healthz\", every = \"20ms\", fall = 1 }";

#[tokio::test]
async fn only_servers_that_are_well_are_kept_warm() {
    let well = Arc::new(AtomicBool::new(false));
    let server = moody(&well, &Arc::default()).await;
    let proxy = Proxy::start(&site(server.address, CHECKED, "warm = 2")).await;
    proxy.until_event("server_down", |_| true).await;
    let checks = server.connections();
    let more = async {
        while server.connections() < checks + 5 {
            sleep(LOOK).await;
        }
    };
    within("more checks", more).await;
    assert_eq!(
        made(&proxy).await,
        0,
        "before a verdict, and after a bad one"
    );
    well.store(true, SeqCst);
    until_idle(&proxy, 2).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    assert_eq!(made(&proxy).await, 2);
}

#[tokio::test]
async fn what_a_server_closes_is_replaced_and_in_a_drain_it_is_not() {
    let close = Arc::new(Notify::new());
    let server = moody(&Arc::new(AtomicBool::new(true)), &close).await;
    let text = site(server.address, "", "warm = 1").replace(
        "announce = \"0s\"",
        "announce = \"60s\"\ngrace = \"5m\"\nfarewell = \"1s\"",
    );
    let proxy = Proxy::start(&text).await;
    until_idle(&proxy, 1).await;
    close.notify_waiters();
    until_closed(&proxy, "server", 1).await;
    until_idle(&proxy, 1).await;
    let reply = proxy.ask(Method::POST, "/v1/drain", "").await;
    assert!(reply.status.is_success(), "{}", reply.text());
    close.notify_waiters();
    until_closed(&proxy, "server", 2).await;
    for _ in 0..20 {
        assert_eq!(made(&proxy).await, 2);
        sleep(LOOK).await;
    }
    assert_eq!(get(&proxy, "/").await.status, 200, "it serves all the same");
    close.notify_waiters();
    until_closed(&proxy, "server", 3).await;
    // Taken back, it is as it was.
    let reply = proxy.ask(Method::DELETE, "/v1/drain", "").await;
    assert!(reply.status.is_success(), "{}", reply.text());
    until_idle(&proxy, 1).await;
    assert_eq!(made(&proxy).await, 4);
}

#[tokio::test]
async fn a_server_that_closes_whatever_comes_is_asked_all_the_same() {
    // Each connection ends at once, if nothing is asked on it.
    let server = Script::http1(|mut wire: Raw| async move {
        let asked = tokio::time::timeout(Duration::from_millis(1), wire.head());
        if let Ok(Ok(_)) = asked.await {
            let _ = wire
                .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
    })
    .await;
    let proxy = Proxy::start(&site(server.address, "", "warm = 2")).await;
    until_closed(&proxy, "server", 4).await;
    let asked = async { while get(&proxy, "/").await.status != 200 {} };
    within("an answer", asked).await;
}
