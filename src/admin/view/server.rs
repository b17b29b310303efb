//! One server of an upstream and how far its drain is: `GET
//! /v1/upstreams/{upstream}/servers/{server}/drain`.
//!
//! Invariant: the same members whether or not it is drained. What is in flight
//! is what is on this server, whoever's connection carries it.
//!
//! Deliberately absent: its connections, which are no clients'.

use super::progress::Deadlines;
use super::{fine_millis, millis};
use crate::admin::Admin;
use crate::clock;
use crate::control::{ServerName, ServerStatus};
use crate::drain::{Plan, Protocol, Receipt, Stage, Timestamp, Trigger};
use crate::proxy::registry::Berth;
use crate::proxy::upstream;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a server stands.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// It is given requests while it is up.
    Serving,
    /// It is given none, and what is in flight on it is waited for.
    Draining,
    /// It was asked back while some were told to leave: it serves as soon as
    /// they have.
    Returning,
    /// Nothing is in flight on it, and it is given none until it is asked back.
    Drained,
}

impl ServerState {
    /// The name used in text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Returning => "returning",
            Self::Drained => "drained",
        }
    }

    fn of(status: Option<&ServerStatus>) -> Self {
        match status {
            None => Self::Serving,
            Some(status) if status.returns => Self::Returning,
            Some(status) if status.position.draining() => Self::Draining,
            Some(_) => Self::Drained,
        }
    }
}

/// A server and its health.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Server {
    /// As it is written in the config.
    pub name: String,
    /// Whether its health is good.
    pub up: bool,
    /// Whether it is held out of rotation by a drain, under way or over.
    pub draining: bool,
    /// Where it stands.
    pub state: ServerState,
    /// What is in flight on it.
    pub in_flight: u64,
    /// How it stands among the others: `serving`, `warming`, `ejected`, `going`
    /// or `down`.
    #[serde(default)]
    pub standing: String,
    /// Why, if it is not given its share.
    #[serde(default)]
    pub why: Option<String>,
    /// Its weight, in thousandths, as far as it counts now.
    #[serde(default)]
    pub weight_milli: u64,
}

impl Server {
    /// Its health in a word: `up`, unless it does not get its whole share.
    #[must_use]
    pub fn health(&self) -> &str {
        match self.standing.as_str() {
            "" | "serving" if self.up => "up",
            "" | "serving" => "down",
            other => other,
        }
    }

    /// The same, or where its drain is if there is one.
    #[must_use]
    pub fn said(&self) -> &str {
        match self.state {
            ServerState::Serving => self.health(),
            state => state.as_str(),
        }
    }
}

/// How far the drain of a server is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServerProgress {
    /// The upstream, by its name in the config.
    pub upstream: String,
    /// The server, as it is written there.
    pub server: String,
    /// Where it stands.
    pub state: ServerState,
    /// Whether its health is good; false if nobody checks any more.
    pub up: bool,
    /// Whether a reload took it out of the config.
    pub removed: bool,
    /// The furthest stage of its drain.
    pub stage: Option<Stage>,
    /// What started the drain.
    pub trigger: Option<Trigger>,
    /// The id of its trace, if traces are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Since the drain began.
    pub elapsed_ms: Option<f64>,
    /// What is in flight on it, by protocol.
    pub in_flight: BTreeMap<Protocol, u64>,
    /// Since when the oldest of that is there.
    pub oldest_ms: Option<u64>,
    /// What comes when, if nothing ends the drain earlier.
    pub deadlines: Option<Deadlines>,
    /// The times that are given, or would be.
    pub plan: Plan,
    /// What the drain did, once it is over.
    pub receipt: Option<Receipt>,
}

impl Admin {
    /// The servers of an upstream.
    pub(super) fn servers_of(&self, upstream: &upstream::Upstream) -> Vec<Server> {
        let status = self.control.status();
        let servers = upstream.servers().into_iter().map(|server| {
            let name = ServerName {
                upstream: upstream.name().to_string(),
                server: server.name.to_string(),
            };
            let drained = status.server(&name).filter(|one| !one.removed);
            Server {
                name: name.server,
                up: server.up,
                draining: drained.is_some(),
                state: ServerState::of(drained),
                in_flight: server.berth.in_flight(),
                standing: server.position.as_str().to_owned(),
                why: server.why.as_deref().map(str::to_owned),
                weight_milli: server.weight_milli,
            }
        });
        servers.collect()
    }

    /// How far a server is; `None` if there is none of this name, and none of
    /// it is left either.
    pub(in crate::admin) fn server_view(&self, name: &ServerName) -> Option<ServerProgress> {
        let status = self.control.status();
        let known = self.known(name);
        let drained = status.server(name);
        // One that was put back into the config is not the one that was drained.
        let drained = drained.filter(|one| one.removed == known.is_none());
        let berth = match &known {
            Some(known) => Arc::clone(&known.berth),
            None => drained.and_then(|_| self.berth(name))?,
        };
        let now = clock::now();
        let position = drained.map(|one| &one.position);
        let under_way = position.filter(|position| position.draining());
        let since = |at: Timestamp| now.saturating_since(at);
        let deadlines = under_way.and_then(|position| {
            let started = position.started?;
            Some(Deadlines::of(position, started, now))
        });
        let oldest = self.registry.oldest_on(&berth);
        Some(ServerProgress {
            upstream: name.upstream.clone(),
            server: name.server.clone(),
            state: ServerState::of(drained),
            up: known.as_ref().is_some_and(|known| known.up),
            removed: known.is_none(),
            stage: position.and_then(|position| position.stage),
            trigger: position.and_then(|position| position.trigger),
            trace: position.and_then(|position| Some(position.trace.as_deref()?.to_owned())),
            elapsed_ms: position
                .and_then(|position| position.started)
                .map(|started| fine_millis(since(started))),
            in_flight: in_flight_on(&berth),
            oldest_ms: oldest.map(|began| millis(since(began))),
            deadlines,
            plan: position.map_or(status.process.plan, |position| position.plan),
            receipt: drained.and_then(|one| one.receipt.as_deref().cloned()),
        })
    }

    /// A server of the config.
    fn known(&self, name: &ServerName) -> Option<upstream::ServerStatus> {
        let upstreams = self.upstreams.load();
        let upstream = upstreams
            .iter()
            .find(|one| **one.name() == *name.upstream)?;
        let mut servers = upstream.servers().into_iter();
        servers.find(|server| *server.name == *name.server)
    }

    /// The last that was of this name.
    fn berth(&self, name: &ServerName) -> Option<Arc<Berth>> {
        let full = name.to_string();
        let berths = self.registry.berths().into_iter().rev();
        berths.into_iter().find(|berth| **berth.name() == *full)
    }
}

fn in_flight_on(berth: &Berth) -> BTreeMap<Protocol, u64> {
    let protocols = Protocol::ALL.into_iter();
    protocols
        .map(|protocol| (protocol, berth.in_flight_of(protocol)))
        .collect()
}
