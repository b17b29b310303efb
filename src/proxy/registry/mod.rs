//! The live table: every connection from its TCP accept to its last byte.
//!
//! One [`ConnectionGuard`] per connection and one [`RequestGuard`] per
//! exchange enter and leave it. The table is asked three things: who is here
//! ([`Registry::records`]), is anybody left ([`Registry::quiet`]), and to pass
//! on new orders ([`Registry::publish`]).
//!
//! Invariant: `opened = finished + farewelled + cut + open`, per protocol, at
//! every instant at which no guard is being dropped.
//!
//! It stands beside the flow rather than in it, since each station of the
//! flow reports to it. Deliberately absent: anything per request that is more
//! than an atomic counter.

mod access;
mod guard;
mod record;
mod scope;
mod tally;

pub use access::Access;
pub use guard::{AcceptGuard, ConnectionGuard, RequestGuard};
pub use record::{Record, State};
pub use scope::{Heard, Scope};
pub use tally::{Drained, Sums};

use crate::clock;
use crate::drain::{Orders, Outcome, Protocol, Timestamp, Told};
use dashmap::DashMap;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tally::Tally;
use tokio::sync::Notify;

/// How many farewelled and cut exchanges a receipt names; the rest is counted.
const TOLD_KEPT: usize = 1_000;

/// The live table of one process.
#[derive(Debug)]
pub struct Registry {
    scope: Scope,
    live: DashMap<u64, Arc<Record>>,
    next: AtomicU64,
    /// What holds the exit: listeners that may still accept, and connections.
    holders: AtomicUsize,
    acceptors: AtomicUsize,
    released: Notify,
    connections: Tally,
    exchanges: [Tally; Protocol::ALL.len()],
    drained: [AtomicU64; 3],
    told: Mutex<Vec<Told>>,
    told_omitted: AtomicU64,
}

impl Registry {
    /// An empty table whose scope has these orders.
    #[must_use]
    pub fn new(orders: Orders) -> Arc<Self> {
        Arc::new(Self {
            scope: Scope::new(orders),
            live: DashMap::new(),
            next: AtomicU64::new(1),
            holders: AtomicUsize::new(0),
            acceptors: AtomicUsize::new(0),
            released: Notify::new(),
            connections: Tally::default(),
            exchanges: Default::default(),
            drained: Default::default(),
            told: Mutex::new(Vec::new()),
            told_omitted: AtomicU64::new(0),
        })
    }

    /// The orders that everything in this table obeys.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Announce a listener that is about to accept.
    #[must_use]
    pub fn accepting(self: &Arc<Self>) -> AcceptGuard {
        self.holders.fetch_add(1, Ordering::AcqRel);
        self.acceptors.fetch_add(1, Ordering::AcqRel);
        AcceptGuard {
            registry: Arc::clone(self),
        }
    }

    /// Enter a connection that was accepted.
    #[must_use]
    pub fn enter(self: &Arc<Self>, listener: &Arc<str>, peer: SocketAddr) -> ConnectionGuard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let record = Arc::new(Record::new(id, Arc::clone(listener), peer));
        self.holders.fetch_add(1, Ordering::AcqRel);
        self.connections.opened();
        self.live.insert(id, Arc::clone(&record));
        // Entered first, asked second: orders given in between reach it here.
        let orders = self.scope.orders();
        record.tell(orders.farewell, orders.cut);
        ConnectionGuard {
            registry: Arc::clone(self),
            record,
        }
    }

    /// Put new orders in force and wake whom they concern.
    pub fn publish(&self, orders: Orders) {
        self.scope.store(orders);
        for entry in &self.live {
            entry.value().tell(orders.farewell, orders.cut);
        }
    }

    /// Every connection, in no order.
    #[must_use]
    pub fn records(&self) -> Vec<Arc<Record>> {
        self.live
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .collect()
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.live.len()
    }

    /// Wait until no listener accepts and no connection is open.
    pub async fn quiet(&self) {
        self.none(&self.holders).await;
    }

    /// Wait until no listener accepts.
    pub async fn refused(&self) {
        self.none(&self.acceptors).await;
    }

    async fn none(&self, count: &AtomicUsize) {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Enlisted before the look, or the last release is missed.
            released.as_mut().enable();
            if count.load(Ordering::Acquire) == 0 {
                return;
            }
            released.await;
        }
    }

    /// The sums since the process began.
    #[must_use]
    pub fn sums(&self) -> Sums {
        Sums {
            connections: self.connections.sums(),
            exchanges: std::array::from_fn(|index| self.exchanges[index].sums()),
        }
    }

    /// Farewells given since the process began, by kind, over connections
    /// without a request and over exchanges.
    #[must_use]
    pub fn farewells(&self, kind: crate::drain::Farewell) -> u64 {
        let exchanges: u64 = self
            .exchanges
            .iter()
            .map(|tally| tally.farewells(kind))
            .sum();
        exchanges + self.connections.half_open_farewells(kind)
    }

    /// Exchanges cut since the process began.
    #[must_use]
    pub fn cuts(&self, protocol: Protocol, reason: crate::drain::CutReason) -> u64 {
        self.exchanges[protocol as usize].cuts(reason)
    }

    /// Connections that ended while draining, by how.
    #[must_use]
    pub fn drained_count(&self, how: Drained) -> u64 {
        self.drained[how as usize].load(Ordering::Relaxed)
    }

    /// Who was told what, and how many more there were than are named.
    #[must_use]
    pub fn told(&self) -> (Vec<Told>, u64) {
        (
            self.told.lock().clone(),
            self.told_omitted.load(Ordering::Relaxed),
        )
    }

    fn tell_of(&self, record: &Record, protocol: Protocol, outcome: Outcome, began: Timestamp) {
        let now = clock::now();
        let mut told = self.told.lock();
        if told.len() >= TOLD_KEPT {
            self.told_omitted.fetch_add(1, Ordering::Relaxed);
            return;
        }
        told.push(Told::new(
            record.id,
            &record.listener,
            record.peer,
            protocol,
            outcome,
            now.saturating_since(began),
            now,
        ));
    }

    fn drained(&self, outcome: Outcome) {
        let how = match outcome {
            Outcome::Finished => Drained::Success,
            Outcome::Farewelled(_) => Drained::Timeout,
            Outcome::Cut(_) => Drained::Failed,
        };
        self.drained[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn stop_accepting(&self) {
        if self.acceptors.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.released.notify_waiters();
        }
        self.release();
    }

    fn release(&self) {
        if self.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.released.notify_waiters();
        }
    }
}
