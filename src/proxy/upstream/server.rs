//! One server of an upstream, as every worker sees it.
//!
//! Purpose: what is known about an address once, at start (how to dial it),
//! and what changes while the process runs: is it up, and its berth, which
//! knows whether it is being drained and which generation of connections may be
//! used. A reload that keeps a server keeps its berth.
//!
//! Invariant: both prepared peers name the same address, the same TLS name
//! and the same limits; they differ only in ALPN. Every limit on time is set,
//! since the dialler knows no defaults.
//!
//! Deliberately absent: connections (they belong to a worker's pool), and a
//! CA or client certificate on a peer: set there, they would rebuild the TLS
//! configuration for each connection; the connector has them instead.

use super::balance::{Entry, Fitness};
use super::standing::Standing;
use super::{proxy_header, tls};
use crate::config;
use crate::proxy::registry::{Berth, Gate};
use crate::proxy::{Error, Result};
use pingora_core::protocols::TcpKeepalive;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::upstreams::peer::{ALPN, HttpPeer, Peer, PeerOptions};
use std::fmt;
use std::net::Ipv4Addr;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take between two bytes of an answer to a check.
pub(super) const CHECK_READ: Duration = Duration::from_secs(1);

/// One server of an upstream.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: Arc<str>,
    /// For exchanges: offers the upstream's HTTP versions by ALPN.
    pub(super) peer: HttpPeer,
    /// For tunnels: offers no ALPN, since the bytes may be anything.
    pub(super) opaque: Opaque,
    /// What a check puts into `Host` and `:authority`.
    pub(super) authority: String,
    /// What is in flight on it, and whether it takes more.
    pub(super) berth: Arc<Berth>,
    /// Its share among the servers.
    pub(super) weight: u32,
    /// Whether it is in the zone of this process.
    local: bool,
    /// What speaks against it.
    pub(super) standing: Arc<Standing>,
}

impl Server {
    pub(super) fn new(
        config: &config::Upstream,
        server: &config::Server,
        (berth, standing): (Arc<Berth>, Arc<Standing>),
    ) -> Result<Self> {
        let mut peer = HttpPeer::new(
            (Ipv4Addr::UNSPECIFIED, 1),
            config.tls.is_some(),
            config
                .tls
                .as_ref()
                .map_or_else(String::new, |tls| tls.sni.clone()),
        );
        peer._address = address(config, server)?;
        options(config, &mut peer.options);
        if config.tls.as_ref().is_some_and(|tls| !tls.verify) {
            tls::verify_nothing(&config.name, &mut peer.options)?;
        }
        Ok(Self {
            name: Arc::clone(&server.name),
            opaque: Opaque(peer.clone()),
            peer,
            authority: match &server.address {
                config::ServerAddress::Inet(address) => address.to_string(),
                config::ServerAddress::Unix(_) => "localhost".to_owned(),
            },
            berth,
            weight: server.weight,
            local: config.zone.is_some() && server.zone == config.zone,
            standing,
        })
    }

    /// Whether its last health verdict was good; true before the first.
    pub(super) fn up(&self) -> bool {
        self.standing.up()
    }

    #[cfg(test)]
    pub(super) fn set_up(&self, up: bool) {
        self.standing.set_up(up);
    }

    /// What a roster has to know of it.
    pub(super) fn entry(&self) -> Entry {
        Entry {
            fitness: self.standing.fitness(),
            open: self.is_open(),
            weight: self.weight,
            ramp: self.standing.ramp(),
            local: self.local,
        }
    }

    /// Whether its drain lets it take exchanges.
    pub(super) fn is_open(&self) -> bool {
        self.berth.gate() == Gate::Open
    }

    /// Whether it is not to be chosen, but in a panic.
    pub(super) fn is_out(&self) -> bool {
        !self.up()
    }

    /// Whether exchanges are to be given to it.
    pub(super) fn wanted(&self) -> bool {
        self.up() && self.is_open()
    }

    /// Whether nothing at all speaks against it.
    pub(super) fn is_fit(&self) -> bool {
        self.standing.fitness() == Fitness::Fit && self.is_open()
    }

    /// Whether an exchange that has nowhere else to go may go to it.
    pub(super) fn last_resort(&self) -> bool {
        self.up() && self.berth.gate() == Gate::Leaving
    }

    /// The generation that a connection dialled now belongs to.
    pub(super) fn generation(&self) -> u32 {
        self.berth.generation()
    }
}

fn address(upstream: &config::Upstream, server: &config::Server) -> Result<SocketAddr> {
    match &server.address {
        config::ServerAddress::Inet(address) => Ok(SocketAddr::Inet(*address)),
        config::ServerAddress::Unix(path) => UnixAddress::from_pathname(path)
            .map(SocketAddr::Unix)
            .map_err(|error| Error::Connect {
                upstream: Arc::clone(&upstream.name),
                server: Arc::clone(&server.name),
                reason: format!("not the path of a socket: {error}"),
            }),
    }
}

fn options(config: &config::Upstream, options: &mut PeerOptions) {
    options.connection_timeout = Some(config.connect_timeout);
    options.total_connection_timeout = Some(config.connect_timeout);
    // Read by health checks alone: exchanges have their own limits.
    options.read_timeout = Some(CHECK_READ);
    options.write_timeout = Some(CHECK_READ);
    options.tcp_keepalive = Some(keepalive(&config.pool));
    options.alpn = match config.http {
        config::UpstreamHttp::H1 => ALPN::H1,
        config::UpstreamHttp::H2 => ALPN::H2,
        config::UpstreamHttp::Auto => ALPN::H2H1,
    };
    // Of checks; for an exchange the client is named.
    options.custom_l4 = config
        .proxy_protocol
        .map(|version| proxy_header::first(version, None));
}

/// Finds out that a server's machine is gone although nobody sends to it.
fn keepalive(pool: &config::Pool) -> TcpKeepalive {
    let config::TcpKeepalive {
        idle,
        interval,
        count,
    } = pool.keepalive;
    TcpKeepalive {
        idle,
        interval,
        count,
        user_timeout: pool.user_timeout,
    }
}

/// A peer that is dialled without ALPN (RFC 7301).
///
/// A server may refuse a handshake that offers only protocols it does not
/// speak; what a tunnel carries is not known, so nothing is offered.
#[derive(Clone, Debug)]
pub(super) struct Opaque(pub(super) HttpPeer);

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Peer for Opaque {
    fn address(&self) -> &SocketAddr {
        self.0.address()
    }

    fn tls(&self) -> bool {
        self.0.tls()
    }

    fn sni(&self) -> &str {
        self.0.sni()
    }

    fn reuse_hash(&self) -> u64 {
        self.0.reuse_hash()
    }

    fn get_peer_options(&self) -> Option<&PeerOptions> {
        self.0.get_peer_options()
    }

    fn get_alpn(&self) -> Option<&ALPN> {
        None
    }
}
