//! One HTTP/2 connection to a server, shared by many exchanges.
//!
//! Purpose: hand out slots, one per stream, and take them back.
//!
//! Invariant: never more slots than the server allows streams, as its
//! SETTINGS say (RFC 9113, section 5.1.2). h2 would queue what is too much,
//! unseen and unbounded, so the slots are counted here, and a connection
//! serves only once the server's SETTINGS have come. The server may change its
//! mind at any time: what it says is not read before the streams are opened that
//! were begun by what it had said before (see `http2`).
//!
//! Deliberately absent: what to do when no slot is free (see `fleet`), running
//! the connection (see `http2`), and the meaning of a stream's end (see the
//! relay).

use super::connections::Life;
use super::lifetime::{Birth, Closed};
use super::standing::Standing;
use crate::clock;
use crate::drain::Timestamp;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What the connection's task and those who use it tell each other. Apart
/// from the [`Multiplexer`], since h2 closes a connection when the last
/// handle is gone: its own task must not hold one.
#[derive(Debug)]
pub(super) struct Vitals {
    pub(super) in_use: AtomicUsize,
    retired: AtomicBool,
    pub(super) heard: AtomicBool,
    /// Streams were begun, and h2 has not opened them yet.
    pub(super) begun: AtomicBool,
    pub(super) life: Arc<Life>,
}

impl Vitals {
    pub(super) fn new(life: &Arc<Life>) -> Self {
        Self {
            in_use: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            life: Arc::clone(life),
        }
    }

    /// It takes no more streams, for this reason, unless there was one before.
    pub(super) fn retire(&self, why: Closed) {
        self.retired.store(true, Relaxed);
        self.life.leaves(why);
    }
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
    /// Streams at once at most, whatever the server allows.
    most: usize,
    /// Whether the one is being dialled that is to take its place.
    renewing: AtomicBool,
    /// Whether its end was told to the server's standing.
    counted_out: AtomicBool,
    /// When its last slot came free, in microseconds of a [`Timestamp`].
    idle_since: AtomicU64,
}

impl Multiplexer {
    pub(super) fn new(
        sender: SendRequest<Bytes>,
        vitals: &Arc<Vitals>,
        origin: Origin,
        most: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            sender,
            vitals: Arc::clone(vitals),
            origin,
            most,
            renewing: AtomicBool::new(false),
            counted_out: AtomicBool::new(false),
            idle_since: AtomicU64::new(micros(clock::now())),
        })
    }

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
                self.retire(Closed::Server);
                return None;
            }
        }
        self.vitals.in_use.fetch_add(1, Relaxed);
        Some(Http2Lease {
            sender,
            reused: self.vitals.life.carries() > 0,
            multiplexer: Arc::clone(self),
        })
    }

    /// It has ended, or takes no more streams, as its server said or not.
    fn end(&self, error: &h2::Error) {
        let away = error.is_go_away() && error.is_remote();
        self.retire(Closed::Server);
        self.count_out(away && error.reason() == Some(Reason::NO_ERROR));
    }

    /// Ask it whether it has ended, and how.
    pub(super) fn find_end(&self) {
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

    /// How many streams may be open at once, as its server says now.
    pub(super) fn slots(&self) -> usize {
        self.sender.current_max_send_streams().min(self.most)
    }

    /// Take no more streams on it, for this reason. Those in flight run on.
    pub(super) fn retire(&self, why: Closed) {
        self.vitals.retire(why);
    }

    pub(super) fn retired(&self) -> bool {
        self.vitals.retired.load(Relaxed)
    }

    pub(super) fn birth(&self) -> Birth {
        self.vitals.life.birth()
    }

    /// How many streams it has carried, with those that it carries now.
    pub(super) fn carried(&self) -> u64 {
        self.vitals.life.carried()
    }

    /// Whether a slot is taken.
    pub(super) fn is_busy(&self) -> bool {
        self.vitals.in_use.load(Relaxed) > 0
    }

    /// Whether its server allows no stream any more, and none is left. Kept, it
    /// would be beside each one that is dialled for want of a slot.
    pub(super) fn is_useless(&self) -> bool {
        // Asked last, as h2 takes a lock for it.
        !self.is_busy() && self.slots() == 0
    }

    /// Whether the one is being dialled that is to take its place.
    pub(super) fn renewing(&self) -> bool {
        self.renewing.load(Relaxed)
    }

    pub(super) fn renew(&self) {
        self.renewing.store(true, Relaxed);
    }

    pub(super) fn generation(&self) -> u32 {
        self.origin.generation
    }

    /// How long no slot has been taken; `None` while one is.
    pub(super) fn idle_for(&self, now: Timestamp) -> Option<Duration> {
        if self.is_busy() {
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
        self.multiplexer.vitals.begun.store(true, Relaxed);
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
        self.multiplexer.retire(Closed::Server);
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
