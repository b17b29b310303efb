//! What a drain did: the course from the machine, the sums from the registry.
//!
//! A [`Opening`] is kept from the moment in which a drain began; at its end the
//! difference makes the receipt.
//!
//! Deliberately absent: what a receipt says (see `drain`).

use crate::clock;
use crate::drain::{AcceptFilter, Accounts, Course, Outcome, Receipt};
use crate::proxy::registry::{Registry, Sums};
use std::time::Duration;

/// What had been counted when a drain began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    before: Sums,
    /// When it began, since the Unix epoch.
    pub(super) unix: Duration,
}

impl Opening {
    /// A drain begins, over what has these sums.
    pub(super) fn at(before: Sums) -> Self {
        let unix = clock::unix();
        Self { before, unix }
    }

    /// The receipt of the drain that took this course.
    pub(super) fn receipt(
        &self,
        course: Course,
        registry: &Registry,
        sums: &Sums,
        accept_filter: Option<AcceptFilter>,
    ) -> Receipt {
        let sums = sums.since(&self.before);
        let (mut told, told_omitted) = registry.told();
        told.retain(|one| one.outcome != Outcome::Finished);
        if let Some(listener) = &course.listener {
            told.retain(|one| one.listener == *listener);
        }
        let accounts = Accounts {
            connections: sums.connections,
            requests: sums.exchanges,
            told,
            told_omitted,
            accept_filter,
        };
        Receipt::of(course, self.unix, clock::now(), accounts)
    }
}
