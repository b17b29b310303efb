//! One who listens.
//!
//! Invariant: it holds a number and the versions of the views that it has sent.
//! What it has not fetched is nowhere but in the ring that all share, and each
//! call fetches one event: how much is under way is up to the socket.
//!
//! Deliberately absent: the socket.

use super::{Events, KEPT, LISTENING, View, written};
use crate::admin::guests::Stay;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// After so long without an event a comment is sent, so that either side learns
/// that the other is gone, and nobody between them takes it for idle.
const BEAT: Duration = Duration::from_secs(10);

/// How soon a client is to come back.
const RETRY_MS: u64 = 1_000;

/// Makes a snapshot of the moment; nothing while there is none to make.
pub(super) type Afresh = Box<dyn Fn() -> Option<Bytes> + Send>;

/// One of the places for who listens, given back when it is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// One who listens.
pub(in crate::admin) struct Listening {
    events: Arc<Events>,
    changed: watch::Receiver<u64>,
    /// What is sent before all else.
    first: Option<Bytes>,
    /// Makes a snapshot for one who has missed something.
    afresh: Option<Afresh>,
    /// The next piece of news that it gets.
    next: u64,
    /// The newest change of each view that it has.
    views: [u64; View::ALL.len()],
    epoch: u64,
    stay: Option<Stay>,
    _place: Place,
}

impl Listening {
    /// Listen from now on, or from what `last` says was heard last; `None` if
    /// too many listen already. The snapshot is taken after the beginning, so
    /// that nothing is missed between the two.
    pub(super) fn to(events: &Arc<Events>, last: Option<&str>) -> Option<Self> {
        let taken = events.listening.fetch_update(Relaxed, Relaxed, |count| {
            (count < LISTENING).then_some(count + 1)
        });
        taken.ok()?;
        let place = Place(Arc::clone(&events.listening));
        events.arrived.notify_one();
        let told = events.told.lock();
        let heard = last.and_then(|id| events.number(id));
        let next = heard.map_or(told.next, |number| number.saturating_add(1).min(told.next));
        Some(Self {
            events: Arc::clone(events),
            changed: events.changed.subscribe(),
            first: None,
            afresh: None,
            next,
            views: [told.changes; View::ALL.len()],
            epoch: told.epoch,
            stay: None,
            _place: place,
        })
    }

    /// Begin with a snapshot, and send another whenever something was missed;
    /// whether there is one.
    pub(super) fn begin_with(&mut self, afresh: Afresh) -> bool {
        self.first = afresh().map(|snapshot| {
            let mut first = format!("retry: {RETRY_MS}\n").into_bytes();
            first.extend_from_slice(&snapshot);
            first.into()
        });
        self.afresh = Some(afresh);
        self.first.is_some()
    }

    /// Whose connection this is, for as long as it lasts.
    pub(in crate::admin) fn stay(&mut self, stay: Stay) {
        self.stay = Some(stay);
    }

    /// The body of the response.
    pub(in crate::admin) fn body(self) -> UnsyncBoxBody<Bytes, Infallible> {
        let frames = futures_util::stream::unfold(self, |mut listening| async {
            let bytes = listening.next().await?;
            Some((Ok(Frame::data(bytes)), listening))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// The next event; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if let Some(stay) = &self.stay {
            stay.takes();
        }
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            self.changed.mark_unchanged();
            match self.fetch() {
                Fetched::Event(bytes) => return Some(bytes),
                Fetched::Lost(count) => {
                    self.first = self.afresh.as_ref().and_then(|afresh| afresh());
                    return Some(written("lost", "", &json!({ "count": count })));
                }
                Fetched::Over => return None,
                Fetched::Nothing => {}
            }
            match timeout(BEAT, self.changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(Bytes::from_static(b":\n\n")),
            }
        }
    }

    fn fetch(&mut self) -> Fetched {
        let told = self.events.told.lock();
        if told.epoch != self.epoch {
            return Fetched::Over;
        }
        let oldest = told.next.saturating_sub(told.news.len() as u64);
        if self.next < oldest {
            let count = oldest - self.next;
            self.next = oldest;
            return Fetched::Lost(count);
        }
        let index = usize::try_from(self.next - oldest).unwrap_or(KEPT);
        let news = told.news.get(index);
        // What there is in the end is seen before the last word.
        let last = told.over && index + 1 == told.news.len();
        if let Some(news) = news.filter(|_| !last) {
            self.next += 1;
            return Fetched::Event(news.clone());
        }
        for view in View::ALL {
            if let Some((change, shown)) = &told.views[view as usize]
                && *change > self.views[view as usize]
            {
                self.views[view as usize] = *change;
                return Fetched::Event(shown.clone());
            }
        }
        match news {
            Some(news) => {
                self.next += 1;
                Fetched::Event(news.clone())
            }
            None if told.over => Fetched::Over,
            None => Fetched::Nothing,
        }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Listening");
        shown.field("next", &self.next).finish_non_exhaustive()
    }
}

enum Fetched {
    Event(Bytes),
    /// So many pieces of news.
    Lost(u64),
    Nothing,
    Over,
}
