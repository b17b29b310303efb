//! A response's body on its way to an HTTP/1.1 client.
//!
//! The engine pulls it; the deadline can end it at any pull. What has begun
//! is never made to look complete: the body fails, so the engine leaves out
//! the last chunk and closes. Only an event stream has an end of its own, at
//! a boundary between events.

use super::events::Events;
use super::forward::Carrier;
use super::grpc;
use super::http1::Answers;
use crate::clock;
use crate::drain::{Farewell, Outcome};
use crate::proxy::body::Body;
use crate::proxy::error::Error;
use crate::proxy::registry::{Cause, RequestGuard};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep_until};

/// What the engine gets when it pulls.
type Pulled = Option<Result<Frame<Bytes>, Error>>;

/// How long the rest of a message is awaited after which a call ends that its
/// client does not wait for any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the HTTP/1.1 engine is given to send.
pub(in crate::proxy) struct Reply {
    body: Body,
    carrier: Carrier,
    exchange: Option<RequestGuard>,
    answers: Arc<Answers>,
    /// Told the client that the end of the connection is the end of the body.
    until_close: bool,
    events: Option<Events>,
    /// Wakes the engine at the deadline that the client gave its call.
    expiry: Option<Pin<Box<Sleep>>>,
    /// Ends with a last word of ours behind the message under way.
    ending: bool,
}

impl Reply {
    pub(super) fn new(
        body: Body,
        carrier: Carrier,
        exchange: Option<RequestGuard>,
        answers: Arc<Answers>,
    ) -> Self {
        let own = exchange.as_ref().and_then(RequestGuard::own_deadline);
        Self {
            expiry: own.map(|own| Box::pin(sleep_until(clock::instant(own)))),
            ending: false,
            body,
            carrier,
            exchange,
            answers,
            until_close: false,
            events: None,
        }
    }

    /// The body may end between two events, if it is a stream of such.
    pub(super) fn with_events(mut self, events: Option<Events>) -> Self {
        self.events = events;
        self
    }

    /// Note that the body ends with the connection.
    pub(super) fn set_until_close(&mut self, yes: bool) {
        self.until_close = yes;
    }

    fn finish(&mut self) {
        let carrier = std::mem::replace(&mut self.carrier, Carrier::None);
        // Ended early, the server's answer was not read to its end.
        if !self.ending {
            carrier.done();
        }
        self.exchange = None;
    }

    fn conclude(&mut self, farewell: Farewell) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.conclude(Outcome::Farewelled(farewell));
        }
        self.carrier = Carrier::None;
    }

    /// The deadline came: end now, or, pending, let the event under way pass.
    fn poll_overdue(&mut self) -> Poll<Pulled> {
        let exchange = self.exchange.as_ref();
        let cause = exchange.map_or(Cause::Listener, RequestGuard::cause);
        match &self.events {
            Some(events) if events.at_boundary() => {
                if cause != Cause::Server {
                    self.answers.retire();
                }
                self.conclude(Farewell::EventStream);
                self.body = Body::Empty;
                Poll::Ready(None)
            }
            Some(_) => Poll::Pending,
            None if self.ending || self.body.end(|| grpc::farewell(cause)) => {
                if cause != Cause::Server {
                    self.answers.retire();
                }
                self.ending = true;
                Poll::Pending
            }
            None => {
                self.answers.break_off(self.until_close);
                self.conclude(Farewell::Truncated);
                Poll::Ready(Some(Err(Error::Told(Farewell::Truncated))))
            }
        }
    }
}

impl Reply {
    /// The client's own deadline came: end with that word, if the body has a
    /// place for it, and soon.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        let Some(expiry) = &mut self.expiry else {
            return Poll::Pending;
        };
        ready!(expiry.as_mut().poll(cx));
        if !self.ending && self.body.end(grpc::expired) {
            self.ending = true;
            expiry
                .as_mut()
                .reset(clock::instant(clock::now() + LAST_WORDS));
            // Polled once more, or nobody would be woken by it.
            if expiry.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.answers.break_off(self.until_close);
        self.exchange = None;
        self.carrier = Carrier::None;
        Poll::Ready(Some(Err(Error::Expired)))
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Pulled> {
        let this = self.get_mut();
        this.carrier.poll_upload(cx);
        let due = this.exchange.as_ref().is_some_and(RequestGuard::is_due);
        if due && let ended @ Poll::Ready(_) = this.poll_overdue() {
            return ended;
        }
        if !due && let ended @ Poll::Ready(_) = this.poll_expired(cx) {
            return ended;
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            None => this.finish(),
            Some(Err(error)) => {
                if let Some(notes) = this.exchange.as_ref().and_then(RequestGuard::notes) {
                    notes.failed(error.kind());
                }
                this.answers.break_off(this.until_close);
                this.exchange = None;
            }
            Some(Ok(frame)) => {
                if let (Some(exchange), Some(data)) = (&this.exchange, frame.data_ref()) {
                    exchange.sent_more(data.len());
                }
                if let Some(events) = &mut this.events
                    && let Some(data) = frame.data_ref()
                {
                    let passed = if due {
                        events.pass_to_boundary(data)
                    } else {
                        events.pass(data);
                        data.len()
                    };
                    return Poll::Ready(Some(Ok(Frame::data(data.slice(..passed)))));
                }
                if due && this.ending && this.body.is_end_stream() {
                    this.conclude(Farewell::GrpcTrailers);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Reply {
    /// The engine does not pull the end of a body whose length it knows.
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.finish();
        }
    }
}
