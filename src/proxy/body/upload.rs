//! A request's body on its way to a server: watched, and held by a rein.
//!
//! Whoever sends a body pulls it and says nothing of how far it came; and a
//! sender that waits for its server holds the body, and with it the client's
//! stream, for as long as it likes. So the body is lent, not given:
//! [`Progress`] tells how far it came, takes it back at any moment, and begins
//! it again for another server.
//!
//! Invariant: what is kept for a second beginning is bounded, and given up as
//! soon as the response is passed on. One sender at a time has the body: whom it
//! was lent to before gets nothing more of it, however late it looks.

use super::Body;
use crate::clock;
use crate::proxy::error::Error;
use crate::proxy::registry::{Limit, Notes, Record, forget_claims};
use crate::proxy::trickle::{Least, Trickle};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Bytes of a body that are kept, unless told otherwise, so that it can be sent
/// again.
pub const KEPT: usize = 64 * 1024;

type Pulled = Option<Result<Frame<Bytes>, Error>>;

/// How far a request body has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Upload {
    /// Bytes are still to come.
    Running,
    /// It was passed on whole.
    Done,
    /// The client sent nothing, or too little, for too long.
    Stalled,
    /// The client left in the middle.
    Broken,
    /// It is larger than it may be.
    TooLarge,
}

/// A hold on a body that somebody else is sending.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    upload: AtomicU8,
    bounds: Option<Bounds>,
    lent: Mutex<Lent>,
    sender: AtomicWaker,
}

/// What a client may take its time for in a body, and how large that may be.
#[derive(Debug)]
pub struct Bounds {
    /// How long it may send nothing; zero is for ever.
    pub silence: Duration,
    /// Bytes in a second until the response begins; 0 is any.
    pub rate: u32,
    /// Bytes in all; 0 is no limit.
    pub most: u64,
    /// Where it is counted if it does not keep to them.
    pub record: Arc<Record>,
}

/// The body, and what of it was sent already.
#[derive(Debug, Default)]
struct Lent {
    body: Body,
    kept: Vec<Bytes>,
    size: usize,
    /// The next of `kept` to be sent again; its length if none is.
    next: usize,
    /// Bytes that are kept at most.
    keep: usize,
    /// How often it has begun again: the sender of another turn has it no more.
    turn: u32,
    /// Something was sent that was not kept.
    lost: bool,
    /// Where its bytes are counted, if they are.
    notes: Option<Arc<Notes>>,
    /// Bytes that have come.
    total: u64,
    trickle: Trickle,
    /// The response has begun: who talks with a server sets the pace with it.
    answered: bool,
}

impl Lent {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        if let Some(again) = self.kept.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(again.clone()))));
        }
        let pulled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &pulled {
            self.total += frame.data_ref().map_or(0, Bytes::len) as u64;
            if let (Some(notes), Some(data)) = (&self.notes, frame.data_ref()) {
                notes.received(data.len());
            }
            match frame.data_ref() {
                Some(data) if !self.lost && self.size + data.len() <= self.keep => {
                    self.size += data.len();
                    self.kept.push(data.clone());
                    self.next = self.kept.len();
                }
                _ => self.forget(),
            }
        }
        Poll::Ready(pulled)
    }

    fn forget(&mut self) {
        self.lost = true;
        self.kept = Vec::new();
        self.next = 0;
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.kept.len() && self.body.is_end_stream()
    }
}

impl Progress {
    /// How far the body has come.
    #[must_use]
    pub fn get(&self) -> Upload {
        match self.0.upload.load(Relaxed) {
            0 => Upload::Running,
            1 => Upload::Done,
            2 => Upload::Stalled,
            3 => Upload::Broken,
            _ => Upload::TooLarge,
        }
    }

    /// Count its bytes from now on.
    pub fn count(&self, notes: Option<Arc<Notes>>) {
        if notes.is_some() {
            self.0.lent.lock().notes = notes;
        }
    }

    /// Take the body away from its sender, which fails.
    #[must_use]
    pub fn take(&self) -> Body {
        self.set(Upload::Broken);
        let lent = std::mem::take(&mut *self.0.lent.lock());
        // The sender may wait for a frame that will never come now.
        self.0.sender.wake();
        lent.body
    }

    /// Keep nothing any more: the body will not be sent again.
    pub fn settle(&self) {
        let mut lent = self.0.lent.lock();
        lent.answered = true;
        lent.forget();
    }

    /// The body once more from its beginning, for another sender; `None` if
    /// that is not at hand any more. The sender before fails from now on.
    #[must_use]
    pub fn again(&self) -> Option<Body> {
        let mut lent = self.0.lent.lock();
        if lent.lost || !matches!(self.get(), Upload::Running | Upload::Done) {
            return None;
        }
        lent.next = 0;
        lent.turn += 1;
        let turn = lent.turn;
        drop(lent);
        self.set(Upload::Running);
        // The sender before may wait for a frame that comes to another one now.
        self.0.sender.wake();
        Some(Watched::lend(self.clone(), turn))
    }

    /// The whole of it, for a second sender beside the first; `None` if it has not
    /// come to its end, or is not at hand any more.
    #[must_use]
    pub fn copy(&self) -> Option<Body> {
        let lent = self.0.lent.lock();
        if lent.lost || self.get() != Upload::Done {
            return None;
        }
        Some(match lent.kept.as_slice() {
            [] => Body::Empty,
            [one] => Body::full(one.clone()),
            pieces => Body::full(pieces.concat()),
        })
    }

    /// Whether it can begin again, as far as it has come.
    #[must_use]
    pub fn is_at_hand(&self) -> bool {
        matches!(self.get(), Upload::Running | Upload::Done) && !self.0.lent.lock().lost
    }

    fn set(&self, upload: Upload) {
        self.0.upload.store(upload as u8, Relaxed);
    }
}

/// Takes a body back when it is dropped: from a sender that hangs on to it.
#[derive(Debug)]
pub struct Rein(Option<Progress>);

impl Rein {
    /// Hold this body by a rein.
    #[must_use]
    pub fn on(progress: Option<Progress>) -> Self {
        Self(progress)
    }

    /// The hold, if there is a body.
    #[must_use]
    pub fn progress(&self) -> Option<&Progress> {
        self.0.as_ref()
    }

    /// Let the sender go on.
    pub fn slip(mut self) {
        self.0 = None;
    }
}

impl Drop for Rein {
    fn drop(&mut self) {
        if let Some(progress) = self.0.take() {
            drop(progress.take());
        }
    }
}

/// A client's body with a limit on its silence, and a hold on it: the engine
/// that sends it to a server gives neither.
#[derive(Debug)]
pub struct Watched {
    progress: Progress,
    turn: u32,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// Watch a body, also for its client's keeping to these bounds. Up to so
    /// many bytes are kept for a second beginning.
    pub fn over(body: Body, bounds: Option<Bounds>, keep: usize) -> (Body, Progress) {
        let lent = Lent {
            body,
            keep,
            ..Lent::default()
        };
        let progress = Progress(Arc::new(Shared {
            upload: AtomicU8::new(Upload::Running as u8),
            bounds,
            lent: Mutex::new(lent),
            sender: AtomicWaker::new(),
        }));
        (Self::lend(progress.clone(), 0), progress)
    }

    fn lend(progress: Progress, turn: u32) -> Body {
        Body::Watched(Box::new(Self {
            progress,
            turn,
            silence: None,
        }))
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        let (poll, over, offence) = {
            let mut lent = self.progress.0.lent.lock();
            if lent.turn != self.turn {
                // Before it enlists: the place is its successor's.
                return Poll::Ready(Some(Err(Error::Unwanted)));
            }
            // Enlisted before the look, or a stop between the two goes unnoticed.
            self.progress.0.sender.register(cx.waker());
            if self.progress.get() == Upload::Broken {
                return Poll::Ready(Some(Err(Error::Unwanted)));
            }
            let mut poll = lent.poll_frame(cx);
            let bounds = self.progress.0.bounds.as_ref();
            let offence = bounds.and_then(|bounds| bounds.judge(&mut lent, &poll));
            if let Poll::Ready(Some(Ok(frame))) = &mut poll
                && let Some(trailers) = frame.trailers_mut()
            {
                // A server may make no difference between them and fields.
                forget_claims(trailers);
            }
            (poll, lent.is_end_stream(), offence)
        };
        if let Some(limit) = offence {
            return Poll::Ready(Some(Err(self.refuse(limit))));
        }
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

    pub(super) fn is_end_stream(&self) -> bool {
        let stopped = self.progress.get() == Upload::Broken;
        let lent = self.progress.0.lent.lock();
        !stopped && lent.turn == self.turn && lent.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let lent = self.progress.0.lent.lock();
        if lent.next < lent.kept.len() || lent.turn != self.turn {
            // The declared length stands in the head.
            return SizeHint::default();
        }
        lent.body.size_hint()
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        let bounds = self.progress.0.bounds.as_ref();
        let Some(bounds) = bounds.filter(|bounds| !bounds.silence.is_zero()) else {
            return Poll::Pending;
        };
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(bounds.silence)));
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(self.refuse(Limit::BodyIdle))))
    }

    /// The client did not keep to this limit.
    fn refuse(&self, limit: Limit) -> Error {
        if let Some(bounds) = &self.progress.0.bounds {
            bounds.record.scope().limited(limit);
        }
        if limit == Limit::Body {
            self.progress.set(Upload::TooLarge);
            return Error::TooLarge;
        }
        self.progress.set(Upload::Stalled);
        Error::Timeout("the request body")
    }
}

impl Bounds {
    /// What of these a client did not keep to when this came of its body.
    fn judge(&self, lent: &mut Lent, poll: &Poll<Pulled>) -> Option<Limit> {
        match poll {
            Poll::Pending => {
                if self.rate > 0 {
                    lent.trickle.wait(clock::now);
                }
                None
            }
            Poll::Ready(Some(Ok(frame))) => {
                if self.most > 0 && lent.total > self.most {
                    return Some(Limit::Body);
                }
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let least = Least {
                    rate: self.rate,
                    stretch: self.silence,
                };
                let slow = lent.trickle.pass(bytes, least, clock::now);
                (slow && !lent.answered && !lent.is_end_stream()).then_some(Limit::BodyRate)
            }
            Poll::Ready(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Orders;
    use crate::proxy::registry::Registry;
    use http_body_util::BodyExt;

    async fn text(body: &mut Body) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.expect("a frame");
            all.extend_from_slice(frame.data_ref().expect("data"));
        }
        all
    }

    #[tokio::test]
    async fn a_body_begins_again_until_its_response_does() {
        let (mut body, progress) = Watched::over(Body::full("hello"), None, KEPT);
        assert_eq!(text(&mut body).await, b"hello");
        drop(body);
        let mut again = progress.again().expect("it is small");
        assert_eq!(progress.get(), Upload::Running);
        assert_eq!(text(&mut again).await, b"hello");
        assert_eq!(progress.get(), Upload::Done);
        drop(again);
        progress.settle();
        assert!(progress.again().is_none());
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        for keep in [0, 5, KEPT] {
            let (mut body, progress) = Watched::over(Body::full(vec![7; keep + 1]), None, keep);
            assert_eq!(text(&mut body).await.len(), keep + 1);
            assert!(progress.again().is_none());
            assert!(progress.0.lent.lock().kept.is_empty());
        }
        let (mut body, progress) = Watched::over(Body::full(vec![7; 5]), None, 5);
        text(&mut body).await;
        assert!(progress.again().is_some());
    }

    #[tokio::test]
    async fn a_sender_whose_turn_is_over_gets_nothing_and_takes_nothing() {
        let (mut before, progress) = Watched::over(Body::full("hello"), None, KEPT);
        assert!(before.frame().await.is_some_and(|frame| frame.is_ok()));
        let mut again = progress.again().expect("it is small");
        assert!(matches!(before.frame().await, Some(Err(Error::Unwanted))));
        assert!(!before.is_end_stream());
        assert_eq!(progress.get(), Upload::Running, "nor does it say anything");
        assert_eq!(text(&mut again).await, b"hello");
        assert_eq!(progress.get(), Upload::Done);
    }

    #[tokio::test]
    async fn a_body_is_copied_once_it_has_come_and_while_it_is_kept() {
        let (mut body, progress) = Watched::over(Body::full("hello"), None, KEPT);
        assert!(progress.copy().is_none(), "it may still be long");
        assert_eq!(text(&mut body).await, b"hello");
        let mut copy = progress.copy().expect("it has come");
        assert_eq!(text(&mut copy).await, b"hello");
        progress.settle();
        assert!(progress.copy().is_none());
        let (mut body, progress) = Watched::over(Body::full("hello"), None, 4);
        assert_eq!(text(&mut body).await, b"hello");
        assert!(progress.copy().is_none(), "too long");
    }

    #[tokio::test]
    async fn a_rein_takes_the_body_back() {
        let (mut body, progress) = Watched::over(Body::full("hello"), None, KEPT);
        let rein = Rein::on(Some(progress.clone()));
        drop(rein);
        assert!(matches!(body.frame().await, Some(Err(Error::Unwanted))));
        assert!(progress.again().is_none());
        let (mut body, progress) = Watched::over(Body::full("hello"), None, KEPT);
        Rein::on(Some(progress)).slip();
        assert_eq!(text(&mut body).await, b"hello");
    }

    #[tokio::test]
    async fn a_body_is_refused_at_the_first_byte_too_many() {
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        let guard = registry.enter(&scope, ([127, 0, 0, 1], 9).into());
        let bounds = |most| Bounds {
            silence: Duration::ZERO,
            rate: 0,
            most,
            record: Arc::clone(guard.record()),
        };
        let (mut body, _) = Watched::over(Body::full("hello"), Some(bounds(5)), KEPT);
        assert_eq!(text(&mut body).await, b"hello");
        let (mut body, progress) = Watched::over(Body::full("hello"), Some(bounds(4)), KEPT);
        assert!(matches!(body.frame().await, Some(Err(Error::TooLarge))));
        assert_eq!(progress.get(), Upload::TooLarge);
        assert!(progress.again().is_none());
        assert_eq!(scope.limited_count(Limit::Body), 1);
    }
}
