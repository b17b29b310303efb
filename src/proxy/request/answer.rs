//! What the proxy says itself, in the client's protocol.
//!
//! An error of the floor becomes a status here and nowhere else. The text is
//! for people and fixed: it never repeats what a client sent.

use super::{grpc, room, status};
use crate::clock;
use crate::drain::{Farewell, Outcome, Protocol};
use crate::proxy::body::Body;
use crate::proxy::error::Error;
use crate::proxy::registry::{Cause, Limit, Record, RequestGuard};
use crate::telemetry::Burst;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

/// Failures that are logged in a second; every one is in the metrics.
static FAILURES: Burst = Burst::of(10);

/// What a client is told whose body is beyond its limit.
pub(super) const TOO_LARGE: &str = "the request body is too large";

/// When a client that was turned away may come back, in seconds.
const RETRY: HeaderValue = HeaderValue::from_static("1");

/// The status and the words for an error.
fn said(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::Told(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "ended by the drain of this proxy: its deadline passed; try again on another connection",
        ),
        Error::ToldWithServer(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "ended by the drain of its server: its deadline passed; try again",
        ),
        Error::ToldForAge(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "ended for the age of its connection; try again on another connection",
        ),
        Error::Drained { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "every server for this request is drained",
        ),
        Error::NoServer { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no healthy server for this request",
        ),
        Error::Full { why, .. } => (StatusCode::SERVICE_UNAVAILABLE, room::says(*why)),
        Error::ConnectTimeout { .. } => (
            StatusCode::GATEWAY_TIMEOUT,
            "the server did not accept a connection in time",
        ),
        Error::Connect { .. } => (StatusCode::BAD_GATEWAY, "cannot connect to the server"),
        Error::Timeout("the request body") => (
            StatusCode::REQUEST_TIMEOUT,
            "the request body took too long",
        ),
        Error::NoWebSocket => (
            StatusCode::NOT_IMPLEMENTED,
            "the server takes no WebSocket over HTTP/2",
        ),
        Error::Asked(_) => (StatusCode::BAD_REQUEST, "the WebSocket handshake is wrong"),
        Error::Agreed(_) => (
            StatusCode::BAD_GATEWAY,
            "the server's WebSocket handshake is wrong",
        ),
        Error::Malformed(_) => (StatusCode::BAD_GATEWAY, "the server's answer is malformed"),
        Error::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE),
        Error::Broken => (
            StatusCode::BAD_REQUEST,
            "the request body is malformed or not whole",
        ),
        Error::Expired => (
            StatusCode::GATEWAY_TIMEOUT,
            "the deadline that the client set has passed",
        ),
        Error::Target => (StatusCode::BAD_REQUEST, "the target cannot be passed on"),
        Error::Timeout(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            "the server did not answer in time",
        ),
        _ => (StatusCode::BAD_GATEWAY, "the server broke the exchange off"),
    }
}

/// Count the limit that a status of our own stands for, if it does for one.
pub(super) fn count(record: &Record, code: StatusCode) {
    let limit = match code {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Limit::Headers,
        StatusCode::PAYLOAD_TOO_LARGE => Limit::Body,
        StatusCode::URI_TOO_LONG => Limit::Uri,
        StatusCode::LOOP_DETECTED => Limit::Hops,
        _ => return,
    };
    record.scope().limited(limit);
}

/// Answer with a status of our own.
pub(super) fn refuse(
    exchange: &mut RequestGuard,
    code: StatusCode,
    says: &'static str,
) -> Response<Body> {
    count(exchange.record(), code);
    say(exchange, code, says, None)
}

/// Answer an exchange that cannot be served; one that a drain ended is
/// concluded as such.
pub(super) fn fail(exchange: &mut RequestGuard, error: &Error) -> Response<Body> {
    let (code, says) = said(error);
    let reset = grpc::reset(error);
    let told = match error {
        Error::Told(farewell) | Error::ToldWithServer(farewell) | Error::ToldForAge(farewell) => {
            Some(*farewell)
        }
        other => {
            let record = exchange.record();
            if let Some(held_back) = FAILURES.pass(clock::now()) {
                tracing::warn!(connection = record.id, listener = %record.listener(), error = %other, status = code.as_u16(), held_back, "request failed");
            }
            None
        }
    };
    if let Some(farewell) = told {
        exchange.conclude(Outcome::Farewelled(farewell));
    }
    let mut response = say(exchange, code, says, reset);
    if let Error::Full { why, .. } = error {
        let headers = response.headers_mut();
        headers.insert(room::PROXY_STATUS, room::status(*why));
    }
    response
}

fn say(
    exchange: &mut RequestGuard,
    code: StatusCode,
    says: &'static str,
    reset: Option<grpc::Code>,
) -> Response<Body> {
    exchange.answered(code.as_u16());
    if exchange.protocol() == Protocol::Grpc {
        let code = reset.unwrap_or_else(|| grpc::own(code));
        let response = grpc::trailers_only(code, says);
        status::tell(exchange, response.headers());
        return response;
    }
    exchange.sent(says.len() as u64);
    let mut response = Response::new(Body::Full(Bytes::from_static(says.as_bytes())));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(says.len()));
    match code {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, RETRY);
        }
        // To one who asked a proxy itself, with `Max-Forwards`.
        StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        }
        _ => {}
    }
    response
}

/// Why an exchange that is due ends before its response has begun.
pub(super) fn unanswered(exchange: &RequestGuard) -> Error {
    if !exchange.is_due() && exchange.is_expired() {
        return Error::Expired;
    }
    let farewell = match exchange.protocol() {
        Protocol::Grpc => Farewell::GrpcTrailersOnly,
        _ => Farewell::Unanswered,
    };
    match exchange.cause() {
        Cause::Server => Error::ToldWithServer(farewell),
        Cause::Age => Error::ToldForAge(farewell),
        Cause::Listener => Error::Told(farewell),
    }
}
