//! The clients' own account of what became of what they began.
//!
//! A drain must not be judged by its own receipt alone. Each kind of traffic
//! therefore keeps books on the other side of the wire: every operation that a
//! client begins ends as completed, as told (in the words of its protocol), or
//! as lost. The report compares the two.
//!
//! Invariant: an operation that is dropped without an end counts as lost.
//! Deliberately absent: any knowledge of the proxy.

use crate::drain::Protocol;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many losses of one kind are described; all are counted.
const LOSSES_DESCRIBED: usize = 5;

/// How an operation ended, in the eyes of its client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it would have without a drain.
    Completed,
    /// Early, and the client was told so; what it was told.
    Told(String),
    /// In a way that a client cannot take for an answer; what it saw.
    Lost(String),
}

/// The books over one kind of traffic.
#[derive(Debug)]
pub(super) struct Account {
    /// What a newcomer calls it.
    pub(super) name: &'static str,
    /// What the proxy calls it.
    pub(super) protocol: Protocol,
    begun: AtomicU64,
    completed: AtomicU64,
    lost: AtomicU64,
    told: Mutex<BTreeMap<String, u64>>,
    losses: Mutex<Vec<String>>,
}

/// The sums of an account at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) begun: u64,
    pub(super) completed: u64,
    pub(super) told: u64,
    pub(super) lost: u64,
}

impl Sums {
    pub(super) fn in_flight(self) -> u64 {
        self.begun
            .saturating_sub(self.completed + self.told + self.lost)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            begun: self.begun + other.begun,
            completed: self.completed + other.completed,
            told: self.told + other.told,
            lost: self.lost + other.lost,
        }
    }
}

impl Account {
    pub(super) fn new(name: &'static str, protocol: Protocol) -> Arc<Self> {
        Arc::new(Self {
            name,
            protocol,
            begun: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            told: Mutex::default(),
            losses: Mutex::default(),
        })
    }

    /// A client begins something.
    pub(super) fn begin(self: &Arc<Self>) -> Operation {
        self.begun.fetch_add(1, Relaxed);
        Operation {
            account: Arc::clone(self),
            ended: false,
        }
    }

    pub(super) fn sums(&self) -> Sums {
        // The ends first: read after them, `begun` is never behind.
        let mut sums = Sums {
            begun: 0,
            completed: self.completed.load(Relaxed),
            told: self.told.lock().values().sum(),
            lost: self.lost.load(Relaxed),
        };
        sums.begun = self.begun.load(Relaxed);
        sums
    }

    /// What clients were told, and how many of them.
    pub(super) fn told(&self) -> BTreeMap<String, u64> {
        self.told.lock().clone()
    }

    /// What the first few losses looked like.
    pub(super) fn losses(&self) -> Vec<String> {
        self.losses.lock().clone()
    }

    fn enter(&self, end: End) {
        match end {
            End::Completed => {
                self.completed.fetch_add(1, Relaxed);
            }
            End::Told(words) => *self.told.lock().entry(words).or_default() += 1,
            End::Lost(what) => {
                self.lost.fetch_add(1, Relaxed);
                let mut losses = self.losses.lock();
                if losses.len() < LOSSES_DESCRIBED {
                    losses.push(what);
                }
            }
        }
    }
}

/// Something begun and not yet ended.
#[derive(Debug)]
pub(super) struct Operation {
    account: Arc<Account>,
    ended: bool,
}

impl Operation {
    pub(super) fn end(mut self, end: End) {
        self.ended = true;
        self.account.enter(end);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.ended {
            self.account.enter(End::Lost("never ended".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_one_end() {
        let account = Account::new("HTTP/1.1", Protocol::Http1);
        account.begin().end(End::Completed);
        account.begin().end(End::Told("503".to_owned()));
        account.begin().end(End::Told("503".to_owned()));
        account.begin().end(End::Lost("reset".to_owned()));
        let open = account.begin();
        let sums = account.sums();
        assert_eq!(
            (sums.begun, sums.completed, sums.told, sums.lost),
            (5, 1, 2, 1)
        );
        assert_eq!(sums.in_flight(), 1);
        drop(open);
        assert_eq!(account.sums().lost, 2);
        assert_eq!(account.losses(), ["reset", "never ended"]);
        assert_eq!(account.told().get("503"), Some(&2));
    }
}
