//! Counting how things ended: the live side of [`Ledger`].
//!
//! One counter per way to end, bumped once by the guard that is dropped. A
//! [`Ledger`] is read off on demand; the difference of two of them is what a
//! drain did.

use crate::drain::{CutReason, Farewell, Ledger, Outcome, Protocol};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a connection left during a drain, as metrics call it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Drained {
    /// Everything on it finished.
    Success,
    /// Something on it was ended, in protocol, at its deadline.
    Timeout,
    /// Something on it was cut.
    Failed,
}

impl Drained {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Success, Self::Timeout, Self::Failed];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
        }
    }
}

/// Sums at one instant, since the process began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    /// Over connections.
    pub connections: Ledger,
    /// Over exchanges, by [`Protocol`].
    pub exchanges: [Ledger; Protocol::ALL.len()],
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    opened: AtomicU64,
    finished: AtomicU64,
    farewells: [AtomicU64; Farewell::ALL.len()],
    half_open: [AtomicU64; Farewell::ALL.len()],
    cuts: [AtomicU64; CutReason::ALL.len()],
}

impl Tally {
    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self, outcome: Outcome) {
        match outcome {
            Outcome::Finished => self.finished.fetch_add(1, Relaxed),
            Outcome::Farewelled(kind) => self.farewells[kind as usize].fetch_add(1, Relaxed),
            Outcome::Cut(reason) => self.cuts[reason as usize].fetch_add(1, Relaxed),
        };
    }

    /// A connection without a request ended so: it counts as a farewell of
    /// its own, where one with requests is counted through them.
    pub(super) fn half_open_closed(&self, outcome: Outcome) {
        if let Outcome::Farewelled(kind) = outcome {
            self.half_open[kind as usize].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn half_open_farewells(&self, kind: Farewell) -> u64 {
        self.half_open[kind as usize].load(Relaxed)
    }

    pub(super) fn farewells(&self, kind: Farewell) -> u64 {
        self.farewells[kind as usize].load(Relaxed)
    }

    pub(super) fn cuts(&self, reason: CutReason) -> u64 {
        self.cuts[reason as usize].load(Relaxed)
    }

    pub(super) fn sums(&self) -> Ledger {
        let sum = |counters: &[AtomicU64]| counters.iter().map(|one| one.load(Relaxed)).sum();
        Ledger {
            opened: self.opened.load(Relaxed),
            finished: self.finished.load(Relaxed),
            farewelled: sum(&self.farewells),
            cut: sum(&self.cuts),
        }
    }
}
