//! Under systemd: what it is told, and the sockets that it passes and keeps.

mod passed;
mod stored;
mod told;

use crate::support::servers::Server;

/// A config of one HTTP listener `web` at `listen` before `server`; `more` is
/// appended.
fn web(listen: &str, server: &Server, more: &str) -> String {
    format!(
        r#"
[listener.web]
listen = "{listen}"
routes = [{{ upstream = "site" }}]

[upstream.site]
servers = ["{}"]

{more}"#,
        server.address
    )
}

/// A drain in which nothing that is held passes by itself.
fn plan(announce: &str) -> String {
    format!(
        "[drain]\ngrace = \"10m\"\nannounce = \"{announce}\"\nspread = \"0s\"\n\
         finish = {{ http = \"60s\", grpc = \"60s\", websocket = \"60s\", tcp = \"60s\" }}\n\
         farewell = \"60s\"\n"
    )
}
