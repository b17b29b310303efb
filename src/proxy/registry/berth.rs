//! One server's place in the live table: what is in flight on it, and what
//! that must obey.
//!
//! An exchange *boards* a server when it is about to be sent there, and leaves
//! with its end, or when it is sent elsewhere. The number of those aboard is
//! exact: an exchange is counted first and asks second whether the server
//! still takes any, while its drain shuts the server first and looks second
//! whether any are aboard. Orders reach an exchange in the same way, whichever
//! comes first.
//!
//! Invariant: once [`Berth::shut`] has returned, no exchange boards until
//! [`Berth::open`]; those aboard are counted.
//!
//! Deliberately absent: connections to the server, which pools have, and its
//! health. A server that is drained is checked on, so that it can return at
//! once.

use super::tally::{Sums, Tally};
use crate::drain::{Ledger, Orders, Outcome, Protocol, Protocols, Timestamp};
use crate::telemetry::traces::DrainTrace;
use parking_lot::{Mutex, RwLock};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use tokio::sync::{Notify, watch};

/// Whether a server takes exchanges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Gate {
    /// It does.
    Open,
    /// It is in no config any more: only what began before may come, and only
    /// if it has nowhere else to go.
    Leaving,
    /// It does not.
    Shut,
}

/// One server of an upstream, for as long as configs have it, and then until
/// nothing of it is left.
#[derive(Debug)]
pub struct Berth {
    /// Unique in this process, from one.
    pub(super) number: u32,
    name: Arc<str>,
    upstream: Arc<str>,
    server: Arc<str>,
    gate: AtomicU8,
    generation: AtomicU32,
    farewell: AtomicU8,
    cut: AtomicU8,
    orders: RwLock<Orders>,
    exchanges: [Tally; Protocol::ALL.len()],
    /// The same as one number, which choices among servers look at.
    aboard: AtomicU64,
    farewelled: AtomicU64,
    was_cut: AtomicU64,
    released: Arc<Notify>,
    /// What its drain is recorded as; looked at by who is ended by it.
    trace: Mutex<Option<Arc<DrainTrace>>>,
    /// How often the gate of any server was moved.
    turns: Arc<watch::Sender<u64>>,
}

impl Berth {
    pub(super) fn new(
        number: u32,
        upstream: Arc<str>,
        server: Arc<str>,
        released: Arc<Notify>,
        turns: Arc<watch::Sender<u64>>,
    ) -> Self {
        Self {
            number,
            name: format!("{upstream}/{server}").into(),
            upstream,
            server,
            gate: AtomicU8::new(Gate::Open as u8),
            generation: AtomicU32::new(0),
            farewell: AtomicU8::new(0),
            cut: AtomicU8::new(0),
            orders: RwLock::default(),
            exchanges: Default::default(),
            aboard: AtomicU64::new(0),
            farewelled: AtomicU64::new(0),
            was_cut: AtomicU64::new(0),
            released,
            trace: Mutex::default(),
            turns,
        }
    }

    /// `upstream/server`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The name of its upstream in the config.
    #[must_use]
    pub fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// The server as it is written in the config.
    #[must_use]
    pub fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// Whether it takes exchanges.
    #[must_use]
    pub fn gate(&self) -> Gate {
        match self.gate.load(Relaxed) {
            0 => Gate::Open,
            1 => Gate::Leaving,
            _ => Gate::Shut,
        }
    }

    /// Give it no exchange from now on, and use none of its connections again
    /// that exist now. Those aboard are not touched.
    pub fn shut(&self) {
        self.turn(Gate::Shut);
        self.renew();
    }

    /// The same, but for exchanges that began before and have nowhere else to
    /// go.
    pub fn leave(&self) {
        self.turn(Gate::Leaving);
        self.renew();
    }

    /// Give it exchanges again.
    pub fn open(&self) {
        self.turn(Gate::Open);
    }

    fn turn(&self, gate: Gate) {
        self.gate.store(gate as u8, SeqCst);
        self.turns.send_modify(|turns| *turns += 1);
    }

    /// Told when some server begins or ceases to take exchanges.
    #[must_use]
    pub fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    /// The generation that a connection dialled now belongs to.
    pub fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    /// Make every connection dialled so far one of an earlier generation.
    pub fn renew(&self) {
        self.generation.fetch_add(1, Relaxed);
    }

    /// What is in flight on it.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.exchanges.iter().map(Tally::open).sum()
    }

    /// The same, as it was a moment ago: to weigh it against others.
    #[must_use]
    pub fn aboard(&self) -> u64 {
        self.aboard.load(Relaxed)
    }

    /// What is in flight on it, of one protocol.
    #[must_use]
    pub fn in_flight_of(&self, protocol: Protocol) -> u64 {
        self.exchanges[protocol as usize].open()
    }

    /// How exchanges on it ended. It has no connections of clients.
    #[must_use]
    pub fn sums(&self) -> Sums {
        Sums {
            connections: Ledger::default(),
            exchanges: std::array::from_fn(|index| self.exchanges[index].sums()),
        }
    }

    /// How many exchanges its drains have told, and how many they have cut.
    #[must_use]
    pub fn ended(&self) -> [(&'static str, u64); 2] {
        [
            ("farewelled", self.farewelled.load(Relaxed)),
            ("cut", self.was_cut.load(Relaxed)),
        ]
    }

    /// Put new orders in force; the caller tells those aboard afterwards.
    pub(super) fn store(&self, orders: Orders) {
        *self.orders.write() = orders;
        self.farewell.store(orders.farewell.bits(), SeqCst);
        self.cut.store(orders.cut.bits(), SeqCst);
    }

    /// The orders in force.
    #[must_use]
    pub fn orders(&self) -> Orders {
        *self.orders.read()
    }

    /// Note what its drain is recorded as; before the orders that end anybody.
    pub fn record(&self, trace: Option<Arc<DrainTrace>>) {
        *self.trace.lock() = trace;
    }

    /// What its drain is recorded as.
    pub(super) fn trace(&self) -> Option<Arc<DrainTrace>> {
        self.trace.lock().clone()
    }

    /// Whether exchanges of this protocol are past their deadline here.
    pub(super) fn is_due(&self, protocol: Protocol) -> bool {
        Protocols::from_bits(self.farewell.load(SeqCst)).contains(protocol)
    }

    /// Whether none of this protocol may be left here.
    pub(super) fn is_cut(&self, protocol: Protocol) -> bool {
        Protocols::from_bits(self.cut.load(SeqCst)).contains(protocol)
    }

    /// Whether a call with this deadline of its own is not awaited here.
    pub(super) fn is_hopeless(&self, protocol: Protocol, own: Timestamp) -> bool {
        let beyond = self.orders().hopeless_beyond(protocol);
        beyond.is_some_and(|beyond| own > beyond)
    }

    /// Let an exchange aboard, if the server takes any.
    fn enter(&self, protocol: Protocol) -> bool {
        if self.gate() == Gate::Shut {
            return false;
        }
        let tally = &self.exchanges[protocol as usize];
        // Counted first, asked second: see above.
        tally.opened();
        match self.gate.load(SeqCst) {
            shut if shut == Gate::Shut as u8 => {
                tally.taken_back();
                self.released.notify_waiters();
                return false;
            }
            // The conductor may think that nothing of it is left.
            leaving if leaving == Gate::Leaving as u8 => self.released.notify_waiters(),
            _ => {}
        }
        self.aboard.fetch_add(1, Relaxed);
        true
    }

    /// An exchange has left; `for_server` if it was ended by a drain of the
    /// server alone.
    fn exit(&self, protocol: Protocol, outcome: Outcome, for_server: bool) {
        match outcome {
            Outcome::Farewelled(_) if for_server => self.farewelled.fetch_add(1, Relaxed),
            Outcome::Cut(_) if for_server => self.was_cut.fetch_add(1, Relaxed),
            _ => 0,
        };
        self.aboard.fetch_sub(1, Relaxed);
        self.exchanges[protocol as usize].closed(outcome);
        if self.gate.load(SeqCst) != Gate::Open as u8 && self.in_flight() == 0 {
            self.released.notify_waiters();
        }
    }
}

/// One worker's hold on a berth. Each exchange holds the hold, so that
/// workers do not contend for the count of the berth's holders.
#[derive(Debug)]
pub struct Mooring(Arc<Berth>);

impl Mooring {
    /// A hold for one worker.
    #[must_use]
    pub fn new(berth: &Arc<Berth>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(berth)))
    }

    pub(in crate::proxy) fn enter(&self, protocol: Protocol) -> bool {
        self.0.enter(protocol)
    }

    pub(super) fn exit(&self, protocol: Protocol, outcome: Outcome, for_server: bool) {
        self.0.exit(protocol, outcome, for_server);
    }
}

impl Deref for Mooring {
    type Target = Arc<Berth>;

    fn deref(&self) -> &Arc<Berth> {
        &self.0
    }
}

#[cfg(test)]
mod tests;
