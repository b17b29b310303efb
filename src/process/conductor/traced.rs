//! Drains as traces, and the last spans of a process.
//!
//! Invariant: a drain has its trace before the orders that begin it, so that
//! whoever is ended by it can point there; its own spans are the last of a
//! process, and are sent when its receipt says all.
//!
//! Deliberately absent: exchanges, which are recorded where they end.

use super::{Conductor, interrupts};
use crate::drain::MemberId;
use crate::process::books::Opening;
use std::time::Duration;

impl Conductor {
    /// Put the orders of every listener's machine in force.
    pub(super) fn publish_orders(&mut self) {
        let (setup, whole) = (&self.setup, &self.opening);
        for post in &mut self.posts {
            post.publish(&self.group, &self.admin.registry, || match whole {
                Some(opening) => opening.recording.clone(),
                None => setup.recording(),
            });
        }
    }

    /// The id of the trace of the process's drain.
    pub(super) fn trace(&self) -> Option<&str> {
        Some(self.opening.as_ref()?.trace()?)
    }

    /// The same of a listener's.
    pub(super) fn trace_of(&self, id: MemberId) -> Option<&str> {
        let post = self.posts.iter().find(|post| post.id == id)?;
        Some(post.trace()?)
    }

    /// The process's drain was taken back.
    pub(super) fn taken_back(&mut self) {
        tracing::info!(
            event = "drain_cancelled",
            trace = self.trace(),
            "ready again"
        );
        self.admin.metrics.shutdown_cancelled();
        self.setup.set_warming(true);
        if let Some(opening) = self.opening.take() {
            opening.record_taken_back(None, None);
        }
    }

    /// Send what is left, the drain last, unless the operator has no time for
    /// it.
    pub(super) async fn last_spans(&mut self) {
        if let (Some(opening), Some(receipt)) = (&self.opening, &self.receipt) {
            Opening::record(opening, receipt);
        }
        let settings = self.setup.config.process.traces.as_ref();
        let limit = settings.map_or(Duration::ZERO, |settings| settings.flush);
        if limit.is_zero() {
            return;
        }
        tokio::select! {
            biased;
            () = interrupts(&mut self.signals, self.interrupted), if !self.cut => {}
            () = self.setup.traces.finish(limit) => {}
        }
    }
}
