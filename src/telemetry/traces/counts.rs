//! What became of spans: sent, or let go, and why.
//!
//! Invariant: each span that was to be sent waits, or is counted once.
//!
//! Deliberately absent: spans of exchanges that are not recorded.

use crate::telemetry::metrics::Family;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why spans were let go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Dropped {
    /// Too many waited already.
    QueueFull,
    /// The collector could not be reached, or answered with an error.
    Failed,
    /// The collector took the others of their batch.
    Rejected,
    /// A reload has turned traces off.
    Off,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::Failed, Self::Rejected, Self::Off];

    /// The name used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Off => "off",
        }
    }
}

/// Counters of spans.
#[derive(Debug, Default)]
pub struct Counts {
    exported: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

impl Counts {
    pub(super) fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Relaxed);
    }

    pub(super) fn dropped(&self, why: Dropped, spans: u64) {
        self.dropped[why as usize].fetch_add(spans, Relaxed);
    }

    /// The counters, as a scrape shows them.
    pub(in crate::telemetry) fn families(&self) -> [Family; 2] {
        let mut exported = Family::counter(
            "ebbtide_traces_exported",
            "Spans that the collector of traces has taken",
        )
        .answers("sum by (instance) (rate(ebbtide_traces_exported_total[5m]))");
        exported.add([], self.exported.load(Relaxed));
        let mut dropped = Family::counter(
            "ebbtide_traces_dropped",
            "Spans that were let go: too many waited, the collector failed or rejected them, or a \
             reload turned traces off",
        )
        .labelled(&["reason"])
        .answers("sum by (reason) (increase(ebbtide_traces_dropped_total[5m])) > 0");
        for why in Dropped::ALL {
            let count = self.dropped[why as usize].load(Relaxed);
            dropped.add([("reason", why.as_str().to_owned())], count);
        }
        [exported, dropped]
    }
}
