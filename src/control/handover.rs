//! A handover: how it is asked for, and who went before.
//!
//! Invariant: who is answered with an error knows that nothing was handed over.
//!
//! Deliberately absent: doing it.

use crate::drain::{Phase, Protocol, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A process that handed over and still has work in flight, as it was when it
/// last told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Predecessor {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Where its own admin interface is; none if it could not have one.
    pub admin: Option<String>,
    /// Its lifecycle position.
    pub phase: Phase,
    /// The stage of its drain.
    pub stage: Option<Stage>,
    /// Its open connections.
    pub connections: u64,
    /// What it has in flight, by protocol.
    pub in_flight: BTreeMap<Protocol, u64>,
    /// When it will be gone at the latest, from when it told.
    pub latest_in_ms: u64,
}

/// Why nothing was handed over.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum NotHandedOver {
    /// Nobody is there to take over.
    #[error("no successor waits; start one with `ebbtide run --takeover --standby`")]
    Nobody,
    /// The process is leaving, or has a successor.
    #[error("{0}")]
    Refused(String),
}
