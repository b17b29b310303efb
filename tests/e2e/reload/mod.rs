//! Reloads, as clients and operators see them: what changes, what does not,
//! and that nobody is lost.

mod changes;
mod load;
mod mutations;
mod refusals;
mod watch;

use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use serde_json::Value;
use std::net::SocketAddr;

/// A config with a listener for HTTP, one over TLS, and one for TCP.
fn config(server: SocketAddr) -> String {
    format!(
        r#"
[listener.web]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[listener.secure]
listen = "127.0.0.1:0"
tls = {{ cert = "site.pem", key = "site.key" }}
routes = [{{ upstream = "site" }}]

[listener.tcp]
listen = "127.0.0.1:0"
protocol = "tcp"
upstream = "site"

[upstream.site]
servers = ["{server}"]
{DRAIN}"#
    )
}

/// A drain that waits for what is in flight.
const DRAIN: &str = r#"
[drain]
receipt = "receipt.json"
grace = "10m"
announce = "0s"
spread = "0s"
handshake = "100ms"
last_request = "100ms"
farewell = "60s"
finish = { http = "60s", grpc = "60s", websocket = "60s", tcp = "60s" }
"#;

async fn start() -> (Proxy, Server, String) {
    let server = Server::http1().await;
    let config = config(server.address);
    let proxy = Proxy::start(&config).await;
    (proxy, server, config)
}

/// Write another config and have it run by; what was done.
async fn reload(proxy: &Proxy, config: &str) -> Value {
    proxy.write_config(config);
    let reply = proxy.ask(http::Method::POST, "/v1/reload", "").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("JSON")
}

/// SIGTERM; the exit is good and the books balance.
async fn ends(mut proxy: Proxy) {
    proxy.signal(Signal::TERM);
    crate::drain::scene::ended(&mut proxy).await;
}
