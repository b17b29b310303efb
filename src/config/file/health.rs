//! Health checks as they are written.
//!
//! Purpose: the table `health` of an upstream.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: which keys go with which check (see `check`).

use super::super::read::{At, Named, Node, OneOrMore, Percent, Read, Time};
use super::super::report::Reported;
use schemars::JsonSchema;

/// How a server's health is found out: by one of `http`, `grpc` and `tcp`.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// The path that must be answered as it should be.
    pub(in crate::config) http: Option<At<String>>,
    /// The service that `grpc.health.v1` must call SERVING; empty is the
    /// whole server.
    pub(in crate::config) grpc: Option<At<String>>,
    /// `true`: a connection must be possible.
    pub(in crate::config) tcp: Option<At<bool>>,
    /// How often.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) every: Option<At<Time>>,
    /// By how much of `every`, at most, a check is put off, so that servers and
    /// proxies do not all check at once.
    #[schemars(extend("default" = "10%"))]
    pub(in crate::config) jitter: Option<At<Percent>>,
    /// How long a check may take as a whole.
    #[schemars(extend("default" = "2s"))]
    pub(in crate::config) timeout: Option<At<Time>>,
    /// Good checks in a row that bring a server up.
    #[schemars(extend("default" = 1))]
    pub(in crate::config) rise: Option<At<u64>>,
    /// Bad checks in a row that take it down. A gRPC service that says
    /// `NOT_SERVING` is believed at once.
    #[schemars(extend("default" = 2))]
    pub(in crate::config) fall: Option<At<u64>>,
    /// With `http`: the method; `GET` if left out.
    pub(in crate::config) method: Option<At<String>>,
    /// With `http`: the status of a good answer, or several; 200 if left out.
    pub(in crate::config) status: Option<At<OneOrMore<u64>>>,
    /// With `http`: what must be found in the first 64 KiB of the answer.
    pub(in crate::config) body: Option<At<String>>,
    /// With `http`: fields of the request; `Host` too can be written.
    #[schemars(extend("writeOnly" = true))]
    pub(in crate::config) headers: Option<At<Named<String>>>,
}

impl Read for Health {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`health`", |table| Self {
            http: table.key("http"),
            grpc: table.key("grpc"),
            tcp: table.key("tcp"),
            every: table.key("every"),
            jitter: table.key("jitter"),
            timeout: table.key("timeout"),
            rise: table.key("rise"),
            fall: table.key("fall"),
            method: table.key("method"),
            status: table.key("status"),
            body: table.key("body"),
            headers: table.key("headers"),
        })
    }
}
