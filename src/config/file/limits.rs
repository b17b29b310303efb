//! How much of an upstream may be in use at once, as it is written.
//!
//! Purpose: the tables `limits` and `adaptive` of an upstream.
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

/// When fewer may be in flight, as servers get busy.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Adaptive {
    /// So many may always be in flight.
    #[schemars(extend("default" = 4))]
    pub(in crate::config) least: Option<At<u64>>,
    /// And never more than so many.
    #[schemars(extend("default" = 1000))]
    pub(in crate::config) most: Option<At<u64>>,
    /// How often it is decided.
    #[schemars(extend("default" = "200ms"))]
    pub(in crate::config) every: Option<At<Time>>,
    /// What answers may take, in hundredths of what they take when few requests are
    /// in flight.
    #[schemars(extend("default" = 150))]
    pub(in crate::config) tolerance: Option<At<u64>>,
    /// How often that is measured anew, with half as many in flight for a moment.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) probe: Option<At<Time>>,
}

impl Read for Adaptive {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`adaptive`", |table| Self {
            least: table.key("least"),
            most: table.key("most"),
            every: table.key("every"),
            tolerance: table.key("tolerance"),
            probe: table.key("probe"),
        })
    }
}
