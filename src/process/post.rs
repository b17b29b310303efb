//! One listener, as the conductor sees it: its place in the group of drains,
//! its connections, and the hold on its sockets.
//!
//! Invariant: the gates are shut before the orders to refuse are published.
//!
//! Deliberately absent: its sockets, which the workers have.

use super::books::{Opening, Whole};
use super::recording::Recording;
use crate::config::{Limits, Listener};
use crate::control::{ListenerStatus, Position};
use crate::drain::{AcceptFilter, Event, Group, MemberId, Orders, Phase, Receipt};
use crate::proxy::listener::{Bound, Gates, Port, Room, Rooms};
use crate::proxy::registry::{Registry, Scope};
use crate::proxy::request::{Site, Sites};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// One listener.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) id: MemberId,
    pub(super) scope: Arc<Scope>,
    /// Its site on each worker.
    pub(super) sites: Vec<Arc<Sites>>,
    pub(super) room: Arc<Room>,
    address: SocketAddr,
    gates: Option<Gates>,
    pub(super) accept_filter: Option<AcceptFilter>,
    refused: bool,
    /// A reload took it away: it is forgotten once it is over.
    pub(super) removed: bool,
    opening: Option<Opening>,
    /// It is drained for itself.
    alone: bool,
    receipt: Option<Arc<Receipt>>,
}

impl Post {
    /// Give a bound listener its place, and make the ports that are to be
    /// opened on the workers, one after another and round. Until then nothing
    /// is accepted, but the place counts as accepting.
    pub(super) fn new(
        listener: &Listener,
        bound: Bound,
        sites: Vec<Site>,
        (registry, process): (&Arc<Registry>, &Arc<Room>),
        group: &mut Group,
    ) -> (Self, Vec<Port>) {
        let name = &listener.name;
        let id = group.add(Arc::clone(name), listener.after.clone());
        let orders = Orders::carry_on(*group.plan());
        let scope = registry.scope(Arc::clone(name), orders);
        scope.set_tunnels(&listener.limits);
        let post = Self {
            id,
            scope,
            sites: sites.into_iter().map(Sites::new).collect(),
            room: Room::new(listener.limits.connections),
            address: bound.address,
            gates: Some(bound.gates),
            accept_filter: None,
            refused: false,
            removed: false,
            opening: None,
            alone: false,
            receipt: None,
        };
        let share = |(socket, sites): (TcpListener, &Arc<Sites>)| Port {
            socket,
            sites: Arc::clone(sites),
            rooms: Rooms {
                own: Arc::clone(&post.room),
                process: Arc::clone(process),
            },
            registry: Arc::clone(registry),
            accepting: post.scope.accepting(),
            scope: Arc::clone(&post.scope),
        };
        let shares = bound
            .sockets
            .into_iter()
            .zip(post.sites.iter().cycle())
            .map(share)
            .collect();
        (post, shares)
    }

    /// Whether it is bound to this address.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        self.address == address
    }

    /// The site that it serves by.
    pub(super) fn site(&self) -> Option<Arc<Site>> {
        self.sites.first().map(|sites| sites.now())
    }

    /// Serve requests to come by these, in the order of the workers.
    pub(super) fn serve(&self, sites: Vec<Site>) {
        for (place, site) in self.sites.iter().zip(sites) {
            place.replace(site);
        }
    }

    /// The same, within these limits.
    pub(super) fn serve_by(&self, sites: Vec<Site>, limits: &Limits) {
        self.serve(sites);
        self.room.set_limit(limits.connections);
        self.scope.set_tunnels(limits);
    }

    /// Whether its drain is over.
    pub(super) fn is_over(&self, group: &Group) -> bool {
        let member = group.member(self.id);
        member.is_none_or(|member| member.machine().phase() == Phase::Terminated)
    }

    /// Whether its drain has begun, by whomever.
    pub(super) fn leaves(&self, group: &Group) -> bool {
        let member = group.member(self.id);
        member.is_none_or(|member| member.machine().started().is_some())
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

    /// Its sockets, as long as new connections are let in; none that another
    /// holds too.
    pub(super) fn sockets(&self) -> &[TcpListener] {
        self.gates.as_ref().map_or(&[], Gates::sockets)
    }

    /// Whether another holds its sockets too.
    pub(super) fn is_lent(&self) -> bool {
        self.gates.as_ref().is_some_and(Gates::is_left_open)
    }

    /// Keep new connections out, unless a successor has them.
    pub(super) fn shut(&mut self, group: &Group) {
        let handed_over = group
            .orders(self.id)
            .is_some_and(|orders| orders.handed_over);
        if let Some(gates) = self.gates.take()
            && !handed_over
        {
            self.accept_filter = Some(gates.shut());
        }
    }

    /// Its sockets once more, for a successor.
    pub(super) fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        let gates = self.gates.as_ref();
        gates.map_or_else(|| Ok(Vec::new()), Gates::descriptors)
    }

    /// Where it is bound.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Put the orders of its machine in force.
    /// The trace is that of the process's drain, if there is one, or a new one
    /// of its own.
    pub(super) fn publish(
        &mut self,
        group: &Group,
        registry: &Registry,
        recording: impl FnOnce() -> Option<Recording>,
    ) {
        let Some(member) = group.member(self.id) else {
            return;
        };
        // What is counted and noted from its beginning is so from before the
        // orders that begin it.
        match member.machine().started() {
            Some(_) if self.opening.is_none() => {
                self.scope.watch_anew();
                let recording = recording();
                let trace = recording.as_ref().map(Recording::trace);
                self.scope.record(trace.cloned());
                self.opening = Some(Opening::at(self.scope.sums(), recording));
            }
            None => {
                // A drain of the process is recorded once, and not here.
                if let Some(opening) = self.opening.take().filter(|_| self.alone) {
                    opening.record_taken_back(Some(self.scope.listener()), None);
                }
            }
            Some(_) => {}
        }
        self.alone = member.alone();
        let orders = member.machine().orders();
        if self.scope.orders() != orders {
            registry.publish(&self.scope, orders);
        }
    }

    /// Its drain is over.
    pub(super) fn close(&mut self, group: &Group, registry: &Registry) -> Option<Arc<Receipt>> {
        let machine = group.member(self.id)?.machine();
        let course = machine.course(Some(self.scope.listener()))?;
        let whole = Whole {
            sums: self.scope.sums(),
            watch: self.scope.watch(),
            accept_filter: self.accept_filter,
            foretold: Vec::new(),
            hooks: Vec::new(),
        };
        let opening = self.opening.as_ref()?;
        let receipt = Arc::new(opening.receipt(course, registry, whole));
        opening.record(&receipt);
        self.receipt = Some(Arc::clone(&receipt));
        Some(receipt)
    }

    /// The id of its drain's trace.
    pub(super) fn trace(&self) -> Option<&Arc<str>> {
        self.opening.as_ref().and_then(Opening::trace)
    }

    /// Where it stands.
    pub(super) fn status(&self, group: &Group) -> Option<ListenerStatus> {
        let machine = group.member(self.id)?.machine();
        Some(ListenerStatus {
            name: Arc::clone(self.scope.listener()),
            address: self.address,
            position: Position::of(machine).traced(self.trace()),
            receipt: self.receipt.clone(),
        })
    }
}
