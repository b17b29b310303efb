//! How much of an upstream may be in use at once, as it is written.
//!
//! Purpose: the table `limits` of an upstream.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: what they come to in this process.

use super::super::read::{At, Node, Percent, Read, Time};
use super::super::report::Reported;
use schemars::JsonSchema;

/// How much may be in flight to an upstream, and who waits.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct UpstreamLimits {
    /// Requests, streams and tunnels in flight at once; 0 is any number.
    #[schemars(extend("default" = 0))]
    pub(in crate::config) requests: Option<At<u64>>,
    /// How many more may wait for one to end; 0 is nobody.
    #[schemars(extend("default" = 1000))]
    pub(in crate::config) queue: Option<At<u64>>,
    /// How long one waits at most.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) queue_time: Option<At<Time>>,
    /// The share of `process.connections` that requests to this upstream may take
    /// up, waiting or in flight, so that others have room when it is slow. Without
    /// it 75%, if there is another upstream.
    pub(in crate::config) share: Option<At<Percent>>,
}

impl Read for UpstreamLimits {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("an upstream's `limits`", |table| Self {
            requests: table.key("requests"),
            queue: table.key("queue"),
            queue_time: table.key("queue_time"),
            share: table.key("share"),
        })
    }
}
