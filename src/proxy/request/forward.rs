//! To a server and back: a request's head out, a response's head in.
//!
//! Tries another server where the first could not be connected to, and
//! another connection where the first was closed before anything of the
//! request was sent: only what is provably unprocessed is sent twice.
//!
//! Deliberately absent: deadlines. The caller drops the future when the
//! exchange is due, and what was under way at the server is cancelled by that.

use super::headers;
use super::pump::{End, Pump};
use super::route::Route;
use crate::proxy::body::{Body, Progress, Upload, Watched};
use crate::proxy::error::{Error, Result};
use crate::proxy::upstream::{Http1Lease, Http2Lease, Lease, Tried};
use http::request::Parts;
use http::{Request, response};
use hyper::body::Incoming;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How often a pooled connection may turn out to be closed already.
const STALE_TRIES: u32 = 3;

/// A response that has begun, and what its body still needs.
pub(super) struct Forwarded {
    pub(super) head: response::Parts,
    pub(super) body: Body,
    pub(super) carrier: Carrier,
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
pub(super) struct Outgoing {
    pub(super) head: Parts,
    pub(super) body: Body,
    /// How long the client's body may be silent.
    pub(super) silence: Option<Duration>,
}

/// Send a request along its route and await the response's head.
pub(super) async fn forward(route: &Route, outgoing: Outgoing) -> Result<Forwarded> {
    let timeout = route.rule.timeout;
    let sending = send(route, outgoing);
    if timeout.is_zero() {
        return sending.await;
    }
    tokio::time::timeout(timeout, sending)
        .await
        .unwrap_or(Err(Error::Timeout("the server's answer")))
}

async fn send(route: &Route, outgoing: Outgoing) -> Result<Forwarded> {
    let Outgoing {
        head,
        body,
        silence,
    } = outgoing;
    let (body, progress) = match body {
        Body::Empty => (Body::Empty, None),
        body => {
            let (body, progress) = Watched::over(body, silence);
            (body, Some(progress))
        }
    };
    let mut request = Request::from_parts(head, body);
    let mut tried = Tried::default();
    let mut retries = route.rule.retries;
    let mut stale = STALE_TRIES;
    loop {
        let lease = match route.pool.lease_idle(&tried) {
            Some(lease) => lease,
            None => match Box::pin(route.pool.lease(&mut tried)).await {
                Ok(lease) => lease,
                // Nothing was sent: another server may do.
                Err(Error::Connect { .. } | Error::ConnectTimeout { .. }) if retries > 0 => {
                    retries -= 1;
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        match lease {
            Lease::Http1(lease) => match over_http1(lease, request, progress.clone()).await {
                Ok(forwarded) => return Ok(forwarded),
                Err((_, Some(unsent))) if stale > 0 => {
                    stale -= 1;
                    request = *unsent;
                }
                Err((error, _)) => return Err(blame(error, progress.as_ref())),
            },
            Lease::Http2(lease) => {
                return over_http2(lease, request, route.pool.upstream().secure())
                    .await
                    .map_err(|error| blame(error, progress.as_ref()));
            }
        }
    }
}

/// An exchange that the client broke is not the server's fault.
fn blame(error: Error, progress: Option<&Progress>) -> Error {
    match progress.map(Progress::get) {
        Some(Upload::Stalled) => Error::Timeout("the request body"),
        _ => error,
    }
}

type Unsent = Option<Box<Request<Body>>>;

async fn over_http1(
    mut lease: Http1Lease,
    request: Request<Body>,
    progress: Option<Progress>,
) -> Result<Forwarded, (Error, Unsent)> {
    let (mut head, body) = request.into_parts();
    headers::to_http1(&mut head);
    let sent = lease.send(Request::from_parts(head, body)).await;
    let response = sent.map_err(|failed| (failed.error, failed.request))?;
    let (head, body): (_, Incoming) = response.into_parts();
    Ok(Forwarded {
        head,
        body: Body::Http1(body),
        carrier: Carrier::Http1(lease, progress),
    })
}

async fn over_http2(
    mut lease: Http2Lease,
    request: Request<Body>,
    secure: bool,
) -> Result<Forwarded> {
    let (mut head, body) = request.into_parts();
    headers::to_http2(&mut head, secure).ok_or(Error::Target)?;
    let empty = matches!(body, Body::Empty);
    let (response, sink) = lease.send(Request::from_parts(head, ()), empty)?;
    let mut upload = (!empty).then(|| Box::new(Pump::new(body, sink, Duration::ZERO)));
    let mut response = pin!(response);
    let response = poll_fn(|cx| {
        if let Some(pump) = &mut upload
            && let Poll::Ready(end) = pump.poll(cx)
        {
            upload = None;
            if let End::Broken(error) = end {
                return Poll::Ready(Err(error));
            }
        }
        response.as_mut().poll(cx).map_err(Error::Http2)
    })
    .await?;
    let (head, stream) = response.into_parts();
    Ok(Forwarded {
        head,
        body: Body::Http2(stream),
        carrier: Carrier::Http2 {
            _slot: lease,
            upload,
        },
    })
}
