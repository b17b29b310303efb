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

use super::connections::Life;
use super::lifetime::{Closed, is_spent};
use crate::clock;
use crate::config;
use crate::drain::Timestamp;
use crate::proxy::body::Body;
use hyper::client::conn::http1::SendRequest;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Connections that are looked at in search of a ready one.
const LOOKS: usize = 8;

/// A hold on an HTTP/1.1 connection, which closes without it.
pub(super) struct Held {
    pub(super) sender: SendRequest<Body>,
    life: Arc<Life>,
}

impl Held {
    pub(super) fn new(sender: SendRequest<Body>, life: Arc<Life>) -> Self {
        Self { sender, life }
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    /// Close it, for this reason.
    fn close(self, why: Closed) {
        self.life.leaves(why);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Whoever had a better reason has said so.
        self.life.leaves(if self.sender.is_closed() {
            Closed::Server
        } else {
            Closed::Exchange
        });
    }
}

struct Resting {
    held: Held,
    since: Timestamp,
}

impl Resting {
    /// Why it may not be used, if so.
    fn unfit(&self, now: Timestamp, pool: &config::Pool) -> Option<Closed> {
        if self.held.sender.is_closed() {
            Some(Closed::Server)
        } else if now.saturating_since(self.since) >= pool.idle {
            Some(Closed::Idle)
        } else if self.held.life.is_old(now) {
            Some(Closed::Age)
        } else {
            None
        }
    }
}

/// What one server's generation has; who came last stands last.
#[derive(Default)]
struct Stack {
    generation: u32,
    resting: VecDeque<Resting>,
}

impl Stack {
    fn clear(&mut self, why: Closed) {
        self.resting.drain(..).for_each(|one| one.held.close(why));
    }
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

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let stacks = self.stacks.iter();
        stacks.map(|stack| stack.lock().resting.len()).sum()
    }

    /// The stack of this generation; what an earlier one has left is let go of.
    /// None if a later one has begun.
    fn stack(&self, server: u32, generation: u32) -> Option<MutexGuard<'_, Stack>> {
        let mut stack = self.stacks[server as usize].lock();
        if stack.generation < generation {
            stack.generation = generation;
            stack.clear(Closed::Drain);
        }
        (stack.generation == generation).then_some(stack)
    }

    /// A connection that can take a request at once.
    pub(super) fn take_ready(
        &self,
        server: u32,
        generation: u32,
        pool: &config::Pool,
    ) -> Option<Held> {
        let mut stack = self.stack(server, generation)?;
        let now = clock::now();
        let mut place = stack.resting.len();
        for _ in 0..LOOKS {
            place = place.checked_sub(1)?;
            if let Some(why) = stack.resting[place].unfit(now, pool) {
                if let Some(unfit) = stack.resting.remove(place) {
                    unfit.held.close(why);
                }
            } else if stack.resting[place].held.sender.is_ready() {
                return stack.resting.remove(place).map(|resting| resting.held);
            }
        }
        None
    }

    /// Any open connection. Its task may not have run since the response
    /// ended: the caller waits until it is ready.
    pub(super) fn take_any(
        &self,
        server: u32,
        generation: u32,
        pool: &config::Pool,
    ) -> Option<Held> {
        let mut stack = self.stack(server, generation)?;
        let now = clock::now();
        loop {
            let resting = stack.resting.pop_back()?;
            match resting.unfit(now, pool) {
                None => return Some(resting.held),
                Some(why) => resting.held.close(why),
            }
        }
    }

    /// Keep a connection on which there is nothing, if it may carry more.
    pub(super) fn put(&self, server: u32, generation: u32, held: Held, pool: &config::Pool) {
        let Some(mut stack) = self.stack(server, generation) else {
            return held.close(Closed::Drain);
        };
        let now = clock::now();
        // Asked with the stack in hand, or one could be put there after it was
        // cleared for good.
        let against = if held.sender.is_closed() {
            Some(Closed::Server)
        } else if self.closed() {
            Some(Closed::Drain)
        } else if is_spent(held.life.carried(), pool) {
            Some(Closed::Requests)
        } else if held.life.is_old(now) {
            Some(Closed::Age)
        } else {
            None
        };
        if let Some(why) = against {
            return held.close(why);
        }
        stack.resting.push_back(Resting { held, since: now });
        shrink(&mut stack, pool.max_idle);
    }

    /// Let go of what is closed, too old, too many, or of an earlier generation.
    pub(super) fn sweep(&self, server: u32, generation: u32, now: Timestamp, pool: &config::Pool) {
        let Some(mut stack) = self.stack(server, generation) else {
            return;
        };
        stack.resting.retain(|resting| {
            // By a reload it may be another age than when it was made.
            resting.held.life.hold_to(pool);
            let unfit = resting.unfit(now, pool);
            if let Some(why) = unfit {
                resting.held.life.leaves(why);
            }
            unfit.is_none()
        });
        shrink(&mut stack, pool.max_idle);
    }

    /// Let go of what is of an earlier generation.
    pub(super) fn forget(&self, server: u32, generation: u32) {
        drop(self.stack(server, generation));
    }

    /// Let go of every connection, and keep none from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        for stack in &self.stacks {
            stack.lock().clear(Closed::Drain);
        }
    }

    pub(super) fn closed(&self) -> bool {
        self.closed.load(Relaxed)
    }
}

/// Let go of those that rested longest, if there are more than these.
fn shrink(stack: &mut Stack, most: usize) {
    while stack.resting.len() > most
        && let Some(oldest) = stack.resting.pop_front()
    {
        oldest.held.close(Closed::Excess);
    }
}
