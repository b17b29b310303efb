//! What a hook is told: one JSON object, the same for programs and servers.
//!
//! Invariant: `event` is the word that stands after `on` in the config; what
//! is of no matter to an event is left out.
//!
//! Deliberately absent: anything of a client.

use crate::drain::{Phase, Receipt, Trigger};
use bytes::Bytes;
use serde::Serialize;
use std::net::SocketAddr;

/// What has happened, and where the process stands.
#[derive(Serialize, Debug)]
pub(in crate::process) struct News<'a> {
    pub(in crate::process) event: &'static str,
    pub(in crate::process) at_unix_ms: u64,
    pub(in crate::process) pid: u32,
    pub(in crate::process) phase: Phase,
    /// Who began the drain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::process) trigger: Option<Trigger>,
    pub(in crate::process) listeners: Vec<Bound>,
    pub(in crate::process) connections: usize,
    pub(in crate::process) in_flight: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::process) reload: Option<Outcome<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::process) receipt: Option<&'a Receipt>,
}

/// A listener.
#[derive(Serialize, Debug)]
pub(in crate::process) struct Bound {
    pub(in crate::process) name: String,
    pub(in crate::process) address: SocketAddr,
}

/// What became of a reload.
#[derive(Serialize, Debug)]
pub(in crate::process) struct Outcome<'a> {
    pub(in crate::process) result: &'static str,
    /// What it changed, or why it did nothing, in words.
    pub(in crate::process) text: &'a str,
}

impl News<'_> {
    /// As it is sent.
    pub(in crate::process) fn json(&self) -> Bytes {
        // Plain data: there is nothing in it that cannot be written.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}
