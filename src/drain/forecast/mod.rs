//! What a drain would cut short if it began now.
//!
//! A [`Snapshot`] is what is in flight at one instant, a [`Horizon`] how long
//! each protocol would have. [`predict`] says of each exchange how likely it
//! is to outlive its deadline, and [`Predicted::forecast`] makes of it what an
//! operator reads ([`Forecast`]).
//!
//! What is known decides, in this order (see [`Basis`]): the bytes left of a
//! known length and the rate so far; the client's own `grpc-timeout`, if it
//! ends before the deadline; how long exchanges of the same route and protocol
//! have lasted, given the age of this one; and for streams and tunnels of
//! which no history says otherwise, that they do not end. An exchange of which
//! none of this is known is *unknown*, never guessed at.
//!
//! Invariant: everything in flight is in exactly one of the sums: would
//! finish, be farewelled, be cut, or unknown.
//!
//! Deliberately absent: exchanges that are yet to come. While a drain
//! announces, new ones begin; they are young, and most of them finish.

mod judge;
mod report;

pub use judge::{Basis, Prediction, Verdict};
pub use report::{Forecast, Foreseen, Outlook};

use super::doing::Doing;
use super::history::{History, Survival};
use super::orders::Orders;
use super::plan::Plan;
use super::protocol::Protocol;
use super::time::Timestamp;
use judge::Case;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What listeners need to empty their accept queues, about.
const EMPTYING: Duration = Duration::from_millis(20);

/// Halvings of the time in which the end of the drain is sought: to a
/// thousandth of a minute.
const HALVINGS: u32 = 16;

/// One exchange in flight.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// The id of its connection.
    pub connection: u64,
    /// The listener that accepted it.
    pub listener: Arc<str>,
    /// The client's address.
    pub peer: SocketAddr,
    /// What is spoken in it.
    pub protocol: Protocol,
    /// What is spoken on its connection, once that is known.
    pub carrier: Option<Protocol>,
    /// The route that it took; empty before it has taken one.
    pub route: Arc<str>,
    /// The history of that route and protocol, by its position in the snapshot.
    pub history: Option<usize>,
    /// What it is doing.
    pub doing: Doing,
    /// Until its deadline, where its listener has set one already.
    pub deadline_in: Option<Duration>,
    /// How long ago it began.
    pub age: Duration,
    /// The length of the response and how fast it goes, if that is known.
    pub transfer: Option<Transfer>,
    /// When the client gives up by itself (`grpc-timeout`).
    pub gives_up_in: Option<Duration>,
    /// For how long nothing has passed through it, if it is a tunnel.
    pub silent_for: Option<Duration>,
}

/// How far a response of known length is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Transfer {
    /// Bytes that are still to be sent.
    pub left: u64,
    /// Bytes that were sent in the time that is looked at.
    pub sent: u64,
    /// That time.
    pub over: Duration,
}

/// An open connection with nothing in flight.
#[derive(Copy, Clone, Debug)]
pub struct Resting {
    /// Its id.
    pub id: u64,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Since when it is as it is.
    pub since: Timestamp,
    /// How it retires.
    pub retires: Retires,
}

/// How a connection with nothing in flight leaves in a drain.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Retires {
    /// Not able to carry a request yet: within `handshake`.
    HalfOpen,
    /// HTTP/1.1: after its `last_request` window.
    Silently,
    /// HTTP/2: when it is told.
    Told,
}

/// What there is at one instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What is in flight.
    pub exchanges: Vec<InFlight>,
    /// How long exchanges lasted, by route and protocol.
    pub histories: Vec<History>,
    /// The other connections.
    pub resting: Vec<Resting>,
}

/// What a drain gives, counted from the instant of the snapshot.
#[derive(Copy, Clone, Debug)]
pub struct Horizon {
    plan: Plan,
    refuse: Timestamp,
    now: Timestamp,
}

impl Horizon {
    /// By this plan, whose listeners refuse at `refuse`.
    #[must_use]
    pub const fn new(plan: Plan, refuse: Timestamp, now: Timestamp) -> Self {
        Self { plan, refuse, now }
    }

    /// What an exchange of this protocol has left.
    #[must_use]
    pub fn left(&self, protocol: Protocol) -> Duration {
        let deadline = self.refuse + self.plan.finish_for(protocol);
        deadline.saturating_since(self.now)
    }

    /// What a connection with nothing in flight has left.
    fn rest(&self, resting: &Resting) -> Duration {
        let orders = Orders {
            refuse_at: Some(self.refuse),
            retire_from: Some(self.refuse + EMPTYING),
            ..Orders::carry_on(self.plan)
        };
        let leaves = match resting.retires {
            Retires::HalfOpen => orders.half_open_until(resting.accepted),
            Retires::Silently => orders.idle_until(resting.id, resting.since),
            Retires::Told => orders.retire_at(resting.id),
        };
        let least = self.refuse + EMPTYING;
        leaves.unwrap_or(least).saturating_since(self.now)
    }
}

/// What is foreseen, exchange by exchange.
#[derive(Debug)]
pub struct Predicted {
    horizon: Horizon,
    exchanges: Vec<(InFlight, Prediction)>,
    /// How long the drain lasts from here, more likely than not.
    lasts: Duration,
    /// How long at most.
    at_most: Duration,
}

/// Foresee how each exchange of `snapshot` comes to its end. The predictions
/// are in the order of [`Snapshot::exchanges`].
#[must_use]
pub fn predict(snapshot: Snapshot, horizon: Horizon) -> Predicted {
    let survivals = survivals(&snapshot);
    let cases: Vec<Case<'_>> = snapshot
        .exchanges
        .iter()
        .map(|exchange| {
            let survival = exchange.history.and_then(|index| survivals.get(index));
            let left = exchange.deadline_in;
            let left = left.unwrap_or_else(|| horizon.left(exchange.protocol));
            Case::new(exchange, survival, left)
        })
        .collect();
    let predictions: Vec<Prediction> = cases.iter().map(Case::predict).collect();
    let emptied = (horizon.refuse + EMPTYING).saturating_since(horizon.now);
    let resting = snapshot.resting.iter().map(|resting| horizon.rest(resting));
    let rested = resting.fold(emptied, Duration::max);
    let lasts = all_gone(&cases, rested);
    let last = cases.iter().map(|case| case.left + horizon.plan.farewell);
    let at_most = last.fold(rested, Duration::max);
    Predicted {
        horizon,
        exchanges: snapshot.exchanges.into_iter().zip(predictions).collect(),
        lasts,
        at_most,
    }
}

fn survivals(snapshot: &Snapshot) -> Vec<Survival> {
    let mut open = vec![Vec::new(); snapshot.histories.len()];
    for exchange in &snapshot.exchanges {
        if let Some(ages) = exchange.history.and_then(|index| open.get_mut(index)) {
            ages.push(exchange.age);
        }
    }
    let histories = snapshot.histories.iter().zip(open);
    histories
        .map(|(history, open)| Survival::of(history, open.into_iter()))
        .collect()
}

/// When it is as likely as not that all have ended: not the longest of their
/// expected times, since of many one is always late.
fn all_gone(cases: &[Case<'_>], least: Duration) -> Duration {
    let likely = |time: Duration| {
        let mut chance = 1.0;
        for case in cases {
            chance *= 1.0 - case.there_after(time);
            if chance < 0.5 {
                return false;
            }
        }
        true
    };
    let longest = cases.iter().map(|case| case.left);
    let (mut early, mut late) = (least, longest.fold(least, Duration::max));
    if likely(early) {
        return early;
    }
    for _ in 0..HALVINGS {
        let middle = early + late.saturating_sub(early) / 2;
        if likely(middle) {
            late = middle;
        } else {
            early = middle;
        }
    }
    late
}

impl Predicted {
    /// The predictions, in the order of the snapshot's exchanges.
    pub fn predictions(&self) -> impl Iterator<Item = &Prediction> {
        self.exchanges.iter().map(|(_, prediction)| prediction)
    }

    /// How long the drain lasts from here, more likely than not. Exchanges of
    /// which nothing is known do not count.
    #[must_use]
    pub const fn lasts(&self) -> Duration {
        self.lasts
    }
}

#[cfg(test)]
mod tests;
