//! What is counted of requests, by listener, route and upstream.
//!
//! Invariant: [`RouteMetrics::record`] is three additions to atomics and
//! [`RouteMetrics::lasted`] one; only what is recorded as a trace takes a lock, its
//! bucket's, to be named as its example; the count of a histogram is the sum of its
//! buckets and is not kept.
//!
//! Deliberately absent: anything kept by server or by client address.

use super::codes::{self, SLOTS};
use super::family::{Example, Family, Histogram, Labels};
use crate::drain::{History, Protocol};
use crate::telemetry::traces::Ids;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The upper bounds of the duration buckets, in seconds, and the same in
/// microseconds, in which they are compared.
const BOUNDS: [(f64, u64); 18] = [
    (0.0005, 500),
    (0.001, 1_000),
    (0.0025, 2_500),
    (0.005, 5_000),
    (0.01, 10_000),
    (0.025, 25_000),
    (0.05, 50_000),
    (0.1, 100_000),
    (0.25, 250_000),
    (0.5, 500_000),
    (1.0, 1_000_000),
    (2.5, 2_500_000),
    (5.0, 5_000_000),
    (10.0, 10_000_000),
    (30.0, 30_000_000),
    (60.0, 60_000_000),
    // Tunnels and streams.
    (300.0, 300_000_000),
    (3600.0, 3_600_000_000),
];

/// Counters of one (listener, route, upstream) triple; shared by all workers.
#[derive(Debug)]
pub struct RouteMetrics {
    listener: Arc<str>,
    route: Arc<str>,
    upstream: Arc<str>,
    /// Its position among all that were asked for.
    number: u32,
    by_protocol: [Counters; Protocol::ALL.len()],
}

#[derive(Debug)]
struct Counters {
    codes: [AtomicU64; SLOTS],
    /// One more than there are bounds: the last takes what is above them all.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
    /// What came to its own end, as finely as a forecast needs it.
    lasted: [AtomicU64; History::BUCKETS],
    /// The last one of each bucket that was recorded; room is made for the first.
    examples: OnceLock<Box<Examples>>,
}

type Examples = [Mutex<Option<Example>>; BOUNDS.len() + 1];

impl Default for Counters {
    fn default() -> Self {
        Self {
            codes: [const { AtomicU64::new(0) }; SLOTS],
            buckets: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
            micros: AtomicU64::new(0),
            lasted: [const { AtomicU64::new(0) }; History::BUCKETS],
            examples: OnceLock::new(),
        }
    }
}

impl RouteMetrics {
    /// Counters at zero that no scrape shows; see
    /// [`Metrics::route`](super::Metrics::route) for those that are shown.
    #[must_use]
    pub fn new(listener: &str, route: &str, upstream: &str) -> Arc<Self> {
        Self::numbered(u32::MAX, listener, route, upstream)
    }

    pub(super) fn numbered(number: u32, listener: &str, route: &str, upstream: &str) -> Arc<Self> {
        Arc::new(Self {
            number,
            listener: listener.into(),
            route: route.into(),
            upstream: upstream.into(),
            by_protocol: Default::default(),
        })
    }

    /// Count one exchange that has ended: its protocol, the status code that
    /// the client was sent (0 for a tunnel without one, 101 for an upgrade, 200
    /// for one over HTTP/2), and the time from its beginning to its end.
    pub fn record(&self, protocol: Protocol, code: u16, took: Duration) {
        let counters = &self.by_protocol[protocol as usize];
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(_, bound)| *bound < micros);
        counters.codes[codes::slot(code)].fetch_add(1, Relaxed);
        counters.buckets[bucket].fetch_add(1, Relaxed);
        counters.micros.fetch_add(micros, Relaxed);
    }

    /// Name one that is recorded as an example of its bucket: what ended at `unix`
    /// since the epoch. Not for exchanges that nobody records.
    pub fn exemplify(&self, protocol: Protocol, took: Duration, ids: Ids, unix: Duration) {
        let counters = &self.by_protocol[protocol as usize];
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(_, bound)| *bound < micros);
        let examples = counters
            .examples
            .get_or_init(|| Box::new([const { Mutex::new(None) }; BOUNDS.len() + 1]));
        *examples[bucket].lock() = Some(Example {
            ids,
            value: took.as_secs_f64(),
            unix,
        });
    }

    /// Note how long an exchange lasted that came to its own end.
    pub fn lasted(&self, protocol: Protocol, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.by_protocol[protocol as usize].lasted[History::bucket(micros)].fetch_add(1, Relaxed);
    }

    /// How long those lasted that came to their own end.
    #[must_use]
    pub fn history(&self, protocol: Protocol) -> History {
        let lasted = &self.by_protocol[protocol as usize].lasted;
        History::read(lasted.each_ref().map(|count| count.load(Relaxed)))
    }

    /// The number under which [`Metrics::numbered`](super::Metrics::numbered)
    /// finds it.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The route; empty for what no route took.
    #[must_use]
    pub fn route(&self) -> &Arc<str> {
        &self.route
    }

    /// The upstream; empty for what no route took.
    #[must_use]
    pub fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    pub(super) fn is(&self, listener: &str, route: &str, upstream: &str) -> bool {
        *self.listener == *listener && *self.route == *route && *self.upstream == *upstream
    }

    fn labels(&self, protocol: Protocol) -> Labels {
        Labels::from([
            ("listener", self.listener.to_string()),
            ("route", self.route.to_string()),
            ("upstream", self.upstream.to_string()),
            ("protocol", protocol.as_str().to_owned()),
        ])
    }
}

impl Counters {
    fn histogram(&self) -> Option<Histogram> {
        let counts = self.buckets.each_ref().map(|count| count.load(Relaxed));
        if counts.iter().all(|count| *count == 0) {
            return None;
        }
        let micros = self.micros.load(Relaxed);
        let bounds = BOUNDS.map(|(seconds, _)| seconds);
        let sum = Duration::from_micros(micros).as_secs_f64();
        let examples = self.examples.get().map_or_else(Vec::new, |examples| {
            examples.iter().map(|one| *one.lock()).collect()
        });
        Some(Histogram::read(&bounds, &counts, sum).with_examples(examples))
    }
}

/// The two families that are read off the counters; combinations that never
/// occurred are left out.
pub(super) fn families(routes: &[Arc<RouteMetrics>]) -> [Family; 2] {
    let mut requests = Family::counter(
        "ebbtide_requests",
        "Exchanges that have ended: requests, streams and tunnels; code 499 is a client that left \
         before its answer, 0 a tunnel that had none",
    )
    .labelled(&["listener", "route", "upstream", "protocol", "code"])
    .answers(
        "sum by (upstream) (rate(ebbtide_requests_total{code=~\"5..\"}[5m])) / sum by (upstream) \
         (rate(ebbtide_requests_total[5m]))",
    );
    let mut durations = Family::histogram(
        "ebbtide_request_duration_seconds",
        "From the beginning of an exchange to its end; the upper buckets are those of streams and \
         tunnels",
    )
    .labelled(&["listener", "route", "upstream", "protocol"])
    .answers(
        "histogram_quantile(0.99, sum by (le, route) \
         (rate(ebbtide_request_duration_seconds_bucket{protocol!=\"tcp\"}[5m])))",
    );
    for route in routes {
        for protocol in Protocol::ALL {
            let counters = &route.by_protocol[protocol as usize];
            for (slot, count) in counters.codes.iter().enumerate() {
                let count = count.load(Relaxed);
                if count > 0 {
                    let code = ("code", codes::label(slot));
                    requests.add(route.labels(protocol).and(code), count);
                }
            }
            if let Some(histogram) = counters.histogram() {
                durations.add_histogram(route.labels(protocol), histogram);
            }
        }
    }
    [requests, durations]
}
