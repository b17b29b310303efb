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
use super::web::Web;
use super::websocket::{Agreed, ServerEnd};
use super::{bounds, deadline, head, headers, health, hops, room};
use crate::clock;
use crate::drain::{Doing, Protocol, Timestamp};
use crate::proxy::body::Body;
use crate::proxy::error::Error;
use crate::proxy::registry::{ConnectionGuard, Limit, Record, RequestGuard};
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
    last: AtomicBool,
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

    /// The answer that is begun is the connection's last.
    fn end_with_this(&self) {
        self.last.store(true, Relaxed);
    }

    /// Whether its last answer was given: whatever else the client has sent is
    /// not answered, not even by a refusal. The client might take that for the
    /// answer's own end (RFC 9112, section 9.6).
    pub(in crate::proxy) fn are_over(&self) -> bool {
        self.last.load(Relaxed)
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
pub(in crate::proxy) fn serve_http1(
    site: Arc<Site>,
    guard: &Arc<ConnectionGuard>,
    answers: Arc<Answers>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Reply>, Infallible>> + use<> {
    let (mut parts, incoming) = request.into_parts();
    answers.ask(parts.extensions.remove());
    let web = site.speaks_web().then(|| Web::take(&mut parts)).flatten();
    let mut exchange = guard.begin(head::protocol(&parts));
    deadline::bound(&mut parts, &mut exchange);
    let version = parts.version;
    if head::is_last(&parts) {
        answers.end_with_this();
    }
    let is_head = parts.method == Method::HEAD;
    site.note(&mut parts, &mut exchange);
    // A block for the same reason as in `forward`: the engine moves this future.
    async move {
        let answering = Answering {
            site: &site,
            exchange,
            answers: &answers,
            web,
        };
        let mut reply = answering.answer(parts, incoming).await;
        finish_head(&mut reply, &answers, version, is_head);
        Ok(reply)
    }
}

pub(super) fn find<'a>(
    site: &'a Site,
    parts: &Parts,
    record: &Record,
) -> Result<&'a Route, (StatusCode, &'static str)> {
    head::fields(parts, &site.listener().limits)?;
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
    if record.scope().is_tight() {
        record.scope().limited(Limit::Memory);
        let says = "this proxy is short of memory; try again elsewhere";
        return Err((StatusCode::SERVICE_UNAVAILABLE, says));
    }
    Ok(route)
}

/// An exchange on its way to its answer.
struct Answering<'a> {
    site: &'a Arc<Site>,
    exchange: RequestGuard,
    answers: &'a Arc<Answers>,
    /// What the client speaks instead of gRPC, if that is translated.
    web: Option<Box<Web>>,
}

impl Answering<'_> {
    fn answer(mut self, parts: Parts, incoming: Incoming) -> impl Future<Output = Response<Reply>> {
        let asks_health = health::is_asked(self.site, &parts, self.exchange.protocol());
        async move {
            if asks_health {
                // Boxed: rare, and every exchange would have to have room for it.
                return Box::pin(self.health(parts, incoming)).await;
            }
            let found = find(self.site, &parts, self.exchange.record());
            match found {
                Ok(route) => {
                    self.exchange.routed(&route.metrics);
                    if bounds::is_too_large(&parts, self.site, route, self.exchange.protocol()) {
                        // Nothing of the body is read.
                        return self.too_large();
                    }
                    if bounds::is_one_too_many(&mut self.exchange, self.site) {
                        let code = StatusCode::SERVICE_UNAVAILABLE;
                        let response = answer::refuse(&mut self.exchange, code, bounds::NO_ROOM);
                        return self.own(response);
                    }
                    let outgoing = self.outgoing(route, parts, incoming);
                    let forwarded = tokio::select! {
                        biased;
                        forwarded = forward(route, outgoing, &self.exchange) => forwarded,
                        () = self.exchange.due() => Err(answer::unanswered(&self.exchange)),
                    };
                    self.begun(forwarded, Some(route))
                }
                Err((code, says)) => self.refuse(code, says),
            }
        }
    }

    /// Who sends what is refused as such may not be understood any further.
    fn refuse(mut self, code: StatusCode, says: &'static str) -> Response<Reply> {
        self.exchange.routed(self.site.unrouted());
        if code != StatusCode::NOT_FOUND {
            self.answers.retire();
        }
        let response = answer::refuse(&mut self.exchange, code, says);
        self.own(response)
    }

    fn too_large(mut self) -> Response<Reply> {
        self.answers.retire();
        let (code, says) = (StatusCode::PAYLOAD_TOO_LARGE, answer::TOO_LARGE);
        let response = answer::refuse(&mut self.exchange, code, says);
        self.own(response)
    }

    fn outgoing(&self, route: &Route, mut parts: Parts, incoming: Incoming) -> Outgoing<'static> {
        let websocket = self.exchange.protocol() == Protocol::WebSocket;
        let record = self.exchange.record();
        // The engine tells a client that waits when the body is first pulled.
        headers::request(&mut parts, record, self.site.secure(), websocket);
        Outgoing {
            head: parts,
            body: self.body(incoming),
            bounds: bounds::of(self.site, route, &self.exchange),
            websocket,
            client: route.names(record),
            notes: self.exchange.notes().cloned(),
            interims: None,
        }
    }

    /// A call to the health service, which no server is asked.
    async fn health(mut self, parts: Parts, incoming: Incoming) -> Response<Reply> {
        self.exchange.routed(self.site.unrouted());
        if health::is_watch(&parts) {
            self.exchange.gives_up(self.exchange.began());
        }
        let record = Arc::clone(self.exchange.record());
        let (site, body) = (Arc::clone(self.site), self.body(incoming));
        let forwarded = tokio::select! {
            biased;
            forwarded = health::answer(site, record, &parts, body) => forwarded,
            () = self.exchange.due() => Err(answer::unanswered(&self.exchange)),
        };
        self.begun(forwarded, None)
    }

    /// The body of the request, as its server is to get it.
    fn body(&self, incoming: Incoming) -> Body {
        let body = if incoming.is_end_stream() {
            Body::Empty
        } else {
            Body::Http1(incoming)
        };
        match &self.web {
            Some(web) => web.request(body),
            None => body,
        }
    }

    fn begun(mut self, begun: Result<Forwarded, Error>, route: Option<&Route>) -> Response<Reply> {
        let mut forwarded = match begun {
            Ok(forwarded) => forwarded,
            Err(error) => {
                if matches!(
                    error,
                    Error::Told(_) | Error::ToldForAge(_) | Error::Broken | Error::TooLarge
                ) || room::lacks_connections(&error)
                {
                    // A deadline may come before the connection's time to retire,
                    // and what was told to leave must not come back here. After
                    // a body that cannot be read nothing can. And who was turned away
                    // for want of connections must not keep one.
                    self.answers.retire();
                }
                let response = answer::fail(&mut self.exchange, &error);
                return self.own(response);
            }
        };
        let status = forwarded.head.status;
        self.exchange.answered(status.as_u16());
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.upgrade(forwarded, route);
        }
        let protocol = self.exchange.protocol();
        if protocol == Protocol::Grpc {
            forwarded.say_grpc(self.web.as_deref(), &self.exchange);
        }
        let Forwarded {
            head: mut parts,
            body,
            carrier,
        } = forwarded;
        let set = route.map_or(&[][..], |route| &route.rule.set_response_headers);
        headers::response(&mut parts.headers, set);
        parts.version = Version::HTTP_11;
        if self.web.is_none() {
            announce_trailers(&mut parts, protocol);
        }
        let events = Events::of(&parts.headers);
        note_response(&parts, &body, &self.exchange);
        let answers = Arc::clone(self.answers);
        let reply = Reply::new(body, carrier, Some(self.exchange), answers).with_events(events);
        Response::from_parts(parts, reply)
    }

    /// An answer of our own. The exchange is over with it: nothing of it can be
    /// late any more, and its deadline must not break off the very answer that
    /// tells of the deadline.
    fn own(self, response: Response<Body>) -> Response<Reply> {
        let response = match &self.web {
            Some(web) => web.own(response),
            None => response,
        };
        response.map(|body| Reply::new(body, Carrier::None, None, Arc::clone(self.answers)))
    }

    fn upgrade(mut self, forwarded: Forwarded, route: Option<&Route>) -> Response<Reply> {
        let Forwarded {
            head: mut parts,
            carrier,
            ..
        } = forwarded;
        let server = ServerEnd::of(&mut parts, carrier);
        let asked = self.exchange.protocol() == Protocol::WebSocket;
        let client = asked.then(|| self.answers.take_asked()).flatten();
        let (Some(server), Some(client), Some(route)) = (server, client, route) else {
            let says = "the server switched protocols unasked";
            let response = answer::refuse(&mut self.exchange, StatusCode::BAD_GATEWAY, says);
            return self.own(response);
        };
        headers::response(&mut parts.headers, &route.rule.set_response_headers);
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts
            .headers
            .insert(UPGRADE, HeaderValue::from_static("websocket"));
        *self.answers.upgrade.lock() = Some(Agreed {
            exchange: self.exchange,
            client,
            server,
        });
        let reply = Reply::new(Body::Empty, Carrier::None, None, Arc::clone(self.answers));
        Response::from_parts(parts, reply)
    }
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
        answers.end_with_this();
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
        answers.end_with_this();
        // To an answer of 1.1 the engine adds that the connection stays.
        *response.version_mut() = Version::HTTP_10;
    }
    response.body_mut().set_until_close(until_close);
}
