//! What is built from a config: upstreams with their pools, sites of listeners.
//!
//! A reload builds a new setup beside the running one and takes over from it
//! what did not change: an upstream that is set as it was keeps its servers'
//! health and its open connections.
//!
//! Invariant: building has no effect on what runs. Whatever can fail has
//! failed before anything is changed.
//!
//! Deliberately absent: sockets (see `post`), and threads (see `worker`).

use super::memory;
use super::recording::Recording;
use super::worker::Workers;
use crate::clock;
use crate::config::{self, AccessForm, Config, Listener, LogFormat};
use crate::drain::Timestamp;
use crate::proxy::listener::{Room, by_descriptors};
use crate::proxy::registry::{AccessLog, Berth, Registry};
use crate::proxy::request::Site;
use crate::proxy::upstream::{Pool, Upstream};
use crate::proxy::{self, tls};
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{Tracer, Traces};
use futures_util::future::join_all;
use rustix::process::{Resource, getrlimit};
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

/// One upstream, and each worker's pool of connections to it.
#[derive(Clone, Debug)]
struct Supply {
    upstream: Arc<Upstream>,
    pools: Vec<Arc<Pool>>,
    checks: Option<AbortHandle>,
    /// Whether the workers tend the pools.
    tended: bool,
}

/// What one setup hands on to the next.
type Shared<'a> = (
    &'a Arc<Metrics>,
    &'a Arc<Registry>,
    (&'a Arc<Room>, &'a Arc<AtomicU64>),
    &'a Arc<Traces>,
);

/// How many connections of clients there may be: as it is written, or by the
/// descriptors that the process may have.
fn connections(config: &Config) -> usize {
    match config.process.connections {
        0 => by_descriptors(getrlimit(Resource::Nofile).current),
        written => written,
    }
}

/// How many tunnels there may be: as it is written, or so many that those who
/// need a server for a request find a descriptor for it.
fn tunnels(config: &Config) -> usize {
    match config.process.tunnels {
        0 => (connections(config) * 3).div_ceil(4),
        written => written,
    }
}

/// All that one config asks for.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) config: Arc<Config>,
    supplies: Vec<Supply>,
    metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    /// How many connections of clients there may be in all.
    pub(super) room: Arc<Room>,
    /// Bytes of memory from which on nothing new is let in.
    pub(super) memory: Arc<AtomicU64>,
    pub(super) traces: Arc<Traces>,
    pub(super) workers: usize,
}

impl Setup {
    /// Build what `config` asks for, from scratch.
    pub(super) fn new(
        config: Arc<Config>,
        metrics: &Arc<Metrics>,
        registry: &Arc<Registry>,
        workers: usize,
    ) -> proxy::Result<Self> {
        let room = Room::new(connections(&config));
        registry.set_tunnels(tunnels(&config));
        let memory = Arc::new(AtomicU64::new(memory::limit(config.process.memory)));
        let traces = Traces::new(metrics.spans());
        let shared = (metrics, registry, (&room, &memory), &traces);
        let setup = Self::build(config, shared, workers, &[])?;
        setup.set_upstream_limits();
        Ok(setup)
    }

    /// Build what another config asks for.
    pub(super) fn next(&self, config: Arc<Config>) -> proxy::Result<Self> {
        let before: Vec<_> = self.config.upstreams.iter().zip(&self.supplies).collect();
        let limits = (&self.room, &self.memory);
        let shared = (&self.metrics, &self.registry, limits, &self.traces);
        Self::build(config, shared, self.workers, &before)
    }

    fn build(
        config: Arc<Config>,
        (metrics, registry, (room, memory), traces): Shared<'_>,
        workers: usize,
        before: &[(&config::Upstream, &Supply)],
    ) -> proxy::Result<Self> {
        let supply = |wanted: &config::Upstream| {
            let known = before.iter().find(|(known, _)| known.name == wanted.name);
            if let Some((known, supply)) = known
                && **known == *wanted
            {
                return Ok(Supply::clone(supply));
            }
            let before = known.map(|(_, known)| &*known.upstream);
            let upstream = Upstream::new(wanted, registry, before)?;
            let alike = known.filter(|(known, _)| known.connects_like(wanted));
            let pools = match alike {
                Some((_, supply)) => supply.pools_under(&upstream),
                None => (0..workers).map(|_| upstream.pool()).collect(),
            };
            Ok(Supply {
                upstream,
                pools,
                checks: None,
                tended: false,
            })
        };
        let supplies = config.upstreams.iter().map(supply);
        Ok(Self {
            supplies: supplies.collect::<proxy::Result<_>>()?,
            metrics: Arc::clone(metrics),
            registry: Arc::clone(registry),
            room: Arc::clone(room),
            memory: Arc::clone(memory),
            traces: Arc::clone(traces),
            workers,
            config,
        })
    }

    /// Move the limits of the process to what the config asks for.
    pub(super) fn set_limits(&self) {
        self.room.set_limit(connections(&self.config));
        self.registry.set_tunnels(tunnels(&self.config));
        self.set_upstream_limits();
        let memory = memory::limit(self.config.process.memory);
        self.memory.store(memory, Relaxed);
    }

    /// The same for what is in flight to each upstream.
    fn set_upstream_limits(&self) {
        let (connections, alone) = (connections(&self.config), self.supplies.len() < 2);
        for supply in &self.supplies {
            supply.upstream.set_limits(connections, alone);
        }
    }

    /// Every upstream, in the order of the config.
    pub(super) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        let upstreams = self.supplies.iter();
        upstreams.map(|one| Arc::clone(&one.upstream)).collect()
    }

    /// The berth of every server.
    pub(super) fn berths(&self) -> Vec<Arc<Berth>> {
        let upstreams = self.supplies.iter().map(|one| &one.upstream);
        let servers = upstreams.flat_map(|upstream| upstream.servers());
        servers.map(|server| server.berth).collect()
    }

    /// Whether there is a verdict on every server of an upstream.
    pub(super) fn is_checked(&self, upstream: &str) -> bool {
        let mut upstreams = self.supplies.iter().map(|one| &one.upstream);
        let found = upstreams.find(|one| **one.name() == *upstream);
        found.is_none_or(|one| one.is_checked())
    }

    /// Those that `next` has no more.
    pub(super) fn berths_not_in(&self, next: &Self) -> Vec<Arc<Berth>> {
        let kept = next.berths();
        let mut gone = self.berths();
        gone.retain(|berth| !kept.iter().any(|other| Arc::ptr_eq(other, berth)));
        gone
    }

    /// Close idle connections to servers that are being drained, and have the
    /// others close with their exchanges.
    pub(super) fn let_go_of_drained(&self) {
        let pools = self.supplies.iter().flat_map(|one| &one.pools);
        pools.for_each(|pool| pool.let_go_of_drained());
    }

    /// A listener's site for each worker. TLS settings that did not change are
    /// handed in, since they hold the keys of tickets that clients have.
    pub(super) fn sites(
        &self,
        listener: &Listener,
        known: Option<Arc<ServerConfig>>,
    ) -> proxy::Result<Vec<Site>> {
        let tls = match known {
            Some(known) => Some(known),
            None => tls(listener)?,
        };
        let policy = Arc::new(listener.clone());
        let told = (self.access(), self.tracer());
        let site = |worker: usize| {
            let pools: Vec<_> = self.supplies.iter().map(|one| &one.pools[worker]).collect();
            Site::new(
                Arc::clone(&policy),
                tls.clone(),
                &pools,
                &self.metrics,
                told.clone(),
            )
        };
        Ok((0..self.workers).map(site).collect())
    }

    /// How exchanges are logged, if they are.
    fn access(&self) -> Option<Arc<AccessLog>> {
        let logs = &self.config.process.logs;
        let access = logs.access.as_ref()?;
        let text = match logs.format {
            LogFormat::Text => true,
            LogFormat::Json => false,
            LogFormat::Auto => access.file.is_none() && logs::by_a_person(),
        };
        Some(AccessLog::of(match &access.form {
            AccessForm::Usual => config::usual_access(text),
            form => form.clone(),
        }))
    }

    /// Which exchanges are recorded, if any.
    fn tracer(&self) -> Option<Arc<Tracer>> {
        let settings = self.config.process.traces.as_ref()?;
        Some(Tracer::new(&self.traces, settings))
    }

    /// Record a drain that begins, if traces are sent.
    pub(super) fn recording(&self) -> Option<Recording> {
        let settings = self.config.process.traces.as_ref();
        settings.map(|_| Recording::begin(&self.traces))
    }

    /// Send spans to where the config says, from now on.
    pub(super) fn send_traces(&self) {
        self.traces.send_to(self.config.process.traces.as_ref());
    }

    /// Whether a listener that is set as before is served as before: its
    /// upstreams are the same ones, and it is logged and recorded as it was.
    pub(super) fn serves_alike(&self, before: &Self, listener: &Listener) -> bool {
        let mut ids = listener.serves.routes().iter().map(|route| route.upstream);
        let same = |id: config::UpstreamId| {
            let mut others = before.supplies.iter();
            others.any(|other| Arc::ptr_eq(&other.upstream, &self.supplies[id.0].upstream))
        };
        let (logs, other) = (&self.config.process.logs, &before.config.process.logs);
        let logged_alike = (&logs.access, logs.format) == (&other.access, other.format);
        let ratio = |config: &Config| config.process.traces.as_ref().map(|traces| traces.ratio);
        let recorded_alike = ratio(&self.config) == ratio(&before.config);
        logged_alike && recorded_alike && ids.all(same)
    }

    /// Watch the health of upstreams that are not watched yet. To be called on
    /// the main runtime.
    pub(super) fn watch_health(&mut self) {
        for supply in &mut self.supplies {
            if supply.checks.is_none() {
                let watching = Arc::clone(&supply.upstream).watch_health();
                supply.checks = Some(tokio::spawn(watching).abort_handle());
            }
        }
    }

    /// Have workers tend their pools, those that do not yet.
    pub(super) fn tend(&mut self, workers: &Workers) {
        for supply in &mut self.supplies {
            if !std::mem::replace(&mut supply.tended, true) {
                workers.tend(supply.pools.iter().map(Pool::tend_for_ever));
            }
        }
    }

    /// Whether servers may be kept warm, from now on.
    pub(super) fn set_warming(&self, may: bool) {
        let upstreams = self.supplies.iter().map(|one| &one.upstream);
        upstreams.for_each(|upstream| upstream.set_warming(may));
    }

    /// Wait until every upstream whose health is watched has been looked at,
    /// and has a server that is up; but not for those of which `before` says
    /// that it was so elsewhere, too.
    pub(super) async fn proved(&self, before: &BTreeMap<String, bool>) {
        for supply in &self.supplies {
            let upstream = &supply.upstream;
            upstream.checked().await;
            let down_before = before.get(&**upstream.name()) == Some(&false);
            if !down_before && !upstream.is_up() {
                tracing::warn!(event = "handover", upstream = %upstream.name(), "has no server that is up; waiting");
                upstream.up().await;
            }
        }
    }

    /// Let go of what `next` did not take over: idle connections close, those
    /// in flight run on.
    pub(super) fn close_all_but(&self, next: &Self) {
        for supply in &self.supplies {
            let mut kept = next.supplies.iter();
            if !kept.any(|other| Arc::ptr_eq(&other.upstream, &supply.upstream)) {
                supply.stop_checks();
                supply.close_all_but(&next.supplies);
            }
        }
    }

    /// Let go of all connections to servers: the end.
    pub(super) fn close(&self) {
        self.supplies.iter().for_each(Supply::close);
    }

    /// Wait until they have closed, but no longer than each upstream says, nor than
    /// until `latest`.
    pub(super) async fn closed(&self, latest: Timestamp) {
        let closing = self.supplies.iter().map(|supply| async {
            let upstream = &supply.upstream;
            let connections = upstream.connections();
            let until = latest.min(clock::now() + upstream.close_limit());
            let closed = timeout_at(clock::instant(until), connections.until_closed());
            if closed.await.is_err() {
                let (upstream, left) = (&**upstream.name(), connections.left());
                tracing::warn!(
                    event = "upstream_not_closed",
                    upstream,
                    left,
                    "connections to servers did not close in time"
                );
            }
        });
        join_all(closing).await;
    }
}

impl Supply {
    /// The pools of the upstream that is to replace this one.
    fn pools_under(&self, upstream: &Arc<Upstream>) -> Vec<Arc<Pool>> {
        let pools = self.pools.iter();
        pools.map(|pool| upstream.pool_in_place_of(pool)).collect()
    }

    fn stop_checks(&self) {
        if let Some(checks) = &self.checks {
            checks.abort();
        }
    }

    fn close(&self) {
        self.stop_checks();
        for pool in &self.pools {
            pool.close();
        }
    }

    /// Close the pools whose connections none of these has, and leave the others
    /// to those that have.
    fn close_all_but(&self, kept: &[Self]) {
        for pool in &self.pools {
            let mut others = kept.iter().flat_map(|supply| &supply.pools);
            if others.any(|other| other.shares_with(pool)) {
                pool.give_over();
            } else {
                pool.close();
            }
        }
    }
}
