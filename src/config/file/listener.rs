//! Listeners and routes as they are written.
//!
//! Purpose: the tables `[listener.NAME]` and what stands inside them.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: which keys go together; that depends on `protocol`.

use super::super::model::ClientAuth;
use super::super::read::{At, Named, Node, OneOf, OneOrMore, Read, Size, SwitchOr, Time};
use super::super::report::Reported;
use super::super::words::Word;
use super::Retry;
use schemars::JsonSchema;

/// What a listener serves.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(in crate::config) enum Protocol {
    Http,
    Tcp,
}

impl Word for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &[("http", Self::Http), ("tcp", Self::Tcp)];
}

/// A bound socket and the policy of what is accepted on it.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Listener {
    /// The IP address and port to bind.
    pub(in crate::config) listen: At<String>,
    /// `http` (HTTP/1.1, HTTP/2, gRPC and WebSocket) or `tcp` (opaque bytes).
    #[schemars(extend("default" = "http"))]
    pub(in crate::config) protocol: Option<At<OneOf<Protocol>>>,
    /// TLS: one certificate, or several of which SNI chooses one.
    pub(in crate::config) tls: Option<At<OneOrMore<ListenerTls>>>,
    /// With `protocol = "http"`: which requests go where. With `protocol =
    /// "tcp"`: which connections go where, by the name that a TLS client asks
    /// for. The first match wins.
    pub(in crate::config) routes: Option<At<Vec<At<Route>>>>,
    /// With `protocol = "tcp"`, and instead of `routes`: the upstream of every
    /// connection.
    pub(in crate::config) upstream: Option<At<String>>,
    /// How long a kept-alive connection may stay without a request.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) idle: Option<At<Time>>,
    /// The bounds on what a peer may send, hold or wait for.
    pub(in crate::config) limits: Option<At<Limits>>,
    /// The age at which a connection is retired, jittered; `0s` is never.
    #[schemars(extend("default" = "0s"))]
    pub(in crate::config) max_age: Option<At<Time>>,
    /// What is in flight on it has so long to end then; `0s` is for ever.
    #[schemars(extend("default" = "0s"))]
    pub(in crate::config) max_age_grace: Option<At<Time>>,
    /// PINGs on HTTP/2 connections: how long silence is borne, and how often
    /// clients may send them.
    pub(in crate::config) keepalive: Option<At<Keepalive>>,
    /// The listeners that a drain of the process ends before this one begins
    /// to refuse, by name.
    pub(in crate::config) after: Option<At<Vec<At<String>>>>,
    /// Whether a PROXY header (version 1 or 2) begins every connection, or
    /// those from some networks. It is believed: `true` is for a listener that
    /// nobody but the balancer can reach.
    #[schemars(extend("default" = false))]
    pub(in crate::config) proxy_protocol: Option<At<SwitchOr<ProxyProtocol>>>,
    /// Whether `grpc.health.v1.Health` is answered here, by the proxy itself.
    #[schemars(extend("default" = false))]
    pub(in crate::config) grpc_health: Option<At<bool>>,
    /// Whether gRPC-Web (binary and text) is made gRPC for the servers.
    #[schemars(extend("default" = false))]
    pub(in crate::config) grpc_web: Option<At<bool>>,
}

impl Read for Listener {
    const NAMED: Option<&'static str> = Some("[listener.NAME]");

    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("a listener", |table| Self {
            listen: table.required("listen", "listen = \"0.0.0.0:8080\""),
            protocol: table.key("protocol"),
            tls: table.key("tls"),
            routes: table.key("routes"),
            upstream: table.key("upstream"),
            idle: table.key("idle"),
            limits: table.key("limits"),
            max_age: table.key("max_age"),
            max_age_grace: table.key("max_age_grace"),
            keepalive: table.key("keepalive"),
            after: table.key("after"),
            proxy_protocol: table.key("proxy_protocol"),
            grpc_health: table.key("grpc_health"),
            grpc_web: table.key("grpc_web"),
        })
    }
}

/// PINGs on HTTP/2 connections.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Keepalive {
    /// How long a client that has streams may be silent before it is sent a
    /// PING; `0s` is for ever.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) after: Option<At<Time>>,
    /// How long its answer is awaited; then its connection is closed.
    #[schemars(extend("default" = "20s"))]
    pub(in crate::config) answer: Option<At<Time>>,
    /// How far apart the PINGs of a client must be that has no streams; who
    /// does not keep to it is told so (`too_many_pings`). `0s` is any pause.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) least: Option<At<Time>>,
}

impl Read for Keepalive {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`keepalive`", |table| Self {
            after: table.key("after"),
            answer: table.key("answer"),
            least: table.key("least"),
        })
    }
}

/// Who begins with a PROXY header.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ProxyProtocol {
    /// The networks or addresses of the balancers. Their connections must
    /// begin with a header; all others are clients of their own.
    pub(in crate::config) from: At<Vec<At<String>>>,
}

impl Read for ProxyProtocol {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`proxy_protocol`", |table| Self {
            from: table.required("from", "from = [\"10.0.0.0/8\"]"),
        })
    }
}

/// One certificate of a listener.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ListenerTls {
    /// The PEM file of the certificate, then its chain.
    pub(in crate::config) cert: At<String>,
    /// The PEM file of the certificate's private key.
    pub(in crate::config) key: At<String>,
    /// The PEM file of the authorities that client certificates must come
    /// from; without it none is asked for. In a list: in the first entry.
    pub(in crate::config) client_ca: Option<At<String>>,
    /// Whether a client must show one (`require`), or is let in without
    /// (`request`). In a list: in the first entry.
    #[schemars(extend("default" = "require"))]
    pub(in crate::config) client_auth: Option<At<OneOf<ClientAuth>>>,
    /// A file with the OCSP response that is shown with the certificate, in
    /// DER form.
    pub(in crate::config) ocsp: Option<At<String>>,
    /// Whether the secrets of connections are written to the file that
    /// `SSLKEYLOGFILE` names in the environment: whoever has that file can read
    /// the traffic. In a list: in the first entry.
    #[schemars(extend("default" = false))]
    pub(in crate::config) keylog: Option<At<bool>>,
    /// Whether resumption tickets are given out; their keys change every six
    /// hours. In a list: in the first entry.
    #[schemars(extend("default" = true))]
    pub(in crate::config) tickets: Option<At<bool>>,
}

impl Read for ListenerTls {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`tls`", |table| Self {
            cert: table.required("cert", "cert = \"certs/site.pem\""),
            key: table.required("key", "key = \"certs/site.key\""),
            client_ca: table.key("client_ca"),
            client_auth: table.key("client_auth"),
            ocsp: table.key("ocsp"),
            keylog: table.key("keylog"),
            tickets: table.key("tickets"),
        })
    }
}

/// The bounds on what a peer of a listener may send, hold or wait for.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// The size of a request head.
    #[schemars(extend("default" = "64KiB"))]
    pub(in crate::config) head: Option<At<Size>>,
    /// The size of a request's target.
    #[schemars(extend("default" = "16KiB"))]
    pub(in crate::config) uri: Option<At<Size>>,
    /// The number of a request's header fields.
    #[schemars(extend("default" = 100))]
    pub(in crate::config) headers: Option<At<u64>>,
    /// The size of a request's body, save of gRPC; `"0B"` is no limit.
    #[schemars(extend("default" = "1GiB"))]
    pub(in crate::config) body: Option<At<Size>>,
    /// Concurrent streams on one HTTP/2 connection.
    #[schemars(extend("default" = 128))]
    pub(in crate::config) streams: Option<At<u64>>,
    /// Requests on one HTTP/2 connection that may be taken back within a second,
    /// unless they are fewer than half; twice as many may be malformed.
    #[schemars(extend("default" = 500))]
    pub(in crate::config) resets: Option<At<u64>>,
    /// Frames of each kind (SETTINGS, PING, PRIORITY, `WINDOW_UPDATE`, `RST_STREAM`
    /// and others) on one HTTP/2 connection in ten seconds, besides two for each
    /// frame of a request or a body, and two for each 4 KiB in it. 0 is no limit.
    #[schemars(extend("default" = 2000))]
    pub(in crate::config) frames: Option<At<u64>>,
    /// Open connections on the listener; 0 is no limit but that of the process.
    #[schemars(extend("default" = 0))]
    pub(in crate::config) connections: Option<At<u64>>,
    /// Open connections of one client, by IPv4 address or IPv6 /64; one more is
    /// closed. It may have as many tunnels. 0 is no limit, and clients on this
    /// machine have none.
    #[schemars(extend("default" = 4096))]
    pub(in crate::config) per_client: Option<At<u64>>,
    /// Open tunnels (WebSocket) on the listener; one more is answered 503. 0 is no
    /// limit but that of the process.
    #[schemars(extend("default" = 0))]
    pub(in crate::config) tunnels: Option<At<u64>>,
    /// Half-open connections on the listener: those that have not been able to
    /// carry a request yet. For one more the oldest is closed. 0 is no limit.
    #[schemars(extend("default" = 16384))]
    pub(in crate::config) handshakes: Option<At<u64>>,
    /// TLS handshakes that may begin in a second; more wait for their turn. 0
    /// is no limit.
    #[schemars(extend("default" = 4000))]
    pub(in crate::config) handshake_rate: Option<At<u64>>,
    /// The same of one client, told apart as in `per_client`.
    #[schemars(extend("default" = 200))]
    pub(in crate::config) client_handshake_rate: Option<At<u64>>,
    /// Requests on one connection, after which it is retired, jittered; 0 is
    /// any number.
    #[schemars(extend("default" = 100_000))]
    pub(in crate::config) requests: Option<At<u64>>,
    /// From the first byte of a request head to its last.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) head_time: Option<At<Time>>,
    /// The longest pause in a request body.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) body_idle: Option<At<Time>>,
    /// Bytes in a second that a request body must come to while it is waited
    /// for, save of gRPC; judged once `body_idle` was waited in all. 0 is any.
    #[schemars(extend("default" = 100))]
    pub(in crate::config) body_rate: Option<At<u64>>,
    /// The longest time in which a peer takes nothing of what it is sent.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) send_idle: Option<At<Time>>,
    /// Bytes in a second that a peer must take while it is waited for; judged
    /// once `send_idle` was waited in all. 0 is any.
    #[schemars(extend("default" = 100))]
    pub(in crate::config) send_rate: Option<At<u64>>,
    /// The longest time in which nothing passes through a tunnel (WebSocket, TCP),
    /// either way; then it is ended in order. `0s` is for ever.
    #[schemars(extend("default" = "1h"))]
    pub(in crate::config) tunnel_idle: Option<At<Time>>,
}

impl Read for Limits {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`limits`", |table| Self {
            head: table.key("head"),
            uri: table.key("uri"),
            headers: table.key("headers"),
            body: table.key("body"),
            streams: table.key("streams"),
            resets: table.key("resets"),
            frames: table.key("frames"),
            connections: table.key("connections"),
            per_client: table.key("per_client"),
            tunnels: table.key("tunnels"),
            handshakes: table.key("handshakes"),
            handshake_rate: table.key("handshake_rate"),
            client_handshake_rate: table.key("client_handshake_rate"),
            requests: table.key("requests"),
            head_time: table.key("head_time"),
            body_idle: table.key("body_idle"),
            body_rate: table.key("body_rate"),
            send_idle: table.key("send_idle"),
            send_rate: table.key("send_rate"),
            tunnel_idle: table.key("tunnel_idle"),
        })
    }
}

/// A match of requests, or of connections, to an upstream.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// With `protocol = "tcp"`: the name that a TLS client asks for, or
    /// `*.example.com` for every name below it. Without it the route takes all
    /// connections, also those that ask for no name or speak no TLS.
    pub(in crate::config) sni: Option<At<String>>,
    /// A host, `*.example.com` for every host below it, or `*` for all.
    #[schemars(extend("default" = "*"))]
    pub(in crate::config) host: Option<At<String>>,
    /// A plain prefix of the request's path.
    #[schemars(extend("default" = "/"))]
    pub(in crate::config) path: Option<At<String>>,
    /// The name of the upstream that takes the requests.
    pub(in crate::config) upstream: At<String>,
    /// Fields set on every response, in place of those the server sent.
    pub(in crate::config) set_response_headers: Option<At<Named<String>>>,
    /// From the request's head to the response's end; `0s` is no limit.
    #[schemars(extend("default" = "0s"))]
    pub(in crate::config) timeout: Option<At<Time>>,
    /// How often a request that no server processed may be sent again.
    #[schemars(extend("default" = 1))]
    pub(in crate::config) retries: Option<At<u64>>,
    /// What else may be sent again, within `retries`; without it, nothing.
    pub(in crate::config) retry: Option<At<Retry>>,
    /// The size of a request's body, also of gRPC, in place of `limits.body`;
    /// `"0B"` is no limit.
    pub(in crate::config) body: Option<At<Size>>,
}

impl Read for Route {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("a route", |table| Self {
            sni: table.key("sni"),
            host: table.key("host"),
            path: table.key("path"),
            upstream: table.required("upstream", "upstream = \"NAME\""),
            set_response_headers: table.key("set_response_headers"),
            timeout: table.key("timeout"),
            retries: table.key("retries"),
            retry: table.key("retry"),
            body: table.key("body"),
        })
    }
}
