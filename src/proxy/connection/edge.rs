//! The client's side of a connection: clear text or TLS, counted.
//!
//! Everything that is read from or written to a client goes through an
//! [`Edge`], so bytes are counted once and a client that stops reading is
//! found in one place: a write that makes no progress for `send_idle` fails, and
//! so does one to a client that takes less than `send_rate`.
//!
//! Deliberately absent: any knowledge of what the bytes mean.

use crate::clock;
use crate::proxy::registry::{Limit, Record, State};
use crate::proxy::trickle::{Least, Trickle};
use bytes::{Buf, Bytes, BytesMut};
use pingora_core::protocols::l4::ext::get_tcp_info;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
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
    /// How long the client may take nothing, and how little it may take.
    patience: Least,
    trickle: Trickle,
    /// It carries a tunnel, whose last movement is noted.
    tunnel: bool,
    stalled: Option<Pin<Box<Sleep>>>,
    /// That the client stopped reading was counted.
    gave_up: bool,
    linger: Option<Duration>,
    lingering: Option<Linger>,
}

/// Whether the kernel holds bytes that nobody has read. Asked of the kernel
/// itself: the runtime learns of readiness a turn later, and that turn is when
/// a request on a connection about to close would be lost.
pub(in crate::proxy) fn unread(socket: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    matches!(SockRef::from(socket).peek(&mut byte), Ok(1..))
}

impl Edge {
    pub(in crate::proxy) fn new(
        transport: Transport,
        early: Bytes,
        record: Arc<Record>,
        patience: Least,
    ) -> Self {
        record.received.fetch_add(early.len() as u64, Relaxed);
        Self {
            transport,
            early,
            record,
            patience,
            trickle: Trickle::default(),
            tunnel: false,
            stalled: None,
            gave_up: false,
            linger: None,
            lingering: None,
        }
    }

    /// After the shutdown of our side, hold the socket until the peer has
    /// ended its own, or has acknowledged everything and been quiet for
    /// `settle`: closing a socket that is sent bytes answers with a reset,
    /// which destroys what is still on its way to the peer.
    pub(in crate::proxy) fn set_linger(&mut self, settle: Duration) {
        self.linger = Some(settle);
    }

    /// A tunnel's peers may be silent for as long as they like.
    pub(in crate::proxy) fn set_patient(&mut self) {
        self.patience = Least::NONE;
    }

    /// From now on this carries a tunnel.
    pub(in crate::proxy) fn set_tunnel(&mut self) {
        self.tunnel = true;
        self.record.set_moved();
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

    /// Whether the kernel holds bytes that nobody has read, see [`unread`].
    pub(in crate::proxy) fn unread(&self) -> bool {
        unread(self.socket())
    }

    /// Whether the peer has reset the connection. Behind its FIN a read would
    /// not tell: it finds the end, again and again.
    pub(in crate::proxy) fn is_reset(&self) -> bool {
        !matches!(self.socket().take_error(), Ok(None))
    }

    /// Have bytes that were read be read once more.
    pub(in crate::proxy) fn put_back(&mut self, bytes: BytesMut) {
        self.early = if self.early.is_empty() {
            bytes.freeze()
        } else {
            [&bytes[..], &self.early].concat().into()
        };
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
        let record = Arc::clone(&self.record);
        tokio::select! {
            // A peer that is gone has nothing to be told.
            _ = self.shutdown() => {}
            () = record.over() => {}
        }
    }

    /// Whether the peer has acknowledged all that was sent.
    fn settled(&self) -> bool {
        get_tcp_info(self.socket().as_raw_fd())
            .is_ok_and(|info| info.tcpi_unacked == 0 && info.tcpi_notsent_bytes == 0)
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(settle) = self.linger else {
            return Poll::Ready(());
        };
        let mut linger = match self.lingering.take() {
            Some(linger) => linger,
            None if settle.is_zero() && self.settled() => return Poll::Ready(()),
            None => Linger::new(settle, self.patience.stretch),
        };
        let poll = loop {
            if self.poll_rest(cx, &mut linger.rest).is_ready() || linger.over() {
                break Poll::Ready(());
            }
            match linger.tick.as_mut().poll(cx) {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(()) => linger.pass(self.settled()),
            }
        };
        self.lingering = Some(linger);
        poll
    }

    /// Read and drop what the peer still sends, but no more than `rest`; ready
    /// at its end.
    fn poll_rest(&mut self, cx: &mut Context<'_>, rest: &mut usize) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); PIECE];
        while *rest > 0 {
            let mut sink = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut *self).poll_read(cx, &mut sink)) {
                Ok(()) if !sink.filled().is_empty() => {
                    *rest = rest.saturating_sub(sink.filled().len());
                }
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.record.set_blocked(poll.is_pending());
        if poll.is_ready() || self.patience.stretch.is_zero() {
            if self.stalled.is_some() {
                self.stalled = None;
            }
            if self.trickle.pass(0, self.patience, clock::now) {
                return self.give_up(Limit::SendRate);
            }
            return poll;
        }
        self.trickle.wait(clock::now);
        let limit = self.patience.stretch;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        self.give_up(Limit::SendIdle)
    }

    fn give_up<T>(&mut self, limit: Limit) -> Poll<io::Result<T>> {
        if !self.gave_up {
            self.gave_up = true;
            self.record.scope().limited(limit);
        }
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client stopped reading",
        )))
    }

    /// What came of a write.
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(sent)) = poll {
            self.record.sent.fetch_add(sent as u64, Relaxed);
            if self.tunnel {
                self.record.set_moved();
            }
            if self.trickle.pass(sent, self.patience, clock::now) {
                return self.give_up(Limit::SendRate);
            }
        }
        self.progress(cx, poll)
    }
}

/// How long a socket has been held after its end.
#[derive(Debug)]
struct Linger {
    tick: Pin<Box<Sleep>>,
    pause: Duration,
    settled: Duration,
    settle: Duration,
    waited: Duration,
    limit: Duration,
    /// Bytes that may still be read before the next tick.
    rest: usize,
}

/// Bytes that are read and dropped between two ticks. Whoever pours on would
/// otherwise have the worker for itself: there is always more to read, and time
/// is never looked at.
const AT_ONCE: usize = 128 * 1024;

/// Bytes of one such read.
const PIECE: usize = 16 * 1024;

/// The kernel does not tell when the last byte is acknowledged; it is asked,
/// at once and then ever more seldom, up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(8);

impl Linger {
    fn new(settle: Duration, limit: Duration) -> Self {
        let pause = Duration::from_millis(1);
        Self {
            tick: Box::pin(tokio::time::sleep(pause)),
            pause,
            settled: Duration::ZERO,
            settle,
            waited: Duration::ZERO,
            limit,
            rest: AT_ONCE,
        }
    }

    fn over(&self) -> bool {
        let settled = !self.settled.is_zero() && self.settled >= self.settle;
        settled || self.waited >= self.limit
    }

    fn pass(&mut self, settled: bool) {
        self.waited += self.pause;
        self.settled = if settled {
            self.settled + self.pause
        } else {
            Duration::ZERO
        };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.tick = Box::pin(tokio::time::sleep(self.pause));
        self.rest = AT_ONCE;
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
            if this.tunnel {
                this.record.set_moved();
            }
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
        this.wrote(cx, poll)
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
        this.wrote(cx, poll)
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
            if this.linger.is_some() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Protocol;
    use crate::proxy::connection::tunnel::scene::{Scene, soon};
    use rustix::io::ioctl_fionread;
    use std::future::poll_fn;
    use tokio::net::{TcpListener, TcpSocket};

    /// Two ends between which much fits.
    async fn roomy() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let near = TcpSocket::new_v4().expect("a socket");
        near.set_recv_buffer_size(1 << 20).expect("room");
        let (near, far) = tokio::join!(near.connect(address), listener.accept());
        let (near, (far, _)) = (near.expect("connected"), far.expect("accepted"));
        SockRef::from(&far)
            .set_send_buffer_size(1 << 20)
            .expect("room");
        (near, far)
    }

    /// As much as fits between two sockets.
    fn pour(into: &TcpStream) -> u64 {
        let more = vec![0; 64 * 1024];
        let taken = std::iter::from_fn(|| into.try_write(&more).ok());
        taken.map(|taken| taken as u64).sum()
    }

    #[tokio::test]
    async fn who_pours_on_at_the_end_does_not_keep_the_worker() {
        const TURN: u64 = (AT_ONCE + PIECE) as u64;
        let scene = Scene::new(Protocol::Http2);
        let (near, far) = roomy().await;
        let guard = scene.enter();
        let record = Arc::clone(guard.record());
        let patience = Least {
            rate: 0,
            stretch: Duration::from_secs(60),
        };
        far.writable().await.expect("open");
        let mut poured = pour(&far);
        let ready = ioctl_fionread(&near).expect("its queue");
        assert!(ready > TURN, "{ready} bytes are too few to be too many");
        let transport = Transport::Plain(near);
        let mut edge = Edge::new(transport, Bytes::new(), Arc::clone(&record), patience);
        edge.set_linger(patience.stretch);
        let (mut read, mut turns) = (0, 0);
        soon(poll_fn(|cx| {
            let polled = Pin::new(&mut edge).poll_shutdown(cx);
            assert!(polled.is_pending(), "{polled:?}");
            let before = std::mem::replace(&mut read, record.received.load(Relaxed));
            assert!(read - before < TURN, "{} bytes at once", read - before);
            turns += u32::from(read > before);
            if turns > 1 && read == poured {
                return Poll::Ready(());
            }
            Poll::Pending
        }))
        .await;
        // Whoever is done with it is heard to the end all the same.
        poured += pour(&far);
        drop(far);
        soon(edge.shutdown()).await.expect("in order");
        assert_eq!(record.received.load(Relaxed), poured);
    }
}
