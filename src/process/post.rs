//! One listener, as the conductor sees it: its place in the group of drains,
//! its connections, and the hold on its sockets.
//!
//! Invariant: the gates are shut before the orders to refuse are published.
//!
//! Deliberately absent: its sockets, which the workers have.

use super::books::Opening;
use crate::control::{ListenerStatus, Position};
use crate::drain::{AcceptFilter, Event, Group, MemberId, Phase, Receipt};
use crate::proxy::listener::Gates;
use crate::proxy::registry::{Registry, Scope};
use std::net::SocketAddr;
use std::sync::Arc;

/// One listener.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) id: MemberId,
    pub(super) scope: Arc<Scope>,
    address: SocketAddr,
    gates: Option<Gates>,
    pub(super) accept_filter: Option<AcceptFilter>,
    refused: bool,
    opening: Option<Opening>,
    receipt: Option<Arc<Receipt>>,
}

impl Post {
    pub(super) fn new(id: MemberId, scope: Arc<Scope>, address: SocketAddr, gates: Gates) -> Self {
        Self {
            id,
            scope,
            address,
            gates: Some(gates),
            accept_filter: None,
            refused: false,
            opening: None,
            receipt: None,
        }
    }

    /// What has happened that its machine waits to be told.
    pub(super) fn news(&self, group: &Group) -> Option<Event> {
        let machine = group.member(self.id)?.machine();
        if machine.orders().draining() && !self.refused && self.scope.has_refused() {
            Some(Event::Refused)
        } else if machine.awaits_quiescence() && self.scope.is_quiet() {
            Some(Event::Quiescent)
        } else {
            None
        }
    }

    /// Note that its machine was told.
    pub(super) fn told(&mut self, event: Event) {
        self.refused |= event == Event::Refused;
    }

    /// Keep new connections out.
    pub(super) fn shut(&mut self) {
        if let Some(gates) = self.gates.take() {
            self.accept_filter = Some(gates.shut());
        }
    }

    /// Put the orders of its machine in force.
    pub(super) fn publish(&mut self, group: &Group, registry: &Registry) {
        let Some(member) = group.member(self.id) else {
            return;
        };
        let orders = member.machine().orders();
        if self.scope.orders() != orders {
            registry.publish(&self.scope, orders);
        }
        match member.machine().started() {
            Some(_) if self.opening.is_none() => {
                self.opening = Some(Opening::at(self.scope.sums()));
            }
            None => self.opening = None,
            Some(_) => {}
        }
    }

    /// Its drain is over.
    pub(super) fn close(&mut self, group: &Group, registry: &Registry) -> Option<Arc<Receipt>> {
        let machine = group.member(self.id)?.machine();
        let course = machine.course(Some(self.scope.listener()))?;
        let (sums, filter) = (self.scope.sums(), self.accept_filter);
        let receipt = self.opening?.receipt(course, registry, &sums, filter);
        self.receipt = Some(Arc::new(receipt));
        self.receipt.clone()
    }

    /// Where it stands.
    pub(super) fn status(&self, group: &Group) -> Option<ListenerStatus> {
        let machine = group.member(self.id)?.machine();
        let orders = machine.orders();
        let plan = *machine.plan();
        Some(ListenerStatus {
            name: Arc::clone(self.scope.listener()),
            address: self.address,
            position: Position {
                phase: machine.phase(),
                stage: machine.stage(),
                ready: machine.phase() == Phase::Active && machine.started().is_none(),
                trigger: machine.trigger(),
                started: machine.started(),
                refused: orders.refuse_at,
                latest: machine.latest(),
                plan,
                stages: machine.timeline().to_vec(),
            },
            receipt: self.receipt.clone(),
        })
    }
}
