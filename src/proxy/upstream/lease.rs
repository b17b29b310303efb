//! A connection to a server, leased to one exchange.
//!
//! Purpose: what an exchange may ask of its connection, whichever version it
//! speaks.
//!
//! Deliberately absent: how it is come by, and how it is given back; see `pool`
//! and the two kinds.

use super::http1::Http1Lease;
use super::multiplex::Http2Lease;
use std::sync::Arc;

/// A connection that can carry one more exchange.
pub enum Lease {
    /// A whole HTTP/1.1 connection.
    Http1(Http1Lease),
    /// A slot on an HTTP/2 connection.
    Http2(Http2Lease),
}

impl Lease {
    /// The server's name, as written in the config.
    #[must_use]
    pub fn server(&self) -> &Arc<str> {
        match self {
            Self::Http1(lease) => lease.pool.upstream().server(lease.server()),
            Self::Http2(lease) => lease.server_name(),
        }
    }

    /// The index of the server, to be marked in the [`Search`](super::Search) if the exchange
    /// must go to another one.
    #[must_use]
    pub fn server_index(&self) -> usize {
        match self {
            Self::Http1(lease) => lease.server(),
            Self::Http2(lease) => lease.server(),
        }
    }

    /// Whether the connection has carried an exchange before this one.
    #[must_use]
    pub fn reused(&self) -> bool {
        match self {
            Self::Http1(lease) => lease.reused(),
            Self::Http2(lease) => lease.reused(),
        }
    }
}
