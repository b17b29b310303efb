//! Entering the live table, and leaving it whatever happens.
//!
//! Both guards count on drop, so that a panic, a cancelled task or a reset
//! connection leaves the table as truthfully as a clean end does. An exchange
//! that is dropped without a word was *cut* if its protocol's time was over,
//! and *finished* otherwise (the client left, or the server did): only the
//! drain's doing is the drain's to answer for.

use super::Registry;
use super::berth::Mooring;
use super::exchange::{Place, Slot};
use super::memo::{Answered, CLIENT_LEFT, Memo, Notes};
use super::record::Record;
use super::scope::Scope;
use super::seats::Seat;
use super::state::State;
use crate::clock;
use crate::drain::{CutReason, Doing, Farewell, Outcome, Parting, Protocol, Timestamp};
use crate::telemetry::metrics::RouteMetrics;
use parking_lot::{Mutex, MutexGuard};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use tokio::time::timeout_at;

/// For whose sake an exchange is past its deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Its listener's: the client must go elsewhere.
    Listener,
    /// Its server's: the client may try again on the same connection.
    Server,
    /// Its connection's age: on another connection.
    Age,
}

/// A connection's stay in the table.
#[derive(Debug)]
pub struct ConnectionGuard {
    pub(super) registry: Arc<Registry>,
    pub(super) record: Arc<Record>,
}

impl ConnectionGuard {
    /// The record that others see.
    #[must_use]
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Begin an exchange on this connection.
    #[must_use]
    pub fn begin(&self, protocol: Protocol) -> RequestGuard {
        self.registry.begin(&self.record, protocol)
    }

    /// What the connection belongs to, and whose orders it obeys.
    #[must_use]
    pub fn scope(&self) -> &Arc<Scope> {
        &self.record.scope
    }
}

impl Deref for ConnectionGuard {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.registry.leave(&self.record);
    }
}

/// An exchange's stay in the table.
#[derive(Debug)]
pub struct RequestGuard {
    pub(super) registry: Arc<Registry>,
    pub(super) record: Arc<Record>,
    pub(super) protocol: Protocol,
    pub(super) began: Timestamp,
    /// The deadline that its client gave it.
    pub(super) own_deadline: Option<Timestamp>,
    pub(super) place: Place,
    pub(super) outcome: Option<Outcome>,
    pub(super) metrics: Option<Arc<RouteMetrics>>,
    pub(super) code: u16,
    /// It is counted as a tunnel.
    pub(super) tunnels: bool,
    pub(super) memo: Option<Box<Memo>>,
    /// The server that it is on. Locked by its own task alone, once for each
    /// server that it is sent to.
    pub(super) aboard: Mutex<Option<Arc<Mooring>>>,
    /// What it takes up at its upstream; free again when all else is over.
    pub(super) seat: OnceLock<Seat>,
}

impl RequestGuard {
    /// The connection that carries the exchange.
    #[must_use]
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// The protocol of the exchange.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// When the exchange began.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// Note the deadline that the client gave the exchange, and hold it to it.
    pub fn set_own_deadline(&mut self, at: Timestamp) {
        self.own_deadline = Some(at);
        self.gives_up(at);
    }

    /// The deadline that the client gave the exchange, if it is held to it.
    #[must_use]
    pub fn own_deadline(&self) -> Option<Timestamp> {
        self.own_deadline
    }

    /// Note when the exchange ends without anybody's doing here.
    pub fn gives_up(&self, at: Timestamp) {
        self.slot(|slot| slot.gives_up(at));
    }

    /// Whether the deadline that its client gave it has passed.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.own_deadline.is_some_and(|own| own <= clock::now())
    }

    /// Go to a server. `false` if it takes none any more: then the exchange is
    /// on no server, and nothing may be sent. Whatever server it was on before
    /// is left behind.
    pub fn board(&self, mooring: &Arc<Mooring>) -> bool {
        let mut aboard = self.aboard.lock();
        if let Some(before) = aboard.take() {
            self.slot(Slot::go_ashore);
            before.exit(self.protocol, Outcome::Finished, false);
        }
        if !mooring.enter(self.protocol) {
            return false;
        }
        self.stay(aboard, Arc::clone(mooring));
        true
    }

    /// Be on a server that it was let aboard already, and on no other.
    pub(super) fn move_to(&self, mooring: Arc<Mooring>) {
        let mut aboard = self.aboard.lock();
        if let Some(before) = aboard.take() {
            self.slot(Slot::go_ashore);
            before.exit(self.protocol, Outcome::Finished, false);
        }
        self.stay(aboard, mooring);
    }

    fn stay(&self, mut aboard: MutexGuard<'_, Option<Arc<Mooring>>>, mooring: Arc<Mooring>) {
        self.slot(|slot| slot.board(mooring.number));
        let mooring = aboard.insert(mooring);
        // Entered first, asked second: orders given in between reach it here.
        if self.slot(|slot| slot.tell(mooring)) {
            self.record.wake();
        }
    }

    /// Whether the exchange is past its deadline, by the drain of its listener
    /// or of its server, or hopeless in a drain that ends such work.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.is_due_with_listener() || self.slot(Slot::is_due)
    }

    fn is_due_with_listener(&self) -> bool {
        let own = self.own_deadline;
        self.record.is_due(self.protocol) || own.is_some_and(|own| self.record.is_hopeless(own))
    }

    /// Whether it is past its deadline for the sake of its server alone: its
    /// client can try again on the same connection.
    #[must_use]
    pub fn is_due_with_server(&self) -> bool {
        self.slot(Slot::is_due) && !self.is_due_with_listener()
    }

    /// Why it is past its deadline, if it is.
    #[must_use]
    pub fn cause(&self) -> Cause {
        if self.is_due_with_server() {
            Cause::Server
        } else if self.record.is_outlived(self.protocol) {
            Cause::Age
        } else {
            Cause::Listener
        }
    }

    /// Wait until it is past its deadline, or past the one that its client
    /// gave it.
    pub async fn due(&self) {
        let due = self.record.told(|| self.is_due());
        match self.own_deadline {
            None => due.await,
            Some(own) => {
                // Boxed: else every exchange would have to have room for it.
                let _ = Box::pin(timeout_at(clock::instant(own), due)).await;
            }
        }
    }

    /// Wait until what is left of the exchange is to be closed by force.
    pub async fn cut(&self) {
        let cut = || self.record.is_cut(self.protocol) || self.slot(Slot::is_cut);
        self.record.told(cut).await;
    }

    /// What an end without a word means.
    fn silent_end(&self) -> Outcome {
        if self.record.is_cut(self.protocol) {
            Outcome::Cut(cut_reason(&self.record))
        } else if self.slot(Slot::is_cut) {
            Outcome::Cut(CutReason::ServerDrained)
        } else {
            Outcome::Finished
        }
    }

    /// Note where the exchange is counted.
    pub fn routed(&mut self, metrics: &Arc<RouteMetrics>) {
        self.slot(|slot| slot.route(metrics.number()));
        self.metrics = Some(Arc::clone(metrics));
    }

    /// Have it told of at its end.
    pub fn remember(&mut self, memo: Box<Memo>) {
        self.memo = Some(memo);
    }

    /// Where notes are taken of its way, if it will be told of.
    #[must_use]
    pub fn notes(&self) -> Option<&Arc<Notes>> {
        self.memo.as_ref().map(|memo| &memo.notes)
    }

    /// Note the status that the client was sent.
    pub fn answered(&mut self, code: u16) {
        self.code = code;
    }

    /// Note what the exchange does from now on.
    pub fn enter(&self, doing: Doing) {
        self.slot(|slot| slot.enter(doing));
    }

    /// Note that a response of this length, if it is known, has begun.
    pub fn sending(&self, length: Option<u64>, doing: Doing) {
        self.slot(|slot| {
            slot.length(length);
            slot.enter(doing);
        });
    }

    /// Note how many bytes of the response are out.
    pub fn sent(&self, all: u64) {
        self.slot(|slot| slot.sent(all, clock::now));
    }

    /// Note that so many more bytes of the response are out.
    pub fn sent_more(&self, bytes: usize) {
        self.slot(|slot| slot.sent(slot.sent_so_far() + bytes as u64, clock::now));
    }

    /// Note whether the client takes what is sent.
    pub fn stuck(&self, is: bool) {
        self.slot(|slot| slot.stuck(is, clock::now));
    }

    fn slot<T>(&self, look: impl FnOnce(&Slot) -> T) -> T {
        self.record.slots.slot(self.place, look)
    }

    /// What it was doing, where it went: for the receipt, not the hot path.
    fn tell_of(&self, outcome: Outcome, server: Option<&Mooring>) {
        let now = clock::now();
        let doing = self.slot(|slot| slot.doing(&self.record, now));
        let route = self.metrics.as_ref().map(|metrics| metrics.route());
        let parting = Parting {
            connection: self.record.id,
            listener: self.record.listener(),
            peer: self.record.client.address(),
            protocol: self.protocol,
            route: route
                .map(AsRef::as_ref)
                .filter(|route: &&str| !route.is_empty()),
            server: server.map(|server| &**server.name()),
            doing: doing.unwrap_or(Doing::Awaiting),
            outcome,
            age: now.saturating_since(self.began),
            at: now,
        };
        self.registry.tell_of(parting.into());
    }

    /// Note how the exchange ended; the last word counts.
    pub fn conclude(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or_else(|| self.silent_end());
        let for_server = outcome != Outcome::Finished && self.is_due_with_server();
        let aboard = self.aboard.get_mut().take();
        self.record.conclude(outcome);
        self.record.scope.books.exchanges[self.protocol as usize].closed(outcome);
        // Receipts name who was told by a drain, and have room for so many.
        if outcome != Outcome::Finished && self.cause() != Cause::Age {
            self.tell_of(outcome, aboard.as_deref().filter(|_| for_server));
        }
        if self.tunnels {
            self.leave_tunnel();
        }
        let sent = self.memo.as_ref().map(|_| self.slot(Slot::sent_so_far));
        let marks = self.record.end(self.protocol, self.place);
        if !marks.none() {
            self.registry
                .foretelling
                .ended(marks, self.protocol, outcome);
        }
        let took = clock::now().saturating_since(self.began);
        if self.code == 0 && !matches!(self.protocol, Protocol::Tcp) {
            self.code = CLIENT_LEFT;
        }
        if let Some(metrics) = &self.metrics {
            metrics.record(self.protocol, self.code, took);
            // What was ended early says nothing of how long it would have gone.
            if outcome == Outcome::Finished {
                metrics.lasted(self.protocol, took);
            }
        }
        if let Some(memo) = self.memo.take() {
            if let (Some(metrics), Some((_, begun))) = (&self.metrics, &memo.trace) {
                metrics.exemplify(self.protocol, took, begun.ids, clock::unix());
            }
            let answered = Answered {
                protocol: self.protocol,
                code: self.code,
                sent: sent.unwrap_or_default(),
                began: self.began,
                took,
                outcome,
                route: self.metrics.as_ref(),
            };
            memo.log(&self.record, &answered);
            memo.trace(&self.record, &answered, (aboard.as_deref(), for_server));
        }
        if let Some(server) = aboard {
            // Last: who waits for it finds everything else done.
            server.exit(self.protocol, outcome, for_server);
        }
    }
}

/// A listener's stay: while it may still accept, nobody may conclude that
/// nothing is left.
#[derive(Debug)]
pub struct AcceptGuard {
    pub(super) scope: Arc<Scope>,
}

impl Drop for AcceptGuard {
    fn drop(&mut self) {
        self.scope.stop_accepting();
    }
}

impl Registry {
    fn begin(self: &Arc<Self>, record: &Arc<Record>, protocol: Protocol) -> RequestGuard {
        let began = clock::now();
        record.scope.books.exchanges[protocol as usize].opened();
        RequestGuard {
            registry: Arc::clone(self),
            record: Arc::clone(record),
            protocol,
            began,
            own_deadline: None,
            place: record.begin(protocol, began),
            outcome: None,
            metrics: None,
            code: 0,
            tunnels: false,
            memo: None,
            aboard: Mutex::new(None),
            seat: OnceLock::new(),
        }
    }

    fn leave(&self, record: &Arc<Record>) {
        self.live.remove(&record.id);
        record.open_up();
        if let Some(who) = record.counted.get() {
            record.scope.crowd.leave(*who);
        }
        if record.is_over() && record.state() != State::Closing {
            record.conclude(Outcome::Cut(cut_reason(record)));
        }
        let outcome = record.outcome();
        let books = &record.scope.books;
        books.connections.closed(outcome);
        // What exchanges came to was told when they ended.
        let half_open = match outcome {
            Outcome::Farewelled(kind) => matches!(
                kind,
                Farewell::Fin | Farewell::TlsAlert | Farewell::HalfHead
            ),
            // Also with requests behind it, as in a second head.
            Outcome::Cut(_) => record.doing() != Doing::Idle,
            Outcome::Finished => false,
        };
        if half_open || (record.requests() == 0 && outcome != Outcome::Finished) {
            let protocol = record.protocol().unwrap_or(Protocol::Tcp);
            books.connections.half_open_closed(outcome);
            let now = clock::now();
            let parting = Parting {
                connection: record.id,
                listener: record.listener(),
                peer: record.client.address(),
                protocol,
                route: None,
                server: None,
                doing: record.doing(),
                outcome,
                age: now.saturating_since(record.accepted),
                at: now,
            };
            self.tell_of(parting.into());
        }
        if record.scope.orders().draining() {
            books.drained(outcome);
        }
        record.scope.release();
    }
}

fn cut_reason(record: &Record) -> CutReason {
    if record.scope.orders().cut_by_operator {
        CutReason::Operator
    } else {
        CutReason::Farewell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Orders;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn the_books_balance_after_a_panic() {
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let connection = registry.enter(&scope, ([127, 0, 0, 1], 9).into());
            let _one = connection.begin(Protocol::Http2);
            let _other = connection.begin(Protocol::Grpc);
            assert_eq!(connection.in_flight(), 2);
            std::panic::resume_unwind(Box::new("in the middle of it"));
        }));
        assert!(panicked.is_err());
        let sums = registry.sums();
        for ledger in sums.exchanges.iter().chain([&sums.connections]) {
            assert!(ledger.balanced(), "{ledger:?}");
        }
        assert_eq!((registry.open(), scope.is_quiet()), (0, true));
    }
}
