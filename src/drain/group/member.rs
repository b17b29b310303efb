//! One listener's place in a group: its name, whom it waits for, its machine.
//!
//! Invariant: a member that is drained alone stays so until it is taken back
//! or over; the drain of the process neither begins nor cancels its drain.
//!
//! Deliberately absent: when it waits. The group knows the others.

use crate::drain::machine::Machine;
use crate::drain::phase::Phase;
use std::sync::Arc;

/// A member of a group, for as long as the group exists.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct MemberId(pub(super) u32);

/// One listener's place in a group.
#[derive(Clone, Debug)]
pub struct Member {
    pub(super) id: MemberId,
    pub(super) name: Arc<str>,
    pub(super) after: Vec<Arc<str>>,
    pub(super) machine: Machine,
    /// Its drain was asked for alone: the process's is none of its.
    pub(super) alone: bool,
}

impl Member {
    /// What names it in the group.
    #[must_use]
    pub const fn id(&self) -> MemberId {
        self.id
    }

    /// Its name in the config.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether its drain was asked for alone, and is none of the process's.
    #[must_use]
    pub const fn alone(&self) -> bool {
        self.alone
    }

    /// Its own drain.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(super) fn is_over(&self) -> bool {
        self.machine.phase() == Phase::Terminated
    }
}
