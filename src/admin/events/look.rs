//! A look at the process: as much as news are made of.
//!
//! Invariant: taking one changes nothing, and costs nothing that grows with the
//! number of connections.
//!
//! Deliberately absent: connections (see `tell`).

use crate::admin::Admin;
use crate::admin::view::ServerState;
use crate::control::{Position, ServerName};
use crate::drain::{CutReason, Farewell, Phase, Protocol, Stage, Timestamp, Trigger};
use serde::Serialize;
use std::collections::BTreeMap;

/// The process at one instant.
#[derive(Clone, PartialEq, Debug, Default)]
pub(in crate::admin) struct Look {
    pub(super) process: Course,
    pub(super) listeners: Vec<(String, Course)>,
    pub(super) servers: Vec<(ServerName, ServerLook)>,
    pub(super) successor: Option<u32>,
    pub(super) predecessors: Vec<u32>,
    pub(super) farewells: BTreeMap<&'static str, u64>,
    pub(super) cuts: BTreeMap<&'static str, u64>,
}

/// How far the process is, or a listener.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Course {
    pub(super) phase: Phase,
    pub(super) started: Option<Timestamp>,
    pub(super) trigger: Option<Trigger>,
    /// Those reached.
    pub(super) stages: Vec<Stage>,
    /// Whether it is a listener that leaves without its process.
    pub(super) alone: bool,
}

/// A server.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(in crate::admin) struct ServerLook {
    pub(super) up: bool,
    pub(super) state: ServerState,
    pub(super) standing: String,
}

impl Course {
    fn of(position: &Position, alone: bool) -> Self {
        Self {
            phase: position.phase,
            started: position.started,
            trigger: position.trigger,
            stages: position.stages.iter().map(|span| span.stage).collect(),
            alone,
        }
    }
}

impl Look {
    pub(super) fn at(admin: &Admin) -> Self {
        let status = admin.control.status();
        let process_drains = status.process.started.is_some();
        let listeners = status.listeners.iter().map(|one| {
            let position = &one.position;
            let alone = position.started.is_some() && !process_drains;
            (one.name.to_string(), Course::of(position, alone))
        });
        let upstreams = admin.upstreams_view().upstreams.into_iter();
        let servers = upstreams.flat_map(|upstream| {
            let servers = upstream.servers.into_iter();
            servers.map(move |server| {
                let look = ServerLook {
                    up: server.up,
                    state: server.state,
                    standing: server.standing,
                };
                let name = ServerName {
                    upstream: upstream.name.clone(),
                    server: server.name,
                };
                (name, look)
            })
        });
        let registry = &admin.registry;
        let farewells = Farewell::ALL.map(|kind| (kind.as_str(), registry.farewells(kind)));
        let cuts = CutReason::ALL.map(|reason| {
            let counts = Protocol::ALL.map(|protocol| registry.cuts(protocol, reason));
            (reason.as_str(), counts.iter().sum())
        });
        Self {
            process: Course::of(&status.process, false),
            listeners: listeners.collect(),
            servers: servers.collect(),
            successor: status.successor,
            predecessors: status.predecessors.iter().map(|one| one.pid).collect(),
            farewells: farewells.into(),
            cuts: cuts.into(),
        }
    }
}
