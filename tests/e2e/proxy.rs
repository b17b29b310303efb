//! The shortest way through: one request, one signal, one exit.

use crate::support::clients::Http1;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use http::Method;

#[tokio::test]
async fn a_request_is_served_and_the_process_drained() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&format!(
        r#"
[listener.web]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[upstream.site]
servers = ["{}"]

[drain]
announce = "0s"
"#,
        server.address
    ))
    .await;
    let mut client = Http1::connect(proxy.address("web")).await;
    assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
    assert_eq!(proxy.json("/v1/status").await["phase"], "active");
    assert!(!proxy.has_exited());
    drop(client);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    let over = proxy
        .log()
        .into_iter()
        .filter(|line| line["event"] == "SHUTDOWN_COMPLETED");
    assert_eq!(over.count(), 1);
}

#[tokio::test]
async fn the_admin_interface_begins_a_drain() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&format!(
        r#"
[listener.web]
listen = "127.0.0.1:0"
tls    = {{ cert = "site.pem", key = "site.key" }}
routes = [{{ upstream = "site" }}]

[upstream.site]
servers = ["{}"]

[drain]
announce = "0s"
"#,
        server.address
    ))
    .await;
    let wire = proxy
        .certificate()
        .connect(proxy.address("web"), "http/1.1")
        .await;
    let reply = Http1::over(wire).await.get("/").await.expect("a reply");
    assert_eq!(reply.text(), "ok");
    assert!(proxy.admin().ip().is_loopback());
    let asked = proxy.ask(Method::POST, "/v1/drain", "").await;
    assert_eq!(asked.status, 202);
    proxy.until_event("shutdown_start", |_| true).await;
    assert_eq!(proxy.exit().await.code(), Some(0));
}
