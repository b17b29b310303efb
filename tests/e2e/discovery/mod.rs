//! Servers that are found: in DNS, by addresses and by SRV records, and in files.
//!
//! Servers of one name have one port, so the second is at another loopback
//! address. What DNS says holds for no time, and is asked again as soon as the
//! config allows.

mod dns;
mod file;
mod reload;
mod srv;

use crate::drain::scene::{Sums, ended};
use crate::support::clients::{Http1, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::resolver::Resolver;
use crate::support::servers::Server;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const NAME: &str = "orders.default.svc.cluster.local";

/// One worker, so that turns are those of all connections.
const ONE_WORKER: &str =
    "[process]\nworkers = 1\nlogs = { format = \"json\", level = \"info,ebbtide=debug\" }\n\n";

/// A plan in which nothing comes to its deadline.
const PLAN: &str = "[drain]\ngrace = \"10m\"\nannounce = \"0s\"\nspread = \"0s\"\n\
     handshake = \"100ms\"\nlast_request = \"100ms\"\nfarewell = \"60s\"\n\
     finish = { http = \"60s\", grpc = \"60s\", websocket = \"60s\", tcp = \"60s\" }\n";

/// A config with a listener for HTTP before these `servers`, as they are written;
/// `more` is of `discover`.
fn config(servers: &str, resolver: Option<&Resolver>, more: &str) -> String {
    let resolvers = resolver.map_or_else(String::new, |resolver| {
        format!("resolvers = [\"{}\"]\n", resolver.address)
    });
    format!(
        "{ONE_WORKER}[listener.web]\nlisten = \"127.0.0.1:0\"\n\
         routes = [{{ upstream = \"site\" }}]\n\n\
         [upstream.site]\nservers = [{servers}]\n\n\
         [upstream.site.discover]\n{resolvers}least = \"20ms\"\nretry = \"20ms\"\n\
         every = \"20ms\"\ntimeout = \"500ms\"\n{more}\n\n{PLAN}"
    )
}

/// The entry for the addresses of [`NAME`].
fn by_name(port: u16) -> String {
    format!("{{ dns = \"{NAME}.\", port = {port} }}")
}

/// Two servers with one port.
async fn pair() -> [Server; 2] {
    let one = Server::http1().await;
    let two = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), one.address.port());
    [one, Server::http1_at(two).await]
}

fn ip(server: &Server) -> IpAddr {
    server.address.ip()
}

/// The servers of the upstream, as the status has them.
fn names(status: &Value) -> Vec<&str> {
    let servers = status["upstreams"][0]["servers"].as_array();
    let names = servers.expect("servers").iter();
    names
        .map(|one| one["name"].as_str().expect("a name"))
        .collect()
}

/// Wait until it has these servers and no others.
async fn until_servers(proxy: &Proxy, servers: &[&Server]) {
    let mut wanted: Vec<_> = servers.iter().map(|one| one.address.to_string()).collect();
    wanted.sort();
    proxy
        .until_status(|status| {
            let mut names = names(status);
            names.sort_unstable();
            names == wanted
        })
        .await;
}

/// Where the drain of a server is asked about.
fn drain_of(server: &Server) -> String {
    format!("/v1/upstreams/site/servers/{}/drain", server.address)
}

async fn until_drain(proxy: &Proxy, server: &Server, state: &str) -> Value {
    let such = |progress: &Value| progress["state"] == state;
    proxy.until_json(&drain_of(server), such).await
}

async fn status_of_a_request(proxy: &Proxy) -> u16 {
    let mut client = Http1::connect(proxy.address("web")).await;
    client.get("/").await.expect("an answer").status.as_u16()
}

/// A client whose request is held at a server.
async fn holds(proxy: &Proxy) -> Raw {
    let mut client = Raw::connect(proxy.address("web")).await;
    let request = "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(request).await.expect("sent");
    client
}

/// SIGTERM; the exit is good and the books balance.
async fn over(mut proxy: Proxy) -> Sums {
    proxy.signal(Signal::TERM);
    ended(&mut proxy).await
}
