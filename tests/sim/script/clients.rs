//! Who connects, and what they do there: most behave; some dawdle, stay
//! half-open for good, race every deadline, never read, or flood.

use crate::rng::Rng;
use ebbtide::drain::{Protocol, Timestamp};
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

/// When a client sends its requests.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Pace {
    /// Each at its own time.
    Calm,
    /// Each in the very instant in which something ends.
    Racing,
    /// None: it sends a byte of its handshake now and then, for good.
    Dripping(Duration),
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
    /// How long its client waits (`grpc-timeout`).
    pub(crate) waits: Option<Duration>,
}

/// One client's life.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) listener: usize,
    pub(crate) connects: Timestamp,
    pub(crate) kind: Kind,
    pub(crate) pace: Pace,
    /// How long it is half-open; `None` is for good.
    pub(crate) opens: Option<Duration>,
    pub(crate) requests: Vec<Request>,
    /// When it closes by itself, after its last exchange.
    pub(crate) lingers: Option<Duration>,
    /// How long after a farewell it is gone; `None` is never: it does not
    /// read.
    pub(crate) leaves: Option<Duration>,
    /// The proxy's task for it hangs and does nothing any more.
    pub(crate) wedged: bool,
}

/// Clients without end, until the listener refuses.
#[derive(Clone, Debug)]
pub(crate) struct Flood {
    pub(crate) listener: usize,
    pub(crate) begins: Timestamp,
    /// The longest time between two of them.
    pub(crate) every: Duration,
}

pub(super) fn client(rng: &mut Rng, listeners: usize, until: Duration) -> Client {
    let kind = match rng.below(10) {
        0..=3 => Kind::Http1,
        4..=7 => Kind::Http2,
        8 => Kind::Tunnel(Protocol::WebSocket),
        _ => Kind::Tunnel(Protocol::Tcp),
    };
    let pace = match (kind, rng.below(20)) {
        (_, 0) => Pace::Dripping(Duration::from_millis(10) + rng.millis(300)),
        (Kind::Http1 | Kind::Http2, 1 | 2) => Pace::Racing,
        _ => Pace::Calm,
    };
    let opens = match rng.below(10) {
        _ if matches!(pace, Pace::Dripping(_)) => None,
        0 => None,
        1 => Some(rng.millis(6_000)),
        _ => Some(rng.millis(200)),
    };
    Client {
        listener: rng.index(listeners),
        connects: Timestamp::ZERO + rng.up_to(until),
        kind,
        pace,
        opens,
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

/// One of those that come in a flood.
pub(crate) fn flooding(rng: &mut Rng, listener: usize, now: Timestamp) -> Client {
    let mut client = client(rng, 1, Duration::from_micros(1));
    client.listener = listener;
    client.connects = now;
    client.requests.truncate(1);
    client
}

pub(super) fn floods(rng: &mut Rng, listeners: usize, until: Duration) -> Vec<Flood> {
    let count = u64::from(rng.percent(6));
    let flood = |_| Flood {
        listener: rng.index(listeners),
        begins: Timestamp::ZERO + rng.up_to(until),
        every: Duration::from_millis(2) + rng.millis(60),
    };
    (0..count).map(flood).collect()
}

fn requests(rng: &mut Rng, kind: Kind) -> Vec<Request> {
    let count = match kind {
        Kind::Tunnel(_) => 1,
        Kind::Http1 | Kind::Http2 => rng.below(7),
    };
    (0..count).map(|_| request(rng, kind)).collect()
}

fn request(rng: &mut Rng, kind: Kind) -> Request {
    let protocol = match kind {
        Kind::Http1 => Protocol::Http1,
        Kind::Http2 if rng.percent(50) => Protocol::Grpc,
        Kind::Http2 => Protocol::Http2,
        Kind::Tunnel(protocol) => protocol,
    };
    let says = protocol == Protocol::Grpc && rng.percent(40);
    Request {
        protocol,
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
        waits: says.then(|| rng.millis(20_000)),
    }
}
