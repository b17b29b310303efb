//! One exchange with an HTTP/2 client: a stream, and the task that owns it.
//!
//! The task moves both bodies at once and listens for three things besides:
//! the client's reset, the server's, and the deadline. Dropping what it holds
//! cancels the exchange at the server. A stream that becomes a tunnel is handed
//! to its connection, which knows how to run one.

use super::answer;
use super::begun::begin;
use super::events::Events;
use super::forward::{Carrier, Forwarded, Outgoing, forward};
use super::http1::{find, note_response};
use super::interim::Interims;
use super::pump::{End, Pump};
use super::route::{Route, Site};
use super::web::Web;
use super::websocket::{self, Agreed, Run, Said, ServerEnd, StreamEnd};
use super::{bounds, date, deadline, grpc, head, headers, health, status};
use crate::drain::{Farewell, Outcome, Protocol};
use crate::proxy::body::Body;
use crate::proxy::error::Error;
use crate::proxy::registry::{ConnectionGuard, RequestGuard};
use crate::proxy::trickle::Least;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, response,
};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::sleep;

/// How long a client is heard that was answered before it had asked.
const LAST_WORDS: Duration = Duration::from_secs(1);

struct Stream {
    site: Arc<Site>,
    exchange: RequestGuard,
    /// The answer ends with its head (RFC 9110, section 9.3.2).
    bare: bool,
    respond: SendResponse<Bytes>,
    tunnel: Run,
    /// Keeps the connection in the registry for as long as it has streams.
    guard: Arc<ConnectionGuard>,
    /// What the client speaks instead of gRPC, if that is translated.
    web: Option<Box<Web>>,
}

/// Fields set on an answer.
type Fields = [(HeaderName, HeaderValue)];

/// Serve one stream; what becomes a tunnel is run by `tunnel`. It is entered in
/// the registry by the call, before the future first runs: in between, its
/// connection would seem idle.
pub(in crate::proxy) fn serve_http2(
    site: Arc<Site>,
    guard: Arc<ConnectionGuard>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    tunnel: Run,
) -> impl Future<Output = ()> + Send {
    let (mut parts, incoming) = request.into_parts();
    let web = site.speaks_web().then(|| Web::take(&mut parts)).flatten();
    let stream = Stream {
        exchange: guard.begin(head::protocol(&parts)),
        bare: parts.method == Method::HEAD,
        site,
        respond,
        tunnel,
        guard,
        web,
    };
    stream.run(parts, incoming)
}

impl Stream {
    fn run(mut self, mut parts: Parts, incoming: RecvStream) -> impl Future<Output = ()> + Send {
        let site = Arc::clone(&self.site);
        site.note(&mut parts, &mut self.exchange);
        deadline::bound(&mut parts, &mut self.exchange);
        async move {
            if health::is_asked(&site, &parts, self.exchange.protocol()) {
                return Box::pin(self.health(parts, incoming)).await;
            }
            let route = match find(&site, &parts, self.exchange.record()) {
                Ok(route) => route,
                Err((code, says)) => {
                    self.exchange.routed(site.unrouted());
                    let response = answer::refuse(&mut self.exchange, code, says);
                    self.answer(response);
                    if !incoming.is_end_stream() {
                        Box::pin(self.hear(Body::Http2(incoming))).await;
                    }
                    return;
                }
            };
            self.exchange.routed(&route.metrics);
            if bounds::is_too_large(&parts, &site, route, self.exchange.protocol()) {
                let (code, says) = (StatusCode::PAYLOAD_TOO_LARGE, answer::TOO_LARGE);
                let response = answer::refuse(&mut self.exchange, code, says);
                self.answer(response);
                return Box::pin(self.hear(Body::Http2(incoming))).await;
            }
            if self.exchange.protocol() == Protocol::WebSocket {
                // Boxed: rare, and every stream would have to have room for it.
                return Box::pin(self.websocket(route, parts, incoming)).await;
            }
            let waits = headers::request(&mut parts, self.exchange.record(), site.secure(), false);
            if waits && !incoming.is_end_stream() {
                self.go_on();
            }
            let interims = self.hears().then(Interims::default);
            let outgoing = Outgoing {
                head: parts,
                body: self.body(incoming),
                bounds: bounds::of(&site, route, &self.exchange),
                websocket: false,
                client: route.names(self.exchange.record()),
                notes: self.exchange.notes().cloned(),
                interims: interims.as_ref(),
            };
            let begun = {
                let forwarding = pin!(forward(route, outgoing, &self.exchange));
                begin(
                    &self.exchange,
                    &mut self.respond,
                    interims.as_ref(),
                    forwarding,
                )
                .await
            };
            match begun {
                None => {}
                Some(Ok(forwarded)) => {
                    let set = &route.rule.set_response_headers;
                    self.relay(forwarded, set).await;
                }
                Some(Err(error)) => self.fail(&error),
            }
        }
    }

    /// The body of the request, as its server is to get it.
    fn body(&self, incoming: RecvStream) -> Body {
        let body = if incoming.is_end_stream() {
            Body::Empty
        } else {
            Body::Http2(incoming)
        };
        match &self.web {
            Some(web) => web.request(body),
            None => body,
        }
    }

    /// Whether the client is told interim answers: calls have no use for them.
    fn hears(&self) -> bool {
        self.exchange.protocol() == Protocol::Http2 && self.web.is_none()
    }

    /// No answer can be had.
    fn fail(mut self, error: &Error) {
        let response = answer::fail(&mut self.exchange, error);
        self.answer(response);
    }

    /// A call to the health service, which no server is asked.
    async fn health(mut self, parts: Parts, incoming: RecvStream) {
        let site = Arc::clone(&self.site);
        self.exchange.routed(site.unrouted());
        if health::is_watch(&parts) {
            self.exchange.gives_up(self.exchange.began());
        }
        let record = Arc::clone(self.exchange.record());
        let answering = pin!(health::answer(site, record, &parts, self.body(incoming)));
        match begin(&self.exchange, &mut self.respond, None, answering).await {
            None => {}
            Some(Ok(forwarded)) => self.relay(forwarded, &[]).await,
            Some(Err(error)) => self.fail(&error),
        }
    }

    /// A WebSocket over a stream (RFC 8441).
    async fn websocket(mut self, route: &Route, mut parts: Parts, incoming: RecvStream) {
        if bounds::is_one_too_many(&mut self.exchange, &self.site) {
            let code = StatusCode::SERVICE_UNAVAILABLE;
            let response = answer::refuse(&mut self.exchange, code, bounds::NO_ROOM);
            self.answer(response);
            return self.hear(Body::Http2(incoming)).await;
        }
        headers::request(&mut parts, self.exchange.record(), self.site.secure(), true);
        let said = match websocket::ask(&mut parts) {
            Err(error) => Err(error),
            Ok(key) => {
                let outgoing = Outgoing {
                    head: parts,
                    body: Body::Empty,
                    bounds: None,
                    websocket: true,
                    client: route.names(self.exchange.record()),
                    notes: self.exchange.notes().cloned(),
                    interims: None,
                };
                let forwarding = pin!(forward(route, outgoing, &self.exchange));
                let begun = begin(&self.exchange, &mut self.respond, None, forwarding).await;
                let Some(forwarded) = begun else {
                    return;
                };
                forwarded.and_then(|forwarded| websocket::accepted(forwarded, &key))
            }
        };
        let set = &route.rule.set_response_headers;
        match said {
            Ok(Said::Yes(mut head, server)) => {
                headers::response(&mut head.headers, set);
                self.tunnel(head, server, incoming).await;
            }
            Ok(Said::No(forwarded)) => {
                let guard = Arc::clone(&self.guard);
                self.relay(forwarded, set).await;
                hear(Body::Http2(incoming)).await;
                drop(guard);
            }
            Err(error) => {
                let response = answer::fail(&mut self.exchange, &error);
                self.answer(response);
                self.hear(Body::Http2(incoming)).await;
            }
        }
    }

    async fn tunnel(mut self, mut head: response::Parts, server: ServerEnd, source: RecvStream) {
        head.version = Version::HTTP_2;
        date::add(&mut head.headers);
        self.exchange.answered(head.status.as_u16());
        let response = Response::from_parts(head, ());
        let Ok(sink) = self.respond.send_response(response, false) else {
            return;
        };
        let agreed = Agreed {
            exchange: self.exchange,
            client: StreamEnd { source, sink },
            server,
        };
        (self.tunnel)(agreed).await;
    }

    /// Let a client that waits for it send its request's body: at once, since
    /// nothing but that body is wanted, and the server is not asked.
    fn go_on(&mut self) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::CONTINUE;
        // A client that is gone waits for nothing.
        let _ = self.respond.send_informational(response);
    }

    /// Send an answer of our own.
    fn answer(&mut self, response: Response<Body>) {
        let response = match &self.web {
            Some(web) => web.own(response),
            None => response,
        };
        let (mut parts, body) = response.into_parts();
        parts.version = Version::HTTP_2;
        date::add(&mut parts.headers);
        let words = match body {
            Body::Full(words) if !self.bare => Some(words),
            _ => None,
        };
        let head = Response::from_parts(parts, ());
        // A client that is gone needs no answer.
        let begun = self.respond.send_response(head, words.is_none());
        if let (Ok(mut sink), Some(bytes)) = (begun, words) {
            // A few words: the engine may hold them until the window opens.
            let _ = sink.send_data(bytes, true);
        }
    }

    fn relay(
        mut self,
        mut forwarded: Forwarded,
        set: &Fields,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.exchange.answered(forwarded.head.status.as_u16());
        if self.exchange.protocol() == Protocol::Grpc {
            forwarded.say_grpc(self.web.as_deref(), &self.exchange);
        }
        let Forwarded {
            mut head,
            body,
            mut carrier,
        } = forwarded;
        headers::response(&mut head.headers, set);
        head.version = Version::HTTP_2;
        date::add(&mut head.headers);
        note_response(&head, &body, &self.exchange);
        let events = Events::of(&head.headers);
        let over = body.is_end_stream();
        let response = Response::from_parts(head, ());
        let begun = self.respond.send_response(response, over);
        let patience = Least::to_take(&self.site.listener().limits);
        async move {
            let Ok(sink) = begun else {
                return;
            };
            if over {
                return self.done(carrier).await;
            }
            let mut pump = Pump::new(body, sink, patience).with_events(events);
            match self.carry(&mut pump, &mut carrier).await {
                Some(End::Done) => self.done(carrier).await,
                Some(End::BetweenEvents) => self.told(Farewell::EventStream),
                Some(End::Refused) | None => {}
                Some(End::Stalled(limit)) => {
                    self.guard.scope().limited(limit);
                    pump.reset(Reason::CANCEL);
                }
                Some(End::Broken(error)) => self.broken(&error, &mut pump),
            }
        }
    }

    /// The server broke its answer off.
    fn broken(&self, error: &Error, pump: &mut Pump) {
        if let Some(notes) = self.exchange.notes() {
            notes.failed(error.kind());
        }
        if self.lost(error) {
            let fields = grpc::lost();
            status::tell(&self.exchange, &fields);
            pump.farewell(fields);
        } else {
            pump.reset(error.reason());
        }
    }

    /// Carry both bodies to the response's end; `None` if the deadline came
    /// first, and the client was told.
    async fn carry(&mut self, pump: &mut Pump, carrier: &mut Carrier) -> Option<End> {
        let end = self.transfer(pump, carrier).await;
        if end.is_some() {
            return end;
        }
        if !pump.end_in_order(|| self.last_word()) {
            self.farewell(pump);
            return None;
        }
        // Boxed: rare, and every stream would have to have room for it.
        match Box::pin(self.last_piece(pump, carrier)).await {
            Some(End::Done) if self.web.is_some() => self.ended(),
            Some(end) => return Some(end),
            // Without a word: that is what the guard takes for a cut.
            None => pump.reset(Reason::CANCEL),
        }
        None
    }

    /// The answer is out.
    async fn done(self, carrier: Carrier) {
        if let Some(rest) = carrier.done_early() {
            // Boxed: rare, and every stream would have to have room for it.
            Box::pin(self.hear(rest)).await;
        }
    }

    /// The exchange is over, but its client still sends.
    async fn hear(self, rest: Body) {
        drop(self.exchange);
        hear(rest).await;
    }

    /// Move both bodies until the response's is through; `None` if the
    /// deadline came first.
    async fn transfer(&self, pump: &mut Pump, carrier: &mut Carrier) -> Option<End> {
        let mut due = pin!(self.exchange.due());
        poll_fn(|cx| poll_transfer(cx, &self.exchange, pump, carrier, due.as_mut())).await
    }

    /// The same after the deadline, until the cut: the event or the message
    /// under way. Nobody waits long with a call that its client gave up.
    async fn last_piece(&self, pump: &mut Pump, carrier: &mut Carrier) -> Option<End> {
        let mut cut = pin!(async {
            if self.exchange.is_due() {
                self.exchange.cut().await;
            } else {
                sleep(LAST_WORDS).await;
            }
        });
        poll_fn(|cx| poll_transfer(cx, &self.exchange, pump, carrier, cut.as_mut())).await
    }

    /// Whether the client of a call is to be told of its server's end in words
    /// of gRPC: where the server said nothing of the call, but is gone. In a
    /// body of gRPC-Web they stand already, if there is a place for them.
    fn lost(&self, error: &Error) -> bool {
        let said = matches!(error, Error::Http2(error) if error.is_reset());
        self.exchange.protocol() == Protocol::Grpc && self.web.is_none() && !said
    }

    fn farewell(&mut self, pump: &mut Pump) {
        if self.exchange.protocol() == Protocol::Grpc {
            pump.farewell(self.last_word());
            self.ended();
        } else {
            pump.reset(Reason::CANCEL);
            self.told(Farewell::Reset);
        }
    }

    /// The status of a call that is due.
    fn last_word(&self) -> HeaderMap {
        let fields = if self.exchange.is_due() {
            grpc::farewell(self.exchange.cause())
        } else {
            grpc::expired()
        };
        status::tell(&self.exchange, &fields);
        fields
    }

    /// The call has had its last word.
    fn ended(&mut self) {
        if self.exchange.is_due() {
            self.told(Farewell::GrpcTrailers);
        }
    }

    fn told(&mut self, farewell: Farewell) {
        self.exchange.conclude(Outcome::Farewelled(farewell));
    }
}

/// A client that was answered and still sends is heard for a moment, then told
/// to stop by `RST_STREAM(NO_ERROR)`, which dropping the stream sends (RFC 9113,
/// section 8.1): told at once, many a client takes the reset for a failure and
/// throws the answer away.
async fn hear(mut rest: Body) {
    let heard = async { while let Some(Ok(_)) = rest.frame().await {} };
    // Its end, or the end of our patience: either way it is over.
    let _ = tokio::time::timeout(LAST_WORDS, heard).await;
}

fn poll_transfer(
    cx: &mut Context<'_>,
    exchange: &RequestGuard,
    pump: &mut Pump,
    carrier: &mut Carrier,
    mut limit: Pin<&mut impl Future<Output = ()>>,
) -> Poll<Option<End>> {
    carrier.poll_upload(cx);
    // Before more is passed: past its deadline an event stream goes on to the
    // next boundary, and no further.
    if pump.carries_events() && limit.as_mut().poll(cx).is_ready() {
        return Poll::Ready(None);
    }
    let end = pump.poll(cx);
    exchange.sent(pump.sent());
    if let Poll::Ready(end) = end {
        return Poll::Ready(Some(end));
    }
    exchange.stuck(pump.is_stuck());
    limit.poll(cx).map(|()| None)
}
