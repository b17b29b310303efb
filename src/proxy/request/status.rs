//! What a call came to, for who records it.
//!
//! The status of gRPC stands in trailers, or in the head of an answer that has
//! nothing else. Trailers pass by in the body, and only where somebody wants to
//! know them the body is looked into.
//!
//! Invariant: what passes is not changed.
//!
//! Deliberately absent: statuses of calls that nobody records.

use super::grpc::GRPC_STATUS;
use crate::proxy::body::{Body, Made, Pulled};
use crate::proxy::registry::{Notes, RequestGuard};
use http::HeaderMap;
use http_body::Body as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The status that these fields tell.
fn status(fields: &HeaderMap) -> Option<u16> {
    fields.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// Note that a call is answered with these fields.
pub(super) fn tell(exchange: &RequestGuard, fields: &HeaderMap) {
    if let Some(notes) = exchange.notes()
        && let Some(status) = status(fields)
    {
        notes.came_to(status);
    }
}

/// Note what an answer with this head and body comes to, if anybody wants to
/// know.
pub(super) fn heed(exchange: &RequestGuard, head: &HeaderMap, body: &mut Body) {
    let Some(notes) = exchange.notes().filter(|notes| notes.is_traced()) else {
        return;
    };
    if body.is_end_stream() {
        tell(exchange, head);
    } else {
        *body = Body::Made(Box::new(Heeded {
            body: std::mem::take(body),
            notes: Arc::clone(notes),
        }));
    }
}

/// A body whose trailers are looked at.
#[derive(Debug)]
struct Heeded {
    body: Body,
    notes: Arc<Notes>,
}

impl Made for Heeded {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        let pulled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &pulled
            && let Some(status) = frame.trailers_ref().and_then(status)
        {
            self.notes.came_to(status);
        }
        Poll::Ready(pulled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn end(&mut self, status: HeaderMap) -> bool {
        self.body.end(|| status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_number_of_its_own_field() {
        let fields = |name: &'static str, value: &'static str| {
            let value = http::HeaderValue::from_static(value);
            HeaderMap::from_iter([(http::HeaderName::from_static(name), value)])
        };
        assert_eq!(status(&fields("grpc-status", "14")), Some(14));
        assert_eq!(status(&fields("grpc-status", "")), None);
        assert_eq!(status(&fields("grpc-status", "-1")), None);
        assert_eq!(status(&fields("grpc-message", "14")), None);
    }
}
