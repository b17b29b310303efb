//! What is sent again of what a server may have processed, as it is written.
//!
//! Purpose: the table `retry` of a route.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: how often (`retries`, which is the route's own).

use super::super::read::{At, Node, Percent, Read, Size, Time};
use super::super::report::Reported;
use schemars::JsonSchema;

/// What else is sent again than what no server processed: requests of idempotent
/// methods that were broken off, took too long, or were answered with one of these.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Retry {
    /// The status of an answer in place of which another server is asked.
    #[schemars(extend("default" = [502, 503, 504]))]
    pub(in crate::config) status: Option<At<Vec<At<u64>>>>,
    /// The same by the status of gRPC, where it is all of the answer.
    #[schemars(extend("default" = [14]))]
    pub(in crate::config) grpc: Option<At<Vec<At<u64>>>>,
    /// Methods besides the idempotent ones whose requests may be processed twice,
    /// e.g. `POST`; gRPC has no other.
    #[schemars(extend("default" = []))]
    pub(in crate::config) methods: Option<At<Vec<At<String>>>>,
    /// How long a server has to begin its answer once it has the request, before
    /// another one is asked; `0s` is as long as the exchange has.
    #[schemars(extend("default" = "0s"))]
    pub(in crate::config) try_timeout: Option<At<Time>>,
    /// How long a server has to begin its answer before the same request goes to
    /// another one as well, and the first answer is taken; `0s` is never. Only safe
    /// methods without a body, and gRPC where `methods` has its own.
    #[schemars(extend("default" = "0s"))]
    pub(in crate::config) hedge: Option<At<Time>>,
    /// The pause before the first retry, which doubles with each; jittered.
    #[schemars(extend("default" = "25ms"))]
    pub(in crate::config) backoff: Option<At<Time>>,
    /// The longest pause, also where a server says `Retry-After`.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) longest: Option<At<Time>>,
    /// So many retries for each request that came, at most.
    #[schemars(extend("default" = "20%"))]
    pub(in crate::config) budget: Option<At<Percent>>,
    /// Retries in a second that are there without requests.
    #[schemars(extend("default" = 3))]
    pub(in crate::config) least: Option<At<u64>>,
    /// What of a request's body is kept; a longer one is not sent again.
    #[schemars(extend("default" = "64KiB"))]
    pub(in crate::config) buffer: Option<At<Size>>,
}

impl Read for Retry {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`retry`", |table| Self {
            status: table.key("status"),
            grpc: table.key("grpc"),
            methods: table.key("methods"),
            try_timeout: table.key("try_timeout"),
            hedge: table.key("hedge"),
            backoff: table.key("backoff"),
            longest: table.key("longest"),
            budget: table.key("budget"),
            least: table.key("least"),
            buffer: table.key("buffer"),
        })
    }
}
