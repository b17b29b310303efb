//! What the admin interface shows, as values: written by it, read by the
//! command line.
//!
//! Invariant: a view is a copy taken at one call; its times are milliseconds
//! counted from that call, so that who reads it needs no clock of ours.
//!
//! Deliberately absent: the receipt and the forecast, which are views of their
//! own (see [`Receipt`](crate::drain::Receipt), [`Forecast`](crate::drain::Forecast)).

mod config;
mod connections;
mod forecast;
mod logs;
mod progress;
mod server;
mod status;

pub use config::InForce;
pub use connections::{Connection, Connections};
pub use forecast::Foresight;
pub use logs::Logs;
pub use progress::{Deadlines, Progress};
pub use server::{Server, ServerProgress, ServerState};
pub use status::{Listener, Source, Status, Upstream, Upstreams};

use crate::drain::Protocol;
use crate::proxy::registry::Record;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Whole milliseconds.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds with microseconds as fractions.
fn fine_millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

/// What is in flight, for every protocol.
fn in_flight(records: &[Arc<Record>]) -> BTreeMap<Protocol, u64> {
    let sum = |protocol| {
        let counts = records.iter().map(|record| record.in_flight_of(protocol));
        counts.map(u64::from).sum()
    };
    Protocol::ALL
        .into_iter()
        .map(|protocol| (protocol, sum(protocol)))
        .collect()
}
