//! HTTP/2 on a dialled connection: its settings, its task, its end.
//!
//! Purpose: do the handshake, run the connection, and find out that its server
//! has fallen silent.
//!
//! Invariant: a connection that answers no PING in time has ended, whatever was
//! on it: who waits for an answer there is told at once. What a server may send
//! before it is read is bounded, for each stream and for all. h2 opens streams when
//! the connection's task runs next, after it has read what has come: SETTINGS that
//! allow fewer would leave a stream unopened that had its slot, for as long as they
//! hold. So while streams are to be opened nothing is read; it is as if it came a
//! moment later. (Where the socket takes nothing, they wait all the same.)
//!
//! Deliberately absent: when a PING is sent (see `silence`), and its slots (see
//! `multiplex`).

use super::connections::Stream;
use super::dial::Failure;
use super::lifetime::Closed;
use super::multiplex::{Multiplexer, Origin, Vitals};
use super::silence::{Lull, Seen, Silence};
use bytes::Bytes;
use h2::client::{Builder, Connection};
use h2::{Ping, PingPong};
use std::future::{Future, pending, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};

/// What a server may send on one stream before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;

/// For so many streams there is room, however few there may be: frames cost some
/// of it, too.
const LEAST_WINDOWS: usize = 16;

/// What a window may be (RFC 9113, section 6.9.1).
const MOST_WINDOW: u32 = (1 << 31) - 1;

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

/// Start HTTP/2 on `stream` and wait for the server's SETTINGS.
///
/// Waiting costs a new connection one round trip and spares it from opening
/// more streams than the server takes. It also finds out here, where nothing
/// was sent yet, that a server does not speak HTTP/2 at all.
pub(super) async fn handshake(
    stream: Stream,
    origin: Origin,
    streams: usize,
    silence: Option<Silence>,
) -> Result<Arc<Multiplexer>, Failure> {
    let vitals = Arc::new(Vitals::new(stream.life()));
    let watched = Watched {
        inner: stream,
        vitals: Arc::clone(&vitals),
        later: Vec::new(),
    };
    let failed = |error: h2::Error| Failure::reason(format!("HTTP/2: {error}"));
    let (sender, mut connection) = builder(streams)
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
    let multiplexer = Multiplexer::new(sender, &vitals, origin, streams);
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

fn builder(streams: usize) -> Builder {
    let mut builder = Builder::new();
    // All slots' windows together, so that streams which nobody reads cannot
    // stop their siblings.
    let windows = u32::try_from(streams.max(LEAST_WINDOWS)).unwrap_or(u32::MAX);
    let window = STREAM_WINDOW.saturating_mul(windows).min(MOST_WINDOW);
    // In proportion, so that one slow reader of a chatty stream does not end the
    // connection of all, and finite all the same.
    let budget = window as usize / 2;
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window)
        .data_frame_budget(budget)
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
async fn drive(
    mut connection: Connection<Watched, Bytes>,
    vitals: Arc<Vitals>,
    silence: Option<Silence>,
) {
    let pings = connection.ping_pong();
    let gone = async {
        match silence {
            Some(silence) => gone(pings, &vitals, silence).await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::trace!(%error, "HTTP/2 connection to a server ended");
            }
        }
        () = gone => {
            vitals.retire(Closed::Ping);
            tracing::debug!("HTTP/2 connection to a server closed: no answer to a PING");
        }
    }
    vitals.retire(Closed::Server);
}

/// Returns when a server has been silent for too long and does not answer.
async fn gone(pings: Option<PingPong>, vitals: &Vitals, silence: Silence) {
    let Some(mut pings) = pings else {
        return pending().await;
    };
    let mut lull = Lull::default();
    let mut carried = 0;
    loop {
        sleep(silence.quarter()).await;
        let before = std::mem::replace(&mut carried, vitals.life.carried());
        let seen = Seen {
            heard: vitals.heard.swap(false, Relaxed),
            opened: carried > before,
            busy: vitals.in_use.load(Relaxed) > 0,
        };
        if !lull.quarter(seen, &silence) {
            continue;
        }
        match timeout(silence.answer, pings.ping(Ping::opaque())).await {
            // The ack was heard too; what counts is whether more comes.
            Ok(Ok(_)) => vitals.heard.store(false, Relaxed),
            // The connection itself is about to say why.
            Ok(Err(_)) => return pending().await,
            Err(_) => return,
        }
    }
}

/// A connection's bytes, with a note of each arrival.
struct Watched {
    inner: Stream,
    vitals: Arc<Vitals>,
    /// What came while streams were to be opened.
    later: Vec<u8>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.later.is_empty() {
            let size = buf.remaining().min(self.later.len());
            buf.put_slice(&self.later[..size]);
            self.later.drain(..size);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf)?;
        let begun = self.vitals.begun.load(Relaxed);
        if begun {
            self.vitals.begun.store(false, Relaxed);
        }
        ready!(read);
        if buf.filled().len() > before {
            self.vitals.heard.store(true, Relaxed);
            if begun {
                self.later.extend_from_slice(&buf.filled()[before..]);
                buf.set_filled(before);
                // The streams are opened now, and then this is read.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
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
