//! The process as a service: what the service manager is told, and keeps.
//!
//! Invariant: sockets are taken back from it before they are shut; kept there,
//! they would go on taking clients whom nobody serves.
//!
//! Deliberately absent: how it is told (see `process::systemd`).

use super::Conductor;
use crate::admin::LAST_ANSWERS;
use crate::clock;
use crate::drain::{MemberId, Phase, Timestamp, Trigger};
use crate::process::keeper;
use crate::process::systemd::Standing;
use crate::process::worker::Workers;
use crate::telemetry::logs;
use std::sync::Arc;
use std::time::Duration;

/// For what is on its way out when there is no time left at all.
const LAST_FLUSH: Duration = Duration::from_millis(100);

/// For what takes no time: threads that end, logs that are written.
const LAST_STEPS: Duration = Duration::from_secs(1);

impl Conductor {
    /// Everything is accepted and served.
    pub(super) fn serves(&mut self) {
        for post in &self.posts {
            self.systemd.store(post.scope.listener(), post.sockets());
        }
        self.systemd.ready();
    }

    /// The process lives; do its workers?
    pub(super) fn beat(&mut self) {
        let well = self.workers.as_ref().is_none_or(Workers::roll_call);
        self.systemd.beat(well);
        self.stands();
    }

    /// Tell where the process stands.
    pub(super) fn stands(&mut self) {
        // Before it serves there is nothing to tell, and looking costs time.
        if !self.systemd.listens() || self.group.phase() < Phase::Active {
            return;
        }
        let registry = &self.admin.registry;
        let draining = self.group.started().is_some();
        let in_flight = if draining {
            let records = registry.records();
            records.iter().map(|one| u64::from(one.in_flight())).sum()
        } else {
            0
        };
        let afterwards = self.afterwards_at_most();
        let standing = Standing {
            phase: self.group.phase(),
            stage: self.group.stage().filter(|_| draining),
            latest: self.group.latest().map(|latest| latest + afterwards),
            listeners: self.posts.len(),
            connections: registry.open(),
            in_flight,
        };
        self.systemd.follow(&standing);
    }

    /// How long the process may still be there when its drain is over.
    fn afterwards_at_most(&self) -> Duration {
        let config = &self.setup.config;
        let hooks = config.hooks.iter().map(|hook| hook.timeout);
        let pools = config.upstreams.iter().map(|one| one.pool.close);
        let waits = hooks.chain(pools).chain([config.admin.linger]).max();
        waits.unwrap_or_default() + keeper::LIMIT + LAST_ANSWERS + LAST_STEPS
    }

    /// Until when connections to servers are waited for, now that the drain is
    /// over: who gives the time must not end the process before its last steps.
    pub(super) fn waits_until(&self) -> Timestamp {
        let now = clock::now();
        let Some(started) = self.group.started() else {
            return now;
        };
        if self.group.trigger() == Some(Trigger::Handover) {
            // Nobody gives it.
            return now + self.afterwards_at_most();
        }
        let grace = self.setup.config.given.unwrap_or(self.group.plan().grace);
        let latest = started + grace.saturating_sub(LAST_STEPS);
        latest.max(now + LAST_FLUSH)
    }

    /// Keep new connections out of a listener.
    pub(super) fn shut(&mut self, id: MemberId) {
        let Some(index) = self.posts.iter().position(|post| post.id == id) else {
            return;
        };
        let name = Arc::clone(self.posts[index].scope.listener());
        self.systemd.forget(&name);
        self.posts[index].shut(&self.group);
        // The name may be that of a listener that a reload has put in its place.
        for post in &self.posts {
            if *post.scope.listener() == name {
                self.systemd.store(&name, post.sockets());
            }
        }
    }
}

/// Nobody waits for the disk but this task; it says what came of it.
pub(super) async fn reopen_logs() {
    match logs::reopen().await {
        Ok(paths) if paths.is_empty() => {
            let message = "logs go to a stream: nothing to open anew";
            tracing::info!(event = "logs_reopened", "{message}");
        }
        Ok(paths) => tracing::info!(event = "logs_reopened", ?paths),
        Err(error) => tracing::error!(event = "logs_reopened", "{error}"),
    }
}
