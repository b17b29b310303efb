//! What gRPC needs from a proxy: its status, said its way.
//!
//! A gRPC client reads `grpc-status`, not the HTTP status; told `503` without
//! it, it guesses. So what the proxy says itself is said as *trailers-only*
//! while no response has begun, and as trailers once one has (gRPC over
//! HTTP/2, "Responses"). A server that answers a call without speaking gRPC, as
//! a proxy before it does, is put into these words too.

use crate::proxy::error::Error;
use crate::proxy::registry::Cause;
use h2::Reason;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, response};
use std::time::Duration;

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(super) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(super) const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The content type of an answer.
pub(super) const KIND: HeaderValue = HeaderValue::from_static("application/grpc");

/// A status of gRPC, as it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Code(&'static str);

pub(super) const OK: Code = Code("0");
const CANCELLED: Code = Code("1");
const UNKNOWN: Code = Code("2");
const DEADLINE_EXCEEDED: Code = Code("4");
pub(super) const NOT_FOUND: Code = Code("5");
const PERMISSION_DENIED: Code = Code("7");
pub(super) const RESOURCE_EXHAUSTED: Code = Code("8");
pub(super) const UNIMPLEMENTED: Code = Code("12");
pub(super) const INTERNAL: Code = Code("13");
/// Try again, on another connection.
pub(super) const UNAVAILABLE: Code = Code("14");
const UNAUTHENTICATED: Code = Code("16");

/// Names the drain, percent-encoded as the field demands.
const DRAINING: &str =
    "ended by the drain of this proxy: its deadline passed; try again on another connection";

/// The same for the drain of a server.
const SERVER_DRAINING: &str = "ended by the drain of its server: its deadline passed; try again";

/// The same for the age of a connection.
const TOO_OLD: &str = "ended for the age of its connection; try again on another connection";

/// Says that the server went away in the middle of a stream.
const LOST: &str = "the connection to the server was lost; try again";

/// Whether a request is gRPC: its content type is `application/grpc`, with or
/// without a format. gRPC-Web is HTTP like any other, unless it is translated.
pub(super) fn is_request(headers: &HeaderMap) -> bool {
    is_grpc(headers)
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// How long a client waits for its call (gRPC over HTTP/2, "Timeout"): at most
/// eight digits and a unit. `None` without a field that says so.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = headers.get(GRPC_TIMEOUT)?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(value * 3_600)),
        b'M' => Some(Duration::from_secs(value * 60)),
        b'S' => Some(Duration::from_secs(value)),
        b'm' => Some(Duration::from_millis(value)),
        b'u' => Some(Duration::from_micros(value)),
        b'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// Say how long the call may take, rounded down.
pub(super) fn set_timeout(headers: &mut HeaderMap, time: Duration) {
    const MOST: u128 = 99_999_999;
    let text = if time.as_millis() <= MOST {
        format!("{}m", time.as_millis())
    } else {
        format!("{}S", time.as_secs().min(99_999_999))
    };
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

/// A status and its message: trailers, or a head that has no others.
pub(super) fn status_fields(code: Code, says: &'static str) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(2);
    fields.insert(GRPC_STATUS, HeaderValue::from_static(code.0));
    if !says.is_empty() {
        fields.insert(GRPC_MESSAGE, HeaderValue::from_static(says));
    }
    fields
}

/// The trailers that end a stream whose server is gone.
pub(super) fn lost() -> HeaderMap {
    status_fields(UNAVAILABLE, LOST)
}

/// The trailers that end a stream at its deadline, for the sake of this.
pub(super) fn farewell(cause: Cause) -> HeaderMap {
    let says = match cause {
        Cause::Listener => DRAINING,
        Cause::Server => SERVER_DRAINING,
        Cause::Age => TOO_OLD,
    };
    status_fields(UNAVAILABLE, says)
}

/// The trailers that end a stream when its client waits no more.
pub(super) fn expired() -> HeaderMap {
    let says = "the deadline that the client set has passed";
    status_fields(DEADLINE_EXCEEDED, says)
}

/// The status for an HTTP status of our own: as servers' are mapped, but
/// timeouts and limits are said as what they are.
pub(super) fn own(code: StatusCode) -> Code {
    match code {
        StatusCode::NOT_IMPLEMENTED => UNIMPLEMENTED,
        StatusCode::GATEWAY_TIMEOUT => DEADLINE_EXCEEDED,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::URI_TOO_LONG => RESOURCE_EXHAUSTED,
        code => of_http(code),
    }
}

/// The status that a server's HTTP status stands for, where it has no other
/// (gRPC, "HTTP to gRPC Status Code Mapping").
fn of_http(code: StatusCode) -> Code {
    match code {
        StatusCode::BAD_REQUEST => INTERNAL,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::NOT_FOUND => UNIMPLEMENTED,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// What it says that a server reset the stream, if it did.
pub(super) fn reset(error: &Error) -> Option<Code> {
    match error {
        Error::Http2(error) if error.is_reset() && error.is_remote() => {
            error.reason().map(of_reset)
        }
        _ => None,
    }
}

/// The trailers of a stream whose server broke it off.
pub(super) fn broken(error: &Error) -> HeaderMap {
    match reset(error) {
        Some(code) => status_fields(code, "the server reset the stream"),
        None => lost(),
    }
}

/// The status that a stream's reset stands for (gRPC over HTTP/2, "Errors").
fn of_reset(reason: Reason) -> Code {
    match reason {
        Reason::REFUSED_STREAM => UNAVAILABLE,
        Reason::CANCEL => CANCELLED,
        Reason::ENHANCE_YOUR_CALM => RESOURCE_EXHAUSTED,
        Reason::INADEQUATE_SECURITY => PERMISSION_DENIED,
        _ => INTERNAL,
    }
}

/// Put an answer to a call that is not gRPC, and no success, into its words;
/// whether it was. What else it said is for people who look at the server.
pub(super) fn translate(head: &mut response::Parts) -> bool {
    if head.status == StatusCode::OK || is_grpc(&head.headers) {
        return false;
    }
    let mut fields = status_fields(of_http(head.status), "");
    let says = format!(
        "the server answered with HTTP status {}",
        head.status.as_str()
    );
    if let Ok(says) = HeaderValue::from_str(&says) {
        fields.insert(GRPC_MESSAGE, says);
    }
    fields.insert(CONTENT_TYPE, KIND);
    head.status = StatusCode::OK;
    head.headers = fields;
    true
}

/// A trailers-only response.
pub(super) fn trailers_only<B: Default>(code: Code, says: &'static str) -> Response<B> {
    let mut response = Response::new(B::default());
    let headers = response.headers_mut();
    headers.extend(status_fields(code, says));
    headers.insert(CONTENT_TYPE, KIND);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_and_written() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_static(text));
            timeout(&headers)
        };
        assert_eq!(read("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(read("5m"), Some(Duration::from_millis(5)));
        assert_eq!(read("6u"), Some(Duration::from_micros(6)));
        assert_eq!(read("7n"), Some(Duration::from_nanos(7)));
        for wrong in ["", "S", "5", "5s", "-5S", "123456789S", "5 S"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        for time in [
            Duration::from_micros(1_500_900),
            Duration::from_secs(200_000),
        ] {
            let mut headers = HeaderMap::new();
            set_timeout(&mut headers, time);
            let written = timeout(&headers).expect("a time");
            assert!(written <= time && written + Duration::from_secs(1) > time);
        }
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let is = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            is_request(&headers)
        };
        assert!(is("application/grpc"));
        assert!(is("application/grpc+proto"));
        assert!(is("application/grpc;charset=x"));
        assert!(!is("application/grpc-web"));
        assert!(!is("application/json"));
    }

    #[test]
    fn every_http_status_of_a_server_has_its_grpc_status() {
        for (http, grpc) in [
            (400, "13"),
            (401, "16"),
            (403, "7"),
            (404, "12"),
            (429, "14"),
            (502, "14"),
            (503, "14"),
            (504, "14"),
            (204, "2"),
            (302, "2"),
            (418, "2"),
            (500, "2"),
            (501, "2"),
        ] {
            let answer = Response::builder().status(http).header("x-more", "1");
            let mut head = answer.body(()).expect("a head").into_parts().0;
            assert!(translate(&mut head));
            assert_eq!(head.status, StatusCode::OK, "{http}");
            assert_eq!(head.headers[GRPC_STATUS], grpc, "{http}");
            let says = head.headers[GRPC_MESSAGE].to_str().expect("text");
            assert!(says.ends_with(&http.to_string()), "{says}");
            assert!(!translate(&mut head), "it is gRPC now");
        }
    }

    #[test]
    fn what_is_grpc_or_a_success_is_left_alone() {
        for (http, kind) in [(200, "text/html"), (503, "application/grpc+proto")] {
            let answer = Response::builder().status(http);
            let answer = answer.header(CONTENT_TYPE, kind);
            let mut head = answer.body(()).expect("a head").into_parts().0;
            assert!(!translate(&mut head), "{http} {kind}");
            assert_eq!(head.status, http);
        }
    }

    #[test]
    fn limits_of_our_own_are_said_as_what_they_are() {
        assert_eq!(own(StatusCode::GATEWAY_TIMEOUT), DEADLINE_EXCEEDED);
        assert_eq!(own(StatusCode::NOT_IMPLEMENTED), UNIMPLEMENTED);
        let too_large = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        assert_eq!(own(too_large), RESOURCE_EXHAUSTED);
        assert_eq!(own(StatusCode::SERVICE_UNAVAILABLE), UNAVAILABLE);
    }

    #[test]
    fn a_reset_says_why() {
        assert_eq!(of_reset(Reason::CANCEL), CANCELLED);
        assert_eq!(of_reset(Reason::REFUSED_STREAM), UNAVAILABLE);
        assert_eq!(of_reset(Reason::ENHANCE_YOUR_CALM), RESOURCE_EXHAUSTED);
        assert_eq!(of_reset(Reason::INADEQUATE_SECURITY), PERMISSION_DENIED);
        assert_eq!(of_reset(Reason::NO_ERROR), INTERNAL);
    }
}
