//! Upstreams as they are written.
//!
//! Purpose: the tables `[upstream.NAME]` and what stands inside them.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: addresses as anything but text.

use super::super::model::{ProxyVersion, UpstreamHttp};
use super::super::read::{At, Node, OneOf, Percent, Read, SwitchOr, Time};
use super::super::report::Reported;
use super::{Adaptive, Balance, Discover, Eject, Going, Health, Pool, Server, UpstreamLimits};
use schemars::JsonSchema;

/// A named pool of servers.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Upstream {
    /// `host:port` or `unix:PATH`, at least one; a host name is resolved once,
    /// when the file is loaded. A table says more of a server, or where servers
    /// are found: in DNS, or in a file.
    pub(in crate::config) servers: At<Vec<At<Server>>>,
    /// How often it is asked where servers are, and how long what was answered
    /// holds.
    pub(in crate::config) discover: Option<At<Discover>>,
    /// The HTTP version spoken to them: `h1`, `h2`, or `auto` (ALPN chooses;
    /// `h1` in clear text).
    #[schemars(extend("default" = "h1"))]
    pub(in crate::config) http: Option<At<OneOf<UpstreamHttp>>>,
    /// How a server's health is found out; without it, it is taken for
    /// granted.
    pub(in crate::config) health: Option<At<Health>>,
    /// How a server is chosen: in turn (`round_robin`), the less busy one of two
    /// (`least_in_flight`), or by a hash (`hash`: of the client's address).
    #[schemars(extend("default" = "round_robin"))]
    pub(in crate::config) balance: Option<At<Balance>>,
    /// With zones: the share of the servers of this process's zone that must be
    /// healthy for all requests to stay there.
    #[schemars(extend("default" = "70%"))]
    pub(in crate::config) spill: Option<At<Percent>>,
    /// If a smaller share of all servers than this is healthy, all are used, as
    /// if they were: too few would be crushed. 0% is never.
    #[schemars(extend("default" = "0%"))]
    pub(in crate::config) panic: Option<At<Percent>>,
    /// Over what time a server that is back, or was added, comes to its whole
    /// share; 0 is at once.
    #[schemars(extend("default" = "0s"))]
    pub(in crate::config) slow_start: Option<At<Time>>,
    /// When a server that fails requests is given none for a while; `false` is
    /// never.
    pub(in crate::config) eject: Option<At<SwitchOr<Eject>>>,
    /// How a server says that it is going.
    pub(in crate::config) going: Option<At<Going>>,
    /// How much may be in flight to it at once, and who waits.
    pub(in crate::config) limits: Option<At<UpstreamLimits>>,
    /// Whether fewer may be in flight as its servers get busy: `true`, or a table that
    /// says how.
    #[schemars(extend("default" = false))]
    pub(in crate::config) adaptive: Option<At<SwitchOr<Adaptive>>>,
    /// The longest time that a dial may take.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) connect_timeout: Option<At<Time>>,
    /// TLS to the servers.
    pub(in crate::config) tls: Option<At<UpstreamTls>>,
    /// The PROXY header that tells servers the client's address: `v1` (text)
    /// or `v2` (binary); without it none is sent. Each request has a
    /// connection of its own then.
    pub(in crate::config) proxy_protocol: Option<At<OneOf<ProxyVersion>>>,
    /// How connections to them are kept.
    pub(in crate::config) pool: Option<At<Pool>>,
}

impl Read for Upstream {
    const NAMED: Option<&'static str> = Some("[upstream.NAME]");

    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("an upstream", |table| Self {
            servers: table.required("servers", "servers = [\"10.0.0.11:8080\"]"),
            discover: table.key("discover"),
            http: table.key("http"),
            health: table.key("health"),
            balance: table.key("balance"),
            spill: table.key("spill"),
            panic: table.key("panic"),
            slow_start: table.key("slow_start"),
            eject: table.key("eject"),
            going: table.key("going"),
            limits: table.key("limits"),
            adaptive: table.key("adaptive"),
            connect_timeout: table.key("connect_timeout"),
            tls: table.key("tls"),
            proxy_protocol: table.key("proxy_protocol"),
            pool: table.key("pool"),
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
