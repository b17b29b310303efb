//! What a drain would cut short: `GET /v1/drain/forecast`.
//!
//! Reads the live table and the histories into what the pure forecast takes.
//! The conductor asks for the same when a drain begins, and marks what it was
//! told, so that the receipt can say how far it came true.
//!
//! Invariant: taking a forecast changes nothing but those marks. Absent:
//! judging; that is [`forecast`](crate::drain::forecast)'s.

use crate::admin::Admin;
use crate::clock;
use crate::drain::forecast::{
    Forecast, Horizon, InFlight, Predicted, Prediction, Resting, Retires, Snapshot, Transfer,
    predict,
};
use crate::drain::{History, Orders, Plan, Protocol, Timestamp};
use crate::proxy::registry::{Record, Round, Seen, State};
use crate::telemetry::metrics::RouteMetrics;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A forecast, and the exchanges that it speaks of.
#[derive(Debug)]
pub struct Foresight {
    /// What is foreseen.
    pub predicted: Predicted,
    seen: Vec<(Arc<Record>, Seen)>,
}

impl Foresight {
    /// Each exchange in flight, and what is foreseen of it.
    pub(in crate::admin) fn foreseen(
        &self,
    ) -> impl Iterator<Item = (&Arc<Record>, &Seen, &Prediction)> {
        let seen = self.seen.iter().zip(self.predicted.predictions());
        seen.map(|((record, seen), prediction)| (record, seen, prediction))
    }
}

/// What is read off the table, piece by piece.
struct Reading {
    now: Timestamp,
    /// The plan that was asked for, in place of the listeners' own.
    plan: Option<Plan>,
    horizon: Horizon,
    /// What servers that are being drained order, by the numbers of their berths.
    servers: HashMap<u32, Orders>,
    routes: Vec<Arc<RouteMetrics>>,
    none: Arc<str>,
    known: HashMap<(u32, Protocol), usize>,
    snapshot: Snapshot,
    seen: Vec<(Arc<Record>, Seen)>,
}

impl Reading {
    fn read(&mut self, record: &Arc<Record>) {
        let exchanges = record.exchanges(self.now);
        if exchanges.is_empty() {
            let resting = resting(record);
            self.snapshot.resting.extend(resting);
        }
        for seen in exchanges {
            let exchange = self.in_flight(record, &seen);
            self.snapshot.exchanges.push(exchange);
            self.seen.push((Arc::clone(record), seen));
        }
    }

    fn in_flight(&mut self, record: &Record, seen: &Seen) -> InFlight {
        let now = self.now;
        let route = seen.route.and_then(|number| {
            let found = self.routes.get(number as usize)?;
            Some((number, Arc::clone(found)))
        });
        let tunnel = matches!(seen.protocol, Protocol::WebSocket | Protocol::Tcp);
        let moved = record.moved().filter(|_| tunnel);
        InFlight {
            connection: record.id,
            listener: Arc::clone(record.listener()),
            peer: record.client.address(),
            protocol: seen.protocol,
            carrier: record.protocol(),
            history: route
                .as_ref()
                .map(|(number, found)| self.history(*number, found, seen.protocol)),
            route: route.map_or_else(
                || Arc::clone(&self.none),
                |(_, found)| Arc::clone(found.route()),
            ),
            doing: seen.doing,
            deadline_in: self.deadline(record, seen),
            age: now.saturating_since(seen.began),
            transfer: transfer(seen, now),
            gives_up_in: seen.gives_up.map(|at| at.saturating_since(now)),
            silent_for: moved.map(|at| now.saturating_since(at)),
        }
    }

    /// What it is given by a drain that has refused already: that of its
    /// listener, one of which may be ahead of the others, or that of its
    /// server, if it comes earlier.
    fn deadline(&self, record: &Record, seen: &Seen) -> Option<Duration> {
        let left = |at: Timestamp| at.saturating_since(self.now);
        let orders = record.scope().orders();
        let plan = self.plan.as_ref().unwrap_or(&orders.plan);
        let refuse = orders.refuse_at;
        let listener = refuse.map(|at| left(at + plan.finish_for(seen.protocol)));
        let server = self.servers.get(&seen.server);
        match server.and_then(|orders| orders.deadline(seen.protocol)) {
            None => listener,
            Some(at) => {
                let other = listener.unwrap_or_else(|| self.horizon.left(seen.protocol));
                Some(left(at).min(other))
            }
        }
    }

    /// Each history is read once.
    fn history(&mut self, number: u32, route: &RouteMetrics, protocol: Protocol) -> usize {
        let histories: &mut Vec<History> = &mut self.snapshot.histories;
        *self.known.entry((number, protocol)).or_insert_with(|| {
            histories.push(route.history(protocol));
            histories.len() - 1
        })
    }
}

fn transfer(seen: &Seen, now: Timestamp) -> Option<Transfer> {
    let (at, before) = seen.noted?;
    Some(Transfer {
        left: seen.length?.saturating_sub(seen.sent),
        sent: seen.sent.saturating_sub(before),
        over: now.saturating_since(at),
    })
}

/// How a connection without an exchange leaves; `None` if it is leaving.
fn resting(record: &Record) -> Option<Resting> {
    let retires = match record.state() {
        State::Closing => return None,
        state if state.half_open() => Retires::HalfOpen,
        _ if record.protocol() == Some(Protocol::Http2) => Retires::Told,
        _ => Retires::Silently,
    };
    Some(Resting {
        id: record.id,
        accepted: record.accepted,
        since: record.since(),
        retires,
    })
}

impl Admin {
    /// What the drain of the process will cut short, or would, by this plan and
    /// with listeners that refuse at `refuse`; those that have refused already
    /// go by their own.
    #[must_use]
    pub fn foresee_from(&self, plan: Plan, refuse: Timestamp, now: Timestamp) -> Foresight {
        self.foresee(None, Horizon::new(plan, refuse, now), now)
    }

    fn foresee(&self, asked: Option<Plan>, horizon: Horizon, now: Timestamp) -> Foresight {
        let mut reading = Reading {
            now,
            plan: asked,
            horizon,
            servers: self.registry.orders_of_servers(),
            routes: self.metrics.numbered(),
            none: "".into(),
            known: HashMap::new(),
            snapshot: Snapshot::default(),
            seen: Vec::new(),
        };
        for record in &self.registry.records() {
            reading.read(record);
        }
        Foresight {
            predicted: predict(reading.snapshot, horizon),
            seen: reading.seen,
        }
    }

    /// Mark what was foreseen on the exchanges that it speaks of.
    pub fn foretell(&self, foresight: &Foresight, round: Round) {
        let predictions = foresight.predicted.predictions();
        for ((record, seen), prediction) in foresight.seen.iter().zip(predictions) {
            self.registry
                .foretell(record, seen, round, prediction.verdict);
        }
    }

    pub(in crate::admin) fn forecast_view(&self, finish: Option<Duration>) -> Forecast {
        let draining = self.control.status().process.draining();
        self.foresee_now(finish).predicted.forecast(draining)
    }

    /// What a drain would cut short if it began now, or will if it is under
    /// way.
    pub(in crate::admin) fn outlook(&self) -> Foresight {
        self.foresee_now(None)
    }

    fn foresee_now(&self, finish: Option<Duration>) -> Foresight {
        let process = self.control.status().process.clone();
        let now = clock::now();
        let mut plan = process.plan;
        if let Some(finish) = finish {
            plan.finish.http = finish;
            plan.finish.grpc = finish;
            plan.finish.websocket = finish;
            plan.finish.tcp = finish;
        }
        let begun = process.started.filter(|_| process.draining());
        let planned = begun.unwrap_or(now) + plan.announce;
        let horizon = Horizon::new(plan, process.refused.unwrap_or(planned), now);
        self.foresee(finish.map(|_| plan), horizon, now)
    }
}
