//! `kill -9` of a server under load. What was in flight on it and may not be sent
//! again is lost, and nothing else: each such client is told, and counted.

use super::super::books::Seen;
use super::super::clients::{Enough, Kind};
use super::super::proxy::{self, Proxy};
use super::super::servers::address;
use super::super::servers::grpc::SERVICE;
use super::super::servers::process::Process;
use super::super::table::Row;
use super::{Scale, beside, crowd, wait};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

pub(super) const NAME: &str = "kill -9 of one of 3 servers";
pub(super) const HELD: &str = "kill -9 of a server that everybody waits for";

/// Between two.
const BETWEEN: Duration = Duration::from_millis(200);

/// Clients of each kind.
const EACH: u64 = 4;

/// Of those, how many ask by POST.
const POSTS: u64 = 2 * EACH;

/// How many call by gRPC, which is POST too.
const CALLS: u64 = 2 * EACH;

async fn servers() -> Result<Vec<Process>> {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Process::start(address()?, address()?, None).await?);
    }
    Ok(servers)
}

fn start(servers: &[Process]) -> Result<Proxy> {
    let https: Vec<_> = servers.iter().map(|server| server.http).collect();
    let calls: Vec<_> = servers.iter().map(|server| server.calls).collect();
    Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [\n\
         {{ path = \"/{SERVICE}/\", upstream = \"calls\", retry = {{}} }},\n\
         {{ upstream = \"site\", retry = {{ budget = \"100%\", least = 1000 }} }},\n]\n\n\
         [upstream.site]\n{}\neject = false\n\n\
         [upstream.calls]\n{}\nhttp = \"h2\"\neject = false\n",
        proxy::servers(&https),
        proxy::servers(&calls),
    ))
}

/// What was told, and what the proxy counted of it, of both upstreams.
struct Told {
    posts: (u64, u64),
    calls: (u64, u64),
}

impl Told {
    async fn by(proxy: &Proxy, seen: &Seen) -> Result<Self> {
        let forgone = "ebbtide_upstream_retries_forgone_total";
        let of = |upstream: &'static str| async move {
            let labels = [upstream, "reason=\"method\""];
            proxy.metric(forgone, &labels).await
        };
        let post = |kind: &str| kind.starts_with("POST");
        let call = |kind: &str| kind.ends_with("call") || kind.starts_with("stream");
        Ok(Self {
            posts: (
                seen.count(|kind, error| post(kind) && error == "502"),
                of("upstream=\"site\"").await?,
            ),
            calls: (
                // A stream that has begun is not one that could be sent again.
                seen.count(|kind, error| call(kind) && error == "status 14"),
                of("upstream=\"calls\"").await?,
            ),
        })
    }
}

fn row(name: String, seen: Seen, retried: u64, told: &Told) -> Row {
    let bad = seen.bad();
    let row = Row {
        fault: name,
        seen,
        retried,
        bar: String::new(),
        missed: Vec::new(),
    };
    let sum = told.posts.0 + told.calls.0;
    row.and(
        "only POSTs and calls, each told 502 or status 14",
        sum == bad,
        format!("{sum} were told, of {bad}"),
    )
    .and(
        "as many as the metrics count",
        told.posts.0 == told.posts.1,
        format!("502 {}, counted {}", told.posts.0, told.posts.1),
    )
}

/// One server after the other, so often.
fn turns(times: u64) -> impl Iterator<Item = usize> {
    (0..times).zip((0..3).cycle()).map(|(_, number)| number)
}

/// At any moment.
pub(super) async fn run(scale: Scale) -> Result<Row> {
    let mut servers = servers().await?;
    let proxy = start(&servers)?;
    let crowd = crowd(&proxy, &scale, Enough::said());
    beside(&crowd, &Kind::ALL, EACH, async {
        for number in turns(scale.cuts) {
            wait(BETWEEN).await?;
            let server = &mut servers[number];
            server.cut().await?;
            wait(BETWEEN).await?;
            server.replace().await?;
        }
        Ok(())
    })
    .await?;
    let seen = crowd.books.seen();
    let told = Told::by(&proxy, &seen).await?;
    let most = scale.cuts * (POSTS + CALLS);
    let name = format!("{NAME}, {} times", scale.cuts);
    let bad = seen.bad();
    let row = row(name, seen, proxy.retried().await?, &told);
    Ok(row.and(
        "no more than there were clients",
        bad <= most,
        format!("{bad} of {most}"),
    ))
}

/// When everything is in flight on it: then it is known what is.
pub(super) async fn held(scale: Scale) -> Result<Row> {
    let mut servers = servers().await?;
    let proxy = start(&servers)?;
    let crowd = crowd(&proxy, &scale, Enough::said());
    let clients = EACH * Kind::ALL.len() as u64;
    let cuts = scale.cuts.div_ceil(4);
    beside(&crowd, &Kind::ALL, EACH, async {
        for number in turns(cuts) {
            wait(BETWEEN).await?;
            let server = &mut servers[number];
            server.stop()?;
            let began = Instant::now();
            loop {
                let on =
                    proxy.in_flight(server.http).await? + proxy.in_flight(server.calls).await?;
                if on == clients {
                    break;
                }
                if began.elapsed() > Duration::from_secs(20) {
                    bail!("{on} of {clients} clients wait for it");
                }
                wait(Duration::from_millis(5)).await?;
            }
            server.cut().await?;
            server.replace().await?;
        }
        Ok(())
    })
    .await?;
    let seen = crowd.books.seen();
    let told = Told::by(&proxy, &seen).await?;
    let (posts, calls) = (cuts * POSTS, cuts * CALLS);
    let name = format!("{HELD}, {cuts} times");
    let row = row(name, seen, proxy.retried().await?, &told);
    Ok(row.and(
        "as many as were in flight",
        told.posts.0 == posts && told.calls.0 == calls,
        format!(
            "{} POSTs of {posts}, {} calls of {calls}",
            told.posts.0, told.calls.0
        ),
    ))
}
