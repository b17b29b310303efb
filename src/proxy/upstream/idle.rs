//! The idle HTTP/1.1 connections of one worker.
//!
//! Purpose: keep connections between exchanges, in pingora's pool, and hand
//! out only such as can take a request at once.
//!
//! Invariant: bounded in number (the least recently used goes first) and in
//! age. The key is server and generation: a drain of one server begins a new
//! generation, after which no connection of the old one can be found or put
//! back, without anybody having to look for them.
//!
//! Deliberately absent: a timer or a reading task per idle connection. The
//! connection's own task sees it close; age is stamped on the way in and read
//! on the way out; a rare sweep lets go of what nobody asks for.

use crate::clock;
use crate::drain::Timestamp;
use crate::proxy::body::Body;
use hyper::client::conn::http1::SendRequest;
use pingora_pool::{ConnectionMeta, ConnectionPool};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Idle connections of one worker to one upstream at most.
const ROOM: usize = 1024;

/// How long a connection may be idle and still be used.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Connections that are looked at in search of a ready one.
const LOOKS: usize = 8;

/// A handle to an HTTP/1.1 connection.
pub(super) type Sender = SendRequest<Body>;

struct Resting {
    sender: Sender,
    since: Timestamp,
}

/// The idle connections.
pub(super) struct Idle {
    pool: ConnectionPool<Resting>,
    next_id: AtomicI32,
    closed: AtomicBool,
    /// Of each server, the oldest generation of which some may be left.
    oldest: Box<[AtomicU32]>,
}

fn key(server: u32, generation: u32) -> u64 {
    u64::from(server) << 32 | u64::from(generation)
}

impl Idle {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            pool: ConnectionPool::new(ROOM),
            next_id: AtomicI32::new(0),
            closed: AtomicBool::new(false),
            oldest: (0..servers).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// A connection that can take a request at once.
    pub(super) fn take_ready(&self, server: u32, generation: u32) -> Option<Sender> {
        let now = clock::now();
        let mut found = None;
        let mut unready: [Option<Resting>; LOOKS] = Default::default();
        for place in &mut unready {
            let Some(resting) = self.take(server, generation, now) else {
                break;
            };
            if resting.sender.is_ready() {
                found = Some(resting.sender);
                break;
            }
            *place = Some(resting);
        }
        for resting in unready.into_iter().flatten() {
            self.put_back(server, generation, resting);
        }
        found
    }

    /// Any open connection. Its task may not have run since the response
    /// ended: the caller waits until it is ready.
    pub(super) fn take_any(&self, server: u32, generation: u32) -> Option<Sender> {
        self.take(server, generation, clock::now())
            .map(|resting| resting.sender)
    }

    fn take(&self, server: u32, generation: u32, now: Timestamp) -> Option<Resting> {
        let key = key(server, generation);
        loop {
            let resting = self.pool.get(&key)?;
            if !resting.sender.is_closed() && now.saturating_since(resting.since) < IDLE_LIMIT {
                return Some(resting);
            }
        }
    }

    /// Keep a connection whose exchange is over.
    pub(super) fn put(&self, server: u32, generation: u32, sender: Sender) {
        if sender.is_closed() || self.closed.load(Relaxed) {
            return;
        }
        let since = clock::now();
        self.put_back(server, generation, Resting { sender, since });
    }

    fn put_back(&self, server: u32, generation: u32, resting: Resting) {
        // Ids wrap after two thousand million exchanges; of those in the pool
        // at once no two are the same.
        let id = self.next_id.fetch_add(1, Relaxed);
        let meta = ConnectionMeta::new(key(server, generation), id);
        // Nobody waits for its eviction: dropping the sender closes it.
        let _ = self.pool.put(&meta, resting);
    }

    /// Let go of what is closed, too old, or of an earlier generation.
    pub(super) fn sweep(&self, server: u32, generation: u32, now: Timestamp) {
        self.forget(server, generation);
        // Taking checks; what passes is put back when all others are gone.
        let mut fit = Vec::new();
        while let Some(resting) = self.take(server, generation, now) {
            fit.push(resting);
        }
        for resting in fit {
            self.put_back(server, generation, resting);
        }
    }

    /// Let go of what is of an earlier generation.
    pub(super) fn forget(&self, server: u32, generation: u32) {
        let oldest = self.oldest[server as usize].swap(generation, Relaxed);
        for earlier in oldest..generation {
            self.clear(server, earlier);
        }
    }

    /// Let go of every connection of a generation.
    pub(super) fn clear(&self, server: u32, generation: u32) {
        while self.pool.get(&key(server, generation)).is_some() {}
    }

    /// Keep nothing from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    pub(super) fn closed(&self) -> bool {
        self.closed.load(Relaxed)
    }
}
