//! How connections to servers are kept, as it is written.
//!
//! Purpose: the table `pool` of an upstream.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: what the numbers mean to each other.

use super::super::read::{At, Node, Percent, Read, SwitchOr, Time};
use super::super::report::Reported;
use schemars::JsonSchema;

/// How connections to servers are kept. Each worker has a pool of its own.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Pool {
    /// How long a connection is kept on which there is nothing.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) idle: Option<At<Time>>,
    /// How many such connections each worker keeps of a server.
    #[schemars(extend("default" = 1024))]
    pub(in crate::config) max_idle: Option<At<u64>>,
    /// How many connections each worker has open to each server that is well, from
    /// the start on, also if nobody needs them yet.
    #[schemars(extend("default" = 0))]
    pub(in crate::config) warm: Option<At<u64>>,
    /// The age from which on a connection takes nothing new; 0 is never.
    #[schemars(extend("default" = "1h"))]
    pub(in crate::config) max_age: Option<At<Time>>,
    /// By how much of that it may be less, at random.
    #[schemars(extend("default" = "10%"))]
    pub(in crate::config) jitter: Option<At<Percent>>,
    /// How many requests a connection carries in its life; 0 is any number.
    #[schemars(extend("default" = 0))]
    pub(in crate::config) max_requests: Option<At<u64>>,
    /// How many streams an HTTP/2 connection carries at once, if the server allows
    /// as many.
    #[schemars(extend("default" = 128))]
    pub(in crate::config) streams: Option<At<u64>>,
    /// When an HTTP/2 connection is asked whether it still lives, by PING; `false`
    /// is never.
    pub(in crate::config) ping: Option<At<SwitchOr<Ping>>>,
    /// When TCP asks the same of any connection, in whole seconds.
    pub(in crate::config) keepalive: Option<At<TcpKeepalive>>,
    /// How long bytes that were sent may be without an ack of TCP, before the
    /// connection has ended; 0 is as long as the system tries.
    #[schemars(extend("default" = "0s"))]
    pub(in crate::config) user_timeout: Option<At<Time>>,
    /// How long it may take to close connections, when a drain is over.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) close: Option<At<Time>>,
}

impl Read for Pool {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`pool`", |table| Self {
            idle: table.key("idle"),
            max_idle: table.key("max_idle"),
            warm: table.key("warm"),
            max_age: table.key("max_age"),
            jitter: table.key("jitter"),
            max_requests: table.key("max_requests"),
            streams: table.key("streams"),
            ping: table.key("ping"),
            keepalive: table.key("keepalive"),
            user_timeout: table.key("user_timeout"),
            close: table.key("close"),
        })
    }
}

/// When a silent HTTP/2 connection is asked, and for how long.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Ping {
    /// With nothing received for so long.
    #[schemars(extend("default" = "20s"))]
    pub(in crate::config) after: Option<At<Time>>,
    /// Without its answer for so long, it is closed.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) answer: Option<At<Time>>,
}

impl Read for Ping {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`ping`", |table| Self {
            after: table.key("after"),
            answer: table.key("answer"),
        })
    }
}

/// When TCP asks a silent peer, how often, and how many times.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct TcpKeepalive {
    /// With nothing received for so long.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) idle: Option<At<Time>>,
    /// How long until it asks again.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) interval: Option<At<Time>>,
    /// Without an answer to so many, the connection has ended.
    #[schemars(extend("default" = 3))]
    pub(in crate::config) count: Option<At<u64>>,
}

impl Read for TcpKeepalive {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("an upstream's `keepalive`", |table| Self {
            idle: table.key("idle"),
            interval: table.key("interval"),
            count: table.key("count"),
        })
    }
}
