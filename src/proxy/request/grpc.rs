//! What gRPC needs from a proxy: its status, said its way.
//!
//! A gRPC client reads `grpc-status`, not the HTTP status; told `503` without
//! it, it guesses. So what the proxy says itself is said as *trailers-only*
//! while no response has begun, and as trailers once one has (gRPC over
//! HTTP/2, "Responses").

use crate::drain::Farewell;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The status `UNAVAILABLE`: try again, on another connection.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// Names the drain, percent-encoded as the field demands.
const DRAINING: HeaderValue = HeaderValue::from_static(
    "ended by the drain of this proxy: its deadline passed; try again on another connection",
);

/// Whether a request is gRPC: its content type is `application/grpc`, with or
/// without a format. gRPC-Web is HTTP like any other.
pub(super) fn is_request(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The trailers that end a stream at its deadline.
pub(super) fn farewell() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(GRPC_STATUS, UNAVAILABLE);
    trailers.insert(GRPC_MESSAGE, DRAINING);
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
pub(super) fn trailers_only<B: Default>(
    code: StatusCode,
    says: &'static str,
    told: Option<Farewell>,
) -> Response<B> {
    let mut response = Response::new(B::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, status(code));
    let message = match told {
        Some(_) => DRAINING,
        None => HeaderValue::from_static(says),
    };
    headers.insert(GRPC_MESSAGE, message);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

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
