//! One worker's connections to one upstream.
//!
//! Purpose: a lease for each exchange, by the quickest way there is: an idle
//! connection, a slot on a shared one, a dial.
//!
//! Invariant: what can be had at once is had without waiting or boxing
//! ([`Pool::lease_idle`]); everything else is boxed away, so that the future
//! of an exchange stays small. A pool belongs to one worker and its runtime:
//! its locks are taken, never contended. What is allocated for an exchange
//! here, pingora allocates: a set for a choice among several servers.
//!
//! Deliberately absent: retries of exchanges. Only a dial that failed is
//! tried on the next server here, as nothing was sent. Absent too is what is done
//! for connections that nobody asks for: see `tend`.

use super::Upstream;
use super::balance::Rotation;
use super::connections::{Lot, Stream};
use super::dial::{self, Connected, Failure};
use super::fleet::{Outcome, Turn};
use super::http1::Http1Lease;
use super::idle::Held;
use super::lease::Lease;
use super::multiplex::Multiplexer;
use super::search::Search;
use super::stock::{Stock, number};
use super::whose::Whose;
use crate::config::UpstreamHttp;
use crate::drain::Timestamp;
use crate::proxy::registry::{Ends, Gate, Mooring, Row};
use crate::proxy::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a connection that answered lately may take to become ready. Its
/// task only has to run once, so this is never reached but by a connection
/// that is better not used.
const READY_LIMIT: Duration = Duration::from_millis(100);

/// Dials an exchange waits for before it gives up on a server. Whoever waits
/// gets a slot with the first, unless others were quicker each time.
const ROUNDS: usize = 16;

/// Stands for no server.
const NONE: usize = usize::MAX;

/// One worker's connections to one upstream.
pub struct Pool {
    pub(super) upstream: Arc<Upstream>,
    // Shared with the pool that a reload puts in place of this one, if servers
    // are still connected to in the same way.
    pub(super) stock: Arc<Stock>,
    /// Where this worker stands in its choices.
    rotation: Rotation,
    /// The server whose turn it was when it had nothing idle; see `select`.
    turn: AtomicUsize,
    /// Whether another one has its stock.
    pub(super) replaced: AtomicBool,
}

impl Pool {
    pub(super) fn new(upstream: &Arc<Upstream>) -> Arc<Self> {
        Self::with(upstream, Stock::new(upstream))
    }

    fn with(upstream: &Arc<Upstream>, stock: Arc<Stock>) -> Arc<Self> {
        Arc::new(Self {
            upstream: Arc::clone(upstream),
            rotation: upstream.balancer.rotation(),
            stock,
            turn: AtomicUsize::new(NONE),
            replaced: AtomicBool::new(false),
        })
    }

    /// The pool that takes the place of this one under another policy, with its
    /// connections: `upstream` has the same servers and connects in the same way.
    pub(super) fn under(&self, upstream: &Arc<Upstream>) -> Arc<Self> {
        Self::with(upstream, Arc::clone(&self.stock))
    }

    /// Whether both have the same connections.
    #[must_use]
    pub fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stock, &other.stock)
    }

    /// The upstream that this pool has connections to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The hold on a server's berth, by the index that a lease or a dial gave.
    ///
    /// # Panics
    /// If the index is not one of this upstream's.
    pub fn mooring(&self, server: usize) -> &Arc<Mooring> {
        &self.stock.moorings[server]
    }

    /// The hold on the upstream's seats.
    pub fn row(&self) -> &Arc<Row> {
        &self.stock.row
    }

    /// A connection that can carry one more exchange, of this client: an idle
    /// HTTP/1.1 one, a slot on an HTTP/2 one, or one newly dialled. Where the
    /// servers are told who the client is it is dialled for this exchange and
    /// carries no other. Servers marked in `search` are
    /// avoided; those that cannot be connected to are marked there, and the
    /// next one is asked.
    ///
    /// # Errors
    /// [`Error::NoServer`] if none is up and untried, [`Error::Drained`] if those
    /// that are up are being drained; else the last of [`Error::Connect`] and
    /// [`Error::ConnectTimeout`] when all have failed.
    pub async fn lease(
        self: &Arc<Self>,
        whose: impl Into<Whose<'_>>,
        search: &mut Search,
    ) -> Result<Lease> {
        let whose = whose.into();
        if self.upstream.names_clients() {
            return Box::pin(self.lease_alone(whose, search)).await;
        }
        if let Some(lease) = self.lease_idle(search) {
            return Ok(lease);
        }
        // Boxed: rare and large, it would make every exchange's future so.
        Box::pin(self.lease_slowly(whose, search)).await
    }

    /// The same without waiting, if it can be had at once.
    pub fn lease_idle(self: &Arc<Self>, search: &Search) -> Option<Lease> {
        if self.upstream.names_clients() {
            return None;
        }
        let server = self.select(*search)?;
        let lease = self.lease_from(server);
        if lease.is_none() && !self.upstream.heed_goaway(server) {
            self.turn.store(server, Relaxed);
        }
        lease
    }

    /// Dial a connection for a tunnel of this client, next server on failure until all have
    /// been tried. The failed ones are marked in `search`; the index of the
    /// server that it leads to comes with it.
    ///
    /// # Errors
    /// As [`Self::lease`].
    pub async fn dial(
        &self,
        whose: impl Into<Whose<'_>>,
        search: &mut Search,
    ) -> Result<(Stream, usize)> {
        let whose = whose.into();
        let mut last = None;
        while let Some(server) = self.select(*search) {
            let since = whose.since();
            let count = &self.stock.counts[server];
            let opened = dial::open(&self.upstream, (server, count), whose.client);
            match Box::pin(opened).await {
                Ok(stream) => return Ok((stream, server)),
                Err(failure) => last = Some(self.failed(server, failure, search, (whose, since))),
            }
        }
        Err(last.unwrap_or_else(|| self.no_server()))
    }

    /// Whose turn it is. An exchange that asks [`Self::lease_idle`] first and
    /// waits afterwards has one turn, not two: with two servers, every second
    /// turn would otherwise fall on the same one, and it would get all.
    #[must_use]
    pub fn select(&self, search: Search) -> Option<usize> {
        let left = self.turn.swap(NONE, Relaxed);
        if left != NONE && !search.contains(left) && self.upstream.servers[left].is_fit() {
            return Some(left);
        }
        self.upstream.balancer.select(search, &self.rotation)
    }

    pub(super) fn generation(&self, server: usize) -> u32 {
        self.upstream.servers[server].generation()
    }

    fn lease_from(self: &Arc<Self>, server: usize) -> Option<Lease> {
        let generation = self.generation(server);
        let http1 = match self.upstream.http {
            UpstreamHttp::H1 => true,
            UpstreamHttp::H2 => false,
            UpstreamHttp::Auto => self.stock.chose_http1[server].load(Relaxed),
        };
        if http1 {
            let idle = &self.stock.idle;
            let held = idle.take_ready(number(server), generation, &self.upstream.pool)?;
            Some(self.http1(server, generation, held, true))
        } else {
            let fleet = &self.stock.fleets[server];
            let lease = fleet.reserve(generation, &self.upstream.pool);
            lease.map(Lease::Http2)
        }
    }

    async fn lease_slowly(
        self: &Arc<Self>,
        whose: Whose<'_>,
        search: &mut Search,
    ) -> Result<Lease> {
        let mut last = None;
        while let Some(server) = self.select(*search) {
            let since = whose.since();
            let leased = match self.upstream.http {
                UpstreamHttp::H1 => self.lease_http1(server).await,
                UpstreamHttp::H2 | UpstreamHttp::Auto => self.lease_http2(server).await,
            };
            match leased {
                Ok(lease) => return Ok(lease),
                // It is being drained by now, and that is no failure.
                Err(_) if self.is_shut(server) => search.mark(server),
                Err(failure) => last = Some(self.failed(server, failure, search, (whose, since))),
            }
        }
        Err(last.unwrap_or_else(|| self.no_server()))
    }

    /// A connection that is one exchange's own.
    async fn lease_alone(self: &Arc<Self>, whose: Whose<'_>, search: &mut Search) -> Result<Lease> {
        let mut last = None;
        while let Some(server) = self.select(*search) {
            let since = whose.since();
            let leased = self.alone(server, whose.client).await;
            match leased {
                Ok(lease) => return Ok(lease),
                // It is being drained by now, and that is no failure.
                Err(_) if self.is_shut(server) => search.mark(server),
                Err(failure) => last = Some(self.failed(server, failure, search, (whose, since))),
            }
        }
        Err(last.unwrap_or_else(|| self.no_server()))
    }

    async fn alone(
        self: &Arc<Self>,
        server: usize,
        client: Option<&Ends>,
    ) -> Result<Lease, Failure> {
        let generation = self.generation(server);
        let place = (server, &self.stock.counts[server], Lot::Alone);
        match dial::connect(&self.upstream, place, client).await? {
            Connected::Http1(held) => Ok(self.http1(server, generation, held, false)),
            // It is in no fleet, so it closes with its one stream.
            Connected::Http2(connection) => connection
                .reserve()
                .map(Lease::Http2)
                .ok_or_else(|| Failure::reason("HTTP/2: closed at once")),
        }
    }

    fn is_shut(&self, server: usize) -> bool {
        self.upstream.servers[server].berth.gate() == Gate::Shut
    }

    async fn lease_http1(self: &Arc<Self>, server: usize) -> Result<Lease, Failure> {
        let generation = self.generation(server);
        let (idle, policy) = (&self.stock.idle, &self.upstream.pool);
        while let Some(mut held) = idle.take_any(number(server), generation, policy) {
            // Its task may not have run since its last response ended. An
            // error says that it was closing.
            if let Ok(Ok(())) = timeout(READY_LIMIT, held.sender.ready()).await {
                return Ok(self.http1(server, generation, held, true));
            }
        }
        match self.connect(server).await? {
            Connected::Http1(held) => Ok(self.http1(server, generation, held, false)),
            Connected::Http2(connection) => {
                self.stock.chose_http1[server].store(false, Relaxed);
                let lease = connection.reserve();
                self.add(server, connection);
                lease
                    .map(Lease::Http2)
                    .ok_or_else(|| Failure::reason("HTTP/2: closed at once"))
            }
        }
    }

    async fn lease_http2(self: &Arc<Self>, server: usize) -> Result<Lease, Failure> {
        for _ in 0..ROUNDS {
            if self.is_shut(server) {
                return Err(Failure::reason("it is being drained"));
            }
            if self.stock.idle.closed() {
                // None is kept that others could share.
                return self.alone(server, None).await;
            }
            if self.stock.chose_http1[server].load(Relaxed) {
                return self.lease_http1(server).await;
            }
            let generation = self.generation(server);
            let fleet = &self.stock.fleets[server];
            let turn = fleet.turn(generation, &self.upstream.pool, |id, report| {
                tokio::spawn(Arc::clone(self).dial_shared(server, id, report));
            });
            let mut outcome = match turn {
                Turn::Slot(lease) => return Ok(Lease::Http2(lease)),
                Turn::Wait(outcome) => outcome,
            };
            match outcome.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(Err(failure))) => return Err(failure.clone()),
                // A dial that reports nothing was ended with its runtime.
                Err(_) => return Err(Failure::reason("the dial was given up")),
                Ok(_) => {}
            }
        }
        Err(Failure::reason("HTTP/2: no slot came free"))
    }

    /// A dial whose connection is for whoever waits.
    pub(super) async fn dial_shared(
        self: Arc<Self>,
        server: usize,
        id: u64,
        report: watch::Sender<Outcome>,
    ) {
        let outcome = self.stock_up(server).await;
        let fleet = &self.stock.fleets[server];
        if outcome.is_ok() {
            fleet.renewed();
        }
        // Settled first, then reported: who is woken must not join it again.
        fleet.settle(id);
        let _ = report.send(Some(outcome));
    }

    /// Dial a connection that is for nobody yet.
    pub(super) async fn stock_up(self: &Arc<Self>, server: usize) -> Result<(), Failure> {
        let generation = self.generation(server);
        match self.connect(server).await? {
            Connected::Http2(connection) => {
                self.stock.chose_http1[server].store(false, Relaxed);
                self.add(server, connection);
            }
            Connected::Http1(held) => {
                self.stock.chose_http1[server].store(true, Relaxed);
                self.rest(number(server), generation, held);
            }
        }
        Ok(())
    }

    async fn connect(&self, server: usize) -> Result<Connected, Failure> {
        let place = (server, &self.stock.counts[server], Lot::Pooled);
        dial::connect(&self.upstream, place, None).await
    }

    fn http1(self: &Arc<Self>, server: usize, generation: u32, held: Held, reused: bool) -> Lease {
        held.life().carries();
        Lease::Http1(Http1Lease {
            pool: Arc::clone(self),
            held,
            server: number(server),
            generation,
            reused,
        })
    }

    /// Keep an HTTP/1.1 connection that has nothing in flight.
    pub(super) fn rest(&self, server: u32, generation: u32, held: Held) {
        if self.upstream.names_clients() {
            return;
        }
        let idle = &self.stock.idle;
        idle.put(server, generation, held, &self.upstream.pool);
        let now = self.generation(server as usize);
        if now != generation {
            // Its server was drained in between, and nobody looks there.
            idle.forget(server, now);
        }
    }

    /// Enter an HTTP/2 connection that was dialled.
    fn add(&self, server: usize, connection: Arc<Multiplexer>) {
        self.stock.fleets[server].add(connection);
        if self.stock.idle.closed() {
            self.stock.close();
        }
        let generation = self.generation(server);
        self.stock.forget(server, generation);
        self.stock.stirred.notify_one();
    }

    fn failed(
        &self,
        server: usize,
        failure: Failure,
        search: &mut Search,
        (whose, since): (Whose<'_>, Option<Timestamp>),
    ) -> Error {
        search.mark(server);
        let error = failure.into_error(&self.upstream, server);
        whose.unreachable(self.upstream.server(server), since, error)
    }

    fn no_server(&self) -> Error {
        let upstream = Arc::clone(&self.upstream.name);
        if self.upstream.holds_back() {
            Error::Drained { upstream }
        } else {
            Error::NoServer { upstream }
        }
    }

    /// How many HTTP/2 connections are held to a server.
    #[cfg(test)]
    pub(super) fn http2_connections(&self, server: usize) -> usize {
        self.stock.fleets[server].len()
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("upstream", self.upstream().name())
            .finish_non_exhaustive()
    }
}
