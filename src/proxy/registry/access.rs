//! One line per exchange, for operators who ask for it (`logs.access`).
//!
//! Written when the exchange leaves the registry, so it is written whatever
//! happens to it. Where it is off, nothing is copied and nothing is formatted.

use super::record::Record;
use crate::drain::{Outcome, Protocol};
use std::time::Duration;

/// What a line says of the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// The method.
    pub method: http::Method,
    /// The host asked, without its port.
    pub host: Box<str>,
    /// Path and query.
    pub target: Box<str>,
}

/// What it says of the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) protocol: Protocol,
    pub(super) code: u16,
    pub(super) took: Duration,
    pub(super) outcome: Outcome,
}

impl Access {
    pub(super) fn log(&self, record: &Record, answered: Answered) {
        tracing::info!(
            target: "ebbtide::access",
            event = "access",
            connection = record.id,
            listener = %record.listener(),
            peer = %record.client.address(),
            protocol = answered.protocol.as_str(),
            method = %self.method,
            host = &*self.host,
            path = &*self.target,
            status = answered.code,
            took_us = u64::try_from(answered.took.as_micros()).unwrap_or(u64::MAX),
            outcome = answered.outcome.as_str(),
        );
    }
}
