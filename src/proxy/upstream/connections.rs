//! The connections of one upstream to its servers, counted.
//!
//! Purpose: how many are open, how many were made, and why others ended; and to
//! wait until the pools' own have closed.
//!
//! Invariant: a connection counts from its dial until its socket is closed,
//! whoever has it, also as a tunnel: what counts it goes with its bytes. Why it
//! ended is said once, by the first who knows. Counted is a connection and never
//! an exchange, so nothing here is on the way of one.
//!
//! Deliberately absent: connections of health checks, which are none of a pool.

use super::lifetime::{self, Birth, Closed, WHOLE};
use crate::config;
use crate::drain::Timestamp;
use parking_lot::Mutex;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Says how many of its connections are idle.
pub(super) trait Idles: Send + Sync {
    /// How many there are now.
    fn idle(&self) -> usize;
}

/// The connections of one upstream; one for the process, and it outlives a
/// reload.
#[derive(Default)]
pub struct Connections {
    open: AtomicUsize,
    /// Of the open ones, those that nobody waits for: they end with an exchange.
    given_up: AtomicUsize,
    made: AtomicU64,
    closed: [AtomicU64; Closed::ALL.len()],
    fewer: Notify,
    pools: Mutex<Vec<Weak<dyn Idles>>>,
}

impl Connections {
    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// How many of them have nothing in flight and wait in a pool.
    #[must_use]
    pub fn idle(&self) -> usize {
        let pools = self.pools.lock();
        let pools = pools.iter().filter_map(Weak::upgrade);
        pools.map(|pool| pool.idle()).sum()
    }

    /// How many were made.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// How many ended for this reason.
    #[must_use]
    pub fn closed(&self, why: Closed) -> u64 {
        self.closed[why.index()].load(Relaxed)
    }

    /// Wait until those have closed that pools have let go of. How many have not
    /// is what is left if this is given up.
    pub async fn until_closed(&self) {
        loop {
            let mut fewer = pin!(self.fewer.notified());
            // Asked for before it is looked, or the last one could close between.
            fewer.as_mut().enable();
            if self.left() == 0 {
                return;
            }
            fewer.await;
        }
    }

    /// How many open ones do not end with an exchange.
    #[must_use]
    pub fn left(&self) -> usize {
        let given_up = self.given_up.load(Acquire);
        self.open.load(Acquire).saturating_sub(given_up)
    }

    /// Ask this pool, too, how many are idle.
    pub(super) fn enter(&self, pool: Weak<dyn Idles>) {
        let mut pools = self.pools.lock();
        pools.retain(|known| known.strong_count() > 0);
        pools.push(pool);
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("open", &self.open)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

/// One worker's connections to one server.
#[derive(Debug)]
pub(super) struct Count {
    connections: Arc<Connections>,
    /// Those that may carry one more exchange, now or after their present ones.
    usable: AtomicUsize,
    /// Told when they become fewer.
    stirred: Arc<Notify>,
}

impl Count {
    pub(super) fn new(connections: &Arc<Connections>, stirred: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            connections: Arc::clone(connections),
            usable: AtomicUsize::new(0),
            stirred: Arc::clone(stirred),
        })
    }

    /// How many may carry one more exchange, now or later.
    pub(super) fn usable(&self) -> usize {
        self.usable.load(Relaxed)
    }
}

/// Whom a connection is made for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Lot {
    /// A pool: it may carry one exchange after the other.
    Pooled,
    /// One exchange.
    Alone,
}

/// What is known of one connection, by those who use it and those who run it.
#[derive(Debug)]
pub(super) struct Life {
    count: Arc<Count>,
    birth: Birth,
    carried: AtomicU64,
    /// In microseconds of a [`Timestamp`]; `u64::MAX` is never.
    expires: AtomicU64,
    /// Why it takes nothing new any more, if so.
    why: AtomicU8,
}

impl Life {
    /// One was made at `now`.
    pub(super) fn begin(
        count: &Arc<Count>,
        lot: Lot,
        now: Timestamp,
        pool: &config::Pool,
    ) -> Arc<Self> {
        let life = Self {
            count: Arc::clone(count),
            birth: Birth {
                at: now,
                draw: fastrand::u32(0..=WHOLE),
            },
            carried: AtomicU64::new(0),
            expires: AtomicU64::new(u64::MAX),
            why: AtomicU8::new(0),
        };
        life.hold_to(pool);
        let connections = &count.connections;
        connections.open.fetch_add(1, AcqRel);
        connections.made.fetch_add(1, Relaxed);
        count.usable.fetch_add(1, Relaxed);
        if lot == Lot::Alone {
            life.leaves(Closed::Exchange);
        }
        Arc::new(life)
    }

    pub(super) fn birth(&self) -> Birth {
        self.birth
    }

    /// Live as long as this config says.
    pub(super) fn hold_to(&self, pool: &config::Pool) {
        let expires = lifetime::expires(self.birth, pool);
        self.expires
            .store(expires.map_or(u64::MAX, micros), Relaxed);
    }

    /// Whether it is too old for anything new.
    pub(super) fn is_old(&self, now: Timestamp) -> bool {
        micros(now) >= self.expires.load(Relaxed)
    }

    /// It carries one more exchange; how many it carried before.
    pub(super) fn carries(&self) -> u64 {
        // Who has the connection, or its fleet, is alone: no other adds here.
        let before = self.carried.load(Relaxed);
        self.carried.store(before + 1, Relaxed);
        before
    }

    /// How many exchanges it has carried, with those that it carries now.
    pub(super) fn carried(&self) -> u64 {
        self.carried.load(Relaxed)
    }

    /// It takes nothing new, for this reason, unless there was one before.
    pub(super) fn leaves(&self, why: Closed) {
        let first = self
            .why
            .compare_exchange(0, why as u8, AcqRel, Acquire)
            .is_ok();
        if !first {
            return;
        }
        self.count.usable.fetch_sub(1, Relaxed);
        self.count.stirred.notify_one();
        if is_given_up(why) {
            self.count.connections.given_up.fetch_add(1, AcqRel);
            self.count.connections.fewer.notify_waiters();
        }
    }

    fn ended(&self) {
        self.leaves(Closed::Server);
        let why = Closed::numbered(self.why.load(Acquire)).unwrap_or(Closed::Server);
        let connections = &self.count.connections;
        connections.closed[why.index()].fetch_add(1, Relaxed);
        // First this one: in between it may look as if one more were left, and
        // never as if one less were.
        if is_given_up(why) {
            connections.given_up.fetch_sub(1, AcqRel);
        }
        connections.open.fetch_sub(1, AcqRel);
        connections.fewer.notify_waiters();
    }
}

/// Whether nobody waits for the end of such a connection: it is in nobody's hand
/// but its server's.
const fn is_given_up(why: Closed) -> bool {
    matches!(why, Closed::Exchange | Closed::Ping)
}

fn micros(at: Timestamp) -> u64 {
    u64::try_from(at.since_start().as_micros()).unwrap_or(u64::MAX)
}

/// The bytes of a dialled connection, clear text or TLS.
pub struct Stream {
    inner: pingora_core::protocols::Stream,
    // After the bytes, so that the socket is closed when it is counted out.
    life: Ending,
}

struct Ending(Arc<Life>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended();
    }
}

impl Stream {
    pub(super) fn new(inner: pingora_core::protocols::Stream, life: Arc<Life>) -> Self {
        Self {
            inner,
            life: Ending(life),
        }
    }

    pub(super) fn life(&self) -> &Arc<Life> {
        &self.life.0
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.life.0).finish()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
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
