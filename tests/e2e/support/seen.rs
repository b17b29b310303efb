//! What a server saw, and what it is told to do: the tests' view of it.
//!
//! Every change is published, so that a test can wait for what it needs
//! instead of sleeping ([`Desk::until`]).

use super::within;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// What a server has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Connections accepted.
    pub(crate) connections: usize,
    /// Connections that are open.
    pub(crate) open: usize,
    /// Requests, calls or conversations begun.
    pub(crate) requests: usize,
    /// Those that the server brought to their end.
    pub(crate) finished: usize,
    /// Those that ended before, by the peer's doing.
    pub(crate) cancelled: usize,
    /// Why, where the protocol says it: `CANCEL`, `Close 1001`, `FIN`.
    pub(crate) reasons: Vec<String>,
    /// Request heads: the request line, then one field a line.
    pub(crate) heads: Vec<String>,
    /// PROXY headers, where they are awaited.
    pub(crate) headers: Vec<Vec<u8>>,
    /// Whether what was held may go on.
    pub(crate) released: bool,
}

/// One server's desk: it notes there, tests look there.
#[derive(Clone)]
pub(crate) struct Desk(Arc<watch::Sender<Seen>>);

impl Desk {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Seen::default())))
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.0.borrow().clone()
    }

    /// Let go of everything that is held, now and later.
    pub(crate) fn release(&self) {
        self.note(|seen| seen.released = true);
    }

    /// Wait until `condition` holds.
    #[track_caller]
    pub(crate) fn until(
        &self,
        what: &str,
        condition: impl FnMut(&Seen) -> bool,
    ) -> impl Future<Output = Seen> {
        let mut changes = self.0.subscribe();
        within(what, async move {
            changes
                .wait_for(condition)
                .await
                .expect("the desk stays")
                .clone()
        })
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Seen)) {
        self.0.send_modify(change);
    }

    pub(super) async fn released(&self) {
        let mut changes = self.0.subscribe();
        changes
            .wait_for(|seen| seen.released)
            .await
            .expect("the desk stays");
    }

    /// A connection's stay.
    pub(super) fn connection(&self) -> impl Drop + use<> {
        self.note(|seen| {
            seen.connections += 1;
            seen.open += 1;
        });
        Stay(self.clone())
    }

    /// A request's stay; it counts as cancelled unless it is finished.
    pub(super) fn request(&self) -> Exchange {
        self.note(|seen| seen.requests += 1);
        Exchange {
            desk: self.clone(),
            finished: false,
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.seen().fmt(f)
    }
}

struct Stay(Desk);

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.note(|seen| seen.open -= 1);
    }
}

/// A request that a server works on.
pub(super) struct Exchange {
    desk: Desk,
    finished: bool,
}

impl Exchange {
    pub(super) fn finish(mut self) {
        self.finished = true;
    }

    /// The peer ended it, and said why.
    pub(super) fn cancelled(&self, reason: impl fmt::Display) {
        self.desk.note(|seen| seen.reasons.push(reason.to_string()));
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let finished = self.finished;
        self.desk.note(|seen| {
            if finished {
                seen.finished += 1;
            } else {
                seen.cancelled += 1;
            }
        });
    }
}
