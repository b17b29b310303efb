//! The only reader of time.
//!
//! Every other module is handed a [`Timestamp`]; none asks the system. That
//! keeps the drain machine deterministic and makes "when" a parameter that a
//! test can choose. Timestamps count from the first reading in this process,
//! on the monotonic clock; wall-clock time exists only for people, in
//! receipts and metrics.
//!
//! Deliberately absent: sleeping. Timers belong to whoever waits; this module
//! only converts a [`Timestamp`] into the instant that a timer needs.

use crate::drain::Timestamp;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();

fn origin() -> std::time::Instant {
    *ORIGIN.get_or_init(std::time::Instant::now)
}

/// The monotonic time now, counted from the first reading in this process.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_start(origin().elapsed())
}

/// The instant at which a runtime timer must fire to mean `at`.
#[must_use]
pub fn instant(at: Timestamp) -> Instant {
    Instant::from_std(origin() + at.since_start())
}

/// The monotonic clock as the system counts it (`CLOCK_MONOTONIC`), for those
/// outside of this process who read it too.
#[must_use]
pub fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.try_into().unwrap_or_default()
}

/// Wall-clock time since the Unix epoch; zero if the clock stands before it.
#[must_use]
pub fn unix() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
