//! An exchange as spans: one for itself, and one for each try at a server.
//!
//! Names and attributes are OpenTelemetry's where it has any (HTTP and RPC
//! semantic conventions); the rest begins with `ebbtide.`.
//!
//! Invariant: nothing is put together before the exchange has ended, and then
//! on the exporter's thread; what is handed over holds no connection.
//!
//! Deliberately absent: the query of a URL. What stands there is often a
//! secret, and a trace goes to another house.

use super::berth::Mooring;
use super::memo::{Answered, Asked, Memo};
use super::record::Record;
use crate::clock;
use crate::drain::{Farewell, Outcome, Protocol, Timestamp};
use crate::telemetry::traces::{
    Begun, Ids, Kind, Span, SpanId, Spans, TRACEPARENT, TraceId, short, traceparent,
};
use http::{HeaderMap, Method};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Tries that have a span each; the rest is counted.
const TRIES: usize = 16;

/// Said by every span that lived during a drain.
pub(in crate::proxy) const DRAINING: &str = "shutdown_initiated";

/// The gRPC statuses that are a server's failure; the others are the call's.
const FAILURES: [u16; 6] = [2, 4, 12, 13, 14, 15];

/// The tries of an exchange at servers.
#[derive(Debug)]
pub(super) struct Attempts {
    trace: TraceId,
    span: SpanId,
    flags: u8,
    made: Vec<Attempt>,
    /// The one that is spoken of, unless it is one of `more`.
    current: Option<usize>,
    more: u64,
    /// What a call came to.
    pub(super) status: Option<u16>,
}

#[derive(Debug)]
struct Attempt {
    span: SpanId,
    server: Arc<str>,
    began: Timestamp,
    /// When the response began, and with which code.
    answered: Option<(Timestamp, u16)>,
    failed: Option<(Timestamp, &'static str)>,
}

impl Attempts {
    /// Of an exchange with this span.
    pub(super) fn of(begun: &Begun) -> Self {
        Self {
            trace: begun.ids.trace,
            span: begun.ids.span,
            flags: begun.flags(),
            made: Vec::new(),
            current: None,
            more: 0,
            status: None,
        }
    }

    /// One more, since then; the server is told which span asks.
    pub(super) fn begin(
        &mut self,
        server: &Arc<str>,
        began: Timestamp,
        fields: Option<&mut HeaderMap>,
    ) {
        let mut span = self.span;
        if self.made.len() < TRIES {
            span = SpanId::draw();
            self.current = Some(self.made.len());
            self.made.push(Attempt {
                span,
                server: Arc::clone(server),
                began,
                answered: None,
                failed: None,
            });
        } else {
            self.current = None;
            self.more += 1;
        }
        if let Some(fields) = fields {
            let trace = self.trace;
            fields.insert(TRACEPARENT, traceparent(Ids { trace, span }, self.flags));
        }
    }

    pub(super) fn current(&self) -> Option<usize> {
        self.current
    }

    /// Speak of an earlier one again.
    pub(super) fn back_to(&mut self, attempt: Option<usize>) {
        self.current = attempt;
    }

    fn last(&mut self) -> Option<&mut Attempt> {
        self.made.get_mut(self.current?)
    }

    pub(super) fn answered(&mut self, code: u16, now: Timestamp) {
        if let Some(last) = self.last() {
            last.answered = Some((now, code));
        }
    }

    pub(super) fn failed(&mut self, why: &'static str, now: Timestamp) {
        if let Some(last) = self.last() {
            last.failed.get_or_insert((now, why));
        }
    }
}

/// What was asked, as far as spans say it: not a byte of the client's head is
/// kept beyond that while it waits to be sent.
struct Requested {
    method: Method,
    host: Box<str>,
    path: Box<str>,
    agent: Option<Box<str>>,
    secure: bool,
}

impl From<Asked> for Requested {
    fn from(asked: Asked) -> Self {
        let agent = asked.agent.as_ref();
        let agent = agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        Self {
            host: short(&asked.host).into(),
            path: short(asked.uri.path()).into(),
            agent: agent.map(|agent| short(&agent).into()),
            secure: asked.secure,
            method: asked.method,
        }
    }
}

/// What is handed over of an exchange that has ended.
struct Recorded {
    begun: Begun,
    asked: Option<Requested>,
    attempts: Attempts,
    connection: u64,
    listener: Arc<str>,
    client: SocketAddr,
    peer: SocketAddr,
    /// What the connection speaks.
    carrier: Option<Protocol>,
    protocol: Protocol,
    code: u16,
    bytes: Option<[u64; 2]>,
    outcome: Outcome,
    what: Option<&'static str>,
    route: Option<[Arc<str>; 2]>,
    began: Timestamp,
    ended: Moment,
    /// The drain that ended it.
    ended_by: Option<Ids>,
    /// The handshake of its connection.
    handshake: Option<Ids>,
    in_drain: bool,
}

/// An instant on both clocks.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Moment {
    now: Timestamp,
    unix: Duration,
}

impl Moment {
    /// Now.
    pub(in crate::proxy) fn now() -> Self {
        Self {
            now: clock::now(),
            unix: clock::unix(),
        }
    }

    /// It, since the Unix epoch.
    pub(in crate::proxy) const fn unix_now(self) -> Duration {
        self.unix
    }

    /// Another instant, since the Unix epoch.
    pub(in crate::proxy) fn unix(self, at: Timestamp) -> Duration {
        self.unix.saturating_sub(self.now.saturating_since(at))
    }
}

impl Memo {
    /// Hand over what spans are made of, if it is recorded.
    pub(super) fn trace(
        mut self: Box<Self>,
        record: &Record,
        answered: &Answered<'_>,
        (aboard, for_server): (Option<&Mooring>, bool),
    ) {
        let Some((tracer, begun)) = self.trace.take() else {
            return;
        };
        let Some(attempts) = &self.notes.attempts else {
            return;
        };
        // Whoever still holds the notes has nothing more to say.
        let attempts = std::mem::replace(&mut *attempts.lock(), Attempts::of(&begun));
        let ended = Moment::now();
        let drain = match answered.outcome {
            Outcome::Finished => None,
            _ if for_server => aboard.and_then(|berth| berth.trace()),
            _ => record.scope.trace(),
        };
        if let Some(drain) = &drain {
            drain.ends(begun.ids);
        }
        let on_drained = aboard.is_some_and(|berth| berth.orders().draining());
        let recorded = Recorded {
            bytes: self.bytes(record, answered),
            asked: self.asked.take().map(Requested::from),
            begun,
            attempts,
            connection: record.id,
            listener: Arc::clone(record.listener()),
            client: record.client.address(),
            peer: record.client.socket(),
            carrier: record.protocol(),
            protocol: answered.protocol,
            code: answered.code,
            outcome: answered.outcome,
            what: answered.what(),
            route: answered
                .route
                .map(|route| [route.route(), route.upstream()].map(Arc::clone)),
            began: answered.began,
            ended,
            ended_by: drain.map(|drain| drain.ids()),
            handshake: record.handshake(),
            in_drain: record.scope.drained_since(answered.began) || on_drained,
        };
        tracer.traces().offer(Box::new(recorded));
    }
}

impl Spans for Recorded {
    fn count(&self) -> usize {
        1 + self.attempts.made.len()
    }

    fn make(self: Box<Self>, to: &mut Vec<Span>) {
        let name = self.name();
        let mut span = self.span(Kind::Server, &name, self.begun.ids);
        if let Some(parent) = self.begun.parent {
            let state = self.begun.state.as_deref().unwrap_or_default();
            span = span.asked_by(parent.ids.span, state);
        }
        self.say_request(&mut span);
        self.say_peer(&mut span);
        self.say_end(&mut span);
        to.push(span);
        let attempts = self.attempts.made.iter().enumerate();
        to.extend(attempts.map(|(retry, attempt)| self.attempt(&name, retry, attempt)));
    }
}

impl Recorded {
    fn span(&self, kind: Kind, name: &str, ids: Ids) -> Span {
        let began = self.ended.unix(self.began);
        let mut span = Span::new(ids, kind, name, (began, self.ended.unix));
        if self.in_drain {
            span.holds(DRAINING);
        }
        span
    }

    /// Few of them, whatever clients ask; a call's is that of its method.
    fn name(&self) -> String {
        match (&self.asked, self.protocol) {
            (None, _) => "tunnel".to_owned(),
            (Some(asked), Protocol::Grpc) => asked.path.trim_start_matches('/').to_owned(),
            (Some(asked), _) => known_method(asked).unwrap_or("HTTP").to_owned(),
        }
    }

    fn say_request(&self, span: &mut Span) {
        let Some(asked) = &self.asked else { return };
        say_method(span, asked);
        span.text("url.scheme", if asked.secure { "https" } else { "http" });
        span.text("url.path", &asked.path);
        if !asked.host.is_empty() {
            span.text("server.address", &asked.host);
        }
        if let Some(agent) = &asked.agent {
            span.text("user_agent.original", agent);
        }
        self.say_call(span, asked);
    }

    fn say_call(&self, span: &mut Span, asked: &Requested) {
        if self.protocol != Protocol::Grpc {
            return;
        }
        span.text("rpc.system", "grpc");
        let path = asked.path.trim_start_matches('/');
        if let Some((service, method)) = path.rsplit_once('/') {
            span.text("rpc.service", service);
            span.text("rpc.method", method);
        }
        if let Some(status) = self.status() {
            span.number("rpc.grpc.status_code", status);
        }
    }

    /// The status that the client of a call was told.
    fn status(&self) -> Option<u16> {
        let told = match self.outcome {
            Outcome::Farewelled(Farewell::GrpcTrailers | Farewell::GrpcTrailersOnly) => Some(14),
            _ => None,
        };
        told.or(self.attempts.status)
    }

    fn say_peer(&self, span: &mut Span) {
        span.text(
            "client.address",
            self.client.ip().to_canonical().to_string(),
        );
        span.number("client.port", self.client.port());
        if self.peer != self.client {
            span.text(
                "network.peer.address",
                self.peer.ip().to_canonical().to_string(),
            );
            span.number("network.peer.port", self.peer.port());
        }
        let version = match self.carrier {
            Some(Protocol::Http1) => Some("1.1"),
            Some(Protocol::Http2) => Some("2"),
            _ => None,
        };
        if let Some(version) = version {
            span.text("network.protocol.name", "http");
            span.text("network.protocol.version", version);
        }
        span.number("ebbtide.connection", self.connection);
        span.text("ebbtide.listener", &self.listener);
        span.text("ebbtide.protocol", self.protocol.as_str());
        if let Some([route, upstream]) = &self.route
            && !route.is_empty()
        {
            span.text("ebbtide.route", route);
            span.text("ebbtide.upstream", upstream);
        }
    }

    fn say_end(&self, span: &mut Span) {
        if self.code > 0 {
            span.number("http.response.status_code", self.code);
        }
        if let Some([received, sent]) = self.bytes {
            span.number("http.request.body.size", received);
            span.number("http.response.body.size", sent);
        }
        span.number(
            "ebbtide.tries",
            self.attempts.made.len() as u64 + self.attempts.more,
        );
        span.text("ebbtide.outcome", self.outcome.as_str());
        if let Some(what) = self.what {
            span.text("ebbtide.what", what);
        }
        if let Some(handshake) = self.handshake {
            span.link(handshake, "handshake");
        }
        if let Some(drain) = self.ended_by {
            span.link(drain, "ended_by");
        }
        let failure = match (self.outcome, self.status()) {
            (Outcome::Cut(reason), _) => Some(reason.as_str().to_owned()),
            (_, Some(status)) if FAILURES.contains(&status) => Some(status.to_string()),
            _ if self.code >= 500 => Some(self.code.to_string()),
            _ => None,
        };
        if let Some(why) = failure {
            span.text("error.type", &why);
            span.failed(&why);
        }
    }

    fn attempt(&self, name: &str, retry: usize, attempt: &Attempt) -> Span {
        let ids = Ids {
            trace: self.begun.ids.trace,
            span: attempt.span,
        };
        let ended = attempt.failed.map_or(self.ended.now, |(at, _)| at);
        let times = (self.ended.unix(attempt.began), self.ended.unix(ended));
        let mut span = Span::new(ids, Kind::Client, name, times).under(self.begun.ids.span);
        if self.in_drain {
            span.holds(DRAINING);
        }
        let (address, port) = place(&attempt.server);
        span.text("server.address", address);
        if let Some(port) = port {
            span.number("server.port", port);
        }
        if let Some(asked) = &self.asked {
            say_method(&mut span, asked);
        }
        if let Some([_, upstream]) = &self.route {
            span.text("ebbtide.upstream", upstream);
        }
        if retry > 0 {
            span.number("http.request.resend_count", retry as u64);
        }
        let mut failure = attempt.failed.map(|(_, why)| why.to_owned());
        if let Some((at, code)) = attempt.answered {
            span.event("response_head", self.ended.unix(at));
            if self.asked.is_some() {
                span.number("http.response.status_code", code);
            }
            if code >= 400 {
                failure.get_or_insert(code.to_string());
            }
        }
        if let Some(why) = failure {
            span.text("error.type", &why);
            span.failed(&why);
        }
        span
    }
}

/// The methods that everybody knows; others are a client's own words.
fn known_method(asked: &Requested) -> Option<&str> {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    let method = asked.method.as_str();
    KNOWN.contains(&method).then_some(method)
}

fn say_method(span: &mut Span, asked: &Requested) {
    if let Some(method) = known_method(asked) {
        span.text("http.request.method", method);
    } else {
        span.text("http.request.method", "_OTHER");
        span.text("http.request.method_original", asked.method.as_str());
    }
}

/// Address and port of a server as it is written in the config.
fn place(server: &str) -> (&str, Option<u16>) {
    let written = server.rsplit_once(':');
    match written.map(|(address, port)| (address, port.parse())) {
        Some((address, Ok(port))) => {
            let address = address.strip_prefix('[').unwrap_or(address);
            (address.strip_suffix(']').unwrap_or(address), Some(port))
        }
        _ => (server.strip_prefix("unix:").unwrap_or(server), None),
    }
}

#[cfg(test)]
mod tests;
