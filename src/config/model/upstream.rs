//! Upstreams and their servers, checked and loaded.
//!
//! Purpose: where requests go, and how servers are chosen and spoken to.
//!
//! Invariant: see the module above; every upstream has a server or a source.
//!
//! Deliberately absent: connections and verdicts on health.

use super::super::words::Word;
use super::discover::{Discover, Source};
use super::eject::{Eject, Going};
use super::limits::{Adaptive, UpstreamLimits};
use super::pool::Pool;
use http::{HeaderMap, HeaderName, Method};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Names an upstream: an index into [`Config::upstreams`](super::Config::upstreams).
#[derive(Copy, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UpstreamId(pub usize);

/// A named pool of servers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// Its name in the file; unique.
    pub name: Arc<str>,
    /// Those that are written, then those that were found; no two have the same
    /// address.
    pub servers: Vec<Server>,
    /// What is asked for others; there is one if no server is written.
    pub sources: Vec<Source>,
    /// How they are asked.
    pub discover: Discover,
    /// The HTTP version spoken to the servers.
    pub http: UpstreamHttp,
    /// How a server's health is found out; `None` takes it for granted.
    pub health: Option<Health>,
    /// How a server is chosen.
    pub balance: Balance,
    /// The zone of this process, if servers of it are to be preferred.
    pub zone: Option<Arc<str>>,
    /// The percentage of the servers of that zone that must be healthy for all
    /// requests to stay there.
    pub spill: u32,
    /// If fewer than this percentage of all servers are healthy, all are used.
    pub panic: u32,
    /// Over what time a server that is back or added comes to its whole share;
    /// zero is at once.
    pub slow_start: Duration,
    /// When a server that fails exchanges is ejected; `None` is never.
    pub eject: Option<Eject>,
    /// How a server says that it is going.
    pub going: Going,
    /// How much may be in flight to it at once, and who waits.
    pub limits: UpstreamLimits,
    /// When fewer may be, as its servers get busy; `None` is never.
    pub adaptive: Option<Adaptive>,
    /// The longest time that a dial may take, TLS included; never zero.
    pub connect_timeout: Duration,
    /// TLS to the servers, or clear text.
    pub tls: Option<UpstreamTls>,
    /// The PROXY header that begins each connection; `None` sends none.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How connections to the servers are kept.
    pub pool: Pool,
}

impl Upstream {
    /// Have these found servers in place of those found before. One whose
    /// address is there already is left out.
    pub fn set_found(&mut self, found: impl IntoIterator<Item = Server>) {
        self.servers.retain(|server| server.found_by.is_none());
        for server in found {
            let mut known = self.servers.iter();
            if known.all(|known| known.address != server.address) {
                self.servers.push(server);
            }
        }
    }

    /// Whether the servers are the same, and connected to in the same way, so
    /// that connections of one can serve the other.
    #[must_use]
    pub fn connects_like(&self, other: &Self) -> bool {
        let servers = |one: &Self| {
            let servers = one.servers.iter();
            let servers = servers.map(|server| (server.name.clone(), server.address.clone()));
            servers.collect::<Vec<_>>()
        };
        servers(self) == servers(other)
            && self.http == other.http
            && self.tls == other.tls
            && self.connect_timeout == other.connect_timeout
            && self.proxy_protocol == other.proxy_protocol
            && self.pool.connects_like(&other.pool)
    }
}

/// The form of a PROXY header (the PROXY protocol, section 2).
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl Word for ProxyVersion {
    const WORDS: &'static [(&'static str, Self)] = &[("v1", Self::V1), ("v2", Self::V2)];
}

/// The HTTP version spoken to an upstream's servers.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum UpstreamHttp {
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge in clear text.
    H2,
    /// What ALPN chooses; HTTP/1.1 in clear text.
    Auto,
}

impl Word for UpstreamHttp {
    const WORDS: &'static [(&'static str, Self)] =
        &[("h1", Self::H1), ("h2", Self::H2), ("auto", Self::Auto)];
}

/// How a server is chosen among those that may be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Balance {
    /// Each in turn, by weight.
    #[default]
    RoundRobin,
    /// The one with less in flight for its weight, of two.
    LeastInFlight,
    /// By a hash of this.
    Hash(HashBy),
}

/// What a server is chosen by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HashBy {
    /// The client's IP address.
    Client,
    /// A field of the request.
    Header(HeaderName),
    /// A cookie of the request.
    Cookie(Box<str>),
}

/// One address in an upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// As it is written in the file; its address if it was found.
    pub name: Arc<str>,
    /// Where it is.
    pub address: ServerAddress,
    /// Its share among the servers; never zero.
    pub weight: u32,
    /// The zone that it is in, if one is named.
    pub zone: Option<Arc<str>>,
    /// The [`Place`](super::Place) that it was found by, as it is named; `None` if
    /// it is written in the config.
    pub found_by: Option<Arc<str>>,
}

/// Where a server is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ServerAddress {
    /// An IP address and port. A host name was resolved once, when the file
    /// was loaded.
    Inet(SocketAddr),
    /// A Unix socket; a relative path has been resolved.
    Unix(PathBuf),
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a server's health is found out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// What is asked.
    pub check: HealthCheck,
    /// How often; never zero.
    pub every: Duration,
    /// By how many percent of that a check is put off at most.
    pub jitter: u32,
    /// How long a check may take as a whole; never zero.
    pub timeout: Duration,
    /// Good checks in a row that bring a server up; never zero.
    pub rise: u32,
    /// Bad checks in a row that take it down; never zero.
    pub fall: u32,
}

impl Health {
    /// A check by the defaults.
    #[must_use]
    pub const fn by(check: HealthCheck) -> Self {
        Self {
            check,
            every: Duration::from_secs(5),
            jitter: 10,
            timeout: Duration::from_secs(2),
            rise: 1,
            fall: 2,
        }
    }
}

/// What a health check asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HealthCheck {
    /// Whether a connection can be made.
    Tcp,
    /// Whether a request is answered as it should be.
    Http(HttpCheck),
    /// Whether `grpc.health.v1.Health/Check` answers SERVING.
    Grpc {
        /// The service asked about; empty is the whole server.
        service: String,
    },
}

/// A request and its good answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpCheck {
    /// The method.
    pub method: Method,
    /// An absolute path, perhaps with a query.
    pub path: String,
    /// Fields of the request; `Host`, if it is not here, is each server's own.
    pub headers: HeaderMap,
    /// The statuses of a good answer; never none.
    pub status: Vec<u16>,
    /// What must be found in its body, if anything.
    pub body: Option<Box<str>>,
}

impl HttpCheck {
    /// Whether `GET path` is answered with 200.
    #[must_use]
    pub fn of(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            headers: HeaderMap::new(),
            status: vec![200],
            body: None,
        }
    }
}

/// TLS to an upstream's servers. The files were readable and well-formed
/// when the configuration was loaded, and the key matched its certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamTls {
    /// The name asked for (RFC 6066, section 3) and verified.
    pub sni: String,
    /// The authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The client certificate to show: certificate chain, then key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Whether the server's certificate is verified. If not, there is neither
    /// `ca` nor `client`.
    pub verify: bool,
    /// Of the content of these files: another one means other content.
    pub content: u64,
}
