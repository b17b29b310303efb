//! One connection as a dumb socket loop: woken, it reads the orders, does
//! what they say, and says when it wants to be woken at the latest.
//!
//! It knows nothing of machines and of other listeners. What it gets wrong,
//! the orders got wrong.

use crate::books::{Books, Fate, Stay, While};
use crate::sabotage::Sabotage;
use crate::script::{Client, Kind, Pace};
use ebbtide::drain::{CutReason, Farewell, Orders, Outcome, Protocol, Protocols, Timestamp};
use std::time::Duration;

/// From the first GOAWAY to the final one: a PING there and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(50);

/// One request, stream or tunnel in flight.
#[derive(Debug)]
struct Exchange {
    protocol: Protocol,
    began: Timestamp,
    natural_end: Timestamp,
    /// Until when its client waits.
    own: Option<Timestamp>,
    promised: Option<Timestamp>,
    farewell: Given,
}

/// Whether an exchange got its farewell, and what the client makes of it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Given {
    No,
    LeavesAt(Timestamp),
    Ignored,
}

/// How far a connection is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Position {
    HalfOpen,
    Open,
    Ended,
}

/// One accepted connection.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    index: usize,
    client: Client,
    accepted: Timestamp,
    late: bool,
    position: Position,
    live: Vec<Exchange>,
    sent: usize,
    next_request: Option<Timestamp>,
    last_activity: Timestamp,
    /// Its last answer said `Connection: close`.
    closing: bool,
    worst: Outcome,
    /// When it is woken next, as far as was asked for.
    armed: Option<Timestamp>,
    sabotage: Sabotage,
    /// The first orders read, for a sabotaged loop that reads no others.
    stale: Option<Orders>,
}

impl Connection {
    pub(crate) fn new(
        index: usize,
        client: Client,
        accepted: Timestamp,
        late: bool,
        sabotage: Sabotage,
    ) -> Self {
        Self {
            id: u64::try_from(index).unwrap_or(0),
            index,
            client,
            accepted,
            late,
            position: Position::HalfOpen,
            live: Vec::new(),
            sent: 0,
            next_request: None,
            last_activity: accepted,
            closing: false,
            worst: Outcome::Finished,
            armed: None,
            sabotage,
            stale: None,
        }
    }

    pub(crate) fn ended(&self) -> bool {
        self.position == Position::Ended
    }

    /// Run until there is nothing to do, and say when to be woken.
    pub(crate) fn wake(
        &mut self,
        now: Timestamp,
        mut orders: Orders,
        books: &mut Books,
    ) -> Option<Timestamp> {
        if self.ended() || self.client.wedged {
            return None;
        }
        if self.late && self.sabotage == Sabotage::LateOnesReadOrdersOnce {
            orders = *self.stale.get_or_insert(orders);
        }
        self.end_exchanges(now, &orders, books);
        self.open_up(now, &orders);
        self.begin_exchanges(now, &orders, books);
        self.obey_farewell(now, &orders);
        self.obey_cut(now, &orders, books);
        self.obey_retire(now, &orders, books);
        self.next_wake(now, &orders)
    }

    /// Ask to be woken at `next`, unless that was asked for.
    pub(crate) fn arm(&mut self, now: Timestamp, next: Timestamp) -> Option<Timestamp> {
        let armed = self.armed.filter(|at| *at > now);
        self.armed = Some(next);
        (armed != Some(next)).then_some(next)
    }

    /// The process is gone, and every connection with it.
    pub(crate) fn exit(&mut self, now: Timestamp, reason: CutReason, books: &mut Books) {
        for exchange in std::mem::take(&mut self.live) {
            self.conclude(&exchange, now, Outcome::Cut(reason), books);
        }
        self.worst = Outcome::Cut(reason);
        self.end(now, While::Exit, books);
    }

    fn end_exchanges(&mut self, now: Timestamp, orders: &Orders, books: &mut Books) {
        for exchange in std::mem::take(&mut self.live) {
            let outcome = match exchange.farewell {
                Given::No if exchange.natural_end <= now => Outcome::Finished,
                Given::LeavesAt(gone) if gone <= now => {
                    Outcome::Farewelled(farewell_of(exchange.protocol))
                }
                _ => {
                    self.live.push(exchange);
                    continue;
                }
            };
            self.conclude(&exchange, now, outcome, books);
            if self.client.kind == Kind::Http1 {
                let retired = orders.retire_at(self.id).is_some_and(|at| at <= now);
                self.closing = retired || outcome != Outcome::Finished;
                self.plan_request(now, orders);
            }
        }
    }

    fn open_up(&mut self, now: Timestamp, orders: &Orders) {
        if self.position == Position::HalfOpen && self.drips().is_some_and(|at| at <= now) {
            self.last_activity = now;
        }
        let opens = self.client.opens.map(|after| self.accepted + after);
        if self.position == Position::HalfOpen && opens.is_some_and(|at| at <= now) {
            self.position = Position::Open;
            self.last_activity = now;
            self.plan_request(now, orders);
        }
        if self.position == Position::Open && self.next_request.is_none() {
            // Racers learn of more instants as orders come.
            let between = self.client.kind == Kind::Http2 || self.live.is_empty();
            if self.client.pace == Pace::Racing && between {
                self.plan_request(now, orders);
            }
        }
    }

    fn begin_exchanges(&mut self, now: Timestamp, orders: &Orders, books: &mut Books) {
        let refuses = self.closing || self.final_goaway(orders).is_some_and(|at| at <= now);
        while !refuses && self.next_request.is_some_and(|at| at <= now) {
            let request = self.client.requests[self.sent].clone();
            self.sent += 1;
            self.last_activity = now;
            books.begin(self.client.listener, request.protocol);
            let own = request.waits.map(|waits| now + waits);
            // A client is promised no more than the drain has left.
            let left = orders.deadline(request.protocol).filter(|_| own.is_some());
            let promised = left.map(|left| own.map_or(left, |own| own.min(left)));
            self.live.push(Exchange {
                protocol: request.protocol,
                began: now,
                natural_end: now + request.takes,
                own,
                promised,
                farewell: Given::No,
            });
            self.next_request = None;
            if self.client.kind == Kind::Http2 {
                self.plan_request(now, orders);
            }
        }
    }

    fn obey_farewell(&mut self, now: Timestamp, orders: &Orders) {
        let leaves = self.client.leaves;
        for exchange in &mut self.live {
            let beyond = orders.hopeless_beyond(exchange.protocol);
            let own = exchange.promised.or(exchange.own);
            let hopeless = own.zip(beyond).is_some_and(|(own, at)| own > at);
            let due = hopeless || orders.farewell.contains(exchange.protocol);
            if due && exchange.farewell == Given::No {
                exchange.farewell =
                    leaves.map_or(Given::Ignored, |after| Given::LeavesAt(now + after));
            }
        }
    }

    fn obey_cut(&mut self, now: Timestamp, orders: &Orders, books: &mut Books) {
        let reason = reason_of(orders);
        for exchange in std::mem::take(&mut self.live) {
            if orders.cut.contains(exchange.protocol) {
                self.conclude(&exchange, now, Outcome::Cut(reason), books);
                self.closing = true;
            } else {
                self.live.push(exchange);
            }
        }
        if orders.cut == Protocols::ALL {
            self.worst = Outcome::Cut(reason);
            self.end(now, While::Cut, books);
        }
    }

    fn obey_retire(&mut self, now: Timestamp, orders: &Orders, books: &mut Books) {
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if self.position == Position::HalfOpen {
            if due(self.half_open_until(orders)) {
                self.worst = Outcome::Farewelled(Farewell::Fin);
                self.end(now, While::HalfOpen, books);
            }
            return;
        }
        if !self.live.is_empty() {
            return;
        }
        if self.closing || self.tunnel_done() {
            self.end(now, While::Answered, books);
        } else if due(self.idle_until(orders)) {
            self.end(now, While::Idle, books);
        } else if due(self.client_leaves()) {
            self.end(now, While::ClientLeft, books);
        }
    }

    fn half_open_until(&self, orders: &Orders) -> Option<Timestamp> {
        let from = match self.sabotage {
            Sabotage::HalfOpenOnesCountFromTheirLastByte => self.last_activity,
            _ => self.accepted,
        };
        orders.half_open_until(from)
    }

    /// When the next byte of a handshake without end comes.
    fn drips(&self) -> Option<Timestamp> {
        match self.client.pace {
            Pace::Dripping(every) => Some(self.last_activity + every),
            Pace::Calm | Pace::Racing => None,
        }
    }

    /// The next instant in which something ends, as far as orders say.
    fn race(&self, now: Timestamp, orders: &Orders) -> Option<Timestamp> {
        let ends = Protocol::ALL.map(|protocol| orders.deadline(protocol));
        let cuts = Protocol::ALL.map(|protocol| orders.cut_at(protocol));
        let told = [orders.retire_at(self.id), self.idle_until(orders)];
        let instants = ends.into_iter().chain(cuts).chain(told).flatten();
        instants.filter(|at| *at > now).min()
    }

    /// When a connection with nothing in flight may close.
    fn idle_until(&self, orders: &Orders) -> Option<Timestamp> {
        match self.client.kind {
            Kind::Http1 if self.sabotage == Sabotage::IdleOnesCloseAtOnce => orders.retire_from,
            Kind::Http1 => orders.idle_until(self.id, self.last_activity),
            Kind::Http2 => self.final_goaway(orders),
            Kind::Tunnel(_) => None,
        }
    }

    fn final_goaway(&self, orders: &Orders) -> Option<Timestamp> {
        let first = orders.retire_at(self.id)?;
        (self.client.kind == Kind::Http2).then(|| first + ROUND_TRIP)
    }

    fn client_leaves(&self) -> Option<Timestamp> {
        let done = self.sent == self.client.requests.len();
        let lingers = self.client.lingers.filter(|_| done)?;
        Some(self.last_activity + lingers)
    }

    fn tunnel_done(&self) -> bool {
        matches!(self.client.kind, Kind::Tunnel(_)) && self.sent > 0
    }

    fn plan_request(&mut self, now: Timestamp, orders: &Orders) {
        let request = self.client.requests.get(self.sent);
        self.next_request = match self.client.pace {
            Pace::Calm => request.map(|request| now + request.gap),
            Pace::Racing => request.and_then(|_| self.race(now, orders)),
            Pace::Dripping(_) => None,
        };
    }

    fn conclude(
        &mut self,
        exchange: &Exchange,
        now: Timestamp,
        outcome: Outcome,
        books: &mut Books,
    ) {
        self.last_activity = now;
        if rank(outcome) > rank(self.worst) {
            self.worst = outcome;
        }
        let unwritten = Sabotage::CutsAreNotCounted;
        if matches!(outcome, Outcome::Cut(_)) && self.sabotage == unwritten {
            return;
        }
        books.end(Fate {
            client: self.index,
            listener: self.client.listener,
            protocol: exchange.protocol,
            began: exchange.began,
            natural_end: exchange.natural_end,
            own: exchange.own,
            promised: exchange.promised,
            ended: now,
            outcome,
        });
    }

    fn end(&mut self, now: Timestamp, doing: While, books: &mut Books) {
        if self.ended() {
            return;
        }
        self.position = Position::Ended;
        let stay = Stay {
            client: self.index,
            listener: self.client.listener,
            kind: self.client.kind,
            accepted: self.accepted,
            last_activity: self.last_activity,
            ended: now,
            doing,
            late: self.late,
        };
        books.leave(stay, self.worst);
    }

    fn next_wake(&self, now: Timestamp, orders: &Orders) -> Option<Timestamp> {
        if self.ended() {
            return None;
        }
        let mut times = vec![self.next_request];
        for exchange in &self.live {
            times.push(match exchange.farewell {
                Given::No => Some(exchange.natural_end),
                Given::LeavesAt(gone) => Some(gone),
                Given::Ignored => None,
            });
        }
        if self.position == Position::HalfOpen {
            times.push(self.client.opens.map(|after| self.accepted + after));
            times.extend([self.half_open_until(orders), self.drips()]);
        } else if self.live.is_empty() {
            times.extend([self.idle_until(orders), self.client_leaves()]);
        }
        times.into_iter().flatten().filter(|at| *at > now).min()
    }
}

/// Why a connection that obeys these orders is cut.
pub(crate) fn reason_of(orders: &Orders) -> CutReason {
    if orders.cut_by_operator {
        CutReason::Operator
    } else {
        CutReason::Farewell
    }
}

fn farewell_of(protocol: Protocol) -> Farewell {
    match protocol {
        Protocol::Http1 => Farewell::Unanswered,
        Protocol::Http2 => Farewell::Reset,
        Protocol::Grpc => Farewell::GrpcTrailers,
        Protocol::WebSocket => Farewell::WebSocketClose,
        Protocol::Tcp => Farewell::HalfClose,
    }
}

fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Finished => 0,
        Outcome::Farewelled(_) => 1,
        Outcome::Cut(_) => 2,
    }
}
