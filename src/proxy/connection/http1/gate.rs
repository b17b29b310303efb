//! What stands between the client and the HTTP/1.1 engine.
//!
//! The engine is handed whole request heads that [`Framing`] has found
//! unambiguous, and the bodies to the byte. That gives three things that the
//! engine cannot: smuggling is refused before anyone interprets it, half a
//! head is known (with its age) as such, and an idle connection is known to
//! be idle, not merely quiet.
//!
//! Deliberately absent: time. The connection's loop watches the limits and
//! reads what the gate has noted in the record.

use super::framing::{Framing, Refusal, Step};
use crate::proxy::connection::edge::Edge;
use crate::proxy::registry::State;
use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::ReadBufCursor;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
    /// Request heads that were cleared.
    heads: u64,
    /// Whether the last write was not taken by the client: the engine may
    /// hold bytes of an answer that is otherwise over.
    blocked: Arc<AtomicBool>,
}

impl Gate {
    pub(super) fn new(edge: Edge, framing: Framing, blocked: Arc<AtomicBool>) -> Self {
        Self {
            edge,
            framing,
            held: BytesMut::new(),
            cleared: 0,
            refusal: None,
            heads: 0,
            blocked,
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

    /// Whether the client still owes bytes of a request.
    pub(super) fn mid_request(&self) -> bool {
        !self.framing.at_boundary() || !self.held.is_empty()
    }

    /// Give up the gate; the bytes are what was read beyond the last head.
    pub(super) fn into_edge(self) -> (Edge, Bytes) {
        (self.edge, self.held.freeze())
    }

    /// Clear what may be passed on; `Ready(false)` is the end of the stream.
    fn poll_cleared(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.cleared == 0 {
            if self.refusal.is_some() {
                return self.poll_refused();
            }
            if !self.held.is_empty() {
                let in_head = self.framing.in_head();
                match self.framing.advance(&self.held) {
                    Step::Pass(count) => {
                        self.heads += u64::from(in_head);
                        self.cleared = count;
                        break;
                    }
                    Step::Refuse(refusal) => {
                        self.refusal = Some(refusal);
                        continue;
                    }
                    Step::More => {}
                }
            }
            self.note_half_head();
            if !ready!(self.poll_fill(cx))? {
                return Poll::Ready(Ok(false));
            }
        }
        Poll::Ready(Ok(true))
    }

    /// The engine is told that the client ended, once what came before the
    /// refused request has been answered.
    fn poll_refused(&self) -> Poll<io::Result<bool>> {
        let record = self.edge.record();
        // The engine looks for the client's end before it lets the exchange
        // begin: told of one then, it would drop a request that was whole.
        let to_begin = self.heads > record.requests();
        if to_begin || record.in_flight() > 0 {
            // The engine reads again when the answer is out.
            return Poll::Pending;
        }
        Poll::Ready(Ok(false))
    }

    fn note_half_head(&self) {
        let record = self.edge.record();
        if !self.held.is_empty() && self.framing.in_head() && record.in_flight() == 0 {
            record.enter(State::Head);
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

    fn note_blocked<T>(&self, poll: Poll<T>) -> Poll<T> {
        self.blocked.store(poll.is_pending(), Relaxed);
        poll
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
        let this = self.get_mut();
        let poll = Pin::new(&mut this.edge).poll_write(cx, buf);
        this.note_blocked(poll)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.edge).poll_flush(cx);
        this.note_blocked(poll)
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
        let this = self.get_mut();
        let poll = Pin::new(&mut this.edge).poll_write_vectored(cx, bufs);
        this.note_blocked(poll)
    }
}
