//! Connections to servers between requests: how long they are kept, what is
//! dialled ahead, how it is found out that one leads nowhere, and how they end.
//!
//! One listener, one upstream, mostly one worker: then its pool is the only one.

mod close;
mod life;
mod ping;
mod sockets;
mod streams;
mod warm;

use crate::support::clients::{Http1, Reply, connect};
use crate::support::proxy::Proxy;
use crate::support::within;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

/// How long to wait between two looks at something that publishes nothing.
const LOOK: Duration = Duration::from_millis(5);

/// So many workers, each with a pool of its own.
fn workers(number: usize) -> String {
    format!(
        "[process]\nworkers = {number}\nlogs = {{ format = \"json\", level = \"info,ebbtide=debug\" \
         }}\n\n"
    )
}

/// A drain that waits for nothing of its own.
const CALM: &str = "[drain]\nannounce = \"0s\"\nspread = \"0s\"\nlast_request = \"100ms\"\n\n";

/// A config with one worker before this server, which has these keys.
fn site(server: SocketAddr, keys: &str, pool: &str) -> String {
    format!("{}{}", workers(1), of_workers(server, keys, pool))
}

/// The same without a word on workers.
fn of_workers(server: SocketAddr, keys: &str, pool: &str) -> String {
    format!(
        "{CALM}[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
         [upstream.site]\nservers = [\"{server}\"]\nconnect_timeout = \"20s\"\n{keys}\n\
         pool = {{ {pool} }}\n"
    )
}

/// A client's connection.
async fn client(proxy: &Proxy) -> Http1 {
    Http1::over(connect(proxy.address("web")).await).await
}

/// An answer over a connection of its own.
async fn get(proxy: &Proxy, path: &str) -> Reply {
    let mut client = client(proxy).await;
    client.get(path).await.expect("an answer")
}

/// What a scrape says of one series.
async fn metric(proxy: &Proxy, series: &str) -> u64 {
    let page = proxy.get("/metrics").await;
    let line = page
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("no {series} in {}", page.text()));
    value.parse().expect("a whole number")
}

/// How many connections are `idle` or `in_use`.
async fn open(proxy: &Proxy, state: &str) -> u64 {
    let labels = format!("{{upstream=\"site\",state=\"{state}\"}}");
    metric(proxy, &format!("ebbtide_upstream_connections{labels}")).await
}

/// How many connections were made.
async fn made(proxy: &Proxy) -> u64 {
    let series = "ebbtide_upstream_connections_made_total{upstream=\"site\"}";
    metric(proxy, series).await
}

/// How many connections ended for this reason.
async fn closed(proxy: &Proxy, reason: &str) -> u64 {
    let labels = format!("{{upstream=\"site\",reason=\"{reason}\"}}");
    let series = format!("ebbtide_upstream_connections_closed_total{labels}");
    metric(proxy, &series).await
}

/// Wait until so many have ended for this reason.
async fn until_closed(proxy: &Proxy, reason: &str, number: u64) {
    let counted = async {
        while closed(proxy, reason).await < number {
            sleep(LOOK).await;
        }
    };
    within(&format!("{number} closed: {reason}"), counted).await;
}

/// Wait until so many are idle.
async fn until_idle(proxy: &Proxy, number: u64) {
    let counted = async {
        while open(proxy, "idle").await != number {
            sleep(LOOK).await;
        }
    };
    within(&format!("{number} idle"), counted).await;
}
