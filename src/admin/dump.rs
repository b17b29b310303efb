//! The state, written to the log (`SIGUSR1`): what an operator would ask for
//! at night, when the admin interface cannot be reached.
//!
//! Where the drain stands; what each listener has open, by protocol; which
//! servers are up; and who holds the exit: what is in flight, the longest
//! first, what it does and how it is foreseen to end.
//!
//! Invariant: one line each, and a bounded number of them: what is left out is
//! counted. Everything is of one instant, or close to it.
//!
//! Deliberately absent: deciding anything, and whatever went through a
//! connection.

use super::Admin;
use crate::clock;
use crate::control::Position;
use crate::drain::forecast::Prediction;
use crate::drain::{Protocol, Stage, Timestamp, Trigger};
use crate::proxy::registry::{Record, Seen};
use crate::telemetry::metrics::RouteMetrics;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Connections that get a line.
const SHOWN: usize = 100;

/// The protocol of a connection on which none is known yet.
const UNKNOWN: &str = "unknown";

/// A connection, and the oldest thing that is in flight on it.
#[derive(Debug)]
struct Holder {
    record: Arc<Record>,
    oldest: Option<(Seen, Prediction)>,
}

impl Holder {
    /// Who holds the exit longest: what is in flight, then what is open.
    fn rank(&self) -> (bool, Timestamp, u64) {
        let began = self.oldest.as_ref().map(|(seen, _)| seen.began);
        let since = began.unwrap_or(self.record.accepted);
        (began.is_none(), since, self.record.id)
    }
}

/// What one listener has open of one protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Share {
    connections: u64,
    half_open: u64,
    in_flight: u64,
}

/// The state at one instant.
#[derive(Debug)]
pub(super) struct Incident {
    now: Timestamp,
    shares: BTreeMap<(Arc<str>, &'static str), Share>,
    /// The first of them, in order.
    holders: Vec<Holder>,
    connections: usize,
    /// How long a drain lasts from here, more likely than not.
    over_in: Duration,
}

impl Incident {
    /// How many connections get no line.
    fn omitted(&self) -> usize {
        self.connections - self.holders.len()
    }
}

impl Admin {
    /// Write the state to the log.
    pub fn dump(&self) {
        let incident = self.incident();
        self.log_drain(&incident);
        for ((listener, protocol), share) in &incident.shares {
            tracing::info!(
                event = "dump_listener",
                listener = &**listener,
                protocol,
                connections = share.connections,
                half_open = share.half_open,
                in_flight = share.in_flight,
            );
        }
        for upstream in self.upstreams_view().upstreams {
            for server in upstream.servers {
                tracing::info!(
                    event = "dump_server",
                    upstream = upstream.name,
                    server = server.name,
                    up = server.up,
                    drained = server.draining,
                    in_flight = server.in_flight,
                    why = server.why,
                    "{}",
                    server.said()
                );
            }
        }
        let routes = self.metrics.numbered();
        for holder in &incident.holders {
            log_holder(holder, &routes, incident.now);
        }
        let omitted = incident.omitted();
        let open = match (incident.connections, omitted) {
            (0, _) => "nothing is open".to_owned(),
            (all, 0) => format!("all {} that are open", grouped(all)),
            (all, more) => format!("{} are open, {} not shown", grouped(all), grouped(more)),
        };
        tracing::info!(
            event = "dump",
            connections = incident.connections,
            omitted,
            "{open}"
        );
    }

    pub(super) fn incident(&self) -> Incident {
        let foresight = self.outlook();
        let now = clock::now();
        let mut oldest: BTreeMap<u64, (Seen, Prediction)> = BTreeMap::new();
        for (record, seen, prediction) in foresight.foreseen() {
            let known = oldest.entry(record.id).or_insert((*seen, *prediction));
            if seen.began < known.0.began {
                *known = (*seen, *prediction);
            }
        }
        let mut shares = BTreeMap::<_, Share>::new();
        let mut holders = Vec::new();
        for record in self.registry.records() {
            count(&mut shares, &record);
            holders.push(Holder {
                oldest: oldest.remove(&record.id),
                record,
            });
        }
        let connections = holders.len();
        holders.sort_unstable_by_key(Holder::rank);
        holders.truncate(SHOWN);
        Incident {
            now,
            shares,
            holders,
            connections,
            over_in: foresight.predicted.lasts(),
        }
    }

    fn log_drain(&self, incident: &Incident) {
        let Position {
            phase,
            stage,
            ready,
            trigger,
            started,
            refused,
            latest,
            plan,
            ..
        } = self.control.status().process.clone();
        let ago = |at: Timestamp| millis(incident.now.saturating_since(at));
        let until = |at: Timestamp| millis(at.saturating_since(incident.now));
        let refuse = started.map(|at| at + plan.announce);
        let message = match (stage, phase.as_str()) {
            (None, phase) => format!("no drain is under way; phase {phase}"),
            (Some(stage), _) => format!("draining, stage {}", stage.as_str()),
        };
        tracing::info!(
            event = "dump_drain",
            phase = phase.as_str(),
            stage = stage.map(Stage::as_str),
            ready,
            trigger = trigger.map(Trigger::as_str),
            began_ms_ago = started.map(ago),
            refuses_in_ms = refuse.filter(|_| refused.is_none()).map(until),
            refused_ms_ago = refused.map(ago),
            over_in_ms = millis(incident.over_in),
            at_most_ms = latest.map(until),
            "{message}"
        );
    }
}

fn log_holder(holder: &Holder, routes: &[Arc<RouteMetrics>], now: Timestamp) {
    let Holder { record, oldest } = holder;
    let seen = oldest.as_ref().map(|(seen, _)| seen);
    let foreseen = oldest.as_ref().map(|(_, foreseen)| foreseen);
    let route = seen.and_then(|seen| {
        let route = routes.get(seen.route? as usize)?;
        Some(Arc::clone(route.route()))
    });
    tracing::info!(
        event = "connection",
        id = record.id,
        listener = %record.listener(),
        peer = %record.client.address(),
        protocol = record.protocol().map(Protocol::as_str),
        state = record.state().as_str(),
        in_flight = record.in_flight(),
        age_ms = millis(now.saturating_since(record.accepted)),
        since_ms = millis(now.saturating_since(record.since())),
        doing = seen.map(|seen| seen.doing.as_str()),
        oldest_ms = seen.map(|seen| millis(now.saturating_since(seen.began))),
        route = route.as_deref(),
        sent = seen.map(|seen| seen.sent),
        deadline_in_ms = foreseen.map(|foreseen| millis(foreseen.left)),
        ends_in_ms = foreseen.and_then(|foreseen| foreseen.ends_in).map(millis),
        would = foreseen.map(|foreseen| foreseen.verdict.as_str()),
    );
}

fn count(shares: &mut BTreeMap<(Arc<str>, &'static str), Share>, record: &Record) {
    let protocol = record.protocol().map_or(UNKNOWN, Protocol::as_str);
    let key = |protocol| (Arc::clone(record.listener()), protocol);
    let share = shares.entry(key(protocol)).or_default();
    share.connections += 1;
    share.half_open += u64::from(record.state().half_open());
    // A stream of gRPC is carried by a connection of HTTP/2.
    for protocol in Protocol::ALL {
        let in_flight = u64::from(record.in_flight_of(protocol));
        if in_flight > 0 {
            shares.entry(key(protocol.as_str())).or_default().in_flight += in_flight;
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// As in `12,345`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{self, Status};
    use crate::drain::{Orders, Plan};
    use crate::proxy::registry::Registry;
    use crate::telemetry::metrics::Metrics;

    fn admin() -> Arc<Admin> {
        let (control, _inbox) = control::channel(Status::new(Plan::default()));
        Admin::new(
            control,
            Registry::new(),
            Vec::new(),
            Metrics::new(),
            crate::admin::Doorman::default(),
        )
    }

    #[test]
    fn who_holds_the_exit_stands_first_and_the_rest_is_counted() {
        let admin = admin();
        let web = admin.registry.scope("web".into(), Orders::default());
        let peer = ([192, 0, 2, 7], 4711).into();
        let idle: Vec<_> = (0..SHOWN)
            .map(|_| admin.registry.enter(&web, peer))
            .collect();
        let busy = admin.registry.enter(&web, peer);
        busy.set_protocol(Protocol::Http2);
        let first = busy.begin(Protocol::Grpc);
        let other = admin.registry.enter(&web, peer);
        other.set_protocol(Protocol::Http2);
        let _second = other.begin(Protocol::Http2);
        // The clock of the table ticks in microseconds.
        let began = clock::now();
        while clock::now().saturating_since(began) < Duration::from_micros(2) {}
        let _third = busy.begin(Protocol::Http2);
        let incident = admin.incident();
        assert_eq!((incident.connections, incident.omitted()), (SHOWN + 2, 2));
        let ids: Vec<u64> = incident.holders.iter().map(|one| one.record.id).collect();
        assert_eq!(ids[..3], [busy.id, other.id, idle[0].record().id]);
        let oldest = incident.holders[0].oldest.as_ref().expect("in flight");
        assert_eq!(oldest.0.protocol, Protocol::Grpc);
        let share = |protocol| incident.shares[&("web".into(), protocol)];
        let http2 = Share {
            connections: 2,
            half_open: 0,
            in_flight: 2,
        };
        assert_eq!(share("http2"), http2);
        assert_eq!(share("grpc").in_flight, 1);
        assert_eq!(share("unknown").half_open, SHOWN as u64);
        drop(first);
        let incident = admin.incident();
        assert_eq!(incident.holders[0].record.id, other.id, "it is older now");
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
