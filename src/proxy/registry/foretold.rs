//! What was foreseen of exchanges, against what became of them.
//!
//! A mark is put on each exchange that a forecast speaks of; the guard that is
//! dropped counts it here. So a forecast is held to those it spoke of, and not
//! to whatever began later.
//!
//! Invariant: a mark that was put is counted exactly once. Deliberately
//! absent: any cost where nothing was foreseen.

use super::exchange::{Marks, Round};
use crate::drain::{Compared, Outcome, Protocol, Verdict};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const VERDICTS: usize = Verdict::ALL.len();

/// Counts by round, protocol and verdict.
#[derive(Debug, Default)]
pub(super) struct Foretelling {
    rounds: [[Counts; Protocol::ALL.len()]; Round::ALL.len()],
}

#[derive(Debug, Default)]
struct Counts {
    said: [AtomicU64; VERDICTS],
    finished: [AtomicU64; VERDICTS],
    told: [AtomicU64; VERDICTS],
}

impl Foretelling {
    pub(super) fn said(&self, round: Round, protocol: Protocol, verdict: Verdict) {
        let counts = &self.rounds[round as usize][protocol as usize];
        counts.said[verdict as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self, marks: Marks, protocol: Protocol, outcome: Outcome) {
        for round in Round::ALL {
            let Some(verdict) = marks.of(round) else {
                continue;
            };
            let counts = &self.rounds[round as usize][protocol as usize];
            let came = if outcome == Outcome::Finished {
                &counts.finished
            } else {
                &counts.told
            };
            came[verdict as usize].fetch_add(1, Relaxed);
        }
    }

    /// What came true, of each protocol that anything was said of.
    pub(super) fn compared(&self, round: Round) -> BTreeMap<Protocol, Compared> {
        let counts = Protocol::ALL.into_iter().zip(&self.rounds[round as usize]);
        counts
            .map(|(protocol, counts)| (protocol, counts.compared()))
            .filter(|(_, compared)| *compared != Compared::default())
            .collect()
    }

    pub(super) fn clear(&self) {
        for counts in self.rounds.iter().flatten() {
            for count in [&counts.said, &counts.finished, &counts.told] {
                for count in count {
                    count.store(0, Relaxed);
                }
            }
        }
    }
}

impl Counts {
    fn compared(&self) -> Compared {
        let read = |counts: &[AtomicU64; VERDICTS], verdict: Verdict| {
            counts[verdict as usize].load(Relaxed)
        };
        let either = |counts| read(counts, Verdict::Farewell) + read(counts, Verdict::Cut);
        Compared {
            finish: read(&self.said, Verdict::Finish),
            finish_came_true: read(&self.finished, Verdict::Finish),
            told: either(&self.said),
            told_came_true: either(&self.told),
            unknown: read(&self.said, Verdict::Unknown),
            unknown_finished: read(&self.finished, Verdict::Unknown),
        }
    }
}
