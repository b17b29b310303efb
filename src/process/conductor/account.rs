//! What a drain began with and what it did: the receipt, the log, the metrics.
//!
//! Invariant: a receipt is published after the last status.
//!
//! Deliberately absent: counting (see `process::books`).

use super::{Conductor, millis};
use crate::config::Occasion;
use crate::drain::{MemberId, Trigger};
use crate::process::books::{Opening, Whole, completed};
use std::sync::Arc;
use std::time::Duration;

impl Conductor {
    pub(super) fn begun(&mut self) {
        self.hooks.drain_begins();
        self.setup.set_warming(false);
        self.admin.registry.foretell_anew();
        let registry = &self.admin.registry;
        let opening = Opening::at(registry.sums(), self.setup.recording());
        self.admin.metrics.shutdown_started(opening.unix);
        let trace = opening.trace().cloned();
        self.opening = Some(opening);
        let in_flight: u32 = registry.records().iter().map(|one| one.in_flight()).sum();
        tracing::info!(
            event = "shutdown_start",
            trigger = self.group.trigger().map(Trigger::as_str),
            grace_period_ms = millis(self.group.plan().grace),
            active_requests = in_flight,
            pending_tasks = registry.open(),
            trace = trace.as_deref(),
        );
    }

    pub(super) fn listener_terminated(&mut self, id: MemberId) {
        let registry = &self.admin.registry;
        let mut posts = self.posts.iter_mut();
        let receipt = posts
            .find(|post| post.id == id)
            .and_then(|post| post.close(&self.group, registry));
        if let Some(receipt) = receipt {
            completed(&receipt, "listener_drained");
            self.publish();
        }
    }

    pub(super) fn terminated(&mut self) {
        let registry = &self.admin.registry;
        let (Some(course), Some(opening)) = (self.group.course(), self.opening.as_ref()) else {
            return;
        };
        let filters = self.posts.iter().filter_map(|post| post.accept_filter);
        let whole = Whole {
            sums: registry.sums(),
            watch: registry.watch(),
            accept_filter: filters.max(),
            foretold: self.foresights.compared(registry),
            hooks: self.hooks.ran(),
        };
        let receipt = opening.receipt(course, registry, whole);
        let took = Duration::from_secs_f64(receipt.duration_ms.max(0.0) / 1000.0);
        self.admin.metrics.shutdown_took(took);
        completed(&receipt, "SHUTDOWN_COMPLETED");
        let receipt = Arc::new(receipt);
        self.keeper.keep(&receipt);
        self.receipt = Some(Arc::clone(&receipt));
        self.inbox.publish_receipt(Arc::clone(&receipt));
        self.admin.tell();
        self.occasion(Occasion::Terminated, None, Some(&receipt));
    }
}
