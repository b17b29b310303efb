//! The client's side of a connection: clear text or TLS, counted.
//!
//! Everything that is read from or written to a client goes through an
//! [`Edge`], so bytes are counted once and a client that stops reading is
//! found in one place: a write that makes no progress for `send_idle` fails.
//!
//! Deliberately absent: any knowledge of what the bytes mean.

use crate::proxy::registry::{Record, State};
use bytes::{Buf, Bytes};
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

/// The transport under an [`Edge`].
#[derive(Debug)]
pub(in crate::proxy) enum Transport {
    /// Clear text.
    Plain(TcpStream),
    /// TLS that has finished its handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A client's connection, as bytes.
#[derive(Debug)]
pub(in crate::proxy) struct Edge {
    transport: Transport,
    /// Bytes that were read to find out the protocol.
    early: Bytes,
    record: Arc<Record>,
    send_idle: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    linger: Duration,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Edge {
    pub(in crate::proxy) fn new(
        transport: Transport,
        early: Bytes,
        record: Arc<Record>,
        send_idle: Duration,
    ) -> Self {
        record.received.fetch_add(early.len() as u64, Relaxed);
        Self {
            transport,
            early,
            record,
            send_idle,
            stalled: None,
            linger: Duration::ZERO,
            lingering: None,
        }
    }

    /// After the shutdown of our side, wait at most this long for the peer to
    /// end its own, reading and dropping what still comes: closing a socket
    /// with unread bytes sends a reset, which may destroy the answer that is
    /// still on its way.
    pub(in crate::proxy) fn set_linger(&mut self, linger: Duration) {
        self.linger = linger;
    }

    pub(in crate::proxy) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    fn socket(&self) -> &TcpStream {
        match &self.transport {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Whether the kernel holds bytes that nobody has read. Asked of the
    /// kernel itself: the runtime learns of readiness a turn later, and that
    /// turn is when a request on a connection about to close would be lost.
    pub(in crate::proxy) fn unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        matches!(SockRef::from(self.socket()).peek(&mut byte), Ok(1..))
    }

    /// Make the close that follows look like a failure: a response whose end
    /// is the end of the connection must not seem complete.
    pub(in crate::proxy) fn break_off(&self) {
        // Where the option cannot be set, the socket is gone already.
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    /// End our side and close, see [`Edge::set_linger`].
    pub(in crate::proxy) async fn close(mut self) {
        self.record.enter(State::Closing);
        // A peer that is gone, or takes nothing more, is none of our business.
        let limit = self.linger.max(Duration::from_millis(100));
        let _ = tokio::time::timeout(limit, self.shutdown()).await;
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.linger.is_zero() {
            return Poll::Ready(());
        }
        let limit = self.linger;
        let over = self
            .lingering
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut space = [MaybeUninit::uninit(); 4096];
        loop {
            let mut sink = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut *self).poll_read(cx, &mut sink)) {
                Ok(()) if !sink.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            if self.stalled.is_some() {
                self.stalled = None;
            }
            return poll;
        }
        let limit = self.send_idle;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client stopped reading",
        )))
    }

    fn count(&self, poll: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(sent)) = poll {
            self.record.sent.fetch_add(*sent as u64, Relaxed);
        }
    }
}

impl AsyncRead for Edge {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.early.has_remaining() {
            let taken = this.early.len().min(buf.remaining());
            buf.put_slice(&this.early.split_to(taken));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let poll = match &mut this.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        let read = buf.filled().len() - before;
        if read > 0 {
            this.record.received.fetch_add(read as u64, Relaxed);
        }
        poll
    }
}

impl AsyncWrite for Edge {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = match &mut this.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        };
        this.count(&poll);
        this.progress(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = match &mut this.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Transport::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        };
        this.count(&poll);
        this.progress(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(socket) => socket.is_write_vectored(),
            Transport::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = match &mut this.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        this.progress(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            // Without a linger this may be a half-close that is passed on.
            if !this.linger.is_zero() {
                this.record.enter(State::Closing);
            }
            ready!(match &mut this.transport {
                Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
                Transport::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            })?;
        }
        this.poll_linger(cx).map(Ok)
    }
}
