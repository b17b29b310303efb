//! What begins a drain, cuts it short, takes it back or asks about it: each
//! signal, the admin interface, the command line; and the hooks that it runs.

mod api;
mod command;
mod consul;
mod hooks;
mod logs;
mod metrics;
mod signals;
mod startup;

use crate::support::clients::Raw;
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use serde_json::Value;

/// A config of one HTTP listener `web` before `server`; `more` is appended.
fn web(server: &Server, more: &str) -> String {
    format!(
        r#"
[listener.web]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[upstream.site]
servers = ["{}"]

{more}"#,
        server.address
    )
}

/// A drain in which no stage but announce passes by itself.
fn plan(announce: &str) -> String {
    format!(
        "[drain]\ngrace = \"10m\"\nannounce = \"{announce}\"\nspread = \"0s\"\n\
         finish = {{ http = \"60s\", grpc = \"60s\", websocket = \"60s\", tcp = \"60s\" }}\n\
         farewell = \"60s\"\n"
    )
}

/// A client whose request the server holds: it is in flight.
async fn held(proxy: &Proxy, server: &Server) -> Raw {
    let mut client = Raw::connect(proxy.address("web")).await;
    let request = "GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.send(request).await.expect("sent");
    server
        .desk
        .until("the request", |seen| seen.requests == 1)
        .await;
    client
}

/// Let the held request go, and see it answered.
async fn let_go(mut client: Raw, server: &Server) {
    server.desk.release();
    client.read_until("held").await.expect("the whole answer");
}

/// How often the log has this event.
fn times(log: &[Value], event: &str) -> usize {
    log.iter().filter(|line| line["event"] == event).count()
}
