//! The loop of an HTTP/2 connection.
//!
//! One task owns the connection: it accepts streams, gives each a task of its
//! own, and says GOAWAY. Retirement has two steps (RFC 9113, section 6.8):
//! GOAWAY(2^31-1) and PING, and once the answer shows that the client has read
//! it, the GOAWAY that names the last stream served, after what the client had
//! sent by then (see [`PongLast`]). A client that does not answer is not waited
//! for once nothing is in flight.
//!
//! Invariant: a stream that was opened is served; nothing here resets one.
//! Deliberately absent: the streams' deadlines, which their own tasks keep.

mod calm;
mod ear;
mod floods;
mod keepalive;
mod pong;
mod preface;
mod refused;

pub(in crate::proxy) use preface::PREFACE;

use super::edge::Edge;
use super::half_open::bounded;
use super::pace::{self, Act, Alarm, View};
use super::tunnel::Stream;
use super::websocket;
use crate::clock;
use crate::config::Limits;
use crate::drain::{Farewell, Outcome, Timestamp};
use crate::proxy::registry::{ConnectionGuard, Heard, Limit, State};
use crate::proxy::request::{Agreed, Sites, StreamEnd, serve_http2};
use bytes::Bytes;
use ear::{Overheard, Word};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;
use keepalive::{Found, Keeper};
use pong::PongLast;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// How long a client whose preface was refused is guarded from a reset.
const LINGER: Duration = Duration::from_secs(1);

/// A stream's window: what a client may send ahead of a slow server.
const STREAM_WINDOW: u32 = 128 * 1024;

/// Bytes of answers that may wait for the socket, per stream.
const SEND_BUFFER: usize = 256 * 1024;

struct Loop {
    sites: Arc<Sites>,
    guard: Arc<ConnectionGuard>,
    retired: Option<Timestamp>,
    closing: bool,
    word: Arc<Word>,
    heard: Heard,
    alarm: Alarm,
    keeper: Keeper,
    /// Rings when the keeper is to look.
    look: Alarm,
    pings: Option<PingPong>,
}

/// Serve a connection that speaks HTTP/2 until it is over.
pub(super) async fn serve(sites: Arc<Sites>, guard: Arc<ConnectionGuard>, mut edge: Edge) {
    let site = sites.now();
    guard.enter(State::Preface);
    let listener = site.listener();
    let begun = bounded(&guard, listener, preface::read(&mut edge)).await;
    match begun {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(reason))) => return refuse(edge, reason).await,
        Ok(Err(error)) => return no_preface(&guard, &error),
        Err(Act::Cut) => return,
        Err(act) => {
            match act {
                Act::Farewell => guard.conclude(Outcome::Farewelled(Farewell::Fin)),
                act => act.count(guard.scope()),
            }
            return edge.close().await;
        }
    }
    // Until all is acknowledged: a client answers the last bytes of a stream
    // with a window update, and that with a reset would cost it those bytes.
    edge.set_linger(Duration::ZERO);
    let word = Arc::<Word>::default();
    let most = (listener.keepalive.least, listener.limits.frames);
    let edge = PongLast::new(edge);
    let edge = Overheard::new(edge, Arc::clone(&word), Arc::clone(&guard), most);
    let engine = settings(&listener.limits).handshake::<_, Bytes>(edge);
    let mut conn = match bounded(&guard, listener, engine).await {
        Ok(Ok(conn)) => conn,
        Ok(Err(error)) => return no_preface(&guard, &error),
        Err(act) => return act.count(guard.scope()),
    };
    guard.enter(State::Idle);
    let mut this = Loop {
        heard: Heard::from(guard.scope()),
        sites,
        guard,
        retired: None,
        closing: false,
        word,
        alarm: Alarm::default(),
        keeper: Keeper::default(),
        look: Alarm::default(),
        pings: conn.ping_pong(),
    };
    poll_fn(|cx| this.poll(cx, &mut conn)).await;
}

fn no_preface(guard: &ConnectionGuard, error: &impl std::fmt::Display) {
    tracing::debug!(connection = guard.id, %error, "no HTTP/2 preface");
}

/// Say why, and close so that it is heard.
async fn refuse(mut edge: Edge, reason: Reason) {
    edge.set_linger(LINGER);
    let says = preface::refusal(reason);
    // A client that does not take it will not miss it.
    let said = tokio::time::timeout(LINGER, edge.write_all(&says)).await;
    if matches!(said, Ok(Ok(()))) {
        edge.close().await;
    }
}

/// Windows: the connection's exceeds what all streams may hold, so that
/// stalled uploads do not stop their siblings. Malformed streams are bounded with
/// those that are taken back (CVE-2025-8671); on both the engine has limits of its
/// own beside ours (CVE-2023-44487).
fn settings(limits: &Limits) -> Builder {
    let connection_window = STREAM_WINDOW
        .saturating_mul(limits.streams.max(8))
        .min(64 * 1024 * 1024);
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(Some(2 * limits.resets as usize))
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    builder
}

/// Whether the engine ended the connection for what its client sent too much
/// of.
fn is_flood(error: &h2::Error) -> bool {
    error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)
}

impl Loop {
    fn poll(&mut self, cx: &mut Context<'_>, conn: &mut Connection<Overheard, Bytes>) -> Poll<()> {
        // Enlisted before the orders are read, or new ones go unnoticed.
        self.guard.waker.register(cx.waker());
        loop {
            while let Poll::Ready(accepted) = conn.poll_accept(cx) {
                match accepted {
                    Some(Ok((request, respond))) => self.stream(request, respond),
                    Some(Err(error)) => {
                        if is_flood(&error) {
                            let limit = self.word.flood_by_engine().unwrap_or(Limit::Frames);
                            self.guard.scope().limited(limit);
                        }
                        tracing::debug!(connection = self.guard.id, %error, "HTTP/2 connection ended");
                        return Poll::Ready(());
                    }
                    None => return Poll::Ready(()),
                }
            }
            if let Some(limit) = self.offends() {
                let peer = self.guard.client.address();
                tracing::warn!(connection = self.guard.id, %peer, limit = limit.as_str(), "told to calm down");
                self.guard.scope().limited(limit);
                self.closing = true;
                conn.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            match self.poll_due(cx, conn.has_streams()) {
                None if self.is_gone(cx, conn.has_streams()) => {
                    self.guard.scope().limited(Limit::Keepalive);
                    return Poll::Ready(());
                }
                None => return Poll::Pending,
                Some(act @ Act::Retire(_)) => {
                    act.count(self.guard.scope());
                    self.guard.retire();
                    conn.graceful_shutdown();
                }
                // Only with nothing in flight: this resets what there is.
                Some(Act::Close(_)) if !self.closing => {
                    self.closing = true;
                    conn.abrupt_shutdown(Reason::NO_ERROR);
                }
                Some(_) => return Poll::Ready(()),
            }
            // What was said must be polled to be sent.
            let now = clock::now();
            self.retired = Some(now);
            self.word.give(now);
        }
    }

    /// What the client does too often, if anything, and was not told yet.
    fn offends(&self) -> Option<Limit> {
        if self.closing {
            None
        } else if pace::restless(&self.guard, self.sites.look().listener().limits.resets) {
            Some(Limit::Resets)
        } else if self.word.is_rude() {
            Some(Limit::Pings)
        } else {
            self.word.flood()
        }
    }

    fn poll_due(&mut self, cx: &mut Context<'_>, busy: bool) -> Option<Act> {
        let orders = self.heard.refresh(self.guard.scope());
        let view = View::of(&self.guard, busy, self.retired);
        let due = pace::http2(&view, self.sites.look().listener(), orders);
        self.alarm.poll(cx, due)
    }

    /// Whether the client has streams, but is not there any more.
    fn is_gone(&mut self, cx: &mut Context<'_>, busy: bool) -> bool {
        let keepalive = self.sites.look().listener().keepalive;
        loop {
            let due = self
                .keeper
                .due(busy.then(|| self.guard.since()), &keepalive);
            if self.look.poll(cx, due.map(|at| (at, ()))).is_none() {
                return false;
            }
            let received = self.guard.received.load(Relaxed);
            match self.keeper.look(clock::now(), received, &keepalive) {
                Found::There => {}
                Found::Silent => self.ping(cx),
                Found::Gone => {
                    tracing::debug!(
                        connection = self.guard.id,
                        "no answer to a PING: the client is gone"
                    );
                    return true;
                }
            }
        }
    }

    fn ping(&mut self, cx: &mut Context<'_>) {
        if let Some(pings) = &mut self.pings {
            // The answer to the last one must be taken before the next is sent.
            let _ = pings.poll_pong(cx);
            // One that is under way asks as well.
            let _ = pings.send_ping(Ping::opaque());
        }
    }

    /// The exchange is entered in the registry before its task first runs:
    /// in between, the connection would seem idle.
    fn stream(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.word.accept(u32::from(respond.stream_id()));
        if let Some(told) = self.retired
            && !self.word.answered()
        {
            self.guard
                .scope()
                .after_goaway(self.guard.client.address(), told);
        }
        let (site, guard) = (self.sites.now(), Arc::clone(&self.guard));
        // Boxed: a spawn moves its future half a dozen times.
        tokio::spawn(Box::pin(serve_http2(site, guard, request, respond, tunnel)));
    }
}

/// Run a tunnel over one of the streams.
fn tunnel(agreed: Agreed<StreamEnd>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async {
        let StreamEnd { source, sink } = agreed.client;
        let client = Stream::new(source, sink);
        if let Err(error) =
            websocket::relay_to(agreed.server, agreed.exchange, client, Bytes::new()).await
        {
            tracing::debug!(%error, "upgrade failed");
        }
    })
}

/// A frame without flags (RFC 9113, section 4.1).
#[cfg(test)]
fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, 0]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
