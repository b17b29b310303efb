//! Telling: news whenever something changes, views in their time.
//!
//! Invariant: what nobody hears is not made. A view takes at most a tenth of
//! this thread's time, however many connections there are: it is made the less
//! often the longer it takes.
//!
//! Deliberately absent: the drain's own clock. What is told here may be late by
//! a look; nothing waits for it.

use super::news::{News, between};
use super::{Events, Listening, Look, View, written};
use crate::admin::Admin;
use crate::admin::auth::Role;
use crate::admin::census::census;
use crate::admin::problem::Problem;
use crate::admin::view::{Progress, Status};
use crate::clock;
use crate::drain::forecast::{Forecast, Foreseen};
use crate::drain::{Ledger, Protocol, Receipt};
use crate::proxy::registry::State;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// From one look to the next, and from one view of a drain's progress to the
/// next, at least.
const LOOK: Duration = Duration::from_millis(250);

/// From one picture to the next, at least.
const PICTURE: Duration = Duration::from_secs(1);

/// A view has at most one part in so many of the time.
const SHARE: u32 = 10;

/// Who holds the exit: how many are named.
const HOLDERS: usize = 50;

/// Of those whom the receipt names, how many are told. The rest is behind
/// `/v1/drain/receipt`, for as long as the process is there.
const TOLD: usize = 50;

/// What there is.
#[derive(Debug, Serialize)]
struct Picture {
    status: Status,
    /// How long a drain takes at most, from its beginning.
    longest_ms: u64,
    connections: Vec<Share>,
    /// The sums, without the list.
    forecast: Forecast,
    /// What is in flight, the oldest first.
    holders: Vec<Foreseen>,
    holders_omitted: u64,
}

/// Connections of one listener that speak and do the same.
#[derive(Debug, Serialize)]
struct Share {
    listener: String,
    protocol: Option<Protocol>,
    state: &'static str,
    count: u64,
}

/// All that there is to know when one begins to listen, or has missed something.
#[derive(Debug, Serialize)]
struct Snapshot {
    /// The number before that of the first piece of news that is not in it.
    last_event_id: String,
    /// Whether what was missed follows.
    resumed: bool,
    /// What who listens may do.
    role: Role,
    progress: Progress,
    picture: Picture,
    receipt: Option<Receipt>,
}

/// The receipt's sums.
#[derive(Debug, Serialize)]
struct Sums {
    verdict: Option<String>,
    duration_ms: Option<f64>,
    connections: Option<Ledger>,
    exchanges: Option<Ledger>,
    lost: Option<u64>,
}

impl Admin {
    /// Tell what is new.
    pub fn tell(&self) {
        let mut seen = self.events.seen.lock();
        let now = Look::at(self);
        for news in between(&seen, &now) {
            self.events.tell(news.as_str(), &news);
        }
        *seen = now;
        drop(seen);
        let receipt = self.control.receipt();
        if let Some(receipt) = self.events.receipt_is_new(receipt) {
            self.events.tell("receipt", &in_short(&receipt));
            self.events.show(View::Picture, &self.picture());
        }
    }

    /// Tell that a reload was asked for, and what became of it.
    pub fn tell_reload(&self, result: &str, text: &str) {
        let (result, text) = (result.to_owned(), text.to_owned());
        let news = News::Reload { result, text };
        self.events.tell(news.as_str(), &news);
    }

    /// Tell of servers that were found, and of those that are not any more, by
    /// upstream.
    pub fn tell_found<'m>(
        &self,
        moved: impl Iterator<Item = (&'m str, &'m [Arc<str>], &'m [Arc<str>])>,
    ) {
        let names = |all: &[Arc<str>]| all.iter().map(ToString::to_string).collect();
        for (upstream, found, gone) in moved {
            let news = News::Discovery {
                upstream: upstream.to_owned(),
                found: names(found),
                gone: names(gone),
            };
            self.events.tell(news.as_str(), &news);
        }
    }

    /// Tell that what is in flight was given more time.
    pub fn tell_extended(&self, listener: Option<&str>, by: Duration) {
        let news = News::Extended {
            listener: listener.map(str::to_owned),
            by_ms: super::millis(by),
        };
        self.events.tell(news.as_str(), &news);
    }

    /// Tell the last; who listens is let go.
    pub(in crate::admin) fn tell_the_end(&self) {
        self.tell();
        self.events.show(View::Picture, &self.picture());
        let receipt = self.control.receipt();
        let receipt = receipt.as_deref();
        let sums = Sums {
            verdict: receipt.map(Receipt::verdict),
            duration_ms: receipt.map(|one| one.duration_ms),
            connections: receipt.map(|one| one.connections),
            exchanges: receipt.map(Receipt::exchanges),
            lost: receipt.map(|one| one.lost),
        };
        self.events.end("terminated", &sums);
    }

    /// Look, and show, for as long as anybody listens.
    pub(in crate::admin) async fn keep_telling(self: Arc<Self>) {
        let (mut progress, mut picture) = (Pace::new(LOOK), Pace::new(PICTURE));
        loop {
            sleep(LOOK).await;
            self.events.heard().await;
            self.tell();
            if self.control.status().process.draining() && progress.is_due() {
                progress.time(|| {
                    if let Some(view) = self.progress_view(None) {
                        self.events.show(View::Progress, &view);
                    }
                });
            }
            if picture.is_due() {
                picture.time(|| self.events.show(View::Picture, &self.picture()));
            }
        }
    }

    /// Listen, from where `last` says if that is known, as one who may do this.
    pub(in crate::admin) fn listen(
        self: &Arc<Self>,
        last: Option<&str>,
        role: Role,
    ) -> Result<Listening, Problem> {
        // What happened before is no news to who begins now.
        self.tell();
        let listening = Listening::to(&self.events, last);
        let mut listening = listening.ok_or_else(|| {
            Problem::unavailable("too many listen already; close a page, or ask again later")
        })?;
        let resumed = last.is_some_and(|id| self.events.number(id).is_some());
        let admin = Arc::clone(self);
        let begun = listening.begin_with(Box::new(move || {
            let snapshot = admin.snapshot(role, resumed)?;
            Some(written("snapshot", "", &snapshot))
        }));
        let starting = || Problem::unavailable("the process is starting");
        begun.then_some(listening).ok_or_else(starting)
    }

    fn snapshot(&self, role: Role, resumed: bool) -> Option<Snapshot> {
        Some(Snapshot {
            last_event_id: self.events.last_id(),
            resumed,
            role,
            progress: self.progress_view(None)?,
            picture: self.picture(),
            receipt: self.control.receipt().as_deref().map(in_short),
        })
    }

    fn picture(&self) -> Picture {
        let foresight = self.outlook();
        let draining = self.control.status().process.draining();
        let (forecast, holders) = (
            foresight.predicted.sums(draining),
            foresight.predicted.oldest(HOLDERS),
        );
        let all = forecast.all.in_flight;
        Picture {
            status: self.status_view(),
            longest_ms: super::millis(self.control.status().longest),
            connections: self.shares(),
            holders_omitted: all.saturating_sub(holders.len() as u64),
            forecast,
            holders,
        }
    }

    fn shares(&self) -> Vec<Share> {
        let status = self.control.status();
        let listeners: Vec<_> = status
            .listeners
            .iter()
            .map(|one| one.name.clone())
            .collect();
        let spoken = || Protocol::ALL.map(Some).into_iter().chain([None]);
        let mut shares = Vec::new();
        for count in census(&listeners, &self.registry) {
            for (protocol, state) in
                spoken().flat_map(|one| State::ALL.map(move |state| (one, state)))
            {
                let connections = count.connections(protocol, state);
                if connections > 0 {
                    shares.push(Share {
                        listener: count.listener.to_string(),
                        protocol,
                        state: state.as_str(),
                        count: connections,
                    });
                }
            }
        }
        shares
    }
}

/// The receipt, with a bounded list.
fn in_short(receipt: &Receipt) -> Receipt {
    let mut short = receipt.clone();
    let more = short.told.len().saturating_sub(TOLD);
    short.told.truncate(TOLD);
    short.told_omitted += more as u64;
    short
}

/// When something is made next.
struct Pace {
    every: Duration,
    due: crate::drain::Timestamp,
}

impl Pace {
    fn new(every: Duration) -> Self {
        let due = clock::now();
        Self { every, due }
    }

    fn is_due(&self) -> bool {
        clock::now() >= self.due
    }

    /// Make it, and see how long that takes.
    fn time(&mut self, make: impl FnOnce()) {
        let began = clock::now();
        make();
        let took = clock::now().saturating_since(began);
        self.due = began + pause(self.every, took);
    }
}

/// From the beginning of one view that took so long to the next.
fn pause(every: Duration, took: Duration) -> Duration {
    // Looks have a beat of their own; a little early is in time.
    let usual = every.saturating_sub(LOOK / 2);
    usual.max(took.saturating_mul(SHARE))
}

impl Events {
    fn last_id(&self) -> String {
        let next = self.told.lock().next;
        // Before the first there is none; its number is taken for the one before.
        next.checked_sub(1)
            .map_or_else(String::new, |last| format!("{}-{last}", self.origin))
    }

    /// The receipt, if it has not been told.
    fn receipt_is_new(&self, receipt: Option<Arc<Receipt>>) -> Option<Arc<Receipt>> {
        let receipt = receipt?;
        let mut last = self.receipt.lock();
        let known = last
            .as_ref()
            .is_some_and(|last| Arc::ptr_eq(last, &receipt));
        (!known).then(|| {
            *last = Some(Arc::clone(&receipt));
            receipt
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_has_a_tenth_of_the_time_however_long_it_takes() {
        let millis = Duration::from_millis;
        for took in [0, 1, 80, 100, 1_000, 60_000] {
            let pause = pause(PICTURE, millis(took));
            assert!(pause >= millis(took) * 10, "{took} ms");
            assert!(pause + LOOK >= PICTURE, "{took} ms: not too often");
        }
        assert!(
            pause(PICTURE, millis(20)) < PICTURE,
            "quick ones are in time"
        );
    }
}
