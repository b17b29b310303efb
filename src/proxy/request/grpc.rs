//! What gRPC needs from a proxy: its status, said its way.
//!
//! A gRPC client reads `grpc-status`, not the HTTP status; told `503` without
//! it, it guesses. So what the proxy says itself is said as *trailers-only*
//! while no response has begun, and as trailers once one has (gRPC over
//! HTTP/2, "Responses").

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use std::time::Duration;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The status `UNAVAILABLE`: try again, on another connection.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// Names the drain, percent-encoded as the field demands.
const DRAINING: HeaderValue = HeaderValue::from_static(
    "ended by the drain of this proxy: its deadline passed; try again on another connection",
);

/// The same for the drain of a server.
const SERVER_DRAINING: HeaderValue =
    HeaderValue::from_static("ended by the drain of its server: its deadline passed; try again");

/// Says that the server went away in the middle of a stream.
const LOST: HeaderValue =
    HeaderValue::from_static("the connection to the server was lost; try again");

/// Whether a request is gRPC: its content type is `application/grpc`, with or
/// without a format. gRPC-Web is HTTP like any other.
pub(super) fn is_request(headers: &HeaderMap) -> bool {
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

/// The trailers that end a stream whose server is gone.
pub(super) fn lost() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(GRPC_STATUS, UNAVAILABLE);
    trailers.insert(GRPC_MESSAGE, LOST);
    trailers
}

/// The trailers that end a stream at its deadline; `with_server` if that is
/// its server's alone.
pub(super) fn farewell(with_server: bool) -> HeaderMap {
    let message = if with_server {
        SERVER_DRAINING
    } else {
        DRAINING
    };
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(GRPC_STATUS, UNAVAILABLE);
    trailers.insert(GRPC_MESSAGE, message);
    trailers
}

/// The gRPC status that an HTTP status stands for, as the gRPC documents map
/// them ("HTTP to gRPC Status Code Mapping"), but with the timeouts of a proxy
/// as what they are.
fn status(code: StatusCode) -> HeaderValue {
    HeaderValue::from_static(match code {
        StatusCode::BAD_REQUEST => "13",
        StatusCode::UNAUTHORIZED => "16",
        StatusCode::FORBIDDEN => "7",
        StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => "12",
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE => "14",
        StatusCode::GATEWAY_TIMEOUT => "4",
        _ => "2",
    })
}

/// A trailers-only response.
pub(super) fn trailers_only<B: Default>(code: StatusCode, says: &'static str) -> Response<B> {
    let mut response = Response::new(B::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, status(code));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(says));
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
}
