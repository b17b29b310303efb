//! What is known of one connection while it lives.
//!
//! The connection's own task writes, the admin interface and the conductor
//! read; all of it is atomic, so that looking costs the connection nothing. A
//! reader may see two fields of different instants: good enough to show, and
//! nothing is decided on more than one field.
//!
//! Deliberately absent: the socket. Whoever wants a connection to end says so
//! through the scope's orders, and its own task does it.

use super::client::Client;
use super::crowd::Who;
use super::exchange::{Exchanges, Marks, Place};
use super::outcome::{decode, encode};
use super::scope::Scope;
use super::state::State;
use crate::clock;
use crate::drain::{Doing, LateRequests, Orders, Outcome, Protocol, Protocols, Timestamp};
use crate::telemetry::traces::Ids;
use futures_util::task::AtomicWaker;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

const UNKNOWN: u8 = u8::MAX;

/// No time was noted.
const NEVER: u64 = u64::MAX;

/// One connection, as far as others may see it.
#[derive(Debug)]
pub struct Record {
    /// Unique in this process, in the order of acceptance.
    pub id: u64,
    /// What it belongs to.
    pub(super) scope: Arc<Scope>,
    /// Whose connection it is.
    pub client: Client,
    /// When it was accepted.
    pub accepted: Timestamp,
    protocol: AtomicU8,
    state: AtomicU8,
    /// The state before it began to close.
    left: AtomicU8,
    since: AtomicU64,
    pub(super) slots: Exchanges,
    in_flight: [AtomicU32; Protocol::ALL.len()],
    requests: AtomicU64,
    taken_back: AtomicU64,
    /// Bytes read from the client, after TLS.
    pub received: AtomicU64,
    /// Bytes written to the client, before TLS.
    pub sent: AtomicU64,
    /// Since when the client takes nothing.
    blocked: AtomicU64,
    /// When a tunnel last passed anything.
    moved: AtomicU64,
    retired: AtomicBool,
    /// In microseconds; 0 is never.
    ends: AtomicU64,
    hopeless: AtomicU64,
    /// It has been able to carry a request, or is not counted as half-open.
    pub(super) opened: AtomicBool,
    /// What is on it is to leave for its age.
    pub(super) outlived: AtomicBool,
    /// The limit for which it is told to leave while it is half-open.
    pub(super) shed: AtomicU8,
    /// As whose connection it is counted.
    pub(super) counted: OnceLock<Who>,
    pub(super) farewell: AtomicU8,
    pub(super) cut: AtomicU8,
    worst: AtomicU8,
    /// The span of its TLS handshake, if that was recorded.
    handshake: OnceLock<Box<Ids>>,
    /// Woken when the orders change; the connection's own task waits here.
    pub(in crate::proxy) waker: AtomicWaker,
    /// Told when a deadline comes; tasks of single exchanges wait here.
    deadline: Notify,
}

impl Record {
    pub(super) fn new(id: u64, scope: Arc<Scope>, peer: SocketAddr) -> Self {
        let now = clock::now();
        Self {
            id,
            scope,
            client: Client::at(peer),
            accepted: now,
            protocol: AtomicU8::new(UNKNOWN),
            state: AtomicU8::new(State::Accepted as u8),
            left: AtomicU8::new(State::Accepted as u8),
            since: AtomicU64::new(micros(now)),
            slots: Exchanges::default(),
            in_flight: [const { AtomicU32::new(0) }; Protocol::ALL.len()],
            requests: AtomicU64::new(0),
            taken_back: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            blocked: AtomicU64::new(NEVER),
            moved: AtomicU64::new(NEVER),
            retired: AtomicBool::new(false),
            ends: AtomicU64::new(0),
            hopeless: AtomicU64::new(0),
            opened: AtomicBool::new(false),
            outlived: AtomicBool::new(false),
            shed: AtomicU8::new(UNKNOWN),
            counted: OnceLock::new(),
            farewell: AtomicU8::new(0),
            cut: AtomicU8::new(0),
            worst: AtomicU8::new(0),
            handshake: OnceLock::new(),
            waker: AtomicWaker::new(),
            deadline: Notify::new(),
        }
    }

    /// Note the span of its TLS handshake.
    pub(in crate::proxy) fn set_handshake(&self, ids: Ids) {
        // There is one handshake.
        let _ = self.handshake.set(Box::new(ids));
    }

    pub(super) fn handshake(&self) -> Option<Ids> {
        self.handshake.get().map(|ids| **ids)
    }

    /// Name of the listener that accepted it.
    pub fn listener(&self) -> &Arc<str> {
        self.scope.listener()
    }

    /// Whether it belongs to one of these.
    pub fn is_of(&self, scopes: &[Arc<Scope>]) -> bool {
        scopes.iter().any(|scope| Arc::ptr_eq(scope, &self.scope))
    }

    /// Whether the listener that accepted it is past refuse.
    pub fn draining(&self) -> bool {
        self.scope.orders().draining()
    }

    /// The listener that accepted it, and what it must obey.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The protocol spoken, once that is known.
    pub fn protocol(&self) -> Option<Protocol> {
        Protocol::ALL
            .get(usize::from(self.protocol.load(Relaxed)))
            .copied()
    }

    /// Note which protocol is spoken.
    pub fn set_protocol(&self, protocol: Protocol) {
        self.protocol.store(protocol as u8, Relaxed);
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        State::from_u8(self.state.load(Relaxed))
    }

    /// Since when it stands there.
    pub fn since(&self) -> Timestamp {
        Timestamp::from_start(std::time::Duration::from_micros(self.since.load(Relaxed)))
    }

    /// Note where the connection stands; the time counts from a change only.
    pub fn enter(&self, state: State) {
        let before = self.state.swap(state as u8, Relaxed);
        if before != state as u8 {
            if state == State::Closing {
                self.left.store(before, Relaxed);
            }
            if !state.half_open() && State::from_u8(before).half_open() {
                self.open_up();
            }
            self.since.store(micros(clock::now()), Relaxed);
        }
    }

    /// Exchanges in flight, of all protocols.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Exchanges in flight, of one protocol.
    pub fn in_flight_of(&self, protocol: Protocol) -> u32 {
        self.in_flight[protocol as usize].load(Relaxed)
    }

    /// Exchanges begun since the accept.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Requests that the client took back at once.
    pub fn taken_back(&self) -> u64 {
        self.taken_back.load(Relaxed)
    }

    /// Note that the client took a request back at once.
    pub(in crate::proxy) fn take_back(&self) {
        self.taken_back.fetch_add(1, Relaxed);
    }

    pub(super) fn begin(&self, protocol: Protocol, began: Timestamp) -> Place {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight[protocol as usize].fetch_add(1, Relaxed);
        self.enter(State::InFlight);
        self.slots.begin(protocol, began)
    }

    pub(super) fn end(&self, protocol: Protocol, place: Place) -> Marks {
        let marks = self.slots.end(place);
        self.in_flight[protocol as usize].fetch_sub(1, Relaxed);
        if self.in_flight() == 0 && self.state() == State::InFlight {
            self.enter(State::Idle);
        }
        marks
    }

    /// What a connection without an exchange does, or did before it closed.
    pub(super) fn doing(&self) -> Doing {
        let state = match self.state() {
            State::Closing => State::from_u8(self.left.load(Relaxed)),
            state => state,
        };
        match state {
            State::Accepted => Doing::Silent,
            State::ProxyHeader => Doing::ProxyHeader,
            State::TlsHandshake => Doing::TlsHandshake,
            State::Preface => Doing::Preface,
            State::Head => Doing::HalfHead,
            State::Idle | State::InFlight | State::Closing => Doing::Idle,
        }
    }

    /// Pass on which protocols' deadlines have come or will, and which are to
    /// be cut.
    pub(in crate::proxy) fn tell(&self, orders: &Orders) {
        // Orders only grow. Two that come at once, from the conductor and from
        // the accept, may come in either order: neither takes the other back.
        self.farewell.fetch_or(orders.farewell.bits(), Relaxed);
        self.cut.fetch_or(orders.cut.bits(), Relaxed);
        let ends = orders.deadline(Protocol::Grpc);
        self.ends.fetch_max(ends.map_or(0, micros), Relaxed);
        let beyond = orders.hopeless_beyond(Protocol::Grpc);
        self.hopeless.fetch_max(beyond.map_or(0, micros), Relaxed);
        self.wake();
    }

    /// Have everybody look again who waits for an order.
    pub(super) fn wake(&self) {
        self.deadline.notify_waiters();
        self.waker.wake();
    }

    /// Whether an exchange of this protocol is past its deadline.
    pub fn is_due(&self, protocol: Protocol) -> bool {
        Protocols::from_bits(self.farewell.load(Relaxed)).contains(protocol)
    }

    /// When gRPC calls on this connection are ended by a drain; `None` until
    /// one has a date for that.
    pub fn grpc_ends(&self) -> Option<Timestamp> {
        noted(&self.ends)
    }

    /// Whether a call with this deadline of its own is not awaited.
    pub fn is_hopeless(&self, own: Timestamp) -> bool {
        noted(&self.hopeless).is_some_and(|beyond| own > beyond)
    }

    /// Whether the client was told to send no more requests here.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// Note that the client was told so.
    pub(in crate::proxy) fn retire(&self) {
        self.retired.store(true, Relaxed);
        self.deadline.notify_waiters();
    }

    /// Wait until the client was told so.
    pub(in crate::proxy) async fn retirement(&self) {
        self.told(|| self.is_retired()).await;
    }

    /// Whether a request that comes now is to be refused for coming late.
    pub(in crate::proxy) fn refuses_late(&self) -> bool {
        self.is_retired() && {
            let orders = self.scope.orders();
            orders.draining() && orders.plan.late_requests == LateRequests::Refuse
        }
    }

    /// Whether nothing on this connection may be left: the time of each
    /// exchange in flight is over, or of all that it could carry.
    pub fn is_over(&self) -> bool {
        if self.is_cut_by_server() {
            return true;
        }
        let cut = Protocols::from_bits(self.cut.load(Relaxed));
        if cut.is_empty() {
            return false;
        }
        let mut in_flight = Protocol::ALL
            .into_iter()
            .filter(|protocol| self.in_flight_of(*protocol) > 0)
            .peekable();
        if in_flight.peek().is_some() {
            return in_flight.all(|protocol| cut.contains(protocol));
        }
        match self.protocol() {
            Some(Protocol::Http2) => cut.contains(Protocol::Http2) && cut.contains(Protocol::Grpc),
            Some(protocol) => cut.contains(protocol),
            None => cut.contains(Protocol::Http1),
        }
    }

    /// Whether the one exchange that an HTTP/1 connection carries is cut by
    /// the drain of its server. Where there may be siblings, or a tunnel's own
    /// task listens, that task ends the exchange and nothing else.
    fn is_cut_by_server(&self) -> bool {
        self.slots.only_one_is_cut() && self.protocol() == Some(Protocol::Http1)
    }

    /// Wait until nothing on this connection may be left.
    pub async fn over(&self) {
        self.told(|| self.is_over()).await;
    }

    /// Whether bytes wait because the client does not take them.
    pub fn blocked(&self) -> bool {
        self.blocked.load(Relaxed) != NEVER
    }

    /// Since when they do.
    pub(super) fn blocked_since(&self) -> Option<Timestamp> {
        time(&self.blocked)
    }

    /// Note whether the client took what was written last.
    pub(in crate::proxy) fn set_blocked(&self, blocked: bool) {
        if self.blocked() != blocked {
            let since = if blocked { micros(clock::now()) } else { NEVER };
            self.blocked.store(since, Relaxed);
        }
    }

    /// When a tunnel last passed anything; `None` on a connection that is none.
    #[must_use]
    pub fn moved(&self) -> Option<Timestamp> {
        time(&self.moved)
    }

    /// Note that a tunnel passed something.
    pub(in crate::proxy) fn set_moved(&self) {
        self.moved.store(micros(clock::now()), Relaxed);
    }

    /// Whether what is left of this protocol is closed by force.
    pub fn is_cut(&self, protocol: Protocol) -> bool {
        Protocols::from_bits(self.cut.load(Relaxed)).contains(protocol)
    }

    /// Wait until an exchange of this protocol is past its deadline.
    pub async fn due(&self, protocol: Protocol) {
        self.told(|| self.is_due(protocol)).await;
    }

    /// Wait until what is left of this protocol is to be closed by force.
    pub async fn cut(&self, protocol: Protocol) {
        self.told(|| self.is_cut(protocol)).await;
    }

    pub(super) async fn told(&self, so: impl Fn() -> bool) {
        loop {
            let told = self.deadline.notified();
            tokio::pin!(told);
            // Enlisted before the look, or an order between the two is lost.
            told.as_mut().enable();
            if so() {
                return;
            }
            told.await;
        }
    }

    /// Note how the connection, or an exchange on it, ended; the worst stays.
    pub fn conclude(&self, outcome: Outcome) {
        self.worst.fetch_max(encode(outcome), Relaxed);
    }

    /// The worst outcome noted.
    pub fn outcome(&self) -> Outcome {
        decode(self.worst.load(Relaxed))
    }
}

fn noted(micros: &AtomicU64) -> Option<Timestamp> {
    let micros = micros.load(Relaxed);
    let at = Timestamp::from_start(std::time::Duration::from_micros(micros));
    (micros > 0).then_some(at)
}

fn time(cell: &AtomicU64) -> Option<Timestamp> {
    let micros = cell.load(Relaxed);
    (micros != NEVER).then(|| Timestamp::from_start(std::time::Duration::from_micros(micros)))
}

pub(super) fn micros(at: Timestamp) -> u64 {
    u64::try_from(at.since_start().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Farewell;
    use crate::proxy::registry::Registry;

    #[test]
    fn the_worst_outcome_stays() {
        let registry = Registry::new();
        let guard = registry.enter(
            &registry.scope("web".into(), Orders::default()),
            ([127, 0, 0, 1], 9).into(),
        );
        let record = guard.record();
        record.conclude(Outcome::Farewelled(Farewell::GrpcTrailers));
        record.conclude(Outcome::Finished);
        assert_eq!(
            record.outcome(),
            Outcome::Farewelled(Farewell::GrpcTrailers)
        );
    }
}
