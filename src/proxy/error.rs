//! What can go wrong on the way of the data: the one error of this floor.
//!
//! Every variant names the party at fault in its wording, so that a log line
//! needs no context to be acted upon, and so that `request::answer` can tell
//! a client the right status without looking at text.

use super::registry::Full;
use crate::drain::Farewell;
use h2::Reason;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Result of this floor.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the proxy floor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A listener's socket could not be had.
    #[error("listener {listener}: cannot listen on {address}: {cause}")]
    Bind {
        /// Name of the listener.
        listener: Arc<str>,
        /// The address asked for.
        address: SocketAddr,
        /// What the system said. Part of the message, so not a source too:
        /// whoever prints the chain of sources would say it twice.
        cause: std::io::Error,
    },
    /// A listening socket that was handed to us is not what its listener needs.
    #[error("listener {listener}: the socket that was handed over cannot be used: {reason}")]
    Adopt {
        /// Name of the listener.
        listener: Arc<str>,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A TLS configuration could not be made from what the config names.
    #[error("{owner}: unusable TLS settings: {reason}")]
    Tls {
        /// Listener or upstream, as named in the config.
        owner: Arc<str>,
        /// Why.
        reason: String,
    },
    /// No server of the upstream is healthy.
    #[error("upstream {upstream}: no healthy server")]
    NoServer {
        /// Name of the upstream.
        upstream: Arc<str>,
    },
    /// No server of the upstream takes exchanges: those that are healthy are
    /// being drained.
    #[error("upstream {upstream}: every server that is up is drained")]
    Drained {
        /// Name of the upstream.
        upstream: Arc<str>,
    },
    /// The upstream has as much in flight as it may have.
    #[error("upstream {upstream}: no room for one more: {}", .why.as_str())]
    Full {
        /// Name of the upstream.
        upstream: Arc<str>,
        /// What was full.
        why: Full,
    },
    /// A server could not be connected to; nothing of the request was sent.
    #[error("upstream {upstream}: cannot connect to {server}: {reason}")]
    Connect {
        /// Name of the upstream.
        upstream: Arc<str>,
        /// The server, as written in the config.
        server: Arc<str>,
        /// Why.
        reason: String,
    },
    /// A server did not accept a connection in time.
    #[error("upstream {upstream}: {server} did not accept a connection within {limit:?}")]
    ConnectTimeout {
        /// Name of the upstream.
        upstream: Arc<str>,
        /// The server, as written in the config.
        server: Arc<str>,
        /// The limit.
        limit: Duration,
    },
    /// The HTTP/1.1 engine's verdict.
    #[error("HTTP/1.1: {0}")]
    Http1(#[from] hyper::Error),
    /// The HTTP/2 engine's verdict.
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    /// A socket's verdict.
    #[error("i/o: {0}")]
    Io(#[from] std::io::Error),
    /// The request's target cannot be said in the server's version of HTTP.
    #[error("the request's target cannot be passed on")]
    Target,
    /// A server that speaks HTTP/2 takes no WebSocket: its SETTINGS do not
    /// allow extended CONNECT (RFC 8441, section 3).
    #[error("the server's HTTP/2 settings allow no WebSocket (extended CONNECT)")]
    NoWebSocket,
    /// A client's WebSocket handshake cannot be passed on.
    #[error("the client's WebSocket handshake is wrong: {0}")]
    Asked(&'static str),
    /// A server's answer is none to what it was asked, or does not say in one
    /// way where it ends.
    #[error("the server's answer is malformed: {0}")]
    Malformed(&'static str),
    /// A server's answer to a WebSocket handshake is not one.
    #[error("the server's WebSocket handshake is wrong: {0}")]
    Agreed(&'static str),
    /// The rest of a request's body is not wanted any more: the server has
    /// answered without it.
    #[error("the rest of the request is not wanted")]
    Unwanted,
    /// A request whose body ended in its middle, or could not be read.
    #[error("the client broke its request off")]
    Broken,
    /// A request's body was larger than it may be.
    #[error("the request body is too large")]
    TooLarge,
    /// A limit on time was reached.
    #[error("{0} took too long")]
    Timeout(&'static str),
    /// The deadline that a client set for its call has passed.
    #[error("the deadline that the client set has passed")]
    Expired,
    /// The exchange was ended by a drain, in its own protocol.
    #[error("ended by the drain: {}", .0.as_str())]
    Told(Farewell),
    /// The same by the drain of its server alone.
    #[error("ended by the drain of its server: {}", .0.as_str())]
    ToldWithServer(Farewell),
    /// The same for the age of its connection.
    #[error("ended for the age of its connection: {}", .0.as_str())]
    ToldForAge(Farewell),
}

impl Error {
    /// What went wrong, in one word, for traces.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Bind { .. } | Self::Adopt { .. } => "listen",
            Self::Tls { .. } => "tls",
            Self::NoServer { .. } => "no_server",
            Self::Drained { .. } => "drained",
            Self::Full { .. } => "full",
            Self::Connect { .. } => "connect",
            Self::ConnectTimeout { .. } => "connect_timeout",
            Self::Http1(_) | Self::Http2(_) | Self::Io(_) => "broken_off",
            Self::Target => "target",
            Self::NoWebSocket => "no_websocket",
            Self::Asked(_) => "handshake",
            Self::Malformed(_) | Self::Agreed(_) => "malformed",
            Self::Unwanted => "unwanted",
            Self::Broken => "client_broke_off",
            Self::TooLarge => "too_large",
            Self::Timeout(_) => "timeout",
            Self::Expired => "expired",
            Self::Told(_) | Self::ToldForAge(_) | Self::ToldWithServer(_) => "told",
        }
    }

    /// What an HTTP/2 stream that it breaks off is reset with: the server's own
    /// reason, if it gave one.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Http2(error) => error.reason().filter(|reason| *reason != Reason::NO_ERROR),
            _ => None,
        }
        .unwrap_or(Reason::INTERNAL_ERROR)
    }
}
