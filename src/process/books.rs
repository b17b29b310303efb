//! What a drain did: the course from the machine, the sums from the registry.
//!
//! A [`Opening`] is kept from the moment in which a drain began; at its end the
//! difference makes the receipt.
//!
//! Deliberately absent: what a receipt says (see `drain`).

use super::recording::Recording;
use crate::clock;
use crate::drain::{
    AcceptFilter, Accounts, Course, Foretold, HookRan, Outcome, Receipt, Stage, Watch,
};
use crate::proxy::registry::{Registry, Sums};
use std::sync::Arc;
use std::time::Duration;

/// What had been counted when a drain began.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    before: Sums,
    /// When it began, since the Unix epoch.
    pub(super) unix: Duration,
    /// Its trace, if traces are sent.
    pub(super) recording: Option<Recording>,
}

/// What was counted and noted of all that the drain was of.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) sums: Sums,
    pub(super) watch: Watch,
    /// What became of the filter on the listening sockets.
    pub(super) accept_filter: Option<AcceptFilter>,
    /// What had been foreseen, and what came true.
    pub(super) foretold: Vec<Foretold>,
    /// What the hooks came to so far.
    pub(super) hooks: Vec<HookRan>,
}

impl Opening {
    /// A drain begins, over what has these sums.
    pub(super) fn at(before: Sums, recording: Option<Recording>) -> Self {
        let unix = clock::unix();
        Self {
            before,
            unix,
            recording,
        }
    }

    /// The id of its trace.
    pub(super) fn trace(&self) -> Option<&Arc<str>> {
        self.recording.as_ref().map(Recording::id)
    }

    /// The receipt of the drain that took this course.
    pub(super) fn receipt(&self, course: Course, registry: &Registry, whole: Whole) -> Receipt {
        let sums = whole.sums.since(&self.before);
        let mut stages = course.timeline.iter();
        let refused = stages.find(|span| span.stage == Stage::Refuse);
        let refused = refused.map(|span| span.began);
        let (mut told, told_omitted) = registry.told();
        told.retain(|one| one.outcome != Outcome::Finished);
        if let Some(listener) = &course.listener {
            told.retain(|one| one.listener == *listener);
        }
        if let Some(server) = &course.server {
            told.retain(|one| one.server.as_ref() == Some(server));
        }
        let accounts = Accounts {
            connections: sums.connections,
            requests: sums.exchanges,
            told,
            told_omitted,
            accept_filter: whole.accept_filter,
            foretold: whole.foretold,
            hooks: whole.hooks,
            compliance: whole.watch.compliance(course.started, refused),
            trace: self.trace().map(ToString::to_string),
        };
        Receipt::of(course, self.unix, clock::now(), accounts)
    }
}

/// A receipt's sums, to the log.
pub(super) fn completed(receipt: &Receipt, event: &str) {
    let exchanges = receipt.exchanges();
    tracing::info!(
        event,
        listener = receipt.listener,
        server = receipt.server,
        trace = receipt.trace,
        duration_ms = whole(receipt.duration_ms),
        connections = receipt.connections.opened,
        opened = exchanges.opened,
        finished = exchanges.finished,
        farewelled = exchanges.farewelled,
        cut = exchanges.cut,
        lost = receipt.lost,
        "{}",
        receipt.verdict(),
    );
}

/// Milliseconds, without their fractions.
fn whole(millis: f64) -> u64 {
    let span = Duration::from_secs_f64(millis.max(0.0) / 1000.0);
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
