//! To a server and back: a request's head out, a response's head in.
//!
//! Tries another server where the first could not be connected to, and
//! another connection where the first was closed before anything of the
//! request was sent: only what is provably unprocessed is sent twice.
//!
//! Deliberately absent: deadlines. The caller drops the future when the
//! exchange is due, and what was under way at the server is cancelled by that.

use super::interim::{Interims, answer};
use super::pump::Pump;
use super::route::Route;
use super::web::Web;
use super::websocket::{self, StreamEnd};
use super::{answered, grpc, headers, retried, room, status};
use crate::proxy::body::{Body, Bounds, KEPT, Progress, Rein, Upload, Watched};
use crate::proxy::error::{Error, Result};
use crate::proxy::registry::{Ends, Notes, RequestGuard};
use crate::proxy::trickle::Least;
use crate::proxy::upstream::{Http1Lease, Http2Lease, Lease, Retried, Search, Whose};
use futures_util::future::Either;
use h2::Reason;
use h2::client::ResponseFuture;
use http::request::Parts;
use http::{Request, response};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;

/// How often what was provably not processed is sent again because of the
/// connection that it was sent on: closed while it was idle, or on its way out.
pub(super) const STALE_TRIES: u32 = 8;

/// A response that has begun, and what its body still needs.
pub(super) struct Forwarded {
    pub(super) head: response::Parts,
    pub(super) body: Body,
    pub(super) carrier: Carrier,
}

impl Forwarded {
    /// See that a client of gRPC, or of gRPC-Web, is answered in its words.
    pub(super) fn say_grpc(&mut self, web: Option<&Web>, exchange: &RequestGuard) {
        if grpc::translate(&mut self.head) {
            self.body = Body::Empty;
            // Its answer is not read to the end: it carries no other.
            if matches!(self.carrier, Carrier::Http1(..)) {
                self.carrier = Carrier::None;
            }
        }
        status::heed(exchange, &self.head.headers, &mut self.body);
        if let Some(web) = web {
            let body = std::mem::take(&mut self.body);
            self.body = web.answer(&mut self.head, body);
        }
    }
}

/// The connection that carries the exchange.
pub(super) enum Carrier {
    /// Nothing: the answer is our own.
    None,
    /// HTTP/1.1; the connection serves again once both bodies are through.
    Http1(Http1Lease, Option<Progress>),
    /// HTTP/2: the slot on the connection, held until the end, and the
    /// request's body while it is still on its way.
    Http2 {
        _slot: Http2Lease,
        upload: Option<Box<Pump>>,
    },
    /// HTTP/2, a tunnel that is to be run.
    WebSocket(Box<(StreamEnd, Http2Lease)>),
}

impl Carrier {
    /// Keep the request's body moving while the response is relayed.
    pub(super) fn poll_upload(&mut self, cx: &mut std::task::Context<'_>) {
        if let Self::Http2 { upload, .. } = self
            && let Some(pump) = upload
            && pump.poll(cx).is_ready()
        {
            // A server may answer without having read all of the request.
            *upload = None;
        }
    }

    /// The response was read to its end; what is left of the request's body,
    /// if the server answered without it.
    pub(super) fn done_early(self) -> Option<Body> {
        match self {
            Self::Http1(_, Some(progress)) if progress.get() == Upload::Running => {
                Some(progress.take())
            }
            Self::Http2 { upload, .. } => upload.map(|pump| pump.into_body()),
            carrier => {
                carrier.done();
                None
            }
        }
    }

    /// The response was read to its end.
    pub(super) fn done(self) {
        if let Self::Http1(lease, progress) = self {
            let sent = progress.is_none_or(|progress| progress.get() == Upload::Done);
            if sent {
                lease.keep();
            }
        }
    }
}

/// What is to be sent.
pub(super) struct Outgoing<'a> {
    pub(super) head: Parts,
    pub(super) body: Body,
    /// What the client's body may be.
    pub(super) bounds: Option<Bounds>,
    /// Whether it is a WebSocket's handshake.
    pub(super) websocket: bool,
    /// Whose it is, where the servers are told.
    pub(super) client: Option<Box<Ends>>,
    /// For the access log, if there is one.
    pub(super) notes: Option<Arc<Notes>>,
    /// Where interim answers go, if the client can hear them.
    pub(super) interims: Option<&'a Interims>,
}

/// Send a request along its route and await the response's head. The exchange
/// boards the server that it is sent to.
pub(super) fn forward(
    route: &Route,
    outgoing: Outgoing<'_>,
    exchange: &RequestGuard,
) -> impl Future<Output = Result<Forwarded>> {
    let limit = route.rule.timeout;
    let policy = route.rule.retry.as_deref();
    // Boxed, both: every exchange would have to have room for them.
    if let Some(policy) = policy.filter(|_| !outgoing.websocket) {
        let sending = retried::send(route, policy, outgoing, exchange);
        return Either::Right(Either::Right(Box::pin(limited(limit, sending))));
    }
    let sending = send(route, outgoing, exchange);
    if limit.is_zero() {
        return Either::Left(sending);
    }
    Either::Right(Either::Left(Box::pin(limited(limit, sending))))
}

/// Not longer than this, unless it is zero.
async fn limited<T>(limit: Duration, sending: impl Future<Output = Result<T>>) -> Result<T> {
    if limit.is_zero() {
        return sending.await;
    }
    let sent = tokio::time::timeout(limit, sending).await;
    sent.unwrap_or(Err(Error::Timeout("the server's answer")))
}

/// How often, and where to, the exchange may still be sent.
struct Tries {
    search: Search,
    stale: u32,
    retries: u32,
}

impl Tries {
    fn of(route: &Route, request: &Request<Body>, exchange: &RequestGuard) -> Self {
        let address = exchange.record().client.address().ip();
        Self {
            search: route.pool.upstream().search(request.headers(), address),
            stale: STALE_TRIES,
            retries: route.rule.retries,
        }
    }

    /// Whether to send once more what this lease did not get processed.
    fn again(&mut self, route: &Route, server: usize, failed: &Failed, reused: bool) -> bool {
        // A pooled connection that had closed says nothing of its server, nor
        // does one that its server is leaving.
        let of_connection = reused || unprocessed(&failed.error);
        let left = if of_connection {
            &mut self.stale
        } else {
            &mut self.retries
        };
        if *left == 0 {
            return false;
        }
        *left -= 1;
        if !of_connection {
            self.search.mark(server);
        }
        let retries = route.pool.upstream().retries();
        retries.retried(Retried::Unprocessed);
        true
    }
}

/// A block, here and below, rather than an `async fn`: that would keep room for its
/// arguments twice, and what a future has room for is moved with it.
fn send(
    route: &Route,
    outgoing: Outgoing<'_>,
    exchange: &RequestGuard,
) -> impl Future<Output = Result<Forwarded>> {
    let Outgoing {
        head,
        body,
        bounds,
        websocket,
        client,
        notes,
        interims,
    } = outgoing;
    let (body, progress) = watch(body, bounds, notes.as_ref(), KEPT);
    let rein = Rein::on(progress);
    let mut request = Request::from_parts(head, body);
    let mut tries = Tries::of(route, &request, exchange);
    let secure = route.pool.upstream().secure();
    async move {
        if let Some(waiting) = room::take(route, exchange)? {
            waiting.await?;
        }
        loop {
            let lease = if let Some(lease) = route.pool.lease_idle(&tries.search) {
                lease
            } else {
                let whose = Whose::noted(client.as_deref(), notes.as_deref());
                Box::pin(route.pool.lease(whose, &mut tries.search)).await?
            };
            let (server, reused) = (lease.server_index(), lease.reused());
            if !exchange.board(route.pool.mooring(server)) {
                // It was shut after it had been chosen.
                tries.search.mark(server);
                continue;
            }
            headers::name_host(&mut request, lease.server());
            if let Some(notes) = &notes {
                notes.asks(lease.server(), Some(request.headers_mut()));
            }
            let ears = (rein.progress(), interims);
            let sent = match lease {
                Lease::Http1(lease) => over_http1(lease, request, websocket, rein.progress()).await,
                Lease::Http2(lease) if websocket => {
                    // Boxed: rare, and every exchange would have to have room for it.
                    Box::pin(websocket::over_http2(lease, request, secure)).await
                }
                Lease::Http2(lease) => over_http2(lease, request, secure, ears).await,
            };
            match sent {
                Ok(mut forwarded) => {
                    exchange.heard(route.pool.upstream().answered(server, &mut forwarded.head));
                    settle(&forwarded, notes.as_deref(), rein);
                    return Ok(forwarded);
                }
                Err(failed) => {
                    if let Some(notes) = &notes {
                        notes.failed(failed.error.kind());
                    }
                    match failed.request {
                        Some(unprocessed) if tries.again(route, server, &failed, reused) => {
                            request = *unprocessed;
                        }
                        _ => return Err(blame(route, server, failed.error, rein.progress())),
                    }
                }
            }
        }
    }
}

/// A server has answered: what of the request is still on its way goes there.
fn settle(forwarded: &Forwarded, notes: Option<&Notes>, rein: Rein) {
    if let Some(notes) = notes {
        notes.answered(forwarded.head.status.as_u16());
    }
    if let Some(progress) = rein.progress() {
        progress.settle();
    }
    rein.slip();
}

/// A body, if it is one, that is watched on its way and counted where notes are
/// taken; so much of it is kept for a second beginning.
pub(super) fn watch(
    body: Body,
    bounds: Option<Bounds>,
    notes: Option<&Arc<Notes>>,
    keep: usize,
) -> (Body, Option<Progress>) {
    if matches!(body, Body::Empty) {
        return (body, None);
    }
    let (body, progress) = Watched::over(body, bounds, keep);
    progress.count(notes.cloned());
    (body, Some(progress))
}

/// What it failed for, and a mark against the server if it is to blame: an
/// exchange that the client broke is not the server's fault.
pub(super) fn blame(
    route: &Route,
    server: usize,
    error: Error,
    progress: Option<&Progress>,
) -> Error {
    let error = match progress.map(Progress::get) {
        Some(Upload::Stalled) => Error::Timeout("the request body"),
        Some(Upload::Broken) => Error::Broken,
        Some(Upload::TooLarge) => Error::TooLarge,
        _ => error,
    };
    if of_server(&error) {
        route.pool.upstream().broke_off(server);
    }
    error
}

/// Whether it is the server that broke an exchange off.
pub(super) fn of_server(error: &Error) -> bool {
    matches!(
        error,
        Error::Http1(_) | Error::Http2(_) | Error::Io(_) | Error::Malformed(_)
    ) && !unprocessed(error)
}

/// Why it failed, and the request if the server did not process it.
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) request: Option<Box<Request<Body>>>,
}

impl Failed {
    /// For good.
    pub(super) fn of(error: Error) -> Self {
        Self {
            error,
            request: None,
        }
    }
}

/// A copy of a request that may be sent again even if nobody can tell whether
/// the server saw it: it has no body, and doing it twice is doing it once.
pub(super) fn spare(request: &Request<Body>) -> Option<Box<Request<Body>>> {
    let harmless = matches!(request.body(), Body::Empty) && request.method().is_idempotent();
    harmless.then(|| Box::new(copy(request)))
}

/// A request of the same head, and without a body.
pub(super) fn copy<B>(request: &Request<B>) -> Request<Body> {
    let mut copy = Request::new(Body::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    *copy.version_mut() = request.version();
    copy
}

pub(super) fn over_http1(
    mut lease: Http1Lease,
    mut request: Request<Body>,
    websocket: bool,
    progress: Option<&Progress>,
) -> impl Future<Output = Result<Forwarded, Failed>> {
    headers::to_http1(&mut request);
    if !matches!(request.body(), Body::Empty) {
        headers::frame_http1(request.headers_mut());
    }
    // A server may close an idle connection in the moment in which it is used.
    let spare = if lease.reused() {
        spare(&request)
    } else {
        None
    };
    let sending = lease.send(request);
    async move {
        match sending.await {
            Ok(response) => {
                let (head, body): (_, Incoming) = response.into_parts();
                // Dropping the lease closes the connection: nobody knows what
                // stands on it next.
                answered::check(&head, websocket).map_err(Failed::of)?;
                Ok(Forwarded {
                    head,
                    body: Body::Http1(body),
                    carrier: Carrier::Http1(lease, progress.cloned()),
                })
            }
            Err(failed) => Err(Failed {
                error: failed.error,
                request: failed.request.or(spare),
            }),
        }
    }
}

pub(super) fn over_http2(
    mut lease: Http2Lease,
    mut request: Request<Body>,
    secure: bool,
    (progress, interims): (Option<&Progress>, Option<&Interims>),
) -> impl Future<Output = Result<Forwarded, Failed>> {
    let known = headers::to_http2(&mut request, secure).is_some();
    let spare = copy(&request);
    let (head, body) = request.into_parts();
    let sent = if known {
        ask(&mut lease, head, body).map_err(|error| (error, true))
    } else {
        Err((Error::Target, false))
    };
    async move {
        let failed = match sent {
            Err(failed) => failed,
            Ok((response, mut upload)) => match answer(response, &mut upload, interims).await {
                Ok(response) => {
                    let (head, stream) = response.into_parts();
                    answered::check_http2(&head).map_err(Failed::of)?;
                    return Ok(Forwarded {
                        body: answered::content(&head, stream),
                        head,
                        carrier: Carrier::Http2 {
                            _slot: lease,
                            upload,
                        },
                    });
                }
                Err(error) => {
                    let unprocessed = unprocessed(&error);
                    (error, unprocessed)
                }
            },
        };
        let (error, unprocessed) = failed;
        if !unprocessed {
            return Err(Failed::of(error));
        }
        lease.retire();
        let body = match progress {
            None => Some(Body::Empty),
            Some(progress) => progress.again(),
        };
        Err(Failed {
            error,
            request: body.map(|body| Box::new(spare.map(|_| body))),
        })
    }
}

/// Open a stream to the server, and what moves the request's body there.
fn ask(
    lease: &mut Http2Lease,
    head: Parts,
    body: Body,
) -> Result<(ResponseFuture, Option<Box<Pump>>)> {
    let empty = matches!(body, Body::Empty);
    let (response, sink) = lease.send(Request::from_parts(head, ()), empty)?;
    let upload = (!empty).then(|| Box::new(Pump::new(body, sink, Least::NONE)));
    Ok((response, upload))
}

/// What a server says of a stream that it has not looked at (RFC 9113,
/// sections 6.8 and 8.7). The engine says the same of an answer whose head is
/// too large, and to that there was a request.
pub(super) fn unprocessed(error: &Error) -> bool {
    match error {
        Error::Http2(error) => {
            let refused = error.reason() == Some(Reason::REFUSED_STREAM);
            error.is_remote() && (error.is_go_away() || refused)
        }
        _ => false,
    }
}
