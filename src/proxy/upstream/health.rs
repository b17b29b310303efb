//! Which servers are up.
//!
//! Purpose: one check for each server, by TCP, HTTP or gRPC, run by pingora's
//! balancer; the verdict is noted on the server and every change logged.
//!
//! Invariant: a check has one limit on time over all its steps, and the
//! consecutive verdicts that change a server's health are the same for all
//! kinds. A check goes the way an exchange would go: same address, same TLS
//! name, CA and client certificate, same HTTP version.
//!
//! Deliberately absent: verdicts from live traffic. A failed dial sends an
//! exchange to the next server, it does not take one out of rotation.

use super::balance::Addresses;
use super::dial;
use super::health_grpc::GrpcCheck;
use super::server::{CHECK_READ, Server};
use super::tls;
use crate::config;
use crate::proxy::{Error, Result};
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector as HttpConnector;
use pingora_core::upstreams::peer::{BasicPeer, PeerOptions};
use pingora_core::{Error as CheckError, ErrorType};
use pingora_http::RequestHeader;
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HealthCheck, HttpHealthCheck, TcpHealthCheck};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Good verdicts in a row that bring a server up.
pub(super) const RISE: usize = 1;

/// Bad verdicts in a row that take a server down.
pub(super) const FALL: usize = 2;

/// The longest time that connecting may take in a check, TLS included.
const CHECK_CONNECT: Duration = Duration::from_secs(1);

/// The longest time that a check may take as a whole.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// What checks say they are (RFC 9110, section 10.1.5).
pub(super) const CHECK_AGENT: &str = "ebbtide-health";

type Check = Arc<dyn HealthCheck + Send + Sync>;

/// The path, without its query, that is asked for by HTTP checks.
pub(super) fn path(config: &config::Upstream) -> Option<Box<str>> {
    match &config.health.as_ref()?.check {
        config::HealthCheck::Http { path } => path.split('?').next().map(Box::from),
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
/// [`Error::Tls`] if its certificates or its health path cannot be used.
pub(super) fn checks(
    config: &config::Upstream,
    servers: &Arc<[Server]>,
    addresses: &Arc<Addresses>,
    options: &ConnectorOptions,
) -> Result<Option<Box<dyn HealthCheck + Send + Sync>>> {
    let Some(health) = &config.health else {
        return Ok(None);
    };
    let each: Vec<Check> = match &health.check {
        config::HealthCheck::Tcp => {
            let check: Check = Arc::new(tcp(config, options, &servers[0])?);
            servers.iter().map(|_| Arc::clone(&check)).collect()
        }
        config::HealthCheck::Http { path } => servers
            .iter()
            .map(|server| Ok(Arc::new(http(config, options, server, path)?) as Check))
            .collect::<Result<_>>()?,
        config::HealthCheck::Grpc { service } => {
            let connector = Arc::new(tls::connector(&config.name, options)?);
            servers
                .iter()
                .map(|server| {
                    let mut peer = server.peer.clone();
                    limit(&mut peer.options);
                    let connector = Arc::clone(&connector);
                    Arc::new(GrpcCheck::new(connector, peer, &server.authority, service)) as Check
                })
                .collect()
        }
    };
    Ok(Some(Box::new(Checks {
        upstream: Arc::clone(&config.name),
        servers: Arc::clone(servers),
        addresses: Arc::clone(addresses),
        reasons: servers.iter().map(|_| Mutex::default()).collect(),
        each,
    })))
}

fn limit(options: &mut PeerOptions) {
    options.connection_timeout = Some(CHECK_CONNECT);
    options.total_connection_timeout = Some(CHECK_CONNECT);
    options.read_timeout = Some(CHECK_READ);
    options.write_timeout = Some(CHECK_READ);
}

/// One check for all servers: it asks nothing that differs between them.
fn tcp(
    config: &config::Upstream,
    options: &ConnectorOptions,
    any: &Server,
) -> Result<TcpHealthCheck> {
    let mut check = tls::guarded(&config.name, TcpHealthCheck::new)?;
    check.set_connector(tls::connector(&config.name, options)?);
    check.peer_template = BasicPeer {
        // Replaced by each server's address when it runs.
        _address: any.peer._address.clone(),
        sni: any.peer.sni.clone(),
        options: any.peer.options.clone(),
    };
    limit(&mut check.peer_template.options);
    Ok(*check)
}

/// One check for each server, since `Host` names the server.
fn http(
    config: &config::Upstream,
    options: &ConnectorOptions,
    server: &Server,
    path: &str,
) -> Result<HttpHealthCheck> {
    let options = options.clone();
    let connector = tls::guarded(&config.name, || HttpConnector::new(Some(options)))?;
    let refuse = |error: Box<CheckError>| Error::Connect {
        upstream: Arc::clone(&config.name),
        server: Arc::clone(&server.name),
        reason: format!("health check of {path:?}: {error}"),
    };
    let mut request = RequestHeader::build("GET", path.as_bytes(), None).map_err(refuse)?;
    request
        .insert_header("Host", &server.authority)
        .and_then(|()| request.insert_header("User-Agent", CHECK_AGENT))
        .map_err(refuse)?;
    let mut check = HttpHealthCheck::new_custom(&server.authority, config.tls.is_some(), connector);
    check.peer_template = server.peer.clone();
    limit(&mut check.peer_template.options);
    check.req = request;
    Ok(check)
}

/// The checks of one upstream's servers, as the one check that pingora knows.
struct Checks {
    upstream: Arc<str>,
    servers: Arc<[Server]>,
    addresses: Arc<Addresses>,
    each: Vec<Check>,
    /// Why each server's last check failed, for the log line of its fall.
    reasons: Box<[Mutex<String>]>,
}

#[async_trait]
impl HealthCheck for Checks {
    async fn check(&self, target: &Backend) -> pingora_core::Result<()> {
        let Some(index) = self.addresses.index(&target.addr) else {
            return Ok(());
        };
        let verdict = timeout(CHECK_LIMIT, self.each[index].check(target))
            .await
            .unwrap_or_else(|_| {
                let reason = format!("no verdict within {CHECK_LIMIT:?}");
                CheckError::e_explain(ErrorType::ReadTimedout, reason)
            });
        if let Err(error) = &verdict {
            *self.reasons[index].lock() = dial::innermost(error);
        }
        verdict
    }

    async fn health_status_change(&self, target: &Backend, up: bool) {
        let Some(index) = self.addresses.index(&target.addr) else {
            return;
        };
        let server = &self.servers[index];
        server.set_up(up);
        let upstream = &*self.upstream;
        let name = &*server.name;
        if up {
            tracing::info!(
                target: "ebbtide::health", event = "server_up", upstream, server = name,
                "server is up"
            );
        } else {
            let reason = self.reasons[index].lock().clone();
            tracing::warn!(
                target: "ebbtide::health", event = "server_down", upstream, server = name,
                reason, "server is down"
            );
        }
    }

    fn backend_summary(&self, target: &Backend) -> String {
        let name = self
            .addresses
            .index(&target.addr)
            .map(|index| &self.servers[index].name);
        format!(
            "{}: {}",
            self.upstream,
            name.map_or("unknown", |name| &**name)
        )
    }

    fn health_threshold(&self, success: bool) -> usize {
        if success { RISE } else { FALL }
    }
}
