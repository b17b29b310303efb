//! Counters of the way of the data, and their text at a scrape.
//!
//! [`RouteMetrics`] counts requests by listener, route and upstream with plain
//! atomics; [`Metrics`] holds all of them and what is told of the process as a
//! whole. A scrape reads the atomics off into [`Family`] values, adds those
//! that its caller derives from the live table, and lets `prometheus-client`
//! write `OpenMetrics` text, of which the older format is made where a scraper
//! asks for that.
//!
//! Invariant: the number of series is bounded by the config: no label takes
//! its value from a client. Status codes that are not in the table of codes
//! fold into their class.
//!
//! Deliberately absent: a registry of metrics that lives between scrapes, and
//! derived gauges (see the admin floor).

mod codes;
mod family;
mod route;

pub use family::{Family, Histogram, Labels};
pub use route::RouteMetrics;

use crate::telemetry::traces::Counts;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// In which format a scrape is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4: what tools take that do not ask.
    Text,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Text, Self::OpenMetrics];

    /// The media type, without parameters.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::OpenMetrics => "application/openmetrics-text",
        }
    }

    /// The whole content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The upper bounds of the buckets for the duration of a drain, in seconds:
/// finest where plans put their deadlines, up to the patience of a handover.
const SHUTDOWN_BOUNDS: [f64; 19] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0, 45.0, 60.0, 120.0,
    300.0, 600.0, 3600.0,
];

/// How a reload can end.
const RELOADS: [&str; 6] = [
    "applied",
    "unchanged",
    "dry_run",
    "refused",
    "invalid",
    "failed",
];

/// No time was noted.
const NEVER: u64 = u64::MAX;

/// The counters of one process.
#[derive(Debug)]
pub struct Metrics {
    routes: Mutex<Vec<Arc<RouteMetrics>>>,
    /// Microseconds since the Unix epoch.
    shutdown_started: AtomicU64,
    /// Microseconds.
    shutdown_took: AtomicU64,
    reloads: [AtomicU64; RELOADS.len()],
    /// Whether the config of the last reload was bad.
    reload_failed: AtomicBool,
    /// By what started it, and how it ended.
    hooks: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    spans: Arc<Counts>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            routes: Mutex::default(),
            shutdown_started: AtomicU64::new(NEVER),
            shutdown_took: AtomicU64::new(NEVER),
            reloads: Default::default(),
            reload_failed: AtomicBool::new(false),
            hooks: Mutex::default(),
            spans: Arc::default(),
        }
    }
}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The counters of this triple; the same ones if they are asked for again.
    /// Not for the hot path: ask once, keep the answer.
    pub fn route(&self, listener: &str, route: &str, upstream: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.lock();
        if let Some(known) = routes.iter().find(|one| one.is(listener, route, upstream)) {
            return Arc::clone(known);
        }
        let number = u32::try_from(routes.len()).unwrap_or(u32::MAX);
        let new = RouteMetrics::numbered(number, listener, route, upstream);
        routes.push(Arc::clone(&new));
        new
    }

    /// All counters; the position of each is its number.
    #[must_use]
    pub fn numbered(&self) -> Vec<Arc<RouteMetrics>> {
        self.routes.lock().clone()
    }

    /// Note that a drain of the process began, at this time since the Unix
    /// epoch.
    pub fn shutdown_started(&self, unix: Duration) {
        self.shutdown_started.store(micros(unix), Relaxed);
    }

    /// Note that the drain was cancelled: none has started.
    pub fn shutdown_cancelled(&self) {
        self.shutdown_started.store(NEVER, Relaxed);
    }

    /// Note how long the drain of the process took, once it is over.
    pub fn shutdown_took(&self, took: Duration) {
        self.shutdown_took.store(micros(took), Relaxed);
    }

    /// Count a reload by its result; an unknown one counts as failed. One that
    /// was not `asked_in_earnest`, or was refused for what the process does,
    /// says nothing of the config in the file.
    pub fn reloaded(&self, result: &str, asked_in_earnest: bool) {
        let known = RELOADS.iter().position(|one| *one == result);
        self.reloads[known.unwrap_or(RELOADS.len() - 1)].fetch_add(1, Relaxed);
        if asked_in_earnest && result != "refused" {
            let good = matches!(result, "applied" | "unchanged");
            self.reload_failed.store(!good, Relaxed);
        }
    }

    /// Have a series at zero for hooks of this occasion that end so: the first
    /// one could not be seen to come otherwise.
    pub fn hook_may_end(&self, on: &'static str, end: &'static str) {
        self.hooks.lock().entry((on, end)).or_default();
    }

    /// Where spans are counted.
    #[must_use]
    pub fn spans(&self) -> &Arc<Counts> {
        &self.spans
    }

    /// Count a hook by the occasion that started it and how it ended.
    pub fn hook_ended(&self, on: &'static str, end: &'static str) {
        *self.hooks.lock().entry((on, end)).or_default() += 1;
    }

    /// The text of these counters and of `derived`, in this order. Not for the
    /// hot path.
    #[must_use]
    pub fn encode(&self, derived: Vec<Family>, format: Format) -> String {
        family::text(self.families(derived), format)
    }

    /// These counters and `derived`, in this order.
    pub(crate) fn families(&self, derived: Vec<Family>) -> Vec<Family> {
        let mut families = vec![
            self.started_family(),
            self.took_family(),
            self.reloads_family(),
            self.reload_good_family(),
            self.hooks_family(),
        ];
        let routes = self.routes.lock().clone();
        families.extend(route::families(&routes));
        families.extend(self.spans.families());
        families.extend(derived);
        families
    }

    fn started_family(&self) -> Family {
        let mut family = Family::gauge(
            "app_lifecycle_shutdown_start_timestamp_seconds",
            "When the drain of the process began, since the Unix epoch; 0 if none did",
        )
        .answers("time() - (app_lifecycle_shutdown_start_timestamp_seconds > 0)");
        family.add_real([], seconds(&self.shutdown_started).unwrap_or(0.0));
        family
    }

    fn reloads_family(&self) -> Family {
        let mut family = Family::counter(
            "ebbtide_reload",
            "Reloads that were asked for, by what came of them",
        )
        .labelled(&["result"])
        .answers("increase(ebbtide_reload_total{result=~\"invalid|failed|refused\"}[1h]) > 0");
        for (result, count) in RELOADS.iter().zip(&self.reloads) {
            family.add([("result", (*result).to_owned())], count.load(Relaxed));
        }
        family
    }

    fn reload_good_family(&self) -> Family {
        let mut family = Family::gauge(
            "ebbtide_reload_successful",
            "Whether the config of the last reload is in force; 0 if it was wrong, or could not \
             be. Dry runs, and reloads that were refused, do not count",
        )
        .answers("ebbtide_reload_successful == 0");
        family.add([], u64::from(!self.reload_failed.load(Relaxed)));
        family
    }

    fn hooks_family(&self) -> Family {
        let mut family = Family::counter(
            "ebbtide_hooks",
            "Hooks that have ended, by what started them and how they ended",
        )
        .labelled(&["on", "result"])
        .answers("increase(ebbtide_hooks_total{result!=\"done\"}[1h]) > 0");
        for ((on, end), count) in &*self.hooks.lock() {
            let labels = [("on", (*on).to_owned()), ("result", (*end).to_owned())];
            family.add(labels, *count);
        }
        family
    }

    fn took_family(&self) -> Family {
        let mut family = Family::histogram(
            "app_shutdown_duration_seconds",
            "How long the drain of the process took, from its beginning to its last connection",
        )
        .answers(
            "sum(app_shutdown_duration_seconds_sum) / sum(app_shutdown_duration_seconds_count)",
        );
        let mut histogram = Histogram::of(&SHUTDOWN_BOUNDS);
        if let Some(took) = seconds(&self.shutdown_took) {
            histogram.observe(took);
        }
        family.add_histogram([], histogram);
        family
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(NEVER - 1)
}

fn seconds(cell: &AtomicU64) -> Option<f64> {
    let micros = cell.load(Relaxed);
    (micros != NEVER).then(|| Duration::from_micros(micros).as_secs_f64())
}

#[cfg(test)]
mod tests;
