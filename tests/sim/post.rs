//! One listener as the simulated shell sees it: its gates, its accept queue,
//! the orders in force. The real one is `process/post.rs`.

use crate::books::Account;
use crate::sabotage::Sabotage;
use ebbtide::drain::{Event, Group, MemberId, Orders, Timestamp};

/// One listener.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) id: MemberId,
    /// What its connections read.
    pub(crate) orders: Orders,
    /// Connections in its accept queue.
    pub(crate) queued: usize,
    /// Connections that it accepted and that are there.
    pub(crate) open: usize,
    /// Whether new connections are kept out.
    pub(crate) shut: bool,
    /// When it had emptied its queue.
    pub(crate) closed: Option<Timestamp>,
    /// What had been counted when its drain began.
    pub(crate) opening: Option<Account>,
    refused: bool,
}

impl Post {
    pub(crate) fn new(id: MemberId, orders: Orders) -> Self {
        Self {
            id,
            orders,
            queued: 0,
            open: 0,
            shut: false,
            closed: None,
            opening: None,
            refused: false,
        }
    }

    /// What has happened that its machine waits to be told.
    pub(crate) fn news(&self, group: &Group, sabotage: Sabotage) -> Option<Event> {
        let machine = group.member(self.id)?.machine();
        let quiet = self.closed.is_some() && self.open == 0;
        if machine.orders().draining() && !self.refused && self.closed.is_some() {
            Some(Event::Refused)
        } else if machine.awaits_quiescence() && quiet && sabotage != Sabotage::QuietIsNotNoticed {
            Some(Event::Quiescent)
        } else {
            None
        }
    }

    /// Note that its machine was told.
    pub(crate) fn told(&mut self, event: Event) {
        self.refused |= event == Event::Refused;
    }

    /// Put the orders of its machine in force; whether they are others.
    pub(crate) fn publish(&mut self, group: &Group, from: MemberId, counted: Account) -> bool {
        let (Some(member), Some(orders)) = (group.member(self.id), group.orders(from)) else {
            return false;
        };
        match member.machine().started() {
            Some(_) if self.opening.is_none() => self.opening = Some(counted),
            Some(_) => {}
            None => self.opening = None,
        }
        let changed = self.orders != orders;
        self.orders = orders;
        changed
    }
}
