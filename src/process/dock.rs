//! One server that is drained, as the conductor sees it: its drain, and the
//! place in the live table that the orders are for.
//!
//! A server has a dock from the moment in which it is drained until it is
//! taken back, or, if a reload took it away, until nobody can be sent to it
//! any more.
//!
//! Invariant: its gate is shut before its drain begins, and it is opened only
//! when nobody is between farewell and cut.
//!
//! Deliberately absent: who asked.

use super::books::{Opening, Whole};
use super::recording::Recording;
use super::reload::name_of;
use crate::clock;
use crate::control::{Position, ServerStatus};
use crate::drain::{
    Action, Course, Event, Orders, Plan, Protocol, Receipt, ServerDrain, Timestamp, Trigger, Watch,
};
use crate::proxy::registry::{Berth, Registry};
use std::sync::Arc;
use std::time::Duration;

/// One server.
#[derive(Debug)]
pub(super) struct Dock {
    pub(super) berth: Arc<Berth>,
    drain: ServerDrain,
    /// The time that was asked for, if one was.
    pub(super) finish: Option<Duration>,
    /// Who has it drained.
    by: Trigger,
    /// No config has it any more.
    pub(super) removed: bool,
    opening: Opening,
    receipt: Option<Arc<Receipt>>,
}

impl Dock {
    /// Drain a server whose gate is shut already.
    pub(super) fn new(
        berth: &Arc<Berth>,
        plan: Plan,
        by: Trigger,
        recording: Option<Recording>,
    ) -> Self {
        berth.record(recording.as_ref().map(Recording::trace).cloned());
        let opening = Opening::at(berth.sums(), recording);
        tracing::info!(
            event = "server_drain",
            trace = opening.trace().map(|id| &**id),
            upstream = %berth.upstream(),
            server = %berth.server(),
            trigger = by.as_str(),
            in_flight = berth.in_flight(),
        );
        Self {
            berth: Arc::clone(berth),
            drain: ServerDrain::begin(plan, by, clock::now()),
            finish: None,
            removed: matches!(by, Trigger::Reload | Trigger::Discovery),
            by,
            opening,
            receipt: None,
        }
    }

    /// Ask it back, or have it stay out after all.
    pub(super) fn set_returns(&mut self, returns: bool) {
        self.drain.set_returns(returns);
    }

    /// When it is to be tended at the latest.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.drain.next_deadline()
    }

    /// Whether there is something to do about it before its next deadline;
    /// `held` while a listener may still send it something.
    pub(super) fn has_news(&self, held: bool) -> bool {
        self.drain.may_return() || self.is_deserted(held) || self.has_straggler()
    }

    fn is_deserted(&self, held: bool) -> bool {
        self.drain.awaits_quiescence() && !held && self.berth.in_flight() == 0
    }

    /// What began before a reload came when all seemed to be over.
    fn has_straggler(&self) -> bool {
        self.removed && self.drain.is_over() && self.berth.in_flight() > 0
    }

    /// Carry out what is due; whether anything was.
    pub(super) fn tend(&mut self, held: bool, registry: &Registry) -> bool {
        if self.has_straggler() {
            let plan = *self.drain.machine().plan();
            let recording = self.opening.recording.as_ref().map(Recording::again);
            let by = match self.by {
                Trigger::Discovery => Trigger::Discovery,
                _ => Trigger::Reload,
            };
            let again = Self::new(&self.berth, plan, by, recording);
            *self = again;
        }
        let now = clock::now();
        let mut actions = self.drain.handle(Event::Elapsed, now);
        if self.is_deserted(held) {
            actions.extend(self.drain.handle(Event::Quiescent, now));
        }
        let orders = self.drain.orders();
        let news = orders != self.berth.orders();
        if news {
            registry.publish_to(&self.berth, orders);
        }
        for action in &actions {
            self.act(*action, registry);
        }
        news || !actions.is_empty()
    }

    fn act(&mut self, action: Action, registry: &Registry) {
        let (upstream, server) = (&**self.berth.upstream(), &**self.berth.server());
        let trace = self.opening.trace().map(|id| &**id);
        let there = |protocol: Protocol| self.berth.in_flight_of(protocol) > 0;
        match action {
            Action::Farewell(protocol) if there(protocol) => {
                let protocol = protocol.as_str();
                tracing::info!(event = "deadline", protocol, upstream, server, trace);
            }
            Action::Cut(protocol) if there(protocol) => {
                let protocol = protocol.as_str();
                tracing::info!(event = "cut", protocol, upstream, server, trace);
            }
            Action::Terminate => self.close(registry),
            _ => {}
        }
    }

    fn close(&mut self, registry: &Registry) {
        let Some(course) = self.drain.machine().course(None) else {
            return;
        };
        let course = Course {
            server: Some(self.berth.name().to_string()),
            ..course
        };
        let whole = Whole {
            sums: self.berth.sums(),
            watch: Watch::default(),
            accept_filter: None,
            foretold: Vec::new(),
            hooks: Vec::new(),
        };
        let receipt = self.opening.receipt(course, registry, whole);
        super::books::completed(&receipt, "server_drained");
        let receipt = Arc::new(receipt);
        self.opening.record(&receipt);
        self.receipt = Some(receipt);
    }

    /// Whether it is the config's, and nobody asked it back.
    pub(super) fn stays_out(&self) -> bool {
        !self.removed && !self.drain.returns()
    }

    /// Whether it was asked back and can be given exchanges again.
    pub(super) fn may_return(&self) -> bool {
        self.drain.may_return()
    }

    /// Give it exchanges again.
    pub(super) fn open(&self, registry: &Registry) {
        registry.publish_to(&self.berth, Orders::default());
        self.berth.open();
        if self.receipt.is_none() {
            self.opening
                .record_taken_back(None, Some(self.berth.name()));
        }
        let (upstream, server) = (&**self.berth.upstream(), &**self.berth.server());
        let trace = self.opening.trace().map(|id| &**id);
        tracing::info!(event = "server_taken_back", upstream, server, trace);
    }

    /// Whether a reload took it away, and nobody can be sent to it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.removed && self.drain.is_over() && Arc::strong_count(&self.berth) == 1
    }

    /// A config has it again: it is given exchanges again, unless an operator had
    /// it drained and has to ask it back as well.
    pub(super) fn is_back(&mut self, for_good: bool) {
        self.removed = false;
        self.drain.set_returns(for_good || self.by != Trigger::Api);
    }

    /// Where it stands.
    pub(super) fn status(&self) -> ServerStatus {
        ServerStatus {
            name: name_of(&self.berth),
            position: Position::of(self.drain.machine()).traced(self.opening.trace()),
            returns: self.drain.returns(),
            removed: self.removed,
            receipt: self.receipt.clone(),
        }
    }
}
