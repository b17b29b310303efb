//! Servers that are there and not there: one that flaps, one that stands still,
//! one that is a black hole, and one that vanished without a word.

use super::super::clients::{Enough, Kind};
use super::super::proxy::{self, Proxy};
use super::super::servers::grpc::SERVICE;
use super::super::servers::process::Process;
use super::super::servers::{address, namespace::Namespace};
use super::super::table::Row;
use super::{Scale, beside, crowd, wait};
use anyhow::Result;
use std::time::Duration;
use tokio::time::Instant;

pub(super) const FLAPS: &str = "a server of 3 that flaps";
pub(super) const STANDS: &str = "a server of 3 that stands still (SIGSTOP)";
pub(super) const HOLE: &str = "a server of 3 that is a black hole";
pub(super) const VANISHED: &str = "a server of 3 that vanished without FIN";

/// Clients of each kind.
const EACH: u64 = 4;

/// Between up and down.
const FLAP: Duration = Duration::from_millis(150);

/// How often each is checked.
const HEALTH: &str =
    "health = { http = \"/health\", every = \"50ms\", timeout = \"100ms\", fall = 1 }";

async fn servers(namespace: Option<&Namespace>) -> Result<Vec<Process>> {
    let mut servers = Vec::new();
    for _ in 0..2 {
        servers.push(Process::start(address()?, address()?, None).await?);
    }
    let (http, calls) = match namespace {
        None => (address()?, address()?),
        Some(namespace) => (namespace.address(8080), namespace.address(8081)),
    };
    let name = namespace.map(Namespace::name);
    servers.push(Process::start(http, calls, name).await?);
    Ok(servers)
}

/// Every route says that its requests may be sent again.
fn start(servers: &[Process], health: &str) -> Result<Proxy> {
    let https: Vec<_> = servers.iter().map(|server| server.http).collect();
    let calls: Vec<_> = servers.iter().map(|server| server.calls).collect();
    let again =
        "retries = 2, retry = { methods = [\"POST\"], try_timeout = \"500ms\", budget = \"50%\" }";
    Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [\n\
         {{ path = \"/{SERVICE}/\", upstream = \"calls\", {again} }},\n\
         {{ upstream = \"site\", {again} }},\n]\n\n\
         [upstream.site]\n{}\nconnect_timeout = \"500ms\"\n{health}\neject = {{ resets = 3 }}\n\n\
         [upstream.calls]\n{}\nhttp = \"h2\"\nconnect_timeout = \"500ms\"\neject = {{ resets = 3 }}\n",
        proxy::servers(&https),
        proxy::servers(&calls),
    ))
}

/// What can be sent again from its beginning.
const KINDS: [Kind; 5] = [
    Kind::Get1,
    Kind::Post1,
    Kind::Get2,
    Kind::Post2,
    Kind::Unary,
];

/// It is cut and comes back, again and again, while its health is looked at.
pub(super) async fn flaps(scale: Scale) -> Result<Row> {
    let mut servers = servers(None).await?;
    let proxy = start(&servers, HEALTH)?;
    let crowd = crowd(&proxy, &scale, Enough::said());
    let mut flaps = 0;
    beside(&crowd, &KINDS, EACH, async {
        let began = Instant::now();
        while began.elapsed() < scale.time {
            wait(FLAP).await?;
            servers[2].cut().await?;
            wait(FLAP).await?;
            servers[2].replace().await?;
            flaps += 1;
        }
        Ok(())
    })
    .await?;
    let name = format!("{FLAPS}, {flaps} times");
    Ok(Row::unseen(
        name,
        crowd.books.seen(),
        proxy.retried().await?,
    ))
}

/// Its kernel takes connections and bytes, and nobody answers.
pub(super) async fn stands(scale: Scale) -> Result<Row> {
    let servers = servers(None).await?;
    let proxy = start(&servers, "")?;
    let crowd = crowd(&proxy, &scale, Enough::said());
    beside(&crowd, &KINDS, EACH, async {
        wait(scale.time / 4).await?;
        servers[2].stop()?;
        wait(scale.time / 2).await?;
        servers[2].go_on()?;
        wait(scale.time / 4).await
    })
    .await?;
    Ok(Row::unseen(
        STANDS,
        crowd.books.seen(),
        proxy.retried().await?,
    ))
}

/// Whatever is sent to it is lost, then it is back.
pub(super) async fn hole(scale: Scale) -> Result<Row> {
    let namespace = Namespace::new().await?;
    let servers = servers(Some(&namespace)).await?;
    let proxy = start(&servers, "")?;
    let crowd = crowd(&proxy, &scale, Enough::said());
    beside(&crowd, &KINDS, EACH, async {
        wait(scale.time / 4).await?;
        namespace.lose().await?;
        wait(scale.time / 2).await?;
        namespace.find().await?;
        wait(scale.time / 4).await
    })
    .await?;
    Ok(Row::unseen(
        HOLE,
        crowd.books.seen(),
        proxy.retried().await?,
    ))
}

/// Its connections stand, and nobody is behind them: it died while nothing could
/// reach it, and another one came in its place.
pub(super) async fn vanished(scale: Scale) -> Result<Row> {
    let namespace = Namespace::new().await?;
    let mut servers = servers(Some(&namespace)).await?;
    let proxy = start(&servers, "")?;
    let crowd = crowd(&proxy, &scale, Enough::said());
    beside(&crowd, &KINDS, EACH, async {
        wait(scale.time / 4).await?;
        namespace.lose().await?;
        servers[2].cut().await?;
        namespace.find().await?;
        servers[2].replace().await?;
        wait(scale.time / 2).await?;
        namespace.lose().await?;
        servers[2].cut().await?;
        wait(scale.time / 4).await
    })
    .await?;
    Ok(Row::unseen(
        VANISHED,
        crowd.books.seen(),
        proxy.retried().await?,
    ))
}
