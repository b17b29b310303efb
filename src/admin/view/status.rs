//! The process at a glance: `GET /v1/status`.
//!
//! Invariant: everything in it is also in a metric, or fixed at start. Absent:
//! single connections, and the drain's times (see `progress`).

use super::server::Server;
use super::{in_flight, millis};
use crate::admin::Admin;
use crate::clock;
use crate::control::{Predecessor, SourceStatus};
use crate::drain::{Phase, Plan, Protocol, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The process at a glance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The version of this program.
    pub version: String,
    /// The process id.
    pub pid: u32,
    /// Drawn by lot when the process began: who asks an address twice sees
    /// whether the same process answers, also where every process has the same
    /// id, as in containers. Empty if an older version does not say.
    #[serde(default)]
    pub instance: String,
    /// Since the process began.
    pub uptime_ms: u64,
    /// The lifecycle position.
    pub phase: Phase,
    /// The stage of the drain under way.
    pub stage: Option<Stage>,
    /// The id of the drain's trace, if traces are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Whether new traffic should be sent here.
    pub ready: bool,
    /// Open connections.
    pub connections: u64,
    /// What is in flight, by protocol.
    pub in_flight: BTreeMap<Protocol, u64>,
    /// The listeners, in the order of the config.
    pub listeners: Vec<Listener>,
    /// The upstreams, in the order of the config.
    pub upstreams: Vec<Upstream>,
    /// The timeline of the drain under way, or of the next one.
    pub plan: Plan,
    /// The file of the config in force.
    #[serde(default)]
    pub config: String,
    /// The socket on which a successor asks, if there is one.
    #[serde(default)]
    pub handover: Option<String>,
    /// The process that took over, if one did.
    #[serde(default)]
    pub successor: Option<u32>,
    /// Processes that handed over and still have work in flight, as they last
    /// told.
    #[serde(default)]
    pub predecessors: Vec<Predecessor>,
}

/// A listener and the address that it is bound to.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// Its name in the config.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Its lifecycle position; it can be drained alone.
    pub phase: Phase,
    /// The stage of its drain.
    pub stage: Option<Stage>,
    /// Whether new traffic should be sent to it.
    pub ready: bool,
}

/// An upstream and its servers.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Upstream {
    /// Its name in the config.
    pub name: String,
    /// What has its place there, also between two servers.
    #[serde(default)]
    pub in_flight: u64,
    /// What waits until something in flight ends.
    #[serde(default)]
    pub queued: u64,
    /// How much may be in flight at once, if there is a limit.
    #[serde(default)]
    pub limit: Option<u64>,
    /// How many requests were refused for want of room.
    #[serde(default)]
    pub refused: u64,
    /// Its servers, in the order of the config, then those that were found.
    pub servers: Vec<Server>,
    /// What is asked for servers.
    #[serde(default)]
    pub sources: Vec<Source>,
}

/// What is asked for servers, and how it gets on.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// What is asked.
    pub name: String,
    /// How many servers it has.
    pub servers: usize,
    /// What came of the last question: `found`, `nothing` or `outage`; null if
    /// none has an answer yet.
    pub last: Option<String>,
    /// Why that was not servers.
    pub why: Option<String>,
    /// How long ago there was an answer.
    pub answered_ms: Option<u64>,
    /// When it is asked next.
    pub next_in_ms: u64,
}

impl Source {
    fn of(status: &SourceStatus) -> Self {
        let (state, now) = (status.state(), clock::now());
        Self {
            name: status.source.to_string(),
            servers: state.servers,
            last: state.last.map(|last| last.as_str().to_owned()),
            why: state.why.as_deref().map(str::to_owned),
            answered_ms: state.answered.map(|at| millis(now.saturating_since(at))),
            next_in_ms: millis(state.next.saturating_since(now)),
        }
    }
}

/// Every upstream.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Upstreams {
    /// In the order of the config.
    pub upstreams: Vec<Upstream>,
}

impl Admin {
    /// How this process gets on, for the one that took over.
    #[must_use]
    pub fn as_predecessor(&self, admin: Option<String>) -> Predecessor {
        let status = self.control.status();
        let process = &status.process;
        let records = self.registry.records();
        let latest = process.latest.unwrap_or_else(clock::now);
        Predecessor {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            admin,
            phase: process.phase,
            stage: process.stage,
            connections: records.len() as u64,
            in_flight: in_flight(&records),
            latest_in_ms: millis(latest.saturating_since(clock::now())),
        }
    }

    pub(in crate::admin) fn upstreams_view(&self) -> Upstreams {
        let (upstreams, sources) = (self.upstreams.load(), self.sources.load());
        let upstreams = upstreams.iter().map(|upstream| {
            let own = sources
                .iter()
                .filter(|one| one.upstream == *upstream.name());
            Upstream {
                name: upstream.name().to_string(),
                in_flight: upstream.seats().in_flight(),
                queued: upstream.seats().waiting(),
                limit: upstream.seats().most(),
                refused: upstream.seats().refused_in_all(),
                servers: self.servers_of(upstream),
                sources: own.map(|one| Source::of(one)).collect(),
            }
        });
        Upstreams {
            upstreams: upstreams.collect(),
        }
    }

    pub(in crate::admin) fn status_view(&self) -> Status {
        let status = self.control.status();
        let records = self.registry.records();
        let listeners = status.listeners.iter().map(|one| Listener {
            name: one.name.to_string(),
            address: one.address.to_string(),
            phase: one.position.phase,
            stage: one.position.stage,
            ready: one.position.ready && status.process.ready,
        });
        let process = &status.process;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            instance: self.instance.clone(),
            uptime_ms: millis(clock::now().since_start()),
            phase: process.phase,
            stage: process.stage,
            trace: process.trace.as_deref().map(str::to_owned),
            ready: process.ready,
            connections: records.len() as u64,
            in_flight: in_flight(&records),
            listeners: listeners.collect(),
            upstreams: self.upstreams_view().upstreams,
            plan: process.plan,
            config: status.config.display().to_string(),
            handover: status.door.as_ref().map(|path| path.display().to_string()),
            successor: status.successor,
            predecessors: status.predecessors.clone(),
        }
    }
}
