//! What is heard of servers between health checks, as it is written.
//!
//! Purpose: the tables `eject` and `going` of an upstream.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: what the numbers mean to each other.

use super::super::read::{At, Node, Percent, Read, SwitchOr, Time};
use super::super::report::Reported;
use schemars::JsonSchema;

/// When a server that fails exchanges is given none for a while.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Eject {
    /// Connections in a row that could not be made; 0 is never.
    #[schemars(extend("default" = 5))]
    pub(in crate::config) connect_errors: Option<At<u64>>,
    /// Exchanges in a row that were broken off without an answer; 0 is never.
    #[schemars(extend("default" = 0))]
    pub(in crate::config) resets: Option<At<u64>>,
    /// Answers in a row with 5xx; 0 is never.
    #[schemars(extend("default" = 0))]
    pub(in crate::config) server_errors: Option<At<u64>>,
    /// Whether a server that fails so much oftener than the others is ejected;
    /// `true`, or a table that says how much.
    #[schemars(extend("default" = false))]
    pub(in crate::config) success_rate: Option<At<SwitchOr<SuccessRate>>>,
    /// For how long, the first time; each further time is longer by this.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) time: Option<At<Time>>,
    /// For how long at most.
    #[schemars(extend("default" = "5m"))]
    pub(in crate::config) longest: Option<At<Time>>,
    /// The share of the servers that may be ejected at once.
    #[schemars(extend("default" = "50%"))]
    pub(in crate::config) max: Option<At<Percent>>,
}

impl Read for Eject {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`eject`", |table| Self {
            connect_errors: table.key("connect_errors"),
            resets: table.key("resets"),
            server_errors: table.key("server_errors"),
            success_rate: table.key("success_rate"),
            time: table.key("time"),
            longest: table.key("longest"),
            max: table.key("max"),
        })
    }
}

/// How servers are held against each other.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SuccessRate {
    /// How often.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) every: Option<At<Time>>,
    /// How many servers must have had enough requests.
    #[schemars(extend("default" = 5))]
    pub(in crate::config) servers: Option<At<u64>>,
    /// What is enough.
    #[schemars(extend("default" = 100))]
    pub(in crate::config) requests: Option<At<u64>>,
    /// How far below the mean rate an outlier is, in hundredths of the standard
    /// deviation.
    #[schemars(extend("default" = 190))]
    pub(in crate::config) deviations: Option<At<u64>>,
}

impl Read for SuccessRate {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`success_rate`", |table| Self {
            every: table.key("every"),
            servers: table.key("servers"),
            requests: table.key("requests"),
            deviations: table.key("deviations"),
        })
    }
}

/// How a server says that it is going: it is given no more requests then.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Going {
    /// The field of an answer that says so; empty is none.
    #[schemars(extend("default" = "x-envoy-immediate-health-check-fail"))]
    pub(in crate::config) header: Option<At<String>>,
    /// Whether a GOAWAY on every HTTP/2 connection to it does.
    #[schemars(extend("default" = true))]
    pub(in crate::config) goaway: Option<At<bool>>,
    /// How many answers in a row with `Connection: close` do, from a server that
    /// had kept connections open; 0 is never.
    #[schemars(extend("default" = 3))]
    pub(in crate::config) closes: Option<At<u64>>,
    /// How long that holds, unless a good health check comes before.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) time: Option<At<Time>>,
}

impl Read for Going {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`going`", |table| Self {
            header: table.key("header"),
            goaway: table.key("goaway"),
            closes: table.key("closes"),
            time: table.key("time"),
        })
    }
}
