//! One HTTP/2 connection to a server, shared by many exchanges.
//!
//! Purpose: hand out slots, one per stream, and take them back; run the
//! connection; find out that its server has fallen silent.
//!
//! Invariant: never more slots than the server allows streams, as its
//! SETTINGS say (RFC 9113, section 5.1.2). h2 would queue what is too much,
//! unseen and unbounded, so the slots are counted here, and a connection
//! serves only once the server's SETTINGS have come.
//!
//! Deliberately absent: what to do when no slot is free (see `fleet`), and
//! the meaning of a stream's end (see the relay).

use super::dial::Failure;
use super::standing::Standing;
use crate::clock;
use crate::drain::Timestamp;
use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, SendStream};
use pingora_core::protocols::Stream;
use std::future::{Future, pending, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};

/// Streams on one connection at most, whatever the server allows.
pub(super) const SLOTS: usize = 128;

/// What a server may send on one stream before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;

/// What a server may send on the connection: all slots' windows together, so
/// that streams which nobody reads cannot stop their siblings.
#[expect(clippy::cast_possible_truncation, reason = "128 fits")]
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * SLOTS as u32;

/// Framing overhead that small DATA frames may cost while unread: in
/// proportion to the connection window, so that one slow reader of a chatty
/// stream does not end the connection of all, and finite all the same.
const FRAME_BUDGET: usize = CONNECTION_WINDOW as usize / 2;

/// The most that a response's fields may take, in bytes.
const HEADER_LIST: u32 = 64 * 1024;

/// Bytes of one stream that may wait for the socket.
const SEND_BUFFER: usize = 256 * 1024;

/// Streams reset here whose late frames are still known for what they are,
/// and for how long. A proxy resets as often as its clients leave.
const RESETS_KEPT: usize = 1024;
const RESET_KEPT_FOR: Duration = Duration::from_secs(5);

/// Malformed streams in a connection's life before it is ended.
const MALFORMED: usize = 1024;

/// Stands for "the server's SETTINGS have not come". A limit on the wire has
/// 32 bits and none at all is `usize::MAX`, so nothing else reads like this.
const UNKNOWN: usize = usize::MAX - 1;

/// When a connection with streams in flight counts as silent, and what then.
#[derive(Copy, Clone, Debug)]
pub(super) struct Silence {
    /// With nothing received for this long, a PING is sent.
    pub(super) after: Duration,
    /// Without its ack for this long, the connection is closed.
    pub(super) answer: Duration,
    /// Between two PINGs with nothing but acks received in between. gRPC
    /// servers take a PING sooner than five minutes after the last for abuse
    /// and end the connection (`too_many_pings`), which would make a failure
    /// of every stream that is quiet by nature.
    pub(super) again: Duration,
}

impl Silence {
    const USUAL: Self = Self {
        after: Duration::from_secs(20),
        answer: Duration::from_secs(10),
        again: Duration::from_secs(330),
    };
}

/// What the connection's task and those who use it tell each other. Apart
/// from the [`Multiplexer`], since h2 closes a connection when the last
/// handle is gone: its own task must not hold one.
#[derive(Debug, Default)]
struct Vitals {
    in_use: AtomicUsize,
    retired: AtomicBool,
    heard: AtomicBool,
}

/// Where a connection leads to.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) name: Arc<str>,
    pub(super) server: usize,
    pub(super) generation: u32,
    pub(super) standing: Arc<Standing>,
}

/// A connection with slots for streams.
pub(super) struct Multiplexer {
    sender: SendRequest<Bytes>,
    vitals: Arc<Vitals>,
    origin: Origin,
    /// Whether a stream was ever opened on it.
    served: AtomicBool,
    /// Whether its end was told to the server's standing.
    counted_out: AtomicBool,
    /// When its last slot came free, in microseconds of a [`Timestamp`].
    idle_since: AtomicU64,
}

impl Multiplexer {
    /// A slot, unless all are taken or the connection takes no more streams.
    ///
    /// Two callers at once could share the last slot, so a fleet calls it
    /// with its lock held.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Http2Lease> {
        if self.retired() || self.vitals.in_use.load(Relaxed) >= self.slots() {
            return None;
        }
        // A clone each: h2 keeps in the handle which stream it last queued.
        let mut sender = self.sender.clone();
        let mut cx = Context::from_waker(Waker::noop());
        // A fresh handle is always ready unless the connection is ending or
        // has had its GOAWAY, so this asks without waiting.
        match sender.poll_ready(&mut cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                self.end(&error);
                return None;
            }
            Poll::Pending => {
                self.retire();
                return None;
            }
        }
        self.vitals.in_use.fetch_add(1, Relaxed);
        Some(Http2Lease {
            sender,
            reused: self.served.swap(true, Relaxed),
            multiplexer: Arc::clone(self),
        })
    }

    /// It has ended, or takes no more streams, as its server said or not.
    fn end(&self, error: &h2::Error) {
        let away = error.is_go_away() && error.is_remote();
        self.retire();
        self.count_out(away && error.reason() == Some(Reason::NO_ERROR));
    }

    /// Ask it whether it has ended, and how.
    fn find_end(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Err(error)) = self.sender.clone().poll_ready(&mut cx) {
            self.end(&error);
        }
    }

    fn count_out(&self, told: bool) {
        if !self.counted_out.swap(true, Relaxed) {
            self.origin.standing.disconnected(told);
        }
    }

    /// How many streams may be open at once.
    pub(super) fn slots(&self) -> usize {
        self.sender.current_max_send_streams().min(SLOTS)
    }

    /// Take no more streams on it. Those in flight run on.
    pub(super) fn retire(&self) {
        self.vitals.retired.store(true, Relaxed);
    }

    pub(super) fn retired(&self) -> bool {
        self.vitals.retired.load(Relaxed)
    }

    pub(super) fn generation(&self) -> u32 {
        self.origin.generation
    }

    /// How long no slot has been taken; `None` while one is.
    pub(super) fn idle_for(&self, now: Timestamp) -> Option<Duration> {
        if self.vitals.in_use.load(Relaxed) > 0 {
            return None;
        }
        let since = Duration::from_micros(self.idle_since.load(Relaxed));
        Some(now.saturating_since(Timestamp::from_start(since)))
    }

    fn release(&self) {
        if self.vitals.in_use.fetch_sub(1, Relaxed) == 1 {
            self.idle_since.store(micros(clock::now()), Relaxed);
        }
    }
}

fn micros(at: Timestamp) -> u64 {
    u64::try_from(at.since_start().as_micros()).unwrap_or(u64::MAX)
}

impl Drop for Multiplexer {
    fn drop(&mut self) {
        self.count_out(false);
    }
}

/// A slot on a shared HTTP/2 connection. Dropping it frees the slot, so it is
/// held until the stream has ended.
pub struct Http2Lease {
    sender: SendRequest<Bytes>,
    multiplexer: Arc<Multiplexer>,
    reused: bool,
}

impl Http2Lease {
    /// Open the slot's stream with a request head.
    ///
    /// One stream per lease: a second call would open one that nobody counts.
    ///
    /// # Errors
    /// What h2 says, if the head is malformed or the connection has ended or
    /// was told to take no more streams; nothing has been sent then.
    pub fn send(
        &mut self,
        head: http::Request<()>,
        end_of_stream: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.sender.send_request(head, end_of_stream)
    }

    /// Whether the server takes CONNECT to a protocol, as its SETTINGS say
    /// (RFC 8441, section 3).
    #[must_use]
    pub fn takes_extended_connect(&self) -> bool {
        self.sender.is_extended_connect_protocol_enabled()
    }

    /// Whether the connection has carried a stream before this one.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Take no more streams on the connection, because the peer said GOAWAY
    /// or it broke. Streams in flight run on.
    pub fn retire(&self) {
        self.multiplexer.find_end();
        self.multiplexer.retire();
    }

    pub(super) fn server(&self) -> usize {
        self.multiplexer.origin.server
    }

    pub(super) fn server_name(&self) -> &Arc<str> {
        &self.multiplexer.origin.name
    }
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        self.multiplexer.release();
    }
}

/// Start HTTP/2 on `stream` and wait for the server's SETTINGS.
///
/// Waiting costs a new connection one round trip and spares it from opening
/// more streams than the server takes. It also finds out here, where nothing
/// was sent yet, that a server does not speak HTTP/2 at all.
pub(super) async fn handshake(stream: Stream, origin: Origin) -> Result<Arc<Multiplexer>, Failure> {
    handshake_with(stream, origin, Silence::USUAL).await
}

pub(super) async fn handshake_with(
    stream: Stream,
    origin: Origin,
    silence: Silence,
) -> Result<Arc<Multiplexer>, Failure> {
    let vitals = Arc::new(Vitals::default());
    let watched = Watched {
        inner: stream,
        vitals: Arc::clone(&vitals),
    };
    let failed = |error: h2::Error| Failure::reason(format!("HTTP/2: {error}"));
    let (sender, mut connection) = builder()
        .handshake::<_, Bytes>(watched)
        .await
        .map_err(failed)?;
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(Failure::reason(
            "HTTP/2: closed before the server's SETTINGS",
        ))),
        Poll::Ready(Err(error)) => Poll::Ready(Err(failed(error))),
        Poll::Pending if sender.current_max_send_streams() == UNKNOWN => Poll::Pending,
        Poll::Pending => Poll::Ready(Ok(())),
    })
    .await?;
    origin.standing.connected();
    let multiplexer = Arc::new(Multiplexer {
        counted_out: AtomicBool::new(false),
        sender,
        vitals: Arc::clone(&vitals),
        origin,
        served: AtomicBool::new(false),
        idle_since: AtomicU64::new(micros(clock::now())),
    });
    if multiplexer.slots() == 0 {
        return Err(Failure::reason("HTTP/2: it allows no streams"));
    }
    let held = Arc::downgrade(&multiplexer);
    tokio::spawn(async move {
        drive(connection, vitals, silence).await;
        if let Some(multiplexer) = held.upgrade() {
            multiplexer.find_end();
        }
    });
    Ok(multiplexer)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .data_frame_budget(FRAME_BUDGET)
        .initial_max_send_streams(UNKNOWN)
        .enable_push(false)
        .max_concurrent_streams(0)
        .max_header_list_size(HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESETS_KEPT)
        .reset_stream_duration(RESET_KEPT_FOR)
        .max_local_error_reset_streams(Some(MALFORMED));
    builder
}

/// Run a connection until it ends or its server is found gone.
async fn drive(mut connection: Connection<Watched, Bytes>, vitals: Arc<Vitals>, silence: Silence) {
    let pings = connection.ping_pong();
    tokio::select! {
        biased;
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::trace!(%error, "HTTP/2 connection to a server ended");
            }
        }
        () = gone(pings, &vitals, silence) => {
            tracing::debug!("HTTP/2 connection to a server closed: no answer to a PING");
        }
    }
    vitals.retired.store(true, Relaxed);
}

/// Returns when a server has been silent for too long and does not answer.
///
/// Looks in quarters of the limit instead of setting a timer with each read:
/// a silence is found up to a quarter late, and bytes cost one store.
async fn gone(pings: Option<PingPong>, vitals: &Vitals, silence: Silence) {
    let Some(mut pings) = pings else {
        return pending().await;
    };
    let mut quiet = 0;
    loop {
        sleep(silence.after / 4).await;
        if vitals.heard.swap(false, Relaxed) || vitals.in_use.load(Relaxed) == 0 {
            quiet = 0;
            continue;
        }
        quiet += 1;
        if quiet < 4 {
            continue;
        }
        loop {
            match timeout(silence.answer, pings.ping(Ping::opaque())).await {
                Ok(Ok(_)) => {}
                // The connection itself is about to say why.
                Ok(Err(_)) => return pending().await,
                Err(_) => return,
            }
            // The ack was heard too; what counts is whether more comes.
            vitals.heard.store(false, Relaxed);
            if !still_silent(vitals, silence).await {
                break;
            }
        }
        quiet = 0;
    }
}

/// Whether nothing at all is heard for `again`, with streams in flight.
async fn still_silent(vitals: &Vitals, silence: Silence) -> bool {
    let step = silence.after / 4;
    let mut waited = Duration::ZERO;
    while waited < silence.again {
        sleep(step).await;
        waited += step;
        if vitals.heard.swap(false, Relaxed) || vitals.in_use.load(Relaxed) == 0 {
            return false;
        }
    }
    true
}

/// A connection's bytes, with a note of each arrival.
struct Watched {
    inner: Stream,
    vitals: Arc<Vitals>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.vitals.heard.store(true, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
