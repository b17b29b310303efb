//! The HTTP/2 connections of one worker to one server.
//!
//! Purpose: find a free slot, and when there is none see to it that as many
//! connections are dialled as the waiting exchanges need, and no more. A
//! hundred streams that arrive at once before the first connection stands
//! need one dial, not a hundred.
//!
//! Invariant: who joins a dial is woken when it ends, however it ends, since
//! the dial runs in a task of its own and not in the future of an exchange
//! that its client may give up. The lock is never held across an await.
//!
//! When a connection grows old, the next one is dialled first; it takes nothing
//! more when that one stands, and at its age at the latest.
//!
//! Deliberately absent: the dialling itself (see `pool`).

use super::dial::Failure;
use super::lifetime::{Closed, expires, is_spent, renews};
use super::multiplex::{Http2Lease, Multiplexer};
use crate::config;
use crate::drain::Timestamp;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Dials under way to one server at most.
const DIALS: usize = 4;

/// How a dial ended; `None` while it has not.
pub(super) type Outcome = Option<Result<(), Failure>>;

/// What an exchange gets that asks for a slot.
pub(super) enum Turn {
    /// A slot.
    Slot(Http2Lease),
    /// The end of this dial is to be awaited, then asked again.
    Wait(watch::Receiver<Outcome>),
}

/// The connections, and the dials under way.
pub(super) struct Fleet {
    inner: Mutex<Inner>,
}

struct Inner {
    connections: Vec<Arc<Multiplexer>>,
    dials: Vec<Dial>,
    next_dial: u64,
    /// Slots that the last connection had, to guess what the next one has.
    usual: usize,
}

/// What is to be done for a fleet, besides what was done.
#[derive(Debug, Default)]
pub(super) struct Tended {
    /// Whether one is to be dialled that takes the place of another.
    pub(super) renew: bool,
    /// When to come again for one that grows old.
    pub(super) due: Option<Timestamp>,
}

struct Dial {
    id: u64,
    outcome: watch::Receiver<Outcome>,
    joined: usize,
}

impl Fleet {
    pub(super) fn new(streams: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                connections: Vec::new(),
                dials: Vec::new(),
                next_dial: 0,
                usual: streams,
            }),
        }
    }

    /// A slot on a connection of this generation, if one is free now.
    pub(super) fn reserve(&self, generation: u32, pool: &config::Pool) -> Option<Http2Lease> {
        self.inner.lock().reserve(generation, pool)
    }

    /// How many connections have no stream and may have more.
    pub(super) fn idle(&self) -> usize {
        let inner = self.inner.lock();
        let connections = inner.connections.iter();
        let idle = connections.filter(|one| !one.is_busy() && !one.retired());
        idle.count()
    }

    /// A slot, or a dial to wait for; `start` starts one with the id it is
    /// given, and reports to the sender it is given by [`Self::settle`].
    pub(super) fn turn(
        &self,
        generation: u32,
        pool: &config::Pool,
        start: impl FnOnce(u64, watch::Sender<Outcome>),
    ) -> Turn {
        let mut inner = self.inner.lock();
        if let Some(lease) = inner.reserve(generation, pool) {
            return Turn::Slot(lease);
        }
        let usual = inner.usual;
        let under_way = inner.dials.len();
        if let Some(dial) = inner
            .dials
            .iter_mut()
            .min_by_key(|dial| dial.joined)
            .filter(|dial| dial.joined < usual || under_way >= DIALS)
        {
            dial.joined += 1;
            return Turn::Wait(dial.outcome.clone());
        }
        let (id, report) = inner.begin(1);
        let outcome = report.subscribe();
        start(id, report);
        Turn::Wait(outcome)
    }

    /// Enter a dial that nobody has asked for, which may be joined.
    pub(super) fn begin(&self) -> (u64, watch::Sender<Outcome>) {
        self.inner.lock().begin(0)
    }

    /// Enter a connection that was dialled.
    pub(super) fn add(&self, connection: Arc<Multiplexer>) {
        let mut inner = self.inner.lock();
        inner.usual = connection.slots().max(1);
        inner.connections.push(connection);
    }

    /// A dial has ended: nobody may join it any more.
    pub(super) fn settle(&self, id: u64) {
        self.inner.lock().dials.retain(|dial| dial.id != id);
    }

    /// Let go of connections that have ended, are of another generation, too old,
    /// too long idle, or too many. Each closes with its last stream. `dial` is how
    /// long one may take to be made, and `warm` whether there is to be one also if
    /// nobody uses it.
    pub(super) fn tend(
        &self,
        generation: u32,
        now: Timestamp,
        pool: &config::Pool,
        (dial, warm): (Duration, bool),
    ) -> Tended {
        let mut tended = Tended::default();
        let mut idle = 0;
        let mut inner = self.inner.lock();
        inner.connections.retain(|connection| {
            let rested = connection.idle_for(now);
            idle += usize::from(rested.is_some());
            let expires = expires(connection.birth(), pool);
            let why = if connection.generation() != generation {
                Some(Closed::Drain)
            } else if expires.is_some_and(|expires| expires <= now) {
                Some(Closed::Age)
            } else if rested.is_some_and(|rested| rested >= pool.idle) {
                Some(Closed::Idle)
            } else if rested.is_some() && idle > pool.max_idle {
                Some(Closed::Excess)
            } else {
                None
            };
            if let Some(why) = why {
                connection.retire(why);
            }
            if connection.retired() {
                return false;
            }
            let renews = renews(connection.birth(), pool, dial);
            let used = warm || rested.is_none_or(|rested| rested < dial);
            let renewing = connection.renewing();
            if used && !renewing && renews.is_some_and(|renews| renews <= now) {
                connection.renew();
                tended.renew = true;
            }
            let next = renews.filter(|renews| *renews > now).or(expires);
            tended.due = tended.due.into_iter().chain(next).min();
            true
        });
        tended
    }

    /// Those whose successor was dialled take nothing more.
    pub(super) fn renewed(&self) {
        self.inner.lock().let_go(Multiplexer::renewing, Closed::Age);
    }

    /// Let go of connections of another generation.
    pub(super) fn forget(&self, generation: u32) {
        let other = |one: &Multiplexer| one.generation() != generation;
        self.inner.lock().let_go(other, Closed::Drain);
    }

    /// Let go of every connection.
    pub(super) fn clear(&self, why: Closed) {
        self.inner.lock().let_go(|_| true, why);
    }

    /// How many connections are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner.lock().connections.len()
    }
}

impl Inner {
    fn begin(&mut self, joined: usize) -> (u64, watch::Sender<Outcome>) {
        let (report, outcome) = watch::channel(None);
        let id = self.next_dial;
        self.next_dial += 1;
        self.dials.push(Dial {
            id,
            outcome,
            joined,
        });
        (id, report)
    }

    fn let_go(&mut self, whom: impl Fn(&Multiplexer) -> bool, why: Closed) {
        self.connections.retain(|connection| {
            let goes = whom(connection);
            if goes {
                connection.retire(why);
            }
            !goes
        });
    }

    fn reserve(&mut self, generation: u32, pool: &config::Pool) -> Option<Http2Lease> {
        let mut gone = false;
        // The first with room, always: the later ones then fall idle and go.
        let lease = self.connections.iter().find_map(|connection| {
            if connection.generation() != generation {
                connection.retire(Closed::Drain);
                gone = true;
                return None;
            }
            let lease = connection.reserve();
            match lease {
                Some(_) if is_spent(connection.carried(), pool) => {
                    connection.retire(Closed::Requests);
                }
                None if connection.is_useless() => connection.retire(Closed::Server),
                _ => {}
            }
            gone |= connection.retired();
            lease
        });
        if gone {
            self.connections
                .retain(|held| !held.retired() && held.generation() == generation);
        }
        lease
    }
}
