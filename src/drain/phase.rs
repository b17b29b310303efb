//! The lifecycle position of the process, and the cell that others read it
//! from.
//!
//! Invariant: forward only, one winner per transition. The machine decides
//! transitions; the cell publishes them to threads that must not wait for the
//! machine, and its compare-and-swap makes sure that of two who saw the same
//! phase only one takes the step from it.
//!
//! Deliberately absent: what a transition causes. See `machine`.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU8, Ordering};

/// The lifecycle position of the process, in the order in which positions are
/// taken.
#[derive(
    Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Phase {
    /// Begun; signal handlers are installed, nothing else is.
    #[default]
    Idle,
    /// The config is read and checked.
    Validating,
    /// Everything that can fail has been tried; nothing is accepted yet.
    Ready,
    /// Connections are accepted. Also while a drain announces itself.
    Active,
    /// Connections are no more accepted; those that are there leave.
    Draining,
    /// Nothing is served any more.
    Terminated,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 6] = [
        Self::Idle,
        Self::Validating,
        Self::Ready,
        Self::Active,
        Self::Draining,
        Self::Terminated,
    ];

    /// The name used in metrics, logs and the admin interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Validating => "validating",
            Self::Ready => "ready",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Terminated => "terminated",
        }
    }

    fn from_u8(value: u8) -> Self {
        Self::ALL
            .get(usize::from(value))
            .copied()
            .unwrap_or(Self::Terminated)
    }
}

/// The phase as many threads see it.
#[derive(Debug, Default)]
pub struct PhaseCell(AtomicU8);

impl PhaseCell {
    /// A cell at [`Phase::Idle`].
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU8::new(Phase::Idle as u8))
    }

    /// The phase now. Whoever reads a phase sees all that was written before
    /// it was entered.
    #[must_use]
    pub fn get(&self) -> Phase {
        Phase::from_u8(self.0.load(Ordering::Acquire))
    }

    /// Go from `from` to the later phase `to`.
    ///
    /// # Errors
    /// The phase that holds, if it is not `from` (another caller was first)
    /// or if `to` is not later than `from`. Nothing was changed then.
    pub fn advance(&self, from: Phase, to: Phase) -> Result<(), Phase> {
        if to <= from {
            return Err(self.get());
        }
        self.0
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(Phase::from_u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn never_back_and_never_in_place() {
        let cell = PhaseCell::new();
        assert_eq!(cell.advance(Phase::Idle, Phase::Ready), Ok(()));
        assert_eq!(cell.advance(Phase::Ready, Phase::Idle), Err(Phase::Ready));
        assert_eq!(cell.advance(Phase::Ready, Phase::Ready), Err(Phase::Ready));
        assert_eq!(cell.advance(Phase::Idle, Phase::Active), Err(Phase::Ready));
        assert_eq!(cell.get(), Phase::Ready);
    }

    #[test]
    fn of_many_only_one_wins_each_transition() {
        let cell = PhaseCell::new();
        let gate = Barrier::new(4);
        for step in Phase::ALL.windows(2) {
            let (from, to) = (step[0], step[1]);
            let winners: usize = std::thread::scope(|scope| {
                let contest = || {
                    gate.wait();
                    usize::from(cell.advance(from, to).is_ok())
                };
                let contestants: Vec<_> = (0..4).map(|_| scope.spawn(contest)).collect();
                contestants
                    .into_iter()
                    .map(|thread| thread.join().expect("no panic"))
                    .sum()
            });
            assert_eq!(winners, 1, "{from:?} -> {to:?}");
        }
        assert_eq!(cell.get(), Phase::Terminated);
    }
}
