//! Where the process and its listeners stand: what readers are shown.
//!
//! Invariant: a [`Status`] is of one instant; it is replaced as a whole.
//!
//! Deliberately absent: connections. Those are in the live table.

use super::server::ServerName;
use super::{Predecessor, ServerStatus};
use crate::drain::{Machine, Phase, Plan, Receipt, Stage, StageSpan, Timestamp, Trigger};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// How far something is on its way: the process, or one of its listeners.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Position {
    /// The lifecycle position.
    pub phase: Phase,
    /// The stage of the drain under way.
    pub stage: Option<Stage>,
    /// Readiness: whether new traffic should be sent here.
    pub ready: bool,
    /// Who began the drain under way.
    pub trigger: Option<Trigger>,
    /// When the drain under way began.
    pub started: Option<Timestamp>,
    /// When listeners began to refuse.
    pub refused: Option<Timestamp>,
    /// When nothing may be left, whatever peers do.
    pub latest: Option<Timestamp>,
    /// The timeline of the drain under way, or of the next one.
    pub plan: Plan,
    /// The stages that the drain has reached.
    pub stages: Vec<StageSpan>,
}

impl Position {
    /// The position of what has just begun.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            phase: Phase::Idle,
            stage: None,
            ready: false,
            trigger: None,
            started: None,
            refused: None,
            latest: None,
            plan,
            stages: Vec::new(),
        }
    }

    /// Where this machine stands.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        Self {
            phase: machine.phase(),
            stage: machine.stage(),
            ready: machine.phase() == Phase::Active && machine.started().is_none(),
            trigger: machine.trigger(),
            started: machine.started(),
            refused: machine.orders().refuse_at,
            latest: machine.latest(),
            plan: *machine.plan(),
            stages: machine.timeline().to_vec(),
        }
    }

    /// Whether a drain is under way, announce included.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.started.is_some() && self.phase != Phase::Terminated
    }
}

/// One listener: where it is bound, and how far it is.
#[derive(Clone, PartialEq, Debug)]
pub struct ListenerStatus {
    /// Its name in the config.
    pub name: Arc<str>,
    /// The address that it is bound to.
    pub address: SocketAddr,
    /// How far it is.
    pub position: Position,
    /// What its own drain did, once that is over.
    pub receipt: Option<Arc<Receipt>>,
}

/// Where the process and its listeners stand, at one instant.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// The process.
    pub process: Position,
    /// The listeners, in the order of the config.
    pub listeners: Vec<ListenerStatus>,
    /// The file of the config in force.
    pub config: PathBuf,
    /// Where a successor asks, if anywhere.
    pub door: Option<PathBuf>,
    /// Who took over, if anybody did.
    pub successor: Option<u32>,
    /// Who went before and still has work in flight, the last one first.
    pub predecessors: Vec<Predecessor>,
    /// The servers that are drained or being drained.
    pub servers: Vec<ServerStatus>,
}

impl Status {
    /// The status of a process that has just begun.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            process: Position::new(plan),
            listeners: Vec::new(),
            config: PathBuf::new(),
            door: None,
            successor: None,
            predecessors: Vec::new(),
            servers: Vec::new(),
        }
    }

    /// The listener of this name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&ListenerStatus> {
        let mut named = self.listeners.iter().filter(|one| &*one.name == name);
        named.next_back()
    }

    /// The server of this name, if it is drained or being drained. One that
    /// configs have comes before one that they had.
    #[must_use]
    pub fn server(&self, name: &ServerName) -> Option<&ServerStatus> {
        let named = self.servers.iter().filter(|one| one.name == *name);
        // Of several that were removed, the last.
        named.max_by_key(|one| !one.removed)
    }
}
