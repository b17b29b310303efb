//! What happens, as it happens: `GET /v1/events` (server-sent events, WHATWG
//! HTML, section 9.2).
//!
//! Two kinds of things are told. **News** (a stage begins, a server goes down)
//! have a number each and stay in a ring for a while, so that who comes back with
//! `Last-Event-ID` gets what was missed. **Views** (how far the drain is, what
//! there is) are of the moment: only the newest is ever sent. Both are written
//! once, however many listen.
//!
//! Invariant: nobody who listens is waited for, and nothing is kept for one who
//! does not read: a subscriber is a number in the ring. What the ring has lost
//! meanwhile is told as `lost`, with how many that were, and a snapshot behind it
//! makes up for them.
//!
//! Deliberately absent: looking (see `look`), and deciding what is new (see
//! `news`).

mod listen;
mod look;
mod news;
mod tell;

pub(super) use listen::Listening;
pub(super) use look::Look;

use crate::clock;
use crate::drain::Receipt;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::{Notify, watch};

/// News that are kept. A drain with a few listeners and servers has some dozens.
const KEPT: usize = 256;

/// Who can listen at once. It is an eighth of the interface's connections, so
/// that pages left open do not keep a probe out.
const LISTENING: usize = 32;

/// A view, by its place.
#[derive(Copy, Clone, Debug)]
pub(super) enum View {
    /// How far the drain is.
    Progress,
    /// What there is: connections, servers, who holds the exit.
    Picture,
}

impl View {
    const ALL: [Self; 2] = [Self::Progress, Self::Picture];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Progress => "progress",
            Self::Picture => "picture",
        }
    }
}

/// What has been told, and to whom it goes.
#[derive(Debug)]
pub(super) struct Events {
    /// Of which process a number is: when it began, since the Unix epoch.
    origin: u64,
    told: Mutex<Told>,
    /// What was seen last; news are what differs from it.
    seen: Mutex<Look>,
    /// The receipt that was told last.
    receipt: Mutex<Option<Arc<Receipt>>>,
    /// Wakes who listens.
    changed: watch::Sender<u64>,
    listening: Arc<AtomicUsize>,
    /// Has a permit if somebody has begun to listen.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Told {
    /// The number of the next piece of news.
    next: u64,
    news: VecDeque<Bytes>,
    /// The newest of each view, and which change it was.
    views: [Option<(u64, Bytes)>; View::ALL.len()],
    changes: u64,
    /// Who began to listen before this was told to leave.
    epoch: u64,
    over: bool,
}

/// An event with the time at which it was told.
#[derive(Serialize)]
struct Dated<'a, T> {
    at_unix_ms: u64,
    #[serde(flatten)]
    what: &'a T,
}

impl Default for Events {
    fn default() -> Self {
        let began = clock::unix().saturating_sub(clock::now().since_start());
        Self {
            origin: millis(began),
            told: Mutex::default(),
            seen: Mutex::default(),
            receipt: Mutex::default(),
            changed: watch::channel(0).0,
            listening: Arc::default(),
            arrived: Notify::new(),
        }
    }
}

impl Events {
    /// Tell a piece of news; after the last word nothing is told any more.
    fn tell(&self, name: &str, what: &impl Serialize) {
        self.change(|told, origin| {
            let id = told.next;
            told.next += 1;
            if told.news.len() == KEPT {
                told.news.pop_front();
            }
            let id_line = format!("id: {origin}-{id}\n");
            told.news.push_back(written(name, &id_line, what));
        });
    }

    /// Show a view in place of the one before.
    fn show(&self, view: View, what: &impl Serialize) {
        let written = written(view.as_str(), "", what);
        self.change(|told, _| told.views[view as usize] = Some((told.changes, written)));
    }

    /// Tell the last piece of news. Who listens gets what is left and its end.
    fn end(&self, name: &str, what: &impl Serialize) {
        self.tell(name, what);
        self.change(|told, _| told.over = true);
    }

    /// Have everybody ask anew: who may listen has changed.
    pub(super) fn dismiss(&self) {
        self.change(|told, _| told.epoch += 1);
    }

    fn change(&self, by: impl FnOnce(&mut Told, u64)) {
        let mut told = self.told.lock();
        if told.over {
            return;
        }
        told.changes += 1;
        by(&mut told, self.origin);
        self.changed.send_replace(told.changes);
    }

    /// Wait until somebody listens.
    async fn heard(&self) {
        while self.listening.load(Relaxed) == 0 {
            self.arrived.notified().await;
        }
    }

    /// The number in a `Last-Event-ID`, if it is one of this process.
    fn number(&self, id: &str) -> Option<u64> {
        let (origin, number) = id.split_once('-')?;
        let ours = origin.parse() == Ok(self.origin);
        number.parse().ok().filter(|_| ours)
    }
}

/// An event as it is sent. JSON has no line breaks of its own.
fn written(name: &str, id: &str, what: &impl Serialize) -> Bytes {
    let at_unix_ms = millis(clock::unix());
    // Nothing that is told has a map whose keys are no text.
    let data = serde_json::to_string(&Dated { at_unix_ms, what }).unwrap_or_default();
    format!("event: {name}\n{id}data: {data}\n\n").into()
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
