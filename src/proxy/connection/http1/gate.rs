//! What stands between the client and the HTTP/1.1 engine.
//!
//! The engine is handed whole request heads that [`Framing`] has found
//! unambiguous, and the bodies to the byte. That gives three things that the
//! engine cannot: smuggling is refused before anyone interprets it, half a
//! head is known (with its age) as such, and an idle connection is known to
//! be idle, not merely quiet.
//!
//! It also keeps from the engine that a client has ended its side, for as long
//! as that client is owed an answer: the engine would drop the request.
//!
//! Deliberately absent: the connection's limits. Its loop watches them and
//! reads what the gate has noted in the record.

use super::framing::{Framing, Refusal, Step};
use super::parting::{self, Parting, QUESTION, Verdict};
use crate::clock;
use crate::drain::Doing;
use crate::proxy::connection::edge::Edge;
use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::ReadBufCursor;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How much is read from the socket at a time.
const READ: usize = 16 * 1024;

/// The gate; it is the engine's transport.
#[derive(Debug)]
pub(super) struct Gate {
    edge: Edge,
    framing: Framing,
    /// Read, and not yet passed on; the first `cleared` bytes may be.
    held: BytesMut,
    cleared: usize,
    refusal: Option<Refusal>,
    signs: Arc<Signs>,
    /// The client has ended its side, and is owed an answer.
    parting: Option<Box<(Parting, Pin<Box<Sleep>>)>>,
}

/// What the connection's loop must know of a gate that the engine holds.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Request heads that were let through.
    heads: AtomicU64,
    /// A head was refused; no byte more is let through.
    refused: AtomicBool,
    /// Part of a head is held.
    half_head: AtomicBool,
}

impl Signs {
    /// Whether a head was refused, and every one before it has begun.
    pub(super) fn refused(&self, begun: u64) -> bool {
        self.refused.load(Relaxed) && self.heads.load(Relaxed) <= begun
    }

    /// Request heads that were let through.
    pub(super) fn heads(&self) -> u64 {
        self.heads.load(Relaxed)
    }

    /// Whether part of a head is held.
    pub(super) fn half_head(&self) -> bool {
        self.half_head.load(Relaxed)
    }
}

impl Gate {
    pub(super) fn new(edge: Edge, framing: Framing, signs: Arc<Signs>) -> Self {
        Self {
            edge,
            framing,
            held: BytesMut::new(),
            cleared: 0,
            refusal: None,
            signs,
            parting: None,
        }
    }

    /// Why the last request was refused, if it was.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Whether a request may be on its way in: held back, or in the kernel.
    pub(super) fn unread(&self) -> bool {
        !self.held.is_empty() || self.edge.unread()
    }

    /// Whether a request head is awaited or under way.
    pub(super) fn in_head(&self) -> bool {
        self.framing.in_head()
    }

    /// Whether the client still owes bytes of a request.
    pub(super) fn mid_request(&self) -> bool {
        !self.framing.at_boundary() || !self.held.is_empty()
    }

    /// Give up the gate; the bytes are what was read beyond the last head.
    pub(super) fn into_edge(self) -> (Edge, Bytes) {
        (self.edge, self.held.freeze())
    }

    /// Clear what may be passed on; `Ready(false)` is the end of the stream.
    ///
    /// After a refused head it is pending for good, and nothing is woken: the
    /// loop looks at the signs whenever an exchange ends. Told of an end
    /// instead, the engine would drop the request that it is about to begin.
    fn poll_cleared(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.cleared == 0 {
            if self.refusal.is_some() {
                return Poll::Pending;
            }
            if !self.held.is_empty() {
                let in_head = self.framing.in_head();
                match self.framing.advance(&self.held) {
                    Step::Pass(count) => {
                        self.signs.heads.fetch_add(u64::from(in_head), Relaxed);
                        self.cleared = count;
                        break;
                    }
                    Step::Refuse(refusal) if in_head => {
                        self.refusal = Some(refusal);
                        self.signs.refused.store(true, Relaxed);
                        return Poll::Pending;
                    }
                    // The engine has begun the exchange, and fails it.
                    Step::Refuse(refusal) => {
                        if let Some(limit) = refusal.limit() {
                            self.edge.record().scope().limited(limit);
                        }
                        return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                    }
                    Step::More => {}
                }
            }
            let half_head = !self.held.is_empty() && self.framing.in_head();
            self.signs.half_head.store(half_head, Relaxed);
            if !ready!(self.poll_fill(cx))? {
                if self.owes_answer() {
                    return self.poll_parting(cx).map(Err);
                }
                return Poll::Ready(Ok(false));
            }
        }
        self.signs.half_head.store(false, Relaxed);
        Poll::Ready(Ok(true))
    }

    /// Whether the client has sent whole requests that are not answered yet.
    fn owes_answer(&self) -> bool {
        let record = self.edge.record();
        let unanswered = record.in_flight() > 0 || self.signs.heads() > record.requests();
        !self.mid_request() && (unanswered || record.blocked())
    }

    /// Look now and then whether a client that has ended its side is there;
    /// ready once it is not.
    fn poll_parting(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let parting = self.parting.get_or_insert_with(|| {
            let pause = Box::pin(tokio::time::sleep(parting::PAUSE));
            Box::new((Parting::default(), pause))
        });
        loop {
            ready!(parting.1.as_mut().poll(cx));
            parting.1 = Box::pin(tokio::time::sleep(parting::PAUSE));
            if self.edge.is_reset() {
                return Poll::Ready(io::ErrorKind::ConnectionReset.into());
            }
            let record = self.edge.record();
            let exchanges = record.exchanges(clock::now());
            let seen = parting::Seen {
                sent: record.sent.load(Relaxed),
                blocked: record.blocked(),
                unanswered: exchanges.iter().any(|one| one.doing == Doing::Awaiting),
                old: self.framing.old(),
            };
            match parting.0.judge(seen) {
                Verdict::Wait => {}
                Verdict::Gone => return Poll::Ready(io::ErrorKind::ConnectionReset.into()),
                Verdict::Ask => {
                    let asked = Pin::new(&mut self.edge).poll_write(cx, QUESTION);
                    // Nothing was written for a while, so there is room.
                    if !matches!(asked, Poll::Ready(Ok(size)) if size == QUESTION.len()) {
                        return Poll::Ready(io::ErrorKind::WriteZero.into());
                    }
                    // What could not be flushed goes out with the answer.
                    let _ = Pin::new(&mut self.edge).poll_flush(cx);
                }
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [std::mem::MaybeUninit::uninit(); READ];
        let mut buf = ReadBuf::uninit(&mut space);
        let poll = Pin::new(&mut self.edge).poll_read(cx, &mut buf);
        if poll.is_pending() && self.held.is_empty() && self.held.capacity() > 0 {
            // An idle connection keeps no buffer.
            self.held = BytesMut::new();
        }
        ready!(poll)?;
        self.held.extend_from_slice(buf.filled());
        Poll::Ready(Ok(!buf.filled().is_empty()))
    }
}

impl hyper::rt::Read for Gate {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if ready!(this.poll_cleared(cx))? {
            let count = this.cleared.min(buf.remaining());
            buf.put_slice(&this.held[..count]);
            this.held.advance(count);
            this.cleared -= count;
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Gate {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().edge).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.parting.is_some() && !this.owes_answer() {
            // The engine was told of no end, and would not look again.
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut this.edge).poll_flush(cx)
    }

    /// Only flushes: the loop closes the connection, since it alone knows
    /// whether to answer a refusal first and whether to linger.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_flush(self, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.edge.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().edge).poll_write_vectored(cx, bufs)
    }
}
