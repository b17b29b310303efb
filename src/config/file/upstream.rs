//! Upstreams as they are written.
//!
//! Purpose: the tables `[upstream.NAME]` and what stands inside them.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: addresses as anything but text.

use super::super::model::{Balance, ProxyVersion, UpstreamHttp};
use super::super::read::{At, Node, OneOf, Read, Time};
use super::super::report::Reported;
use schemars::JsonSchema;

/// A named pool of servers.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Upstream {
    /// `host:port` or `unix:PATH`, at least one; a host name is resolved once,
    /// when the file is loaded.
    pub(in crate::config) servers: At<Vec<At<String>>>,
    /// The HTTP version spoken to them: `h1`, `h2`, or `auto` (ALPN chooses;
    /// `h1` in clear text).
    #[schemars(extend("default" = "h1"))]
    pub(in crate::config) http: Option<At<OneOf<UpstreamHttp>>>,
    /// How a server's health is found out; without it, it is taken for
    /// granted.
    pub(in crate::config) health: Option<At<Health>>,
    /// How a server is chosen. Only `round_robin` is available in this
    /// version.
    #[schemars(extend("default" = "round_robin"))]
    pub(in crate::config) balance: Option<At<OneOf<Balance>>>,
    /// The longest time that a dial may take.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) connect_timeout: Option<At<Time>>,
    /// TLS to the servers.
    pub(in crate::config) tls: Option<At<UpstreamTls>>,
    /// The PROXY header that tells servers the client's address: `v1` (text)
    /// or `v2` (binary); without it none is sent. Each request has a
    /// connection of its own then.
    pub(in crate::config) proxy_protocol: Option<At<OneOf<ProxyVersion>>>,
}

impl Read for Upstream {
    const NAMED: Option<&'static str> = Some("[upstream.NAME]");

    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("an upstream", |table| Self {
            servers: table.required("servers", "servers = [\"10.0.0.11:8080\"]"),
            http: table.key("http"),
            health: table.key("health"),
            balance: table.key("balance"),
            connect_timeout: table.key("connect_timeout"),
            tls: table.key("tls"),
            proxy_protocol: table.key("proxy_protocol"),
        })
    }
}

/// How a server's health is found out: by one of `http`, `grpc` and `tcp`.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// The path that must be answered with 200.
    pub(in crate::config) http: Option<At<String>>,
    /// The service that `grpc.health.v1` must call SERVING; empty is the
    /// whole server.
    pub(in crate::config) grpc: Option<At<String>>,
    /// `true`: a connection must be possible.
    pub(in crate::config) tcp: Option<At<bool>>,
    /// How often.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) every: Option<At<Time>>,
}

impl Read for Health {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`health`", |table| Self {
            http: table.key("http"),
            grpc: table.key("grpc"),
            tcp: table.key("tcp"),
            every: table.key("every"),
        })
    }
}

/// TLS to an upstream's servers.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct UpstreamTls {
    /// The name asked for and verified.
    pub(in crate::config) sni: At<String>,
    /// The PEM file of the authorities to trust instead of the system's.
    pub(in crate::config) ca: Option<At<String>>,
    /// The PEM file of the client certificate; needs `key`.
    pub(in crate::config) cert: Option<At<String>>,
    /// The PEM file of the client certificate's private key; needs `cert`.
    pub(in crate::config) key: Option<At<String>>,
    /// Whether the server must prove who it is. `false` takes anybody who
    /// answers, also one who reads along: for tests, and never beside `ca`,
    /// `cert` or `key`.
    #[schemars(extend("default" = true))]
    pub(in crate::config) verify: Option<At<bool>>,
}

impl Read for UpstreamTls {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("an upstream's `tls`", |table| Self {
            sni: table.required("sni", "sni = \"site.internal\""),
            ca: table.key("ca"),
            cert: table.key("cert"),
            key: table.key("key"),
            verify: table.key("verify"),
        })
    }
}
