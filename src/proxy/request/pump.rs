//! A body into an HTTP/2 stream, never more than its window allows.
//!
//! Nothing is queued behind a shut window: what does not fit stays in hand.
//! That is what makes a farewell possible at any moment, since trailers and
//! resets are not flow-controlled, but would wait behind queued data.
//!
//! Invariant: at most one frame in hand and one ahead of it, the second only
//! so that a source that fails while the window is shut is noticed.

use super::events::Events;
use super::headers;
use crate::clock;
use crate::proxy::body::Body;
use crate::proxy::error::Error;
use crate::proxy::registry::Limit;
use crate::proxy::trickle::{Least, Trickle};
use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::Sleep;

/// How the pumping ended.
#[derive(Debug)]
pub(super) enum End {
    /// All of the body was sent, with its end.
    Done,
    /// The receiver wants no more; it said so, or it left.
    Refused,
    /// The receiver took nothing, or too little, for too long: this limit.
    Stalled(Limit),
    /// The source broke off.
    Broken(Error),
    /// Ended by us between two events, as asked.
    BetweenEvents,
}

/// Moves one body into one stream.
#[derive(Debug)]
pub(super) struct Pump {
    body: Body,
    sink: SendStream<Bytes>,
    hand: Bytes,
    ahead: Option<Frame<Bytes>>,
    /// Bytes that the window took.
    sent: u64,
    /// The window is shut.
    stuck: bool,
    patience: Least,
    trickle: Trickle,
    stalled: Option<Pin<Box<Sleep>>>,
    events: Option<Events>,
    /// Nothing is sent beyond the next boundary between events.
    ending: bool,
}

impl Pump {
    /// `patience` is how long the receiver may keep its window shut, where zero
    /// is for ever, and how little it may take.
    pub(super) fn new(body: Body, sink: SendStream<Bytes>, patience: Least) -> Self {
        Self {
            body,
            sink,
            hand: Bytes::new(),
            ahead: None,
            sent: 0,
            stuck: false,
            patience,
            trickle: Trickle::default(),
            stalled: None,
            events: None,
            ending: false,
        }
    }

    /// The body may end between two events, if it is a stream of such.
    pub(super) fn with_events(mut self, events: Option<Events>) -> Self {
        self.events = events;
        self
    }

    /// Move what can be moved; ready once nothing more will be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.between_events() {
            return Poll::Ready(self.end(Bytes::new()));
        }
        loop {
            if !self.hand.is_empty() {
                if let Some(end) = ready!(self.poll_send(cx)) {
                    return Poll::Ready(end);
                }
                continue;
            }
            let frame = match self.ahead.take() {
                Some(frame) => Some(Ok(frame)),
                None => match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(frame) => frame,
                    // Nothing to send, but the receiver may leave meanwhile.
                    Poll::Pending => {
                        ready!(self.sink.poll_reset(cx)).ok();
                        return Poll::Ready(End::Refused);
                    }
                },
            };
            if let Some(end) = self.take(frame) {
                return Poll::Ready(end);
            }
        }
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, Error>>) -> Option<End> {
        let sent = match frame {
            None => self.sink.send_data(Bytes::new(), true),
            Some(Err(error)) => return Some(End::Broken(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.hand = data;
                    return None;
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(mut trailers) => {
                        headers::trailers(&mut trailers);
                        self.sink.send_trailers(trailers)
                    }
                    Err(_) => return None,
                },
            },
        };
        Some(sent.map_or(End::Refused, |()| End::Done))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let room = match self.poll_room(cx) {
            Poll::Ready(Some(room)) => room,
            Poll::Ready(None) => return Poll::Ready(Some(End::Refused)),
            Poll::Pending => return self.poll_blocked(cx),
        };
        self.stalled = None;
        self.stuck = false;
        let mut chunk = self.hand.split_to(room.min(self.hand.len()));
        if self.trickle.pass(chunk.len(), self.patience, clock::now) {
            return Poll::Ready(Some(End::Stalled(Limit::SendRate)));
        }
        if let Some(events) = &mut self.events {
            if self.ending {
                chunk.truncate(events.pass_to_boundary(&chunk));
            } else {
                events.pass(&chunk);
            }
        }
        self.sent += chunk.len() as u64;
        if self.between_events() {
            return Poll::Ready(Some(self.end(chunk)));
        }
        let last = self.hand.is_empty() && self.ahead.is_none() && self.body.is_end_stream();
        let end = match self.sink.send_data(chunk, last) {
            Err(_) => Some(End::Refused),
            Ok(()) if last => Some(End::Done),
            Ok(()) => None,
        };
        Poll::Ready(end)
    }

    /// Room for some of what is in hand; `None` if the stream is over.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        // Capacity that was granted before is not announced again.
        let granted = self.sink.capacity();
        if granted > 0 {
            return Poll::Ready(Some(granted));
        }
        self.sink.reserve_capacity(self.hand.len());
        loop {
            match ready!(self.sink.poll_capacity(cx)) {
                Some(Ok(0)) => {}
                Some(Ok(room)) => return Poll::Ready(Some(room)),
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }

    /// The window is shut: look whether the source goes on, and at the time.
    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        self.stuck = true;
        if self.ahead.is_none() && !self.body.is_end_stream() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(End::Broken(error))),
                Poll::Ready(Some(Ok(frame))) => self.ahead = Some(frame),
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
        let patience = self.patience.stretch;
        if patience.is_zero() {
            return Poll::Pending;
        }
        self.trickle.wait(clock::now);
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Some(End::Stalled(Limit::SendIdle)))
    }

    /// From now on, send no more than the event or message under way, and then
    /// `status`; whether the body has such an end at all. Between two events
    /// the end comes at once, whatever the window says: it is not
    /// flow-controlled (RFC 9113, section 6.9).
    pub(super) fn end_in_order(&mut self, status: impl FnOnce() -> HeaderMap) -> bool {
        self.ending = self.events.is_some();
        self.ending || self.body.end(status)
    }

    /// Whether the body is an event stream.
    pub(super) fn carries_events(&self) -> bool {
        self.events.is_some()
    }

    fn between_events(&self) -> bool {
        self.ending && self.events.as_ref().is_some_and(Events::at_boundary)
    }

    /// End the stream with `chunk`; what is in hand is not for it any more.
    fn end(&mut self, chunk: Bytes) -> End {
        self.hand = Bytes::new();
        let sent = self.sink.send_data(chunk, true);
        sent.map_or(End::Refused, |()| End::BetweenEvents)
    }

    /// How many bytes the receiver's window took.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether something is in hand and the receiver's window is shut.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Stop, and give the rest of the body back.
    pub(super) fn into_body(self) -> Body {
        self.body
    }

    /// End the stream with trailers, now, whatever its window says.
    pub(super) fn farewell(&mut self, trailers: HeaderMap) {
        self.hand = Bytes::new();
        self.sink.reserve_capacity(0);
        // A stream that is over already needs no farewell.
        let _ = self.sink.send_trailers(trailers);
    }

    /// End the stream so that it cannot seem complete.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.sink.send_reset(reason);
    }
}
