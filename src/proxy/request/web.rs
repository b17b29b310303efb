//! gRPC-Web, made gRPC on the way to the server and back.
//!
//! A browser can neither read trailers nor be sure of HTTP/2, so gRPC-Web puts
//! the trailers into the body, in a frame of their own, and may write all of it
//! in base64 (gRPC-Web, "Protocol differences vs gRPC over HTTP2"). Messages
//! are framed alike on both sides, so they pass as they are. What the proxy
//! says itself is said in the same form: a client finds its status in the last
//! frame, always.
//!
//! Invariant: the frame with the trailers stands between two messages, never
//! within one.
//!
//! Deliberately absent: CORS. Who may call from where is the service's to say:
//! preflights go to the route like any request, and a route can set fields on
//! every answer. And a library: the layers that there are translate for a
//! server in the same process, and cannot end a stream early.

mod frames;
mod reply;
mod text;

use super::grpc;
use crate::proxy::body::Body;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TE, TRAILER};
use http::request::Parts;
use http::{HeaderMap, Response, response};
use reply::Reply;
use text::Decoded;

/// What a client speaks that speaks gRPC-Web.
#[derive(Debug)]
pub(super) struct Web {
    /// The content type of answers.
    kind: HeaderValue,
    /// Whether what it sends is base64.
    sends_text: bool,
    /// Whether what it reads is.
    reads_text: bool,
}

impl Web {
    /// Make a request of gRPC-Web one of gRPC; `None` if it is none.
    pub(super) fn take(head: &mut Parts) -> Option<Box<Self>> {
        let kind = head.headers.get(CONTENT_TYPE)?.as_bytes();
        let rest = kind.strip_prefix(b"application/grpc-web")?;
        let (sends_text, format) = match rest.strip_prefix(b"-text") {
            Some(format) => (true, format),
            None => (false, rest),
        };
        if !matches!(format.first(), None | Some(b'+' | b';')) {
            return None;
        }
        let written = |name: &[u8]| HeaderValue::from_bytes(&[name, format].concat()).ok();
        let grpc = written(b"application/grpc")?;
        let accepts = head
            .headers
            .get(ACCEPT)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let reads_text = match accepts.strip_prefix(b"application/grpc-web") {
            Some(accepted) => accepted.starts_with(b"-text"),
            None => sends_text,
        };
        let kind = if reads_text {
            written(b"application/grpc-web-text")?
        } else {
            written(b"application/grpc-web")?
        };
        head.headers.insert(CONTENT_TYPE, grpc);
        head.headers
            .insert(TE, HeaderValue::from_static("trailers"));
        head.headers.remove(ACCEPT);
        if sends_text {
            head.headers.remove(CONTENT_LENGTH);
        }
        Some(Box::new(Self {
            kind,
            sends_text,
            reads_text,
        }))
    }

    /// Make the body of its request one of gRPC.
    pub(super) fn request(&self, body: Body) -> Body {
        match body {
            Body::Empty => Body::Empty,
            body if self.sends_text => Body::Made(Box::new(Decoded::of(body))),
            body => body,
        }
    }

    /// Make an answer of gRPC one of gRPC-Web. One that is none is left as it
    /// is: the client's library makes of it what it can.
    pub(super) fn answer(&self, head: &mut response::Parts, body: Body) -> Body {
        if !grpc::is_grpc(&head.headers) {
            return body;
        }
        match self.head(head) {
            Some(status) => Body::Full(reply::alone(&status, self.reads_text)),
            None => Body::Made(Box::new(Reply::new(body, self.reads_text))),
        }
    }

    /// The same with an answer of the proxy's own, which is a status alone.
    pub(super) fn own(&self, response: Response<Body>) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        let body = self.answer(&mut head, body);
        Response::from_parts(head, body)
    }

    /// Make over the head of an answer; its status, if that is all there is.
    fn head(&self, head: &mut response::Parts) -> Option<HeaderMap> {
        head.headers.insert(CONTENT_TYPE, self.kind.clone());
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove(TRAILER);
        trailers_of(&mut head.headers)
    }
}

/// The trailers of an answer that has no others than its head.
fn trailers_of(head: &mut HeaderMap) -> Option<HeaderMap> {
    let status = head.remove(grpc::GRPC_STATUS)?;
    let mut trailers = HeaderMap::with_capacity(3);
    trailers.insert(grpc::GRPC_STATUS, status);
    for name in [grpc::GRPC_MESSAGE, grpc::GRPC_DETAILS] {
        if let Some(value) = head.remove(&name) {
            trailers.insert(name, value);
        }
    }
    Some(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(fields: &[(http::HeaderName, &str)]) -> (Option<Box<Web>>, HeaderMap) {
        let mut request = http::Request::post("/a.B/C");
        for (name, value) in fields {
            request = request.header(name, *value);
        }
        let mut head = request.body(()).expect("a request").into_parts().0;
        (Web::take(&mut head), head.headers)
    }

    #[test]
    fn a_request_becomes_grpc_and_its_format_stays() {
        for (web, grpc, text) in [
            ("application/grpc-web", "application/grpc", false),
            (
                "application/grpc-web+proto",
                "application/grpc+proto",
                false,
            ),
            ("application/grpc-web-text", "application/grpc", true),
            (
                "application/grpc-web-text+json",
                "application/grpc+json",
                true,
            ),
            ("application/grpc-web;a=b", "application/grpc;a=b", false),
        ] {
            let (taken, headers) = taken(&[(CONTENT_TYPE, web), (CONTENT_LENGTH, "8")]);
            let taken = taken.expect(web);
            assert_eq!(headers[CONTENT_TYPE], grpc);
            assert_eq!(headers[TE], "trailers");
            assert_eq!(headers.contains_key(CONTENT_LENGTH), !text, "{web}");
            assert_eq!((taken.sends_text, taken.reads_text), (text, text));
            assert_eq!(taken.kind, web);
        }
    }

    #[test]
    fn what_else_there_is_is_left_alone() {
        for kind in [
            "application/grpc",
            "application/grpc-webby",
            "application/grpc-web-texts",
            "text/plain",
        ] {
            let (web, headers) = taken(&[(CONTENT_TYPE, kind)]);
            assert!(web.is_none() && headers[CONTENT_TYPE] == kind, "{kind}");
        }
        assert!(taken(&[]).0.is_none());
    }

    #[test]
    fn the_client_says_what_it_reads() {
        let (text, binary) = ("application/grpc-web-text", "application/grpc-web");
        for (sends, accepts, reads_text) in [
            (text, binary, false),
            (binary, text, true),
            (text, "*/*", true),
            (binary, "*/*", false),
        ] {
            let (web, headers) = taken(&[(CONTENT_TYPE, sends), (ACCEPT, accepts)]);
            assert_eq!(web.expect("gRPC-Web").reads_text, reads_text);
            assert!(!headers.contains_key(ACCEPT));
        }
    }
}
