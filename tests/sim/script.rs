//! What the world does to the proxy: a plan, listeners, clients, operators,
//! all drawn from one seed before the simulation begins.
//!
//! Clients behave, dawdle, race the retirement, ignore every farewell, stay
//! half-open for good, and come while listeners refuse.

use crate::rng::Rng;
use ebbtide::drain::{Event, Finish, Plan, Protocol, Timestamp, Trigger};
use std::time::Duration;

/// An exchange that no drain outlasts.
const ENDLESS: Duration = Duration::from_secs(3_600);

/// What a connection speaks, once it is open.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Kind {
    /// One request after the other.
    Http1,
    /// Streams side by side, gRPC among them.
    Http2,
    /// One tunnel for the life of the connection.
    Tunnel(Protocol),
}

/// One request, stream or tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) protocol: Protocol,
    /// From the open, or from the answer (HTTP/1.1) or the begin (HTTP/2) of
    /// the request before.
    pub(crate) gap: Duration,
    /// What it takes if nobody interferes.
    pub(crate) takes: Duration,
}

/// One client's life.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) listener: usize,
    pub(crate) connects: Timestamp,
    pub(crate) kind: Kind,
    /// How long it is half-open; `None` is for good.
    pub(crate) opens: Option<Duration>,
    pub(crate) requests: Vec<Request>,
    /// When it closes by itself, after its last exchange.
    pub(crate) lingers: Option<Duration>,
    /// How long after a farewell it is gone; `None` is never.
    pub(crate) leaves: Option<Duration>,
    /// The proxy's task for it hangs and does nothing any more.
    pub(crate) wedged: bool,
}

/// One listener.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// The longest that a connection waits in its accept queue.
    pub(crate) queues: Duration,
    /// It never says that it has closed.
    pub(crate) stuck: bool,
}

/// All that a seed determines.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) plan: Plan,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) clients: Vec<Client>,
    pub(crate) operators: Vec<(Timestamp, Event)>,
}

impl Script {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let plan = plan(rng);
        let listeners: Vec<Listener> = (0..=rng.below(3)).map(|_| listener(rng)).collect();
        let starts = Duration::from_millis(500) + rng.millis(4_000);
        let (operators, last) = operators(rng, starts, &plan);
        let until = last + plan.announce + Duration::from_millis(1_500);
        let count = rng.below(50);
        let clients = (0..count)
            .map(|_| client(rng, listeners.len(), until))
            .collect();
        Self {
            plan,
            listeners,
            clients,
            operators,
        }
    }
}

/// A plan that its own check finds nothing wrong with.
fn plan(rng: &mut Rng) -> Plan {
    let mut finish = || Duration::from_millis(500) + rng.millis(8_000);
    let finish = Finish {
        http: finish(),
        grpc: finish(),
        websocket: finish(),
        tcp: finish(),
    };
    let last_request = rng.up_to(finish.http / 2);
    let spread = (finish.http.saturating_sub(last_request)).min(finish.grpc);
    let mut plan = Plan {
        finish,
        last_request,
        spread: if rng.percent(20) {
            Duration::ZERO
        } else {
            rng.up_to(spread)
        },
        announce: if rng.percent(30) {
            Duration::ZERO
        } else {
            rng.millis(3_000)
        },
        farewell: Duration::from_millis(20) + rng.millis(2_000),
        ..Plan::default()
    };
    plan.handshake = rng.up_to(plan.longest_finish());
    plan.grace = plan.total();
    assert_eq!(plan.check(), [], "the simulation draws plans that fit");
    plan
}

fn listener(rng: &mut Rng) -> Listener {
    let stuck = rng.percent(4);
    let queues = if stuck { 1_800 } else { 40 };
    Listener {
        queues: Duration::from_millis(queues),
        stuck,
    }
}

/// Who asks for what, and when the drain that stays was asked for.
fn operators(rng: &mut Rng, starts: Duration, plan: &Plan) -> (Vec<(Timestamp, Event)>, Duration) {
    let at = Timestamp::from_start;
    let trigger = |rng: &mut Rng| {
        let count = u64::try_from(Trigger::ALL.len()).unwrap_or(1);
        Trigger::ALL[usize::try_from(rng.below(count)).unwrap_or(0)]
    };
    let mut events = vec![(at(starts), Event::Drain(trigger(rng)))];
    let mut last = starts;
    if rng.percent(25) {
        // May come too late, and then must not do anything.
        let cancels = starts + rng.up_to(plan.announce * 5 / 4);
        events.push((at(cancels), Event::Cancel));
        last = cancels + rng.millis(2_000);
        events.push((at(last), Event::Drain(trigger(rng))));
    }
    if rng.percent(30) {
        events.push((at(last + rng.millis(5_000)), Event::Drain(trigger(rng))));
    }
    if rng.percent(12) {
        let cut = last + rng.up_to(plan.total() * 5 / 4);
        events.push((at(cut), Event::CutNow));
    }
    (events, last)
}

fn client(rng: &mut Rng, listeners: usize, until: Duration) -> Client {
    let kind = match rng.below(10) {
        0..=3 => Kind::Http1,
        4..=7 => Kind::Http2,
        8 => Kind::Tunnel(Protocol::WebSocket),
        _ => Kind::Tunnel(Protocol::Tcp),
    };
    let count = u64::try_from(listeners).unwrap_or(1);
    Client {
        listener: usize::try_from(rng.below(count)).unwrap_or(0),
        connects: Timestamp::ZERO + rng.up_to(until),
        kind,
        opens: match rng.below(10) {
            0 => None,
            1 => Some(rng.millis(6_000)),
            _ => Some(rng.millis(200)),
        },
        requests: requests(rng, kind),
        lingers: rng.percent(50).then(|| rng.millis(1_000)),
        leaves: match rng.below(10) {
            0 => None,
            1 | 2 => Some(rng.millis(3_000)),
            _ => Some(rng.millis(10)),
        },
        wedged: rng.below(300) == 0,
    }
}

fn requests(rng: &mut Rng, kind: Kind) -> Vec<Request> {
    let count = match kind {
        Kind::Tunnel(_) => 1,
        Kind::Http1 | Kind::Http2 => rng.below(7),
    };
    let request = |_| Request {
        protocol: match kind {
            Kind::Http1 => Protocol::Http1,
            Kind::Http2 if rng.percent(50) => Protocol::Grpc,
            Kind::Http2 => Protocol::Http2,
            Kind::Tunnel(protocol) => protocol,
        },
        gap: match kind {
            // A tunnel is in flight as soon as it is open.
            Kind::Tunnel(_) => Duration::from_micros(1),
            Kind::Http1 | Kind::Http2 => rng.millis(2_000),
        },
        takes: match rng.below(10) {
            0 => ENDLESS,
            1 | 2 => rng.millis(12_000),
            _ => rng.millis(500),
        },
    };
    (0..count).map(request).collect()
}
