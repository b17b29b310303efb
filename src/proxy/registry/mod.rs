//! The live table: every connection from its TCP accept to its last byte.
//!
//! One [`ConnectionGuard`] per connection and one [`RequestGuard`] per
//! exchange enter and leave it. The table is asked three things: who is here
//! ([`Registry::records`]), is anybody left ([`Registry::until`], on a
//! [`Scope`]), and to pass on new orders ([`Registry::publish`]).
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
use crate::drain::{CutReason, Farewell, Orders, Outcome, Protocol, Timestamp, Told};
use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tally::Books;
use tokio::sync::Notify;

/// How many farewelled and cut exchanges a receipt names; the rest is counted.
const TOLD_KEPT: usize = 1_000;

/// The live table of one process.
#[derive(Debug)]
pub struct Registry {
    scopes: RwLock<Vec<Arc<Scope>>>,
    live: DashMap<u64, Arc<Record>>,
    next: AtomicU64,
    released: Arc<Notify>,
    told: Mutex<Vec<Told>>,
    told_omitted: AtomicU64,
}

impl Registry {
    /// An empty table.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            scopes: RwLock::default(),
            live: DashMap::new(),
            next: AtomicU64::new(1),
            released: Arc::default(),
            told: Mutex::new(Vec::new()),
            told_omitted: AtomicU64::new(0),
        })
    }

    /// A place for a listener and its connections. It stays for as long as
    /// the table does: what was counted must not be forgotten.
    pub fn scope(&self, listener: Arc<str>, orders: Orders) -> Arc<Scope> {
        let released = Arc::clone(&self.released);
        let scope = Arc::new(Scope::new(listener, orders, released));
        self.scopes.write().push(Arc::clone(&scope));
        scope
    }

    /// Every scope, in the order in which they were made.
    #[must_use]
    pub fn scopes(&self) -> Vec<Arc<Scope>> {
        self.scopes.read().clone()
    }

    /// Enter a connection that was accepted.
    #[must_use]
    pub fn enter(self: &Arc<Self>, scope: &Arc<Scope>, peer: SocketAddr) -> ConnectionGuard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let record = Arc::new(Record::new(id, Arc::clone(scope), peer));
        scope.hold();
        scope.books.connections.opened();
        self.live.insert(id, Arc::clone(&record));
        // Entered first, asked second: orders given in between reach it here.
        let orders = scope.orders();
        record.tell(&orders);
        ConnectionGuard {
            registry: Arc::clone(self),
            record,
        }
    }

    /// Put new orders in force and wake whom they concern.
    pub fn publish(&self, scope: &Arc<Scope>, orders: Orders) {
        scope.store(orders);
        for entry in &self.live {
            let record = entry.value();
            if Arc::ptr_eq(&record.scope, scope) {
                record.tell(&orders);
            }
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

    /// Wait until `so` holds. It is looked at again whenever a scope may have
    /// nothing left.
    pub async fn until(&self, so: impl Fn() -> bool) {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Enlisted before the look, or the last release is missed.
            released.as_mut().enable();
            if so() {
                return;
            }
            released.await;
        }
    }

    /// The sums since the process began.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let scopes = self.scopes.read();
        scopes
            .iter()
            .fold(Sums::default(), |sum, scope| sum.plus(&scope.sums()))
    }

    /// Farewells given since the process began, by kind, over connections
    /// without a request and over exchanges.
    #[must_use]
    pub fn farewells(&self, kind: Farewell) -> u64 {
        self.count(|books| books.farewells(kind))
    }

    /// Exchanges cut since the process began.
    #[must_use]
    pub fn cuts(&self, protocol: Protocol, reason: CutReason) -> u64 {
        self.count(|books| books.exchanges[protocol as usize].cuts(reason))
    }

    /// Connections that ended while draining, by how.
    #[must_use]
    pub fn drained_count(&self, how: Drained) -> u64 {
        self.count(|books| books.drained_count(how))
    }

    fn count(&self, of: impl Fn(&Books) -> u64) -> u64 {
        self.scopes
            .read()
            .iter()
            .map(|scope| of(&scope.books))
            .sum()
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
            record.listener(),
            record.peer,
            protocol,
            outcome,
            now.saturating_since(began),
            now,
        ));
    }
}
