//! The end of a connection that has been too old for too long.
//!
//! At `max_age` a connection is retired, and what is in flight on it goes on.
//! Some of that has no end of its own: event streams, calls, tunnels. So with
//! `max_age_grace` each exchange that is still there so much later gets the
//! farewell of its protocol, as in a drain, and what has not left after the
//! plan's `farewell` is cut. It is the machinery of a drain, for one connection.
//!
//! Invariant: without a grace nothing is spent on it.
//!
//! Deliberately absent: a reload's say. A connection keeps the age and the
//! grace that it began with.

use super::pace;
use crate::clock;
use crate::config::Listener;
use crate::drain::Timestamp;
use crate::proxy::registry::{Limit, Record};
use std::future::pending;
use std::sync::Arc;
use tokio::time::sleep_until;

/// When what is on it gets its farewell, if ever.
pub(super) fn outlived(listener: &Listener, record: &Record) -> Option<Timestamp> {
    let grace = listener.max_age_grace;
    let aged = pace::aged(listener, record.id, record.accepted)?;
    (!grace.is_zero()).then(|| aged + grace)
}

/// See to it; never returns.
pub(super) async fn watch(record: Arc<Record>, at: Timestamp) {
    sleep_until(clock::instant(at)).await;
    if record.in_flight() > 0 {
        record.scope().limited(Limit::MaxAgeGrace);
    }
    record.outlive();
    let farewell = record.scope().orders().plan.farewell;
    tokio::time::sleep(farewell).await;
    record.outstay();
    pending::<()>().await;
}
