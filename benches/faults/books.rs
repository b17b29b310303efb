//! What the clients saw, one line for each request.
//!
//! Deliberately absent: what was to be seen. That is each case's to say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Shared by all clients of a case.
#[derive(Clone, Default)]
pub(crate) struct Books(Arc<Mutex<Seen>>);

/// The sum of it.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) good: u64,
    /// By what was asked for, and what came of it.
    pub(crate) errors: BTreeMap<(&'static str, String), u64>,
    /// In microseconds, of good ones and bad ones.
    took: Vec<u32>,
}

impl Books {
    fn open(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request of this kind is over.
    pub(crate) fn enter(&self, kind: &'static str, took: Duration, came: Result<(), String>) {
        let mut seen = self.open();
        seen.requests += 1;
        seen.took
            .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        match came {
            Ok(()) => seen.good += 1,
            Err(error) => *seen.errors.entry((kind, error)).or_default() += 1,
        }
    }

    /// What there is so far.
    pub(crate) fn seen(&self) -> Seen {
        self.open().clone()
    }

    /// How many requests are over.
    pub(crate) fn requests(&self) -> u64 {
        self.open().requests
    }
}

impl Seen {
    /// Requests that did not come back as they were to.
    pub(crate) fn bad(&self) -> u64 {
        self.requests - self.good
    }

    /// Errors of which kind and words are so.
    pub(crate) fn count(&self, wanted: impl Fn(&str, &str) -> bool) -> u64 {
        let errors = self.errors.iter();
        let wanted = errors.filter(|((kind, error), _)| wanted(kind, error));
        wanted.map(|(_, count)| count).sum()
    }

    /// The time that this part of a hundred kept to, in milliseconds.
    pub(crate) fn part(&self, part: usize) -> f64 {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = took.len().saturating_sub(1) * part / 100;
        took.get(at).map_or(0.0, |micros| f64::from(*micros) / 1e3)
    }

    /// The errors in words, the most frequent first.
    pub(crate) fn errors(&self) -> String {
        if self.errors.is_empty() {
            return "none".to_owned();
        }
        let mut errors: Vec<_> = self.errors.iter().collect();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let words: Vec<_> = errors
            .iter()
            .map(|((kind, error), count)| format!("{count} {kind}: {error}"))
            .collect();
        words.join("; ")
    }
}
