//! How connections to servers are kept.
//!
//! Purpose: what a pool is told: what it keeps, for how long, and how a
//! connection is found out that leads nowhere any more.
//!
//! Invariant: see the module above; the defaults are here. Numbers of
//! connections are each worker's own, since its pool is.
//!
//! Deliberately absent: who is dialled, and how long a dial may take.

use std::time::Duration;

/// How connections to servers are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pool {
    /// How long one is kept on which there is nothing; never zero.
    pub idle: Duration,
    /// So many that are idle are kept of a server, by each worker.
    pub max_idle: usize,
    /// So many are open to each server that is well, by each worker; not more
    /// than `max_idle`.
    pub warm: usize,
    /// The age from which on one takes nothing new; zero is never.
    pub max_age: Duration,
    /// By up to this percentage of that it is less, drawn for each.
    pub jitter: u32,
    /// So many exchanges it carries in its life; zero is any number.
    pub max_requests: u64,
    /// Streams on an HTTP/2 connection, if the server allows as many; never zero.
    pub streams: usize,
    /// When an HTTP/2 connection is asked whether it still lives; `None` is never.
    pub ping: Option<Ping>,
    /// When the system asks that of any connection over TCP.
    pub keepalive: TcpKeepalive,
    /// How long what was sent may be without an ack of TCP (`TCP_USER_TIMEOUT`);
    /// zero is as long as the system tries.
    pub user_timeout: Duration,
    /// How long closing may take, when a drain of the process is over.
    pub close: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            max_idle: 1024,
            warm: 0,
            max_age: Duration::from_secs(3600),
            jitter: 10,
            max_requests: 0,
            streams: 128,
            ping: Some(Ping::default()),
            keepalive: TcpKeepalive::default(),
            user_timeout: Duration::ZERO,
            close: Duration::from_secs(10),
        }
    }
}

impl Pool {
    /// Whether connections are made in the same way, so that those of one can
    /// be kept by the other. Everything else holds for open ones at once.
    #[must_use]
    pub fn connects_like(&self, other: &Self) -> bool {
        self.streams == other.streams
            && self.ping == other.ping
            && self.keepalive == other.keepalive
            && self.user_timeout == other.user_timeout
    }
}

/// When an HTTP/2 connection is asked whether it still lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ping {
    /// With nothing received for so long; never zero.
    pub after: Duration,
    /// How long the answer may take; never zero.
    pub answer: Duration,
}

impl Default for Ping {
    fn default() -> Self {
        Self {
            after: Duration::from_secs(20),
            answer: Duration::from_secs(10),
        }
    }
}

/// The keepalive of TCP (RFC 9293, section 3.8.4), in whole seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpKeepalive {
    /// With nothing received for so long, it is asked; never zero.
    pub idle: Duration,
    /// How long until it is asked again; never zero.
    pub interval: Duration,
    /// So many times, and then it has ended; never zero.
    pub count: usize,
}

impl Default for TcpKeepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            count: 3,
        }
    }
}
