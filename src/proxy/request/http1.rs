//! One exchange with an HTTP/1.1 client.
//!
//! The engine calls for an answer and then pulls its body. What the exchange
//! must tell the connection's loop, or learn from it (to close after this
//! answer, to break off, to become a tunnel), goes through [`Answers`].

use super::answer;
use super::events::Events;
use super::forward::{Carrier, Forwarded, Outgoing, forward};
use super::reply::Reply;
use super::route::{Route, Site};
use super::websocket::{Agreed, ServerEnd};
use super::{deadline, head, headers, hops};
use crate::clock;
use crate::drain::{Doing, Protocol, Timestamp};
use crate::proxy::body::Body;
use crate::proxy::error::Error;
use crate::proxy::registry::{ConnectionGuard, Record, RequestGuard};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRAILER, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What the loop of a connection and its exchanges tell each other.
#[derive(Default)]
pub(in crate::proxy) struct Answers {
    retired: AtomicBool,
    /// When an answer first said `Connection: close`, for the drain's sake.
    told: Mutex<Option<Timestamp>>,
    broken_off: AtomicBool,
    upgrade: Mutex<Option<Agreed<OnUpgrade>>>,
    asked: Mutex<Option<OnUpgrade>>,
}

impl Answers {
    /// From now on, answers say `Connection: close`.
    pub(in crate::proxy) fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    /// When an answer said so.
    pub(in crate::proxy) fn told(&self) -> Option<Timestamp> {
        *self.told.lock()
    }

    /// A response ends before its end; `until_close` if only a reset can show
    /// that to the client.
    pub(super) fn break_off(&self, until_close: bool) {
        self.broken_off.fetch_or(until_close, Relaxed);
    }

    /// Whether the connection must not seem to end in order.
    pub(in crate::proxy) fn broken_off(&self) -> bool {
        self.broken_off.load(Relaxed)
    }

    /// A request may become an upgrade: keep its way to the connection.
    fn ask(&self, upgrade: Option<OnUpgrade>) {
        if upgrade.is_some() {
            *self.asked.lock() = upgrade;
        }
    }

    /// What a request that asked for an upgrade, and got none, has left: the
    /// way to the connection once the engine is done with it.
    pub(in crate::proxy) fn take_asked(&self) -> Option<OnUpgrade> {
        self.asked.lock().take()
    }

    /// The tunnel that was agreed on, if any. It begins when both engines have
    /// let go of their connections.
    pub(in crate::proxy) fn take_upgrade(&self) -> Option<Agreed<OnUpgrade>> {
        self.upgrade.lock().take()
    }
}

/// Serve one request of an HTTP/1.1 connection.
pub(in crate::proxy) async fn serve_http1(
    site: Arc<Site>,
    guard: Arc<ConnectionGuard>,
    answers: Arc<Answers>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let (mut parts, incoming) = request.into_parts();
    answers.ask(parts.extensions.remove());
    let mut exchange = guard.begin(head::protocol(&parts));
    deadline::bound(&mut parts, &mut exchange);
    let version = parts.version;
    let is_head = parts.method == Method::HEAD;
    site.log(&parts, &mut exchange);
    let found = find(&site, &parts, exchange.record());
    let mut reply = match found {
        Ok(route) => {
            exchange.routed(&route.metrics);
            relay(&site, route, exchange, &answers, parts, incoming).await
        }
        Err((code, says)) => {
            exchange.routed(site.unrouted());
            if code != StatusCode::NOT_FOUND {
                // Who sends what is refused as such may not be understood
                // any further.
                answers.retire();
            }
            let response = answer::refuse(&mut exchange, code, says);
            own(response, exchange, &answers)
        }
    };
    finish_head(&mut reply, &answers, version, is_head);
    Ok(reply)
}

pub(super) fn find<'a>(
    site: &'a Site,
    parts: &Parts,
    record: &Record,
) -> Result<&'a Route, (StatusCode, &'static str)> {
    head::fields(parts, site.listener().limits.headers)?;
    let host = head::host(parts)?;
    hops::check(parts)?;
    let path = match parts.uri.path() {
        // The server as a whole: what its root is.
        "*" => "/",
        path => path,
    };
    let route = site
        .route(host, path)
        .ok_or((StatusCode::NOT_FOUND, "no route for this host and path"))?;
    if record.refuses_late() && !route.pool.upstream().is_health_check(path) {
        let says = "this proxy is draining; try again on another connection";
        return Err((StatusCode::SERVICE_UNAVAILABLE, says));
    }
    Ok(route)
}

async fn relay(
    site: &Site,
    route: &Route,
    mut exchange: RequestGuard,
    answers: &Arc<Answers>,
    mut parts: Parts,
    incoming: Incoming,
) -> Response<Reply> {
    let websocket = exchange.protocol() == Protocol::WebSocket;
    let record = Arc::clone(exchange.record());
    // The engine tells a client that waits when the body is first pulled.
    headers::request(&mut parts, &record, site.secure(), websocket);
    let body = if incoming.is_end_stream() {
        Body::Empty
    } else {
        Body::Http1(incoming)
    };
    let outgoing = Outgoing {
        head: parts,
        body,
        silence: silence(site, exchange.protocol()),
        websocket,
        client: route.names(exchange.record()),
        notes: exchange.notes().cloned(),
    };
    let forwarded = tokio::select! {
        biased;
        forwarded = forward(route, outgoing, &exchange) => forwarded,
        () = exchange.due() => Err(answer::unanswered(&exchange)),
    };
    let Forwarded {
        head: mut parts,
        body,
        carrier,
    } = match forwarded {
        Ok(forwarded) => forwarded,
        Err(error) => {
            if matches!(error, Error::Told(_) | Error::Broken) {
                // A deadline may come before the connection's time to retire,
                // and what was told to leave must not come back here. After
                // a body that cannot be read nothing can.
                answers.retire();
            }
            let response = answer::fail(&mut exchange, &error);
            return own(response, exchange, answers);
        }
    };
    exchange.answered(parts.status.as_u16());
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return upgrade(parts, carrier, route, exchange, answers);
    }
    headers::response(&mut parts.headers, &route.rule.set_response_headers);
    parts.version = Version::HTTP_11;
    announce_trailers(&mut parts, exchange.protocol());
    let events = Events::of(&parts.headers);
    note_response(&parts, &body, &exchange);
    let reply = Reply::new(body, carrier, Some(exchange), Arc::clone(answers)).with_events(events);
    Response::from_parts(parts, reply)
}

/// Note what of a response is to come.
pub(super) fn note_response(head: &http::response::Parts, body: &Body, exchange: &RequestGuard) {
    if body.is_end_stream() {
        return;
    }
    // Only HTTP/1 bodies know their length by themselves.
    let declared = || match body {
        Body::Http2(_) => head
            .headers
            .get(CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok(),
        _ => None,
    };
    let length = body.size_hint().exact().or_else(declared);
    let doing = if Events::of(&head.headers).is_some() {
        Doing::Events
    } else {
        Doing::Sending
    };
    exchange.sending(length, doing);
}

/// How long a request's body may be silent: gRPC streams for as long as they
/// like.
pub(super) fn silence(site: &Site, protocol: Protocol) -> Option<std::time::Duration> {
    (protocol != Protocol::Grpc).then_some(site.listener().limits.body_idle)
}

/// An answer of our own. The exchange is over with it: nothing of it can be
/// late any more, and its deadline must not break off the very answer that
/// tells of the deadline.
fn own(
    response: Response<Body>,
    exchange: RequestGuard,
    answers: &Arc<Answers>,
) -> Response<Reply> {
    drop(exchange);
    response.map(|body| Reply::new(body, Carrier::None, None, Arc::clone(answers)))
}

fn upgrade(
    mut parts: http::response::Parts,
    carrier: Carrier,
    route: &Route,
    mut exchange: RequestGuard,
    answers: &Arc<Answers>,
) -> Response<Reply> {
    let server = ServerEnd::of(&mut parts, carrier);
    let asked = exchange.protocol() == Protocol::WebSocket;
    let client = asked.then(|| answers.take_asked()).flatten();
    let (Some(server), Some(client)) = (server, client) else {
        let says = "the server switched protocols unasked";
        let response = answer::refuse(&mut exchange, StatusCode::BAD_GATEWAY, says);
        return own(response, exchange, answers);
    };
    headers::response(&mut parts.headers, &route.rule.set_response_headers);
    parts
        .headers
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts
        .headers
        .insert(UPGRADE, HeaderValue::from_static("websocket"));
    *answers.upgrade.lock() = Some(Agreed {
        exchange,
        client,
        server,
    });
    let reply = Reply::new(Body::Empty, Carrier::None, None, Arc::clone(answers));
    Response::from_parts(parts, reply)
}

/// The engine sends only trailers that were announced; gRPC servers announce
/// none, but theirs are known.
fn announce_trailers(parts: &mut http::response::Parts, protocol: Protocol) {
    if protocol == Protocol::Grpc && !parts.headers.contains_key(TRAILER) {
        let known = HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin");
        parts.headers.insert(TRAILER, known);
    }
}

/// What depends on the connection rather than on the exchange.
fn finish_head(response: &mut Response<Reply>, answers: &Answers, version: Version, is_head: bool) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    if answers.retired.load(Relaxed) {
        answers.told.lock().get_or_insert_with(clock::now);
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let until_close = version == Version::HTTP_10
        && !is_head
        && !response.headers().contains_key(CONTENT_LENGTH)
        && response.body().size_hint().exact().is_none();
    if until_close {
        // To an answer of 1.1 the engine adds that the connection stays.
        *response.version_mut() = Version::HTTP_10;
    }
    response.body_mut().set_until_close(until_close);
}
