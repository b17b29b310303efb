//! Listeners: what is bound, what it serves, and within which bounds.
//!
//! Purpose: each `[listener.NAME]` becomes a [`Listener`].
//!
//! Invariant: a listener serves either routes or one upstream, as its
//! protocol says, never both and never neither.
//!
//! Deliberately absent: clashes between listeners (see `clash`).

use super::super::file;
use super::super::model::{Keepalive, Limits, Listener, ProxyProtocol, Serves};
use super::super::read::{At, Named, OneOf, Size, SwitchOr, Time, value_or};
use super::super::report::{Problem, Reported};
use super::{Check, address, all};
use std::sync::Arc;
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(60);

/// The least and most that `limits.head` may be: the read buffer of hyper's
/// HTTP/1 has at least 8 KiB, and a head is held in memory as a whole.
const HEAD: (u64, u64) = (8 * 1024, 16 * 1024 * 1024);
/// The HTTP engines take no target of 64 KiB or more.
const URI: (u64, u64) = (1024, 63 * 1024);
const HEADERS: (u64, u64) = (1, 10_000);
/// Stream identifiers have 31 bits, half of them the client's (RFC 9113,
/// section 5.1.1).
const STREAMS: (u64, u64) = (1, (1 << 30) - 1);
const RESETS: (u64, u64) = (1, 1_000_000);
pub(super) const CONNECTIONS: (u64, u64) = (0, u32::MAX as u64);
const REQUESTS: (u64, u64) = (0, u32::MAX as u64);
/// Turns are given out by the microsecond.
const RATE: (u64, u64) = (0, 1_000_000);

impl Check<'_> {
    pub(super) fn listeners(
        &self,
        written: Option<At<Named<file::Listener>>>,
    ) -> Result<Vec<Listener>, Reported> {
        let written =
            written.map_or_else(|| Ok(Vec::new()), |named| named.value.map(|named| named.0))?;
        if written.is_empty() {
            let problem = Problem::whole("this file has no listener");
            return self.refuse(
                problem.help("add `[listener.web]` with `listen = \"0.0.0.0:8080\"` and `routes`"),
            );
        }
        all(written, |(name, listener)| self.listener(&name, listener))
    }

    fn listener(
        &self,
        key: &At<String>,
        written: At<file::Listener>,
    ) -> Result<Listener, Reported> {
        let name = self.name("a listener", key);
        let span = written.span;
        let written = written.value?;
        let label = name.as_deref().unwrap_or_default();
        let listen = self.parse(&written.listen, address::listen);
        let protocol = value_or(written.protocol, OneOf(file::Protocol::Http));
        let serves = protocol.and_then(|protocol| match protocol.0 {
            file::Protocol::Http => self.http(label, &span, written.upstream, written.routes),
            file::Protocol::Tcp => {
                let ends_tls = written.tls.as_ref().map(|tls| &tls.span);
                self.tcp(label, &span, ends_tls, (written.upstream, written.routes))
            }
        });
        let tls = written.tls.map(|tls| self.listener_tls(tls)).transpose();
        let idle = self.time("idle", written.idle, IDLE);
        let limits = value_or(written.limits, file::Limits::default());
        let limits = limits.and_then(|limits| self.limits(limits));
        let max_age = value_or(written.max_age, Time(Duration::ZERO));
        let max_age_grace = self.max_age_grace(&max_age, written.max_age_grace);
        let keepalive = value_or(written.keepalive, file::Keepalive::default());
        let keepalive = keepalive.and_then(|keepalive| self.keepalive(keepalive));
        let after = self.after(label, written.after);
        let proxy_protocol = self.proxy_protocol(written.proxy_protocol);
        let tcp = matches!(protocol, Ok(OneOf(file::Protocol::Tcp)));
        let grpc_health = self.grpc("grpc_health", written.grpc_health, tcp);
        let grpc_web = self.grpc("grpc_web", written.grpc_web, tcp);
        Ok(Listener {
            listen: listen?,
            serves: serves?,
            tls: tls?,
            idle: idle?,
            limits: limits?,
            max_age: max_age?.0,
            max_age_grace: max_age_grace?,
            keepalive: keepalive?,
            after: after?,
            proxy_protocol: proxy_protocol?,
            grpc_health: grpc_health?,
            grpc_web: grpc_web?,
            name: Arc::from(name?),
        })
    }

    /// Counted from `max_age`, so that there must be one.
    fn max_age_grace(
        &self,
        max_age: &Result<Time, Reported>,
        key: Option<At<Time>>,
    ) -> Result<Duration, Reported> {
        let Some(key) = key else {
            return Ok(Duration::ZERO);
        };
        let grace = key.value?.0;
        if !grace.is_zero() && matches!(max_age, Ok(Time(Duration::ZERO))) {
            let problem = Problem::at(&key.span, "`max_age_grace` needs `max_age`")
                .label("it would never begin");
            return self
                .refuse(problem.help("write `max_age`, e.g. `max_age = \"1h\"`, or delete it"));
        }
        Ok(grace)
    }

    fn proxy_protocol(
        &self,
        key: Option<At<SwitchOr<file::ProxyProtocol>>>,
    ) -> Result<ProxyProtocol, Reported> {
        let Some(key) = key else {
            return Ok(ProxyProtocol::Off);
        };
        let from = match key.value? {
            SwitchOr::Switch(true) => return Ok(ProxyProtocol::All),
            SwitchOr::Switch(false) => return Ok(ProxyProtocol::Off),
            SwitchOr::With(table) => table.from,
        };
        let written = from.value?;
        if written.is_empty() {
            let problem = Problem::at(&from.span, "`from` is empty").label("nobody is trusted");
            return self.refuse(problem.help(
                "write the balancers' addresses, e.g. `from = [\"10.0.0.0/8\"]`, or `proxy_protocol = false`",
            ));
        }
        let networks = all(written, |network| self.parse(&network, address::network))?;
        Ok(ProxyProtocol::From(networks))
    }

    fn keepalive(&self, written: file::Keepalive) -> Result<Keepalive, Reported> {
        let default = Keepalive::default();
        let after = value_or(written.after, Time(default.after));
        let answer = self.time("answer", written.answer, default.answer);
        let least = value_or(written.least, Time(default.least));
        Ok(Keepalive {
            after: after?.0,
            answer: answer?,
            least: least?.0,
        })
    }

    /// A switch for calls, which a TCP listener does not see.
    fn grpc(&self, name: &str, key: Option<At<bool>>, tcp: bool) -> Result<bool, Reported> {
        match key {
            Some(key) if key.value? && tcp => {
                let what = format!("`{name}` needs an HTTP listener");
                let problem = Problem::at(&key.span, what).label("opaque bytes have no calls");
                self.refuse(
                    problem.help(format!("delete `{name}`, or write `protocol = \"http\"`")),
                )
            }
            key => value_or(key, false),
        }
    }

    fn http(
        &self,
        listener: &str,
        span: &std::ops::Range<usize>,
        upstream: Option<At<String>>,
        routes: Option<At<Vec<At<file::Route>>>>,
    ) -> Result<Serves, Reported> {
        if let Some(upstream) = upstream {
            let name = upstream.get().map_or("NAME", String::as_str);
            let help = format!(
                "write `routes = [{{ upstream = \"{name}\" }}]`, or `protocol = \"tcp\"` for opaque bytes"
            );
            return self.refuse(
                Problem::at(
                    &upstream.span,
                    "an HTTP listener takes `routes`, not `upstream`",
                )
                .help(help),
            );
        }
        let Some(routes) = routes else {
            let problem =
                Problem::at(span, "an HTTP listener needs `routes`").label("`routes` is missing");
            return self.refuse(problem.help(
                "add `routes = [{ upstream = \"NAME\" }]`, or `protocol = \"tcp\"` and `upstream`",
            ));
        };
        let span = routes.span;
        let written = routes.value?;
        if written.is_empty() {
            let problem =
                Problem::at(&span, "`routes` is empty").label("no request could be served");
            return self.refuse(problem.help("write `routes = [{ upstream = \"NAME\" }]`"));
        }
        let routes = self.routes(listener, written)?;
        Ok(Serves::Http { routes })
    }

    fn limits(&self, written: file::Limits) -> Result<Limits, Reported> {
        let default = Limits::default();
        let head = self.size("head", written.head, HEAD, default.head);
        let uri = self.size("uri", written.uri, URI, default.uri);
        let body = value_or(written.body, Size(default.body));
        let headers = self.number("headers", written.headers, HEADERS, default.headers);
        let streams = self.number("streams", written.streams, STREAMS, default.streams);
        let connections = self.number(
            "connections",
            written.connections,
            CONNECTIONS,
            default.connections,
        );
        let many = |name, key, default| self.number(name, key, CONNECTIONS, default);
        let per_client = many("per_client", written.per_client, default.per_client);
        let tunnels = many("tunnels", written.tunnels, default.tunnels);
        let handshakes = many("handshakes", written.handshakes, default.handshakes);
        let rate = |name, key, default| self.number(name, key, RATE, default);
        let resets = self.number("resets", written.resets, RESETS, default.resets);
        let frames = rate("frames", written.frames, default.frames);
        let handshake_rate = rate(
            "handshake_rate",
            written.handshake_rate,
            default.handshake_rate,
        );
        let client_handshake_rate = rate(
            "client_handshake_rate",
            written.client_handshake_rate,
            default.client_handshake_rate,
        );
        let requests = self.number("requests", written.requests, REQUESTS, default.requests);
        let head_time = self.time("head_time", written.head_time, default.head_time);
        let body_idle = self.time("body_idle", written.body_idle, default.body_idle);
        let send_idle = self.time("send_idle", written.send_idle, default.send_idle);
        let body_rate = rate("body_rate", written.body_rate, default.body_rate);
        let send_rate = rate("send_rate", written.send_rate, default.send_rate);
        let tunnel_idle = value_or(written.tunnel_idle, Time(default.tunnel_idle));
        Ok(Limits {
            head: head?,
            uri: uri?,
            headers: headers?,
            body: body?.0,
            streams: streams?,
            resets: resets?,
            frames: frames?,
            connections: connections?,
            per_client: per_client?,
            tunnels: tunnels?,
            handshakes: handshakes?,
            handshake_rate: handshake_rate?,
            client_handshake_rate: client_handshake_rate?,
            requests: requests?,
            head_time: head_time?,
            body_idle: body_idle?,
            body_rate: body_rate?,
            send_idle: send_idle?,
            send_rate: send_rate?,
            tunnel_idle: tunnel_idle?.0,
        })
    }
}
