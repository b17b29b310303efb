//! The last station of the flow: connections to servers.
//!
//! Purpose: dial, pool, balance, health. [`Upstream`] is one for the process:
//! which servers there are, which are up, whose turn it is, and how they are
//! dialled. [`Pool`] is one for each worker: the connections. An exchange
//! takes a [`Lease`] from its worker's pool and needs to know no more.
//!
//! Invariant: whatever waits here has a limit on time, and whatever is kept
//! here has a limit in number. When a lease fails, nothing of the exchange
//! has been sent.
//!
//! Deliberately absent: requests and responses (see the relay), and pingora's
//! own HTTP: it dials, selects, checks and keeps, the exchanges are ours.

mod balance;
mod connections;
mod dial;
mod fleet;
mod health;
mod health_grpc;
mod health_http;
pub(super) mod health_message;
mod http1;
mod http2;
mod idle;
mod key;
mod lease;
mod left;
mod lifetime;
mod multiplex;
mod pool;
mod proxy_header;
mod retries;
mod room;
mod search;
mod server;
mod silence;
mod standing;
mod stock;
mod tend;
#[cfg(test)]
mod tests;
mod tls;
mod tried;
mod verdicts;
mod warm;
mod watch;
mod whose;

pub use connections::{Connections, Stream};
pub use http1::{Http1Lease, SendError};
pub use lease::Lease;
pub use lifetime::Closed;
pub use multiplex::Http2Lease;
pub use pool::Pool;
#[cfg(test)]
pub(in crate::proxy) use proxy_header::written as written_proxy_header;
pub use retries::{Forgone, Hedged, Retried, Retries};
pub use search::Search;
pub use standing::Position;
pub use standing::eject::Reason;
pub use whose::Whose;

/// The transport that an HTTP/1.1 upgrade gives back.
pub type ServerIo = hyper_util::rt::TokioIo<Stream>;

use super::Result;
use super::registry::{Berth, Registry, Seats};
use crate::{clock, config};
use balance::Balancer;
use health::Checks;
use http::HeaderMap;
use left::Left;
use parking_lot::Mutex;
use pingora_core::connectors::TransportConnector;
use server::Server;
use standing::Standing;
use std::fmt;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{Notify, watch as channel};
use tokio::time::{MissedTickBehavior, interval};

/// One named pool of servers, process-wide: selection and health.
pub struct Upstream {
    name: Arc<str>,
    http: config::UpstreamHttp,
    tls: bool,
    connect_timeout: Duration,
    servers: Arc<[Server]>,
    left: Left,
    connector: TransportConnector,
    balancer: Balancer,
    checks: Option<Checks>,
    /// How many times every server was checked.
    rounds: channel::Sender<u64>,
    health_path: Option<Box<str>>,
    health_service: Option<Box<str>>,
    proxy_protocol: Option<config::ProxyVersion>,
    slow_start: Duration,
    eject: Option<config::Eject>,
    going: config::Going,
    retries: Arc<Retries>,
    limits: config::UpstreamLimits,
    adaptive: Option<config::Adaptive>,
    seats: Arc<Seats>,
    pool: config::Pool,
    connections: Arc<Connections>,
    /// Whether servers may be kept warm.
    warming: AtomicBool,
    /// Told when that changes, or who may be chosen.
    shifts: channel::Sender<()>,
    /// Held while it is decided who is out.
    deciding: Mutex<()>,
    /// Something was decided that time will end.
    stirred: Notify,
}

/// A server and its health, for status and metrics.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// The server as it is written in the config.
    pub name: Arc<str>,
    /// Whether its last health verdict was good; always without checks.
    pub up: bool,
    /// What is in flight on it, and whether it is being drained.
    pub berth: Arc<Berth>,
    /// Where it stands among the others.
    pub position: Position,
    /// Why it is not given its share, if it is not.
    pub why: Option<Arc<str>>,
    /// Its weight, as far as it counts now, in thousandths.
    pub weight_milli: u64,
    /// How often it was ejected, by reason.
    pub ejections: [(Reason, u64); Reason::ALL.len()],
}

/// What happens to an upstream from the moment on at which this was asked for.
#[derive(Debug)]
pub struct Changes {
    rounds: channel::Receiver<u64>,
    turns: Option<channel::Receiver<u64>>,
}

impl Changes {
    /// Wait for the next: a round of checks, or the drain of a server. For
    /// ever once the upstream is gone.
    pub async fn next(&mut self) {
        let turned = async {
            match &mut self.turns {
                Some(turns) => turns.changed().await,
                None => pending().await,
            }
        };
        let changed = tokio::select! {
            checked = self.rounds.changed() => checked,
            turned = turned => turned,
        };
        if changed.is_err() {
            pending::<()>().await;
        }
    }
}

impl Upstream {
    /// Prepare an upstream: its addresses, its TLS settings, its checks.
    /// Nothing is dialled yet. A server that the upstream had `before`, which
    /// this one replaces, keeps what is known of it: its health, what is in
    /// flight on it, and whether it is drained.
    ///
    /// # Errors
    /// [`Error::Tls`](super::Error::Tls) if the TLS settings cannot be used,
    /// [`Error::Connect`](super::Error::Connect)
    /// if an address cannot be one.
    pub fn new(
        config: &config::Upstream,
        registry: &Registry,
        before: Option<&Self>,
    ) -> Result<Arc<Self>> {
        let left = before.map_or_else(Left::default, |before| Left::of(before, config));
        let server = |server: &config::Server| {
            let known = before.and_then(|before| before.named(&server.name));
            let place = known.map_or_else(
                || {
                    let berth = registry.berth(&config.name, &server.name);
                    let stood = before.and_then(|before| before.left.standing(&berth));
                    // Beside others that are warm it begins as one that is back.
                    let fresh = || Standing::new(before.map(|_| clock::now()));
                    (berth, stood.unwrap_or_else(fresh))
                },
                |known| (Arc::clone(&known.berth), Arc::clone(&known.standing)),
            );
            Server::new(config, server, place)
        };
        let servers: Arc<[Server]> = config.servers.iter().map(server).collect::<Result<_>>()?;
        let options = tls::options(&config.name, config.tls.as_ref())?;
        let checks = health::checks(config, &servers, &options)?;
        Ok(Arc::new(Self {
            name: Arc::clone(&config.name),
            http: config.http,
            tls: config.tls.is_some(),
            connect_timeout: config.connect_timeout,
            connector: tls::connector(&config.name, &options)?,
            balancer: Balancer::new(config, &servers),
            checks,
            servers,
            left,
            rounds: channel::Sender::new(0),
            health_path: health::path(config),
            health_service: health::service(config),
            proxy_protocol: config.proxy_protocol,
            slow_start: config.slow_start,
            eject: config.eject.clone(),
            going: config.going.clone(),
            retries: before.map_or_else(Arc::default, |before| Arc::clone(&before.retries)),
            limits: config.limits.clone(),
            adaptive: config.adaptive.clone(),
            seats: before.map_or_else(
                || Seats::new(Arc::clone(&config.name)),
                |before| Arc::clone(&before.seats),
            ),
            pool: config.pool.clone(),
            connections: before.map_or_else(Arc::default, |before| Arc::clone(&before.connections)),
            warming: AtomicBool::new(true),
            shifts: channel::Sender::new(()),
            deciding: Mutex::new(()),
            stirred: Notify::new(),
        }))
    }

    /// Whether its servers are spoken to over TLS.
    pub fn secure(&self) -> bool {
        self.tls
    }

    /// Whether its servers are told by a PROXY header who the client is. Each
    /// exchange has a connection of its own then.
    #[must_use]
    pub fn names_clients(&self) -> bool {
        self.proxy_protocol.is_some()
    }

    /// Whether a request for this path asks for a server's health: what this
    /// proxy itself asks, or the health service of gRPC.
    #[must_use]
    pub fn is_health_check(&self, path: &str) -> bool {
        path.starts_with("/grpc.health.v1.Health/") || self.health_path.as_deref() == Some(path)
    }

    /// The service that its servers are asked for by gRPC checks, if they are
    /// and it is one.
    #[must_use]
    pub fn health_service(&self) -> Option<&str> {
        self.health_service.as_deref()
    }

    /// Its name in the config.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The HTTP version that is spoken to its servers.
    #[must_use]
    pub fn speaks(&self) -> config::UpstreamHttp {
        self.http
    }

    /// The name of a server, by the index that a lease or a dial gave.
    ///
    /// # Panics
    /// If the index is not one of this upstream's.
    pub fn server(&self, index: usize) -> &Arc<str> {
        &self.servers[index].name
    }

    /// Every server and whether it is up, in the order of the config.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerStatus> {
        self.servers
            .iter()
            .map(|server| ServerStatus {
                name: Arc::clone(&server.name),
                up: server.up(),
                berth: Arc::clone(&server.berth),
                position: server.standing.position(),
                why: Self::why(server),
                weight_milli: u64::from(server.weight) * u64::from(server.standing.ramp()),
                ejections: Reason::ALL.map(|reason| (reason, server.standing.ejections(reason))),
            })
            .collect()
    }

    /// Check the servers' health for ever, at once and then at the interval
    /// of the config, and heed their drains.
    ///
    /// Runs on any runtime; one task per upstream.
    pub async fn watch_health(self: Arc<Self>) {
        tokio::join!(
            self.check_for_ever(),
            self.heed_drains(),
            self.tend_for_ever(),
            self.find_outliers_for_ever(),
        );
    }

    /// A zone whose servers are drained has fewer to count on.
    async fn heed_drains(&self) {
        let Some(first) = self.servers.first() else {
            return;
        };
        let mut turns = first.berth.turns();
        // What turned since the roster was drawn up.
        self.balancer.redraw();
        while turns.changed().await.is_ok() {
            self.redraw();
        }
    }

    /// Heed what has changed of the servers.
    fn redraw(&self) {
        self.balancer.redraw();
        self.shifts.send_replace(());
    }

    async fn check_for_ever(&self) {
        let Some(checks) = &self.checks else {
            return pending().await;
        };
        let health = &checks.health;
        // A server counts as up until found down. So that one which is down
        // when the process starts gets no traffic for an interval or two, the
        // first verdict takes its consecutive checks without a pause.
        for _ in 1..health.fall {
            self.check_all(Duration::ZERO).await;
        }
        let jitter = health.every * health.jitter / 100;
        let mut put_off = Duration::ZERO;
        let mut ticks = interval(health.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.check_all(put_off).await;
            self.rounds.send_modify(|rounds| *rounds += 1);
            if *self.rounds.borrow() == 1 {
                self.shifts.send_replace(());
            }
            put_off = jitter;
        }
    }

    /// Check every server once.
    async fn check_all(&self, jitter: Duration) {
        if let Some(checks) = &self.checks {
            checks.round(jitter, self).await;
        }
    }

    /// Wait until there is a verdict on every server, if there are checks.
    pub async fn checked(&self) {
        if self.checks.is_some() {
            // The sender is here.
            let _ = self.rounds.subscribe().wait_for(|rounds| *rounds > 0).await;
        }
    }

    /// Whether there is a verdict on every server, or there are no checks.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.checks.is_none() || *self.rounds.borrow() > 0
    }

    /// Whether it has a server that is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.servers.iter().any(Server::up)
    }

    /// Wait until a server is found up.
    pub async fn up(&self) {
        let found = |_: &u64| self.is_up();
        let _ = self.rounds.subscribe().wait_for(found).await;
    }

    /// Whether it has a server that is up and not being drained.
    #[must_use]
    pub fn takes_exchanges(&self) -> bool {
        self.servers.iter().any(Server::wanted)
    }

    /// Whether there is one that an exchange in search of a server has not tried.
    #[must_use]
    pub fn has_other(&self, search: &Search) -> bool {
        let mut servers = self.servers.iter().enumerate();
        servers.any(|(index, server)| server.wanted() && !search.contains(index))
    }

    /// What retries cost its servers.
    #[must_use]
    pub fn retries(&self) -> &Arc<Retries> {
        &self.retries
    }

    /// Told whenever that may have changed.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let turns = self.servers.first().map(|server| server.berth.turns());
        Changes {
            rounds: self.rounds.subscribe(),
            turns,
        }
    }

    fn named(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| *server.name == *name)
    }

    /// The berth of a server; `None` if it has no server of this name.
    #[must_use]
    pub fn berth(&self, server: &str) -> Option<&Arc<Berth>> {
        self.named(server).map(|server| &server.berth)
    }

    /// Whether some server is up and gets no exchange all the same, since it is
    /// being drained.
    fn holds_back(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.up() && !server.wanted())
    }

    /// Its connections.
    #[must_use]
    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// How long closing them may take, when a drain of the process is over.
    #[must_use]
    pub fn close_limit(&self) -> Duration {
        self.pool.close
    }

    /// Whether servers may be kept warm, from now on.
    pub fn set_warming(&self, may: bool) {
        self.warming.store(may, Relaxed);
        self.shifts.send_replace(());
    }

    /// Whether a server may be kept warm now.
    fn warms(&self, server: usize) -> bool {
        let judged = self.checks.is_none() || *self.rounds.borrow() > 0;
        self.warming.load(Relaxed) && judged && self.servers[server].is_fit()
    }

    /// A new pool, for one worker.
    #[must_use]
    pub fn pool(self: &Arc<Self>) -> Arc<Pool> {
        Pool::new(self)
    }

    /// The same with the connections of another one, whose upstream this one
    /// replaces: it has the same servers and connects to them in the same way.
    #[must_use]
    pub fn pool_in_place_of(self: &Arc<Self>, before: &Pool) -> Arc<Pool> {
        before.under(self)
    }

    /// What a request with these fields, from this client, looks for.
    pub fn search(&self, fields: &HeaderMap, client: IpAddr) -> Search {
        self.balancer.search(fields, client)
    }

    /// What a tunnel of this client looks for.
    pub fn search_of_client(&self, client: IpAddr) -> Search {
        self.balancer.search_of_client(client)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.name)
            .field("servers", &self.servers())
            .finish_non_exhaustive()
    }
}
