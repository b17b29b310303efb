//! What is being drained, and what everything in it must obey.
//!
//! A [`Scope`] is a listener and the connections that it accepted: what one
//! drain machine speaks to. It knows whether any of that is left, and keeps
//! the books over how it ended. The conductor stores new [`Orders`] first and wakes every
//! connection second; a connection is entered in the registry first and reads
//! the orders second. Whichever comes first, none misses an order: that is
//! the race this module exists to prevent ("added after the drain began").
//!
//! Deliberately absent: deciding anything. Orders come from `drain`.

use super::crowd::Crowd;
use super::flaw::{Failed, HandshakeFlaw};
use super::guard::AcceptGuard;
use super::half_open::HalfOpen;
use super::limit::{Limit, Limited};
use super::paced::{ClientTurns, Turns};
use super::pressure::Pressure;
use super::tally::{Books, HeaderFlaw, Sums};
use super::tunnels::Tunnels;
use crate::clock;
use crate::drain::{Orders, Timestamp, Watch};
use crate::telemetry::traces::DrainTrace;
use parking_lot::{Mutex, RwLock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// A listener, its connections, and the orders in force for them.
#[derive(Debug)]
pub struct Scope {
    listener: Arc<str>,
    orders: RwLock<Orders>,
    version: AtomicU64,
    changed: Notify,
    /// What holds the exit: sockets that may still accept, and connections.
    holders: AtomicUsize,
    acceptors: AtomicUsize,
    /// Shared by all scopes of a registry: told when one has nothing left.
    released: Arc<Notify>,
    pub(super) pressure: Arc<Pressure>,
    pub(super) books: Books,
    handshakes: Failed,
    limited: Limited,
    /// Who has how many connections.
    pub(super) crowd: Crowd,
    pub(super) half_open: HalfOpen,
    pub(super) tunnels: Tunnels,
    /// Who has how many of them.
    pub(super) tunnel_crowd: Crowd,
    /// Those of TLS handshakes, of all clients and of each.
    pub(super) turns: Turns,
    pub(super) client_turns: ClientTurns,
    /// Who does not heed what its drain tells; touched in a drain only.
    pub(super) watch: Mutex<Watch>,
    /// Until when a drain was last under way, in microseconds: 0 for never,
    /// [`STILL`] while one is.
    drained: AtomicU64,
    /// What its drain is recorded as; looked at by who is ended by it.
    trace: Mutex<Option<Arc<DrainTrace>>>,
}

/// A drain is under way.
const STILL: u64 = u64::MAX;

impl Scope {
    pub(super) fn new(
        listener: Arc<str>,
        orders: Orders,
        (released, pressure): (Arc<Notify>, Arc<Pressure>),
    ) -> Self {
        Self {
            listener,
            orders: RwLock::new(orders),
            version: AtomicU64::new(1),
            changed: Notify::new(),
            holders: AtomicUsize::new(0),
            acceptors: AtomicUsize::new(0),
            released,
            pressure,
            books: Books::default(),
            handshakes: Failed::default(),
            limited: Limited::default(),
            crowd: Crowd::default(),
            half_open: HalfOpen::default(),
            tunnels: Tunnels::default(),
            tunnel_crowd: Crowd::default(),
            turns: Turns::default(),
            client_turns: ClientTurns::default(),
            watch: Mutex::default(),
            drained: AtomicU64::new(0),
            trace: Mutex::default(),
        }
    }

    /// The listener's name.
    #[must_use]
    pub fn listener(&self) -> &Arc<str> {
        &self.listener
    }

    /// Who did not heed what its drain told.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.watch.lock().clone()
    }

    /// Whether a drain was under way at any time since then, announce included.
    #[must_use]
    pub fn drained_since(&self, then: Timestamp) -> bool {
        let until = self.drained.load(Ordering::Relaxed);
        until > 0 && until >= micros(then)
    }

    /// Note what its drain is recorded as; before the orders that begin it.
    pub fn record(&self, trace: Option<Arc<DrainTrace>>) {
        *self.trace.lock() = trace;
    }

    /// What its drain is recorded as.
    pub(super) fn trace(&self) -> Option<Arc<DrainTrace>> {
        self.trace.lock().clone()
    }

    /// Begin to watch anew: its drain begins.
    pub fn watch_anew(&self) {
        *self.watch.lock() = Watch::default();
    }

    /// A stream from there was opened on a connection to which GOAWAY was said
    /// at `told`.
    pub(in crate::proxy) fn after_goaway(&self, from: SocketAddr, told: Timestamp) {
        if self.orders().stage.is_some() {
            let from = from.ip().to_canonical();
            self.watch.lock().after_goaway(from, told, clock::now());
        }
    }

    /// A request from there came on a connection to which `Connection: close`
    /// was said at `told`.
    pub(in crate::proxy) fn after_close(&self, from: SocketAddr, told: Timestamp) {
        if self.orders().stage.is_some() {
            let from = from.ip().to_canonical();
            self.watch.lock().after_close(from, told, clock::now());
        }
    }

    /// A connection began without a good PROXY header.
    pub(in crate::proxy) fn header_refused(&self, flaw: HeaderFlaw) {
        self.books.header_refused(flaw);
    }

    /// How many did, since the scope began.
    #[must_use]
    pub fn headers_refused(&self, flaw: HeaderFlaw) -> u64 {
        self.books.headers_refused(flaw)
    }

    /// A TLS handshake did not come to its end.
    pub(in crate::proxy) fn handshake_failed(&self, flaw: HandshakeFlaw) {
        self.handshakes.note(flaw);
    }

    /// How many did not, since the scope began.
    #[must_use]
    pub fn handshakes_failed(&self, flaw: HandshakeFlaw) -> u64 {
        self.handshakes.count(flaw)
    }

    /// A limit was reached.
    pub(in crate::proxy) fn limited(&self, limit: Limit) {
        self.limited.note(limit);
    }

    /// How often it was, since the scope began.
    #[must_use]
    pub fn limited_count(&self, limit: Limit) -> u64 {
        self.limited.count(limit)
    }

    /// Announce a socket that is about to accept.
    #[must_use]
    pub fn accepting(self: &Arc<Self>) -> AcceptGuard {
        self.hold();
        self.acceptors.fetch_add(1, Ordering::AcqRel);
        AcceptGuard {
            scope: Arc::clone(self),
        }
    }

    /// Whether no socket accepts and no connection is open.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.holders.load(Ordering::Acquire) == 0
    }

    /// Whether no socket accepts.
    #[must_use]
    pub fn has_refused(&self) -> bool {
        self.acceptors.load(Ordering::Acquire) == 0
    }

    /// The sums since the scope began.
    #[must_use]
    pub fn sums(&self) -> Sums {
        self.books.sums()
    }

    pub(super) fn hold(&self) {
        self.holders.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn release(&self) {
        if self.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.released.notify_waiters();
        }
    }

    pub(super) fn stop_accepting(&self) {
        if self.acceptors.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.released.notify_waiters();
        }
        self.release();
    }

    /// The orders in force now.
    #[must_use]
    pub fn orders(&self) -> Orders {
        *self.orders.read()
    }

    /// Grows with every change of the orders; never zero.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Put new orders in force. The caller wakes the connections afterwards.
    pub(super) fn store(&self, orders: Orders) {
        if orders.stage.is_some() {
            self.drained.store(STILL, Ordering::Relaxed);
        } else if self.drained.load(Ordering::Relaxed) == STILL {
            let now = micros(clock::now());
            self.drained.store(now, Ordering::Relaxed);
        }
        *self.orders.write() = orders;
        self.version.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Wait until the orders are others than those of version `seen`, and
    /// return them with their version.
    pub async fn changed(&self, seen: u64) -> (Orders, u64) {
        loop {
            let notified = self.changed.notified();
            tokio::pin!(notified);
            // Enlisted before the look, or a change between the two is lost.
            notified.as_mut().enable();
            let version = self.version();
            if version != seen {
                return (self.orders(), version);
            }
            notified.await;
        }
    }
}

/// The orders as one task last heard them: read again only when they changed,
/// which costs a busy connection one load.
#[derive(Debug)]
pub struct Heard {
    orders: Orders,
    version: u64,
}

impl Heard {
    /// The orders in force in the scope now.
    pub fn refresh(&mut self, scope: &Scope) -> &Orders {
        let version = scope.version();
        if version != self.version {
            // Version first: orders stored in between are read again next time.
            self.version = version;
            self.orders = scope.orders();
        }
        &self.orders
    }
}

impl From<&Arc<Scope>> for Heard {
    fn from(scope: &Arc<Scope>) -> Self {
        let version = scope.version();
        Self {
            orders: scope.orders(),
            version,
        }
    }
}

fn micros(time: Timestamp) -> u64 {
    u64::try_from(time.since_start().as_micros()).unwrap_or(STILL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Stage;
    use std::time::Duration;

    #[test]
    fn what_lived_during_a_drain_is_told_from_what_came_after() {
        let scope = Scope::new("web".into(), Orders::default(), <_>::default());
        let at = Timestamp::from_start;
        let (early, late) = (at(Duration::ZERO), at(Duration::from_secs(1 << 30)));
        assert!(!scope.drained_since(early));
        let announced = Orders {
            stage: Some(Stage::Announce),
            ..Orders::default()
        };
        scope.store(announced);
        assert!(scope.drained_since(early) && scope.drained_since(late));
        scope.store(Orders::default());
        assert!(
            scope.drained_since(early),
            "it was taken back, and yet it was"
        );
        assert!(!scope.drained_since(late));
    }
}
