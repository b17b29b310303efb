//! Listeners and routes, checked and loaded.
//!
//! Purpose: what is bound, what it serves, and within which bounds.
//!
//! Invariant: see the module above; certificates match their keys.
//!
//! Deliberately absent: sockets and TLS configurations made from these.

use super::super::words::Word;
use super::{Retry, UpstreamId};
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A bound socket and the policy of what is accepted on it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name in the file; unique.
    pub name: Arc<str>,
    /// The address it binds; no other listener clashes with it. Port 0 asks
    /// the kernel for a free one.
    pub listen: SocketAddr,
    /// What it serves.
    pub serves: Serves,
    /// TLS, or clear text.
    pub tls: Option<ListenerTls>,
    /// How long a connection may stay idle; never zero.
    pub idle: Duration,
    /// The bounds on what a peer may send, hold or wait for.
    pub limits: Limits,
    /// The age at which a connection is retired, to be jittered; 0 is never.
    pub max_age: Duration,
    /// How long what is in flight on it has to end then; 0 is for ever, and so
    /// it is without `max_age`.
    pub max_age_grace: Duration,
    /// PINGs on HTTP/2 connections, theirs and ours.
    pub keepalive: Keepalive,
    /// The listeners that are drained before this one refuses, in a drain of
    /// the process; each exists, and none comes after itself.
    pub after: Vec<Arc<str>>,
    /// Whose connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Whether `grpc.health.v1` is answered here; never on TCP.
    pub grpc_health: bool,
    /// Whether gRPC-Web is made gRPC; never on TCP.
    pub grpc_web: bool,
}

/// PINGs on HTTP/2 connections (RFC 9113, section 6.7).
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Keepalive {
    /// How long a client with streams may be silent before it is sent one; 0
    /// is for ever.
    pub after: Duration,
    /// How long its answer is awaited; never zero.
    pub answer: Duration,
    /// How far apart those of a client must be that has no streams; 0 is any
    /// pause.
    pub least: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            after: Duration::from_secs(60),
            answer: Duration::from_secs(20),
            least: Duration::from_secs(5),
        }
    }
}

/// Whose connections begin with a PROXY header.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum ProxyProtocol {
    /// Nobody's.
    #[default]
    Off,
    /// Everybody's.
    All,
    /// Those from these networks; all others are clients of their own.
    From(Vec<IpNet>),
}

impl ProxyProtocol {
    /// Whether a connection from there must begin with a PROXY header.
    #[must_use]
    pub fn expected_from(&self, peer: IpAddr) -> bool {
        match self {
            Self::Off => false,
            Self::All => true,
            Self::From(networks) => {
                // A socket for both families shows IPv4 within IPv6.
                let peer = peer.to_canonical();
                networks.iter().any(|network| network.contains(&peer))
            }
        }
    }
}

/// What a listener serves.
#[derive(Clone, Debug)]
pub enum Serves {
    /// HTTP/1.1, HTTP/2, gRPC and WebSocket, by route.
    Http {
        /// At least one route; the first that matches wins.
        routes: Vec<Route>,
    },
    /// Opaque bytes.
    Tcp {
        /// At least one, and the first that matches wins. A `host` is the name
        /// that the client's `ClientHello` asks for; one that takes any also
        /// takes who asks for none, or speaks no TLS.
        routes: Vec<Route>,
    },
}

impl Serves {
    /// Every route, whatever is served.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        let (Self::Http { routes } | Self::Tcp { routes }) = self;
        routes
    }

    /// Whether the name in a `ClientHello` decides where opaque bytes go.
    #[must_use]
    pub fn by_name(&self) -> bool {
        match self {
            Self::Http { .. } => false,
            Self::Tcp { routes } => routes.iter().any(|route| route.host != HostPattern::Any),
        }
    }
}

/// TLS on a listener.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// At least one; the first is shown to a client that names no host, or
    /// one that no certificate covers.
    pub certificates: Vec<Certificate>,
    /// Where client certificates must come from; `None` asks for none.
    pub client_ca: Option<Arc<RootCertStore>>,
    /// Whether a client that shows none is let in, where one is asked for.
    pub client_auth: ClientAuth,
    /// Whether TLS resumption tickets are given out (RFC 8446, section 4.6.1).
    pub tickets: bool,
    /// Whether the secrets of connections are written to the file that the
    /// environment names in `SSLKEYLOGFILE`.
    pub keylog: bool,
}

/// Whether a client must show a certificate.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum ClientAuth {
    /// Its handshake fails without one.
    #[default]
    Require,
    /// It is let in without one. A wrong one is refused all the same.
    Request,
}

impl Word for ClientAuth {
    const WORDS: &'static [(&'static str, Self)] =
        &[("require", Self::Require), ("request", Self::Request)];
}

impl PartialEq for ListenerTls {
    fn eq(&self, other: &Self) -> bool {
        let roots = |tls: &Self| tls.client_ca.as_ref().map(|ca| ca.roots.clone());
        self.certificates == other.certificates
            && self.client_auth == other.client_auth
            && self.tickets == other.tickets
            && self.keylog == other.keylog
            && roots(self) == roots(other)
    }
}

/// A certificate chain and its key; they match.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Chain, key and OCSP response, ready for rustls.
    pub key: Arc<CertifiedKey>,
    /// The DNS names that the certificate covers (its `subjectAltName`, RFC
    /// 5280, section 4.2.1.6), lower case, wildcards as `*.example.com`.
    pub names: Vec<String>,
}

/// By its chain and its staple: the keys of one certificate are one key.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
            && self.key.ocsp == other.key.ocsp
            && self.names == other.names
    }
}

/// The bounds on what a peer of a listener may send, hold or wait for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of a request head: request line and fields, or header list.
    pub head: usize,
    /// Bytes of a request's target.
    pub uri: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of a request's body, save of gRPC; 0 is no limit.
    pub body: u64,
    /// Concurrent streams on one HTTP/2 connection.
    pub streams: u32,
    /// Requests on one HTTP/2 connection that may be taken back within a second
    /// of their beginning, unless they are fewer than half; twice as many may be
    /// malformed.
    pub resets: u32,
    /// Frames of each kind on one HTTP/2 connection in ten seconds that neither
    /// requests nor bodies explain; 0 is no limit.
    pub frames: u32,
    /// Open connections on the listener; 0 is no limit.
    pub connections: usize,
    /// Open connections of one client; 0 is no limit.
    pub per_client: usize,
    /// Open tunnels on the listener, save of TCP; 0 is no limit.
    pub tunnels: usize,
    /// Connections that have not carried a request yet; 0 is no limit.
    pub handshakes: usize,
    /// TLS handshakes that may begin in a second; 0 is no limit.
    pub handshake_rate: u32,
    /// The same of one client; 0 is no limit.
    pub client_handshake_rate: u32,
    /// Requests on one connection, after which it is retired, to be jittered;
    /// 0 is any number.
    pub requests: u64,
    /// From the first byte of a request head to its last.
    pub head_time: Duration,
    /// The longest pause in a request body.
    pub body_idle: Duration,
    /// Bytes in a second that a body must come to that is waited for; 0 is any.
    pub body_rate: u32,
    /// The longest time in which a peer takes nothing of what is sent to it.
    pub send_idle: Duration,
    /// Bytes in a second that a peer must take which is waited for; 0 is any.
    pub send_rate: u32,
    /// The longest time in which nothing passes through a tunnel, either way; 0
    /// is for ever.
    pub tunnel_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 64 * 1024,
            uri: 16 * 1024,
            headers: 100,
            body: 1 << 30,
            streams: 128,
            resets: 500,
            frames: 2_000,
            connections: 0,
            per_client: 4096,
            tunnels: 0,
            handshakes: 16_384,
            handshake_rate: 4_000,
            client_handshake_rate: 200,
            requests: 100_000,
            head_time: Duration::from_secs(10),
            body_idle: Duration::from_secs(30),
            body_rate: 100,
            send_idle: Duration::from_secs(30),
            send_rate: 100,
            tunnel_idle: Duration::from_secs(60 * 60),
        }
    }
}

/// A match of requests to an upstream.
#[derive(Clone, Debug)]
pub struct Route {
    /// `<listener>/<index>`, the index counted from 0 in file order.
    pub name: String,
    /// The hosts that it takes.
    pub host: HostPattern,
    /// The plain prefix of the paths that it takes; starts with `/`.
    pub path: String,
    /// Where the requests go.
    pub upstream: UpstreamId,
    /// Fields set on every response, in place of those the server sent.
    pub set_response_headers: Vec<(HeaderName, HeaderValue)>,
    /// From the request's head to the response's end; 0 is no limit.
    pub timeout: Duration,
    /// How often a request that no server processed may be sent again.
    pub retries: u32,
    /// What else may be sent again, within `retries`.
    pub retry: Option<Arc<Retry>>,
    /// Bytes of a request's body, also of gRPC, in place of the listener's
    /// limit; 0 is no limit.
    pub body: Option<u64>,
}

/// The hosts that a route takes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum HostPattern {
    /// Every host, also none.
    #[default]
    Any,
    /// This host: lower case, without a port.
    Exact(String),
    /// Every host that ends so, e.g. `.example.com` (from `*.example.com`);
    /// lower case.
    Suffix(String),
}
