//! Sources of servers: how each gets on.
//!
//! Purpose: who asks for servers notes here what came of it, and the admin
//! interface reads it off.
//!
//! Invariant: counts only go up, for as long as configs have the source.
//!
//! Deliberately absent: the servers themselves, which upstreams have.

use crate::drain::Timestamp;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What came of a question.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Sought {
    /// Servers.
    Found,
    /// The certainty that there is none.
    Nothing,
    /// Nothing that could be used.
    Outage,
}

impl Sought {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Found, Self::Nothing, Self::Outage];

    /// The name used in metrics and the admin interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Nothing => "nothing",
            Self::Outage => "outage",
        }
    }
}

/// What is known of a source now.
#[derive(Clone, Debug, Default)]
pub struct SourceState {
    /// How many servers it has.
    pub servers: usize,
    /// What came of the last question, once one was asked.
    pub last: Option<Sought>,
    /// Why that was not servers.
    pub why: Option<Arc<str>>,
    /// When there was an answer last.
    pub answered: Option<Timestamp>,
    /// When it is asked next.
    pub next: Timestamp,
}

/// One source of servers of an upstream.
#[derive(Debug)]
pub struct SourceStatus {
    /// The name of the upstream.
    pub upstream: Arc<str>,
    /// What is asked, as it is named in logs and metrics.
    pub source: Arc<str>,
    counts: [AtomicU64; Sought::ALL.len()],
    state: Mutex<SourceState>,
}

impl SourceStatus {
    /// One that was not asked yet.
    #[must_use]
    pub fn new(upstream: Arc<str>, source: Arc<str>) -> Self {
        Self {
            upstream,
            source,
            counts: Default::default(),
            state: Mutex::default(),
        }
    }

    /// Note what came of a question, and what is known since.
    pub fn note(&self, sought: Sought, state: SourceState) {
        self.counts[sought as usize].fetch_add(1, Relaxed);
        *self.state.lock() = state;
    }

    /// How many questions came to this.
    #[must_use]
    pub fn count(&self, sought: Sought) -> u64 {
        self.counts[sought as usize].load(Relaxed)
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> SourceState {
        self.state.lock().clone()
    }
}
