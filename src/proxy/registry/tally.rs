//! Counting how things ended: the live side of [`Ledger`].
//!
//! One counter per way to end, bumped once by the guard that is dropped. A
//! [`Ledger`] is read off on demand; the difference of two of them is what a
//! drain did.

use crate::drain::{CutReason, Farewell, Ledger, Outcome, Protocol};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

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

/// Why a PROXY header was refused, as metrics call it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum HeaderFlaw {
    /// The first bytes are those of something else.
    Missing,
    /// It breaks the form that it began.
    Malformed,
    /// It is longer than may be.
    Overlong,
    /// Its rest did not come in time, or never.
    Incomplete,
}

impl HeaderFlaw {
    /// Every flaw.
    pub const ALL: [Self; 4] = [
        Self::Missing,
        Self::Malformed,
        Self::Overlong,
        Self::Incomplete,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Overlong => "overlong",
            Self::Incomplete => "incomplete",
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

impl Sums {
    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            connections: self.connections.plus(&other.connections),
            exchanges: std::array::from_fn(|index| {
                self.exchanges[index].plus(&other.exchanges[index])
            }),
        }
    }

    /// What came after `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            connections: self.connections.since(&before.connections),
            exchanges: std::array::from_fn(|index| {
                self.exchanges[index].since(&before.exchanges[index])
            }),
        }
    }
}

/// Everything that is counted of one scope.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) connections: Tally,
    pub(super) exchanges: [Tally; Protocol::ALL.len()],
    drained: [AtomicU64; Drained::ALL.len()],
    headers_refused: [AtomicU64; HeaderFlaw::ALL.len()],
}

impl Books {
    pub(super) fn sums(&self) -> Sums {
        Sums {
            connections: self.connections.sums(),
            exchanges: std::array::from_fn(|index| self.exchanges[index].sums()),
        }
    }

    /// A connection left during a drain.
    pub(super) fn drained(&self, outcome: Outcome) {
        let how = match outcome {
            Outcome::Finished => Drained::Success,
            Outcome::Farewelled(_) => Drained::Timeout,
            Outcome::Cut(_) => Drained::Failed,
        };
        self.drained[how as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn drained_count(&self, how: Drained) -> u64 {
        self.drained[how as usize].load(Relaxed)
    }

    /// A connection began without a good PROXY header.
    pub(super) fn header_refused(&self, flaw: HeaderFlaw) {
        self.headers_refused[flaw as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn headers_refused(&self, flaw: HeaderFlaw) -> u64 {
        self.headers_refused[flaw as usize].load(Relaxed)
    }

    /// Over connections without a request and over exchanges.
    pub(super) fn farewells(&self, kind: Farewell) -> u64 {
        let exchanges = self.exchanges.iter().map(|tally| tally.farewells(kind));
        exchanges.sum::<u64>() + self.connections.half_open_farewells(kind)
    }
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
        // In one order with everything else that is, or two tasks could each
        // miss what the other counts (see `Berth`).
        self.opened.fetch_add(1, SeqCst);
    }

    /// What was opened last was not begun after all.
    pub(super) fn taken_back(&self) {
        self.opened.fetch_sub(1, SeqCst);
    }

    /// How many are open.
    pub(super) fn open(&self) -> u64 {
        let sum =
            |counters: &[AtomicU64]| -> u64 { counters.iter().map(|one| one.load(SeqCst)).sum() };
        // Ends first: what is opened meanwhile is counted, what ends is not.
        let closed = self.finished.load(SeqCst) + sum(&self.farewells) + sum(&self.cuts);
        self.opened.load(SeqCst).saturating_sub(closed)
    }

    pub(super) fn closed(&self, outcome: Outcome) {
        match outcome {
            Outcome::Finished => self.finished.fetch_add(1, SeqCst),
            Outcome::Farewelled(kind) => self.farewells[kind as usize].fetch_add(1, SeqCst),
            Outcome::Cut(reason) => self.cuts[reason as usize].fetch_add(1, SeqCst),
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
        let sum = |counters: &[AtomicU64]| counters.iter().map(|one| one.load(SeqCst)).sum();
        // Ends first, as in `open`: nothing ends that was not opened.
        let (finished, farewelled) = (self.finished.load(SeqCst), sum(&self.farewells));
        let cut = sum(&self.cuts);
        Ledger {
            opened: self.opened.load(SeqCst),
            finished,
            farewelled,
            cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn at_no_instant_has_more_ended_than_was_opened() {
        let tally = Tally::default();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..200_000 {
                    tally.opened();
                    tally.closed(Outcome::Finished);
                }
                done.store(true, SeqCst);
            });
            while !done.load(SeqCst) {
                let sums = tally.sums();
                assert!(sums.opened >= sums.closed(), "{sums:?}");
            }
        });
        assert!(tally.sums().balanced());
    }
}
