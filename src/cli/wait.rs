//! `drain --wait`: waiting for a drain, and telling how far it is meanwhile.
//!
//! One request waits for the receipt, so that the end of a process that is gone
//! a moment later cannot be missed; beside it others look how far it is. What
//! they find is told on standard error: one line that is drawn again and again
//! where that is a terminal, one line for each stage where it is not.
//!
//! Invariant: telling changes nothing. A look that fails is one less; the
//! receipt and the exit code come from the request that waits. Ctrl-C ends the
//! waiting and not the drain, and says so.
//!
//! Deliberately absent: a limit on the time. The drain has its own.

mod progress;

pub(super) use progress::Look;

use super::args::Remote;
use super::client::{Patience, exchange, pause, runtime};
use super::exit;
use super::output::{self, Done};
use super::remote::{read, receipt_text};
use crate::clock;
use crate::drain::Forecast;
use anyhow::Context;
use bytes::Bytes;
use http::Method;
use progress::Account;
use std::convert::Infallible;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

/// What is waited for.
pub(super) struct Waited {
    /// Where the drain is asked for, and waited for.
    pub(super) path: String,
    /// What goes with that.
    pub(super) content: String,
    /// Where it says how far it is.
    pub(super) progress: String,
    /// Reads what it says there; none unless it drains.
    pub(super) look: fn(&[u8]) -> Option<Look>,
    /// Whether the process's forecast speaks of it.
    pub(super) foreseen: bool,
    /// The command that waits for it again.
    pub(super) again: String,
}

/// Begin the drain, wait for it, tell how it goes; the receipt is the result.
///
/// # Errors
/// If it cannot be begun, is taken back, or the process goes without a receipt.
pub(super) fn wait(remote: &Remote, waited: &Waited) -> anyhow::Result<Done> {
    let mut teller = Teller::default();
    let answer = runtime()?.block_on(async {
        let mut interrupts = signal(SignalKind::interrupt()).context("no signal handler")?;
        let content = waited.content.clone();
        let receipt = exchange(
            remote,
            Method::POST,
            &waited.path,
            content,
            Patience::Endless,
        );
        tokio::select! {
            biased;
            answer = Box::pin(receipt) => answer.map(Some),
            _ = interrupts.recv() => Ok(None),
            never = Box::pin(watch(remote, waited, &mut teller)) => match never {},
        }
    });
    teller.end();
    match answer? {
        Some(body) => {
            let (receipt, done) = read(remote, &body, receipt_text)?;
            let code = if receipt.cut_anything() { exit::CUT } else { 0 };
            Ok(Done { code, ..done })
        }
        None => Ok(interrupted(teller.begun, &waited.again)),
    }
}

fn interrupted(begun: bool, again: &str) -> Done {
    let what = if begun {
        "the drain goes on"
    } else {
        "if the drain has begun, it goes on"
    };
    let complaint = format!("ebbtide: no longer waiting; {what}. To wait again: {again}");
    Done::failed(exit::INTERRUPTED, complaint)
}

/// Look again and again.
async fn watch(remote: &Remote, waited: &Waited, teller: &mut Teller) -> Infallible {
    loop {
        let began = clock::now();
        if let Some(look) = look(remote, waited).await {
            teller.tell(&look);
        }
        sleep(pause(clock::now().saturating_since(began))).await;
    }
}

async fn look(remote: &Remote, waited: &Waited) -> Option<Look> {
    let progress = get(remote, &waited.progress).await?;
    let mut look = (waited.look)(&progress)?;
    if waited.foreseen {
        let forecast = get(remote, "/v1/drain/forecast").await?;
        let forecast: Forecast = serde_json::from_slice(&forecast).ok()?;
        let left = Duration::try_from_secs_f64(forecast.duration_ms / 1e3).ok();
        look.foreseen = left.filter(|_| forecast.draining);
    }
    Some(look)
}

async fn get(remote: &Remote, path: &str) -> Option<Bytes> {
    let asked = exchange(remote, Method::GET, path, String::new(), Patience::Short);
    asked.await.ok()
}

/// Tells a person, or a log.
#[derive(Default)]
struct Teller {
    account: Account,
    /// Whether the drain was seen under way.
    begun: bool,
    drawn: bool,
}

impl Teller {
    fn tell(&mut self, look: &Look) {
        self.begun = true;
        if let Some(width) = output::drawable() {
            output::redraw(&progress::line(look, width));
            self.drawn = true;
            return;
        }
        for line in self.account.news(look) {
            output::say(&line);
        }
    }

    fn end(&self) {
        if self.drawn {
            output::redraw("");
        }
    }
}
