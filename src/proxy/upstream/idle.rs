//! The idle HTTP/1.1 connections of one worker.
//!
//! Purpose: keep connections between exchanges, and hand out only such as can
//! take a request at once; the one that rested shortest first, so that those
//! which are too many grow old and go.
//!
//! Invariant: bounded in number (of a server, the least recently used goes
//! first) and in age. A stack holds one generation of its server's connections:
//! a drain of that server begins a new one, after which no connection of the
//! old one can be found or put back, without anybody having to look for them.
//!
//! Deliberately absent: a timer or a reading task per idle connection. The
//! connection's own task sees it close; age is stamped on the way in and read
//! on the way out; a rare sweep lets go of what nobody asks for. Absent too is
//! pingora's pool, which hashes, allocates and counts for each exchange what one
//! worker need not share with others.

use crate::clock;
use crate::drain::Timestamp;
use crate::proxy::body::Body;
use hyper::client::conn::http1::SendRequest;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Idle connections of one worker to one server at most.
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

impl Resting {
    fn is_fit(&self, now: Timestamp) -> bool {
        !self.sender.is_closed() && now.saturating_since(self.since) < IDLE_LIMIT
    }
}

/// What one server's generation has; who came last stands last.
#[derive(Default)]
struct Stack {
    generation: u32,
    resting: VecDeque<Resting>,
}

/// The idle connections.
pub(super) struct Idle {
    stacks: Box<[Mutex<Stack>]>,
    closed: AtomicBool,
}

impl Idle {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            stacks: (0..servers).map(|_| Mutex::default()).collect(),
            closed: AtomicBool::new(false),
        }
    }

    /// The stack of this generation; what an earlier one has left is let go of.
    /// None if a later one has begun.
    fn stack(&self, server: u32, generation: u32) -> Option<MutexGuard<'_, Stack>> {
        let mut stack = self.stacks[server as usize].lock();
        if stack.generation < generation {
            stack.generation = generation;
            stack.resting.clear();
        }
        (stack.generation == generation).then_some(stack)
    }

    /// A connection that can take a request at once.
    pub(super) fn take_ready(&self, server: u32, generation: u32) -> Option<Sender> {
        let mut stack = self.stack(server, generation)?;
        let now = clock::now();
        let mut place = stack.resting.len();
        for _ in 0..LOOKS {
            place = place.checked_sub(1)?;
            if !stack.resting[place].is_fit(now) {
                stack.resting.remove(place);
            } else if stack.resting[place].sender.is_ready() {
                return stack.resting.remove(place).map(|resting| resting.sender);
            }
        }
        None
    }

    /// Any open connection. Its task may not have run since the response
    /// ended: the caller waits until it is ready.
    pub(super) fn take_any(&self, server: u32, generation: u32) -> Option<Sender> {
        let mut stack = self.stack(server, generation)?;
        let now = clock::now();
        loop {
            let resting = stack.resting.pop_back()?;
            if resting.is_fit(now) {
                return Some(resting.sender);
            }
        }
    }

    /// Keep a connection whose exchange is over.
    pub(super) fn put(&self, server: u32, generation: u32, sender: Sender) {
        let Some(mut stack) = self.stack(server, generation) else {
            return;
        };
        // Asked with the stack in hand, or one could be put there after it was
        // cleared for good.
        if sender.is_closed() || self.closed() {
            return;
        }
        if stack.resting.len() == ROOM {
            stack.resting.pop_front();
        }
        let since = clock::now();
        stack.resting.push_back(Resting { sender, since });
    }

    /// Let go of what is closed, too old, or of an earlier generation.
    pub(super) fn sweep(&self, server: u32, generation: u32, now: Timestamp) {
        if let Some(mut stack) = self.stack(server, generation) {
            stack.resting.retain(|resting| resting.is_fit(now));
        }
    }

    /// Let go of what is of an earlier generation.
    pub(super) fn forget(&self, server: u32, generation: u32) {
        drop(self.stack(server, generation));
    }

    /// Let go of every connection, and keep none from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        for stack in &self.stacks {
            stack.lock().resting.clear();
        }
    }

    pub(super) fn closed(&self) -> bool {
        self.closed.load(Relaxed)
    }
}
