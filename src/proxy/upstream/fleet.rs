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
//! Deliberately absent: the dialling itself (see `pool`).

use super::dial::Failure;
use super::multiplex::{Http2Lease, Multiplexer, SLOTS};
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

struct Dial {
    id: u64,
    outcome: watch::Receiver<Outcome>,
    joined: usize,
}

impl Fleet {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                connections: Vec::new(),
                dials: Vec::new(),
                next_dial: 0,
                usual: SLOTS,
            }),
        }
    }

    /// A slot on a connection of this generation, if one is free now.
    pub(super) fn reserve(&self, generation: u32) -> Option<Http2Lease> {
        self.inner.lock().reserve(generation)
    }

    /// A slot, or a dial to wait for; `start` starts one with the id it is
    /// given, and reports to the sender it is given by [`Self::settle`].
    pub(super) fn turn(
        &self,
        generation: u32,
        start: impl FnOnce(u64, watch::Sender<Outcome>),
    ) -> Turn {
        let mut inner = self.inner.lock();
        if let Some(lease) = inner.reserve(generation) {
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
        let (report, outcome) = watch::channel(None);
        let id = inner.next_dial;
        inner.next_dial += 1;
        inner.dials.push(Dial {
            id,
            outcome: outcome.clone(),
            joined: 1,
        });
        start(id, report);
        Turn::Wait(outcome)
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

    /// Let go of connections that have ended, are of another generation, or
    /// have been idle for `limit`. Each closes with its last stream.
    pub(super) fn sweep(&self, generation: u32, now: Timestamp, limit: Duration) {
        self.inner.lock().connections.retain(|connection| {
            !connection.retired()
                && connection.generation() == generation
                && connection.idle_for(now).is_none_or(|idle| idle < limit)
        });
    }

    /// Let go of every connection.
    pub(super) fn clear(&self) {
        self.inner.lock().connections.clear();
    }

    /// How many connections are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner.lock().connections.len()
    }
}

impl Inner {
    fn reserve(&mut self, generation: u32) -> Option<Http2Lease> {
        let mut gone = false;
        // The first with room, always: the later ones then fall idle and go.
        let lease = self.connections.iter().find_map(|connection| {
            if connection.generation() != generation {
                gone = true;
                return None;
            }
            let lease = connection.reserve();
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
