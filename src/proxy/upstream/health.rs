//! Which servers are up.
//!
//! Purpose: one check for each server, by TCP, HTTP or gRPC; the verdict is
//! noted on the server and every change logged.
//!
//! Invariant: a check has one limit on time over all its steps, and what changes
//! a server's health is the same for all kinds: so many verdicts in a row, but
//! for a server that says of itself that it does not serve, which is believed.
//! A check goes the way an exchange would go: same address, same TLS name, CA
//! and client certificate, same HTTP version.
//!
//! Deliberately absent: when to check (see `watch`), and verdicts from live
//! traffic.

use super::Upstream;
use super::dial;
use super::health_grpc::GrpcCheck;
use super::health_http::HttpCheck;
use super::server::{CHECK_READ, Server};
use super::tls;
use super::verdicts::Verdicts;
use crate::drain::Timestamp;
use crate::proxy::Result;
use crate::{clock, config};
use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::upstreams::peer::{BasicPeer, PeerOptions};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HealthCheck, TcpHealthCheck};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What checks say they are (RFC 9110, section 10.1.5).
pub(super) const CHECK_AGENT: &str = "ebbtide-health";

/// Why a check was bad.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Bad {
    /// The server said that it does not serve: that needs no second witness.
    NotServing,
    /// Anything else, in words.
    Failed(String),
}

impl Bad {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into())
    }

    fn reason(&self) -> &str {
        match self {
            Self::NotServing => "it says that it does not serve",
            Self::Failed(reason) => reason,
        }
    }
}

impl From<Box<pingora_core::Error>> for Bad {
    fn from(error: Box<pingora_core::Error>) -> Self {
        Self::Failed(dial::innermost(&error))
    }
}

/// One check of one server.
#[async_trait]
pub(super) trait Check: Send + Sync {
    /// Look once, however long it takes.
    async fn look(&self) -> Result<(), Bad>;
}

/// The path, without its query, that is asked for by HTTP checks.
pub(super) fn path(config: &config::Upstream) -> Option<Box<str>> {
    match &config.health.as_ref()?.check {
        config::HealthCheck::Http(check) => check.path.split('?').next().map(Box::from),
        _ => None,
    }
}

/// The service, not empty, that is asked for by gRPC checks.
pub(super) fn service(config: &config::Upstream) -> Option<Box<str>> {
    match &config.health.as_ref()?.check {
        config::HealthCheck::Grpc { service } if !service.is_empty() => {
            Some(service.as_str().into())
        }
        _ => None,
    }
}

/// The checks of an upstream, or `None` if its health is taken for granted.
///
/// # Errors
/// [`Error::Tls`](crate::proxy::Error::Tls) if its certificates cannot be used,
/// [`Error::Connect`](crate::proxy::Error::Connect) if its request cannot be made.
pub(super) fn checks(
    config: &config::Upstream,
    servers: &Arc<[Server]>,
    options: &ConnectorOptions,
) -> Result<Option<Checks>> {
    let Some(health) = &config.health else {
        return Ok(None);
    };
    let patience = health.timeout;
    let each: Vec<Box<dyn Check>> = match &health.check {
        config::HealthCheck::Tcp => servers
            .iter()
            .map(|server| Ok(Box::new(TcpCheck::new(config, options, server, patience)?) as _))
            .collect::<Result<_>>()?,
        config::HealthCheck::Http(asked) => servers
            .iter()
            .map(|server| {
                let mut peer = server.peer.clone();
                limit(&mut peer.options, patience);
                Ok(Box::new(HttpCheck::new(config, asked, options, (server, peer))?) as _)
            })
            .collect::<Result<_>>()?,
        config::HealthCheck::Grpc { service } => {
            let connector = Arc::new(tls::connector(&config.name, options)?);
            let check = |server: &Server| {
                let mut peer = server.peer.clone();
                limit(&mut peer.options, patience);
                let connector = Arc::clone(&connector);
                Box::new(GrpcCheck::new(connector, peer, &server.authority, service)) as _
            };
            servers.iter().map(check).collect()
        }
    };
    let verdict = |server: &Server| Mutex::new(Verdicts::of(server.up()));
    Ok(Some(Checks {
        upstream: Arc::clone(&config.name),
        verdicts: servers.iter().map(verdict).collect(),
        servers: Arc::clone(servers),
        each,
        health: health.clone(),
    }))
}

fn limit(options: &mut PeerOptions, patience: Duration) {
    options.connection_timeout = Some(patience);
    options.total_connection_timeout = Some(patience);
    options.read_timeout = Some(patience.min(CHECK_READ));
    options.write_timeout = Some(patience.min(CHECK_READ));
}

/// Whether a connection can be made.
struct TcpCheck {
    check: Box<TcpHealthCheck>,
    target: Backend,
}

impl TcpCheck {
    fn new(
        config: &config::Upstream,
        options: &ConnectorOptions,
        server: &Server,
        patience: Duration,
    ) -> Result<Self> {
        let mut check = tls::guarded(&config.name, TcpHealthCheck::new)?;
        check.set_connector(tls::connector(&config.name, options)?);
        check.peer_template = BasicPeer {
            _address: server.peer._address.clone(),
            sni: server.peer.sni.clone(),
            options: server.peer.options.clone(),
        };
        limit(&mut check.peer_template.options, patience);
        let target = Backend {
            addr: server.peer._address.clone(),
            weight: 1,
            ext: pingora_load_balancing::Extensions::new(),
        };
        Ok(Self { check, target })
    }
}

#[async_trait]
impl Check for TcpCheck {
    async fn look(&self) -> Result<(), Bad> {
        Ok(self.check.check(&self.target).await?)
    }
}

/// The checks of one upstream's servers.
pub(super) struct Checks {
    upstream: Arc<str>,
    servers: Arc<[Server]>,
    each: Vec<Box<dyn Check>>,
    verdicts: Box<[Mutex<Verdicts>]>,
    pub(super) health: config::Health,
}

impl Checks {
    /// Check every server, all at the same time, each put off by up to the
    /// jitter. The upstream hears of each verdict at once: one check that hangs
    /// must not keep the other servers from leaving or coming back.
    pub(super) async fn round(&self, jitter: Duration, upstream: &Upstream) {
        let checks = (0..self.each.len()).map(async |index| {
            if !jitter.is_zero() {
                sleep(jitter.mul_f64(fastrand::f64())).await;
            }
            let began = clock::now();
            let limit = self.health.timeout;
            let late = || Bad::because(format!("no verdict within {limit:?}"));
            let seen = timeout(limit, self.each[index].look()).await;
            self.judge(index, began, seen.unwrap_or_else(|_| Err(late())), upstream);
        });
        join_all(checks).await;
    }

    fn judge(&self, index: usize, began: Timestamp, seen: Result<(), Bad>, upstream: &Upstream) {
        let health = &self.health;
        let fall = match &seen {
            Err(Bad::NotServing) => 1,
            _ => health.fall,
        };
        let changed = self.verdicts[index]
            .lock()
            .hear(seen.is_ok(), health.rise, fall);
        let why = || seen.as_ref().err().map_or("", Bad::reason).into();
        // Before anybody is told, or who is told acts on it too early.
        upstream.was_checked(index, began, changed.map(|up| (up, why())));
        if changed.is_none() {
            return;
        }
        let (upstream, name) = (&*self.upstream, &*self.servers[index].name);
        match seen {
            Ok(()) => tracing::info!(
                target: "ebbtide::health", event = "server_up", upstream, server = name,
                "server is up"
            ),
            Err(bad) => tracing::warn!(
                target: "ebbtide::health", event = "server_down", upstream, server = name,
                reason = bad.reason(), "server is down"
            ),
        }
    }
}
