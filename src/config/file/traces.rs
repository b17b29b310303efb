//! Traces as they are written.
//!
//! Purpose: the table `[process.traces]`.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: whether the collector can be reached; it may come later.

use super::super::model::TracesProtocol;
use super::super::read::{At, Named, Node, OneOf, Read, Time};
use super::super::report::Reported;
use schemars::JsonSchema;

/// Where traces are sent, and of what.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Traces {
    /// The collector, as an `http` or `https` URL.
    pub(in crate::config) otlp: At<String>,
    /// How it is spoken to: OTLP over gRPC, or as protobuf over HTTP.
    #[schemars(extend("default" = "grpc"))]
    pub(in crate::config) protocol: Option<At<OneOf<TracesProtocol>>>,
    /// The part of the exchanges that is recorded where the client does not say,
    /// from 0 to 1.
    #[schemars(extend("default" = 0.01))]
    pub(in crate::config) ratio: Option<At<f64>>,
    /// What this proxy is called there (`service.name`).
    #[schemars(extend("default" = "ebbtide"))]
    pub(in crate::config) service: Option<At<String>>,
    /// Fields of the requests to the collector; a value `file:PATH` is read from
    /// that file.
    #[schemars(extend("writeOnly" = true))]
    pub(in crate::config) headers: Option<At<Named<String>>>,
    /// The authorities that the collector's certificate may come from; the
    /// system's if left out.
    pub(in crate::config) ca: Option<At<String>>,
    /// What the collector has to take one batch.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) timeout: Option<At<Time>>,
    /// How many ended exchanges may wait to be sent; more are counted and let go.
    #[schemars(extend("default" = 4096))]
    pub(in crate::config) queue: Option<At<u64>>,
    /// What the last spans have to be sent when the process exits; 0 is nothing.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) flush: Option<At<Time>>,
}

impl Read for Traces {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`[process.traces]`", |table| Self {
            otlp: table.required("otlp", "otlp = \"http://127.0.0.1:4317\""),
            protocol: table.key("protocol"),
            ratio: table.key("ratio"),
            service: table.key("service"),
            headers: table.key("headers"),
            ca: table.key("ca"),
            timeout: table.key("timeout"),
            queue: table.key("queue"),
            flush: table.key("flush"),
        })
    }
}
