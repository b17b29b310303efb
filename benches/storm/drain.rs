//! One drain, from the start of a process to its verdict.

use super::books::Books;
use super::cast::{Cast, Tls};
use super::judge::{self, Evidence, Verdict};
use super::proxy::Proxy;
use super::script::{Script, Servers, Trigger};
use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long clients may take to notice that everything is over: the last of
/// them wait for a SYN that was dropped to be sent again, a second later.
const CLIENT_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked whether the lane stands still.
const BEAT: Duration = Duration::from_millis(5);

/// Start a proxy in `folder`, bring the load up, drain, and hold everybody's
/// account against the others'.
///
/// # Errors
/// When there was no drain to be judged.
pub(crate) async fn run(
    script: &Script,
    servers: Servers,
    tls: &Tls,
    folder: &Path,
) -> Result<Verdict> {
    let mut proxy = Proxy::start(script, servers, folder).await?;
    let books = Books::default();
    let pulse = Pulse::start();
    let (ask, asked) = watch::channel(None);
    let mut playing = Cast::start(script, proxy.addresses, tls, &books, asked);
    sleep(script.moment).await;

    let began = Instant::now();
    ask.send_replace(Some(began));
    let command = begin(script, &proxy).await?;
    proxy.until("shutdown_start").await?;
    let seen = Instant::now();
    let status = proxy.exit().await?;
    let took = began.elapsed();
    let receipt = match command {
        Some(command) => Some(receipt(command).await),
        None => None,
    };
    end(&mut playing).await;
    Ok(judge::verdict(
        script,
        Evidence {
            began,
            seen,
            took,
            status,
            log: proxy.lines(),
            entries: books.entries(),
            receipt,
            stood_still: pulse.longest(),
        },
    ))
}

/// Notes for how long the clients and servers of a lane stood still at most,
/// as they do on a machine with too much else to do.
struct Pulse {
    longest: Arc<AtomicU64>,
    /// Ends when it is dropped.
    _beating: JoinSet<()>,
}

impl Pulse {
    fn start() -> Self {
        let longest = Arc::new(AtomicU64::new(0));
        let noted = Arc::clone(&longest);
        let mut beating = JoinSet::new();
        beating.spawn(async move {
            let mut last = Instant::now();
            loop {
                sleep(BEAT).await;
                let gap = u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX);
                noted.fetch_max(gap, Relaxed);
                last = Instant::now();
            }
        });
        Self {
            longest,
            _beating: beating,
        }
    }

    fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.load(Relaxed))
    }
}

async fn begin(script: &Script, proxy: &Proxy) -> Result<Option<Child>> {
    match script.trigger {
        Trigger::Signal => proxy.signal()?,
        Trigger::Api => {
            let (status, body) = proxy.ask(Method::POST, "/v1/drain").await?;
            let body = String::from_utf8_lossy(&body);
            ensure!(
                status == StatusCode::ACCEPTED || status == StatusCode::OK,
                "POST /v1/drain: {status}: {body}"
            );
        }
        Trigger::Command => return proxy.drain_command().map(Some),
    }
    Ok(None)
}

async fn receipt(command: Child) -> Result<Value> {
    let done = timeout(CLIENT_LIMIT, command.wait_with_output()).await;
    let done = done.context("`drain --wait` did not return")??;
    let told = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.success(),
        "`drain --wait` exited with {}: {told}",
        done.status
    );
    serde_json::from_slice(&done.stdout).context("`drain --wait` printed no receipt")
}

/// Wait until every client has ended; one that does not is on the books for
/// what it had begun.
async fn end(playing: &mut JoinSet<()>) {
    let all = async { while playing.join_next().await.is_some() {} };
    if timeout(CLIENT_LIMIT, all).await.is_err() {
        playing.shutdown().await;
    }
}
