//! Errors as problem details (RFC 9457).
//!
//! Invariant: every response of this interface with a status of 400 or more
//! is one, and its `status` is that of the response. The `type` is left out,
//! which means `about:blank`: the status says what kind of problem it is, and
//! `detail` says what to do about this one.
//!
//! Deliberately absent: errors that the HTTP engine answers itself, before
//! there is a request (a head that is too long or malformed).

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

/// A problem, as it is written in a response.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// The kind of problem, for people.
    pub title: String,
    /// The response's status code.
    pub status: u16,
    /// What is wrong here, and what to do about it.
    pub detail: String,
    /// The field that a response of this status must have.
    #[serde(skip)]
    field: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn unauthorized() -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"ebbtide\"");
        Self {
            field: Some(Box::new((WWW_AUTHENTICATE, challenge))),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "this needs the admin token, as `Authorization: Bearer TOKEN`",
            )
        }
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn method_not_allowed(allow: &str) -> Self {
        let value = HeaderValue::from_str(allow).ok();
        Self {
            field: value.map(|allow| Box::new((ALLOW, allow))),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("this can be asked for with {allow}"),
            )
        }
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let text = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Full::new(text.into()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(field) = self.field {
            let (name, value) = *field;
            headers.insert(name, value);
        }
        response
    }
}
