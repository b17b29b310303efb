//! Which limits were reached: what a listener has refused, ended or made wait.
//!
//! One counter for each [`Limit`], bumped where the limit acts, so that whoever
//! looks at `ebbtide_limited_total` knows which key of the config it is about.
//! What was wrong with a PROXY header or a TLS handshake is another question,
//! and counted beside it (see `HeaderFlaw`, `HandshakeFlaw`).
//!
//! Invariant: the reasons are a fixed list, never taken from a client; each
//! stands in the table of `docs/limits.md`, which a test holds.
//!
//! Deliberately absent: the limits themselves, and what an offender is told.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Makes the enum, its list and its labels of one table.
macro_rules! limits {
    ($($(#[$doc:meta])+ $name:ident = $label:literal,)+) => {
        /// A limit of the proxy, as metrics call it: by its key in the config,
        /// where it has one.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Limit {
            $($(#[$doc])+ $name,)+
        }

        impl Limit {
            /// Every limit.
            pub const ALL: [Self; [$($label),+].len()] = [$(Self::$name),+];

            /// The limit with this number, if there is one.
            #[must_use]
            pub fn from_u8(value: u8) -> Option<Self> {
                Self::ALL.get(usize::from(value)).copied()
            }

            /// The label's value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }
        }
    };
}

limits! {
    /// The listener had as many connections as it may: one more waited.
    Connections = "connections",
    /// The process had as many connections as it may: one more waited.
    ProcessConnections = "process_connections",
    /// A client had as many connections as it may.
    PerClient = "per_client",
    /// Too many connections were half-open: the oldest was closed.
    Handshakes = "handshakes",
    /// A TLS handshake waited for its turn, or got none.
    HandshakeRate = "handshake_rate",
    /// The same for the sake of its client's other ones.
    ClientHandshakeRate = "client_handshake_rate",
    /// The process had no descriptor or no memory left to accept with.
    Descriptors = "descriptors",
    /// A PROXY header was longer than may be.
    ProxyHeader = "proxy_header",
    /// A `ClientHello` was longer than may be.
    Hello = "hello",
    /// A PROXY header, a TLS handshake or a preface was not whole in time.
    HandshakeTime = "handshake_time",
    /// The process had as much memory as it may: nothing new was let in.
    Memory = "memory",
    /// A connection had nothing in flight for too long.
    Idle = "idle",
    /// A connection was retired for its age.
    MaxAge = "max_age",
    /// What was in flight on a connection that was retired for its age had to
    /// leave.
    MaxAgeGrace = "max_age_grace",
    /// A connection was retired for the number of its requests.
    Requests = "requests",
    /// A request's head was too large.
    Head = "head",
    /// A request's target was too long.
    Uri = "uri",
    /// A request had too many header fields.
    Headers = "headers",
    /// A request's head was not whole in time.
    HeadTime = "head_time",
    /// A request's body was larger than may be.
    Body = "body",
    /// A request's body paused for too long.
    BodyIdle = "body_idle",
    /// A request's body came too slowly.
    BodyRate = "body_rate",
    /// A client took nothing of what it was sent for too long.
    SendIdle = "send_idle",
    /// A client took what it was sent too slowly.
    SendRate = "send_rate",
    /// A client opened more streams at once than it may.
    Streams = "streams",
    /// A client took back too many requests at once.
    Resets = "resets",
    /// A client sent too many PINGs.
    Pings = "pings",
    /// A client did not answer a PING.
    Keepalive = "keepalive",
    /// A client sent too many SETTINGS.
    Settings = "settings",
    /// A client sent too many PRIORITY frames.
    Priority = "priority",
    /// A client opened windows too often.
    WindowUpdates = "window_updates",
    /// A client sent DATA that was empty, or nearly, too often.
    DataFrames = "data_frames",
    /// A header block had too many CONTINUATION frames.
    Continuation = "continuation",
    /// A client had too many streams reset for what it did wrong on them.
    Malformed = "malformed",
    /// A client sent too many frames of another kind.
    Frames = "frames",
    /// The listener had as many tunnels as it may.
    Tunnels = "tunnels",
    /// The process had as many tunnels as it may.
    ProcessTunnels = "process_tunnels",
    /// A client had as many tunnels as it may.
    ClientTunnels = "client_tunnels",
    /// Nothing passed through a tunnel for too long.
    TunnelIdle = "tunnel_idle",
    /// A request had been through this proxy too often.
    Hops = "hops",
}

/// How often each was reached.
#[derive(Debug)]
pub(super) struct Limited([AtomicU64; Limit::ALL.len()]);

impl Default for Limited {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Limit::ALL.len()])
    }
}

impl Limited {
    pub(super) fn note(&self, limit: Limit) {
        self.0[limit as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self, limit: Limit) -> u64 {
        self.0[limit as usize].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_counted_by_its_own_name() {
        let limited = Limited::default();
        limited.note(Limit::HeadTime);
        limited.note(Limit::HeadTime);
        for limit in Limit::ALL {
            let count = if limit == Limit::HeadTime { 2 } else { 0 };
            assert_eq!(limited.count(limit), count, "{}", limit.as_str());
            let named = |other: &&Limit| other.as_str() == limit.as_str();
            assert_eq!(Limit::ALL.iter().filter(named).count(), 1);
        }
    }

    /// The table names the reasons in its last column.
    #[test]
    fn the_page_on_limits_has_every_reason() {
        let page = include_str!("../../../docs/limits.md");
        // Behind it stands what was measured.
        let page = page
            .split("\n## What an attack costs")
            .next()
            .unwrap_or(page);
        let rows = page.lines().filter(|line| line.starts_with('|'));
        let reasons = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
        let mut named: Vec<&str> = reasons
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        named.sort_unstable();
        named.dedup();
        let mut known: Vec<&str> = Limit::ALL.iter().map(|limit| limit.as_str()).collect();
        known.sort_unstable();
        assert_eq!(named, known);
    }
}
