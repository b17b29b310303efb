//! The bytes of a message, whichever version brought them.
//!
//! One type for both directions: a request body on its way to a server and a
//! response body on its way to a client. It is pulled, never pushed, so that
//! backpressure reaches the sender without a buffer in between: HTTP/1 stops
//! reading the socket, HTTP/2 stops releasing window.
//!
//! Invariant: HTTP/2 flow-control capacity is released exactly for the bytes
//! that were handed out. Absent: any buffering, and any rewriting of bytes;
//! what is made here, or made over, is [`Made`] by whoever knows how.

mod upload;

pub use upload::{Bounds, KEPT, Progress, Rein, Upload, Watched};

use super::error::Error;
use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A message body.
#[derive(Debug, Default)]
pub enum Body {
    /// No body at all.
    #[default]
    Empty,
    /// Bytes in hand.
    Full(Bytes),
    /// From an HTTP/1.1 peer.
    Http1(Incoming),
    /// From an HTTP/2 peer.
    Http2(RecvStream),
    /// From a client, and watched while it goes to a server.
    Watched(Box<Watched>),
    /// Made here, or made over on its way.
    Made(Box<dyn Made>),
}

/// What a body pulls.
pub type Pulled = Option<Result<Frame<Bytes>, Error>>;

/// A body that does not come from a peer as it is.
pub trait Made: fmt::Debug + Send {
    /// The next frame, as [`http_body::Body::poll_frame`] has it.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Pulled>;

    /// Whether nothing more is to come.
    fn is_end_stream(&self) -> bool;

    /// End with this status as soon as the bytes allow it; `false` if it
    /// cannot end before its end.
    fn end(&mut self, _status: HeaderMap) -> bool {
        false
    }
}

impl Body {
    /// End with this gRPC status as soon as the bytes allow it, where the
    /// status is a part of them; `false` if it is not.
    pub fn end(&mut self, status: impl FnOnce() -> HeaderMap) -> bool {
        match self {
            Self::Made(made) => made.end(status()),
            _ => false,
        }
    }

    /// Bytes in hand, or no body if there are none.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Full(bytes)
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Pulled> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(_) => {
                let Self::Full(bytes) = std::mem::take(this) else {
                    return Poll::Ready(None);
                };
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Http1(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Error::Http1),
            Self::Http2(stream) => poll_stream(stream, cx),
            Self::Watched(watched) => watched.poll_frame(cx),
            Self::Made(made) => made.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Http1(incoming) => incoming.is_end_stream(),
            Self::Http2(stream) => stream.is_end_stream(),
            Self::Watched(watched) => watched.is_end_stream(),
            Self::Made(made) => made.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Http1(incoming) => incoming.size_hint(),
            // The declared length, if any, stands in the headers, which are
            // kept; a hint from here would be a second truth.
            Self::Http2(stream) if stream.is_end_stream() => SizeHint::with_exact(0),
            Self::Made(made) if made.is_end_stream() => SizeHint::with_exact(0),
            Self::Http2(_) | Self::Made(_) => SizeHint::default(),
            Self::Watched(watched) => watched.size_hint(),
        }
    }
}

/// Whether a field of HTTP/2 has a name that no field has (RFC 9110, section
/// 5.1), and that breaks a head of HTTP/1: of these the engine lets quotes pass.
pub(in crate::proxy) fn is_no_name(name: &HeaderName) -> bool {
    name.as_str().contains('"')
}

/// Whether white space is a part of a value, which HTTP/2 does not allow (RFC
/// 9113, section 8.2.1) and HTTP/1 cannot say; the engine lets it pass.
pub(in crate::proxy) fn is_padded(value: &HeaderValue) -> bool {
    let white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    white(value.as_bytes().first()) || white(value.as_bytes().last())
}

fn poll_stream(stream: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Pulled> {
    match ready!(stream.poll_data(cx)) {
        Some(Ok(data)) => {
            // The peer may send this much again; an error means that the
            // stream is over already and nobody counts.
            let _ = stream.flow_control().release_capacity(data.len());
            Poll::Ready(Some(Ok(Frame::data(data))))
        }
        Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
        None => match ready!(stream.poll_trailers(cx)) {
            Ok(Some(mut trailers)) => {
                // Trailers may be left out (RFC 9110, section 6.5.1).
                let bad = |(name, value): &(&HeaderName, &HeaderValue)| {
                    is_no_name(name) || is_padded(value)
                };
                while let Some(name) = trailers.iter().find(bad).map(|(name, _)| name.clone()) {
                    trailers.remove(name);
                }
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        },
    }
}
