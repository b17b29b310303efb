//! The live table: every connection from its TCP accept to its last byte.
//!
//! One [`ConnectionGuard`] per connection and one [`RequestGuard`] per
//! exchange enter and leave it. The table is asked three things: who is here
//! ([`Registry::records`]), is anybody left ([`Registry::until`], on a
//! [`Scope`]), and to pass on new orders ([`Registry::publish`]). An exchange
//! that is on a server has a place there too, its [`Berth`], and obeys the
//! orders of both.
//!
//! Invariant: `opened = finished + farewelled + cut + open`, per protocol, at
//! every instant at which no guard is being dropped.
//!
//! It stands beside the flow rather than in it, since each station of the
//! flow reports to it. Deliberately absent: anything per request that is more
//! than an atomic counter.

mod access;
mod admit;
mod berth;
mod beside;
mod client;
mod crowd;
mod exchange;
mod flaw;
mod foretold;
mod guard;
mod half_open;
mod limit;
mod memo;
mod outcome;
mod outlived;
mod paced;
mod pressure;
mod record;
mod scope;
mod seats;
mod state;
mod tally;
mod traced;
mod tunnels;

pub use access::AccessLog;
pub use berth::{Berth, Gate, Mooring};
pub use beside::Beside;
pub use client::{Client, Ends};
pub(in crate::proxy) use client::{FORWARDED_CLIENT_CERT, forget_claims};
pub use exchange::{Round, Seen};
pub use flaw::HandshakeFlaw;
pub use guard::{AcceptGuard, Cause, ConnectionGuard, RequestGuard};
pub use limit::Limit;
pub use memo::{Ask, Asked, Memo, Notes};
pub use record::Record;
pub use scope::{Heard, Scope};
pub use seats::{Full, Row, Seat, SeatLimits, Seats};
pub use state::State;
pub use tally::{Drained, HeaderFlaw, Sums};
pub(in crate::proxy) use traced::{DRAINING, Moment};

use crate::drain::{
    Compared, CutReason, Farewell, Orders, Protocol, Timestamp, Told, Verdict, Watch,
};
use dashmap::DashMap;
use foretold::Foretelling;
use parking_lot::{Mutex, RwLock};
use pressure::Pressure;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tally::Books;
use tokio::sync::{Notify, watch};
use tunnels::Places;

/// How many farewelled and cut exchanges a receipt names; the rest is counted.
const TOLD_KEPT: usize = 1_000;

/// How many of them are logged one by one.
const TOLD_LOGGED: usize = 100;

/// The live table of one process.
#[derive(Debug)]
pub struct Registry {
    scopes: RwLock<Vec<Arc<Scope>>>,
    berths: RwLock<Vec<Weak<Berth>>>,
    next_berth: AtomicU32,
    live: DashMap<u64, Arc<Record>>,
    next: AtomicU64,
    released: Arc<Notify>,
    turns: Arc<watch::Sender<u64>>,
    told: Mutex<Vec<Told>>,
    told_omitted: AtomicU64,
    foretelling: Foretelling,
    pressure: Arc<Pressure>,
    /// Those of tunnels, on all listeners.
    tunnels: Places,
}

impl Registry {
    /// An empty table.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            scopes: RwLock::default(),
            berths: RwLock::default(),
            next_berth: AtomicU32::new(1),
            live: DashMap::new(),
            next: AtomicU64::new(1),
            released: Arc::default(),
            turns: Arc::default(),
            told: Mutex::new(Vec::new()),
            told_omitted: AtomicU64::new(0),
            foretelling: Foretelling::default(),
            pressure: Arc::default(),
            tunnels: Places::default(),
        })
    }

    /// A place for a listener and its connections. It stays for as long as
    /// the table does: what was counted must not be forgotten.
    pub fn scope(&self, listener: Arc<str>, orders: Orders) -> Arc<Scope> {
        let released = Arc::clone(&self.released);
        let shared = (released, Arc::clone(&self.pressure));
        let scope = Arc::new(Scope::new(listener, orders, shared));
        self.scopes.write().push(Arc::clone(&scope));
        scope
    }

    /// Every scope, in the order in which they were made.
    #[must_use]
    pub fn scopes(&self) -> Vec<Arc<Scope>> {
        self.scopes.read().clone()
    }

    /// A place for a server of an upstream. It stays for as long as somebody
    /// holds it.
    pub fn berth(&self, upstream: &Arc<str>, server: &Arc<str>) -> Arc<Berth> {
        let left = |held: &Weak<Berth>| {
            held.upgrade()
                .filter(|one| one.upstream() == upstream && one.server() == server)
        };
        if let Some(left) = self.berths.read().iter().rev().find_map(left) {
            return left;
        }
        let number = self.next_berth.fetch_add(1, Ordering::Relaxed);
        let released = Arc::clone(&self.released);
        let turns = Arc::clone(&self.turns);
        let (upstream, server) = (Arc::clone(upstream), Arc::clone(server));
        let berth = Arc::new(Berth::new(number, upstream, server, released, turns));
        let mut berths = self.berths.write();
        berths.retain(|held| held.strong_count() > 0);
        berths.push(Arc::downgrade(&berth));
        berth
    }

    /// Every berth that somebody holds, in the order in which they were made.
    #[must_use]
    pub fn berths(&self) -> Vec<Arc<Berth>> {
        self.berths
            .read()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Put new orders for a server in force and tell those aboard.
    pub fn publish_to(&self, berth: &Berth, orders: Orders) {
        berth.store(orders);
        for entry in &self.live {
            entry.value().tell_aboard(berth);
        }
    }

    /// The orders of servers that are being drained, by what [`Seen::server`]
    /// has.
    #[must_use]
    pub fn orders_of_servers(&self) -> HashMap<u32, Orders> {
        let berths = self.berths().into_iter();
        let orders = berths.map(|berth| (berth.number, berth.orders()));
        orders.filter(|(_, orders)| orders.draining()).collect()
    }

    /// Since when the oldest exchange on a server is there.
    #[must_use]
    pub fn oldest_on(&self, berth: &Berth) -> Option<Timestamp> {
        let records = self.live.iter();
        let oldest = records.filter_map(|entry| entry.value().oldest_on(berth.number));
        oldest.min()
    }

    /// Enter a connection that was accepted.
    #[must_use]
    pub fn enter(self: &Arc<Self>, scope: &Arc<Scope>, peer: SocketAddr) -> ConnectionGuard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let record = Arc::new(Record::new(id, Arc::clone(scope), peer));
        scope.hold();
        scope.books.connections.opened();
        scope.half_open.enter(&record);
        self.live.insert(id, Arc::clone(&record));
        // Entered first, asked second: orders given in between reach it here.
        let orders = scope.orders();
        record.tell(&orders);
        if orders.stage.is_some() {
            scope
                .watch
                .lock()
                .arrived(peer.ip().to_canonical(), record.accepted);
        }
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

    /// Look at every connection, in no order. Nobody can come or go meanwhile,
    /// so a look has to be short.
    pub fn look(&self, mut at: impl FnMut(&Record)) {
        for entry in &self.live {
            at(entry.value());
        }
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

    /// Begin to note anew what is foreseen: a drain of the process begins.
    pub fn foretell_anew(&self) {
        // Marks first: what ends meanwhile is not to be counted any more.
        for entry in &self.live {
            entry.value().unmark();
        }
        self.foretelling.clear();
    }

    /// Note what is foreseen of an exchange that was seen on this connection.
    /// One that has ended meanwhile is left out.
    pub fn foretell(&self, record: &Record, seen: &Seen, round: Round, verdict: Verdict) {
        if record.mark(seen, round, verdict) {
            self.foretelling.said(round, seen.protocol, verdict);
        }
    }

    /// What was foreseen, and what came true so far.
    #[must_use]
    pub fn compared(&self, round: Round) -> BTreeMap<Protocol, Compared> {
        self.foretelling.compared(round)
    }

    /// Who did not heed what the drains of all listeners told.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let mut all = Watch::default();
        for scope in self.scopes.read().iter() {
            all.merge(&scope.watch());
        }
        all
    }

    fn tell_of(&self, told: Told) {
        let mut kept = self.told.lock();
        let line = (kept.len() < TOLD_LOGGED).then(|| told.clone());
        if kept.len() < TOLD_KEPT {
            kept.push(told);
        } else {
            self.told_omitted.fetch_add(1, Ordering::Relaxed);
        }
        // A slow reader of the log must not hold up whoever else is told.
        drop(kept);
        if let Some(told) = line {
            log(&told);
        }
    }
}

/// One line for each of the first, so that the log alone says who they were.
fn log(told: &Told) {
    tracing::info!(
        event = "told",
        connection = told.connection,
        listener = told.listener,
        peer = told.peer,
        protocol = told.protocol.as_str(),
        route = told.route,
        doing = told.doing.as_str(),
        outcome = told.outcome.as_str(),
        what = told.outcome.meaning(),
        why = told.why.as_str(),
        age_ms = told.age_ms,
    );
}
