//! The bytes of a message, whichever version brought them.
//!
//! One type for both directions: a request body on its way to a server and a
//! response body on its way to a client. It is pulled, never pushed, so that
//! backpressure reaches the sender without a buffer in between: HTTP/1 stops
//! reading the socket, HTTP/2 stops releasing window.
//!
//! Invariant: HTTP/2 flow-control capacity is released exactly for the bytes
//! that were handed out. Absent: any buffering, any rewriting of bytes.

use super::error::Error;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::RecvStream;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

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
}

impl Body {
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

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Http1(incoming) => incoming.is_end_stream(),
            Self::Http2(stream) => stream.is_end_stream(),
            Self::Watched(watched) => watched.is_end_stream(),
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
            Self::Http2(_) => SizeHint::default(),
            Self::Watched(watched) => watched.progress.0.body.lock().size_hint(),
        }
    }
}

fn poll_stream(
    stream: &mut RecvStream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
    match ready!(stream.poll_data(cx)) {
        Some(Ok(data)) => {
            // The peer may send this much again; an error means that the
            // stream is over already and nobody counts.
            let _ = stream.flow_control().release_capacity(data.len());
            Poll::Ready(Some(Ok(Frame::data(data))))
        }
        Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
        None => match ready!(stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        },
    }
}

/// How far a request body has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Upload {
    /// Bytes are still to come.
    Running,
    /// It was passed on whole.
    Done,
    /// The client sent nothing for too long.
    Stalled,
    /// The client left in the middle.
    Broken,
}

/// A hold on a body that somebody else is sending.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    upload: AtomicU8,
    body: Mutex<Body>,
    sender: AtomicWaker,
}

impl Progress {
    /// How far the body has come.
    #[must_use]
    pub fn get(&self) -> Upload {
        match self.0.upload.load(Relaxed) {
            0 => Upload::Running,
            1 => Upload::Done,
            2 => Upload::Stalled,
            _ => Upload::Broken,
        }
    }

    /// Take the body away from its sender, which fails.
    #[must_use]
    pub fn take(&self) -> Body {
        self.set(Upload::Broken);
        let body = std::mem::take(&mut *self.0.body.lock());
        // The sender may wait for a frame that will never come now.
        self.0.sender.wake();
        body
    }

    fn set(&self, upload: Upload) {
        self.0.upload.store(upload as u8, Relaxed);
    }
}

/// A client's body with a limit on its silence, and a hold on it: the engine
/// that sends it to a server gives neither.
#[derive(Debug)]
pub struct Watched {
    progress: Progress,
    limit: Option<Duration>,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// Watch a body; `limit` is how long the client may send nothing.
    pub fn over(body: Body, limit: Option<Duration>) -> (Body, Progress) {
        let progress = Progress(Arc::new(Shared {
            upload: AtomicU8::new(Upload::Running as u8),
            body: Mutex::new(body),
            sender: AtomicWaker::new(),
        }));
        let watched = Self {
            progress: progress.clone(),
            limit: limit.filter(|limit| !limit.is_zero()),
            silence: None,
        };
        (Body::Watched(Box::new(watched)), progress)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        // Enlisted before the look, or a stop between the two goes unnoticed.
        self.progress.0.sender.register(cx.waker());
        if self.progress.get() == Upload::Broken {
            return Poll::Ready(Some(Err(Error::Unwanted)));
        }
        let (poll, over) = {
            let mut body = self.progress.0.body.lock();
            let poll = Pin::new(&mut *body).poll_frame(cx);
            (poll, body.is_end_stream())
        };
        match &poll {
            Poll::Pending => return self.poll_silence(cx),
            Poll::Ready(None) => self.progress.set(Upload::Done),
            Poll::Ready(Some(Err(_))) => self.progress.set(Upload::Broken),
            Poll::Ready(Some(Ok(_))) if over => self.progress.set(Upload::Done),
            Poll::Ready(Some(Ok(_))) => {}
        }
        if self.silence.is_some() {
            self.silence = None;
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        let stopped = self.progress.get() == Upload::Broken;
        !stopped && self.progress.0.body.lock().is_end_stream()
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(limit) = self.limit else {
            return Poll::Pending;
        };
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(silence.as_mut().poll(cx));
        self.progress.set(Upload::Stalled);
        Poll::Ready(Some(Err(Error::Timeout("the request body"))))
    }
}
