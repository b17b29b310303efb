//! Who is connected to the interface, so that there is room for who asks.
//!
//! Anybody who reaches the address can connect and say nothing. When all places
//! are taken, the one that has been here longest without asking for anything has
//! to go; who is being answered, as who waits for a receipt, stays.
//!
//! Invariant: nobody is sent away while the answer to a request is made.
//!
//! Deliberately absent: whom a place belongs to. Addresses can be had in any
//! number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::task::AbortHandle;

/// One connection, as it knows itself.
#[derive(Debug, Default)]
pub(super) struct Guest {
    /// Whether it has asked for anything yet.
    begun: AtomicBool,
    /// Whether it is being answered.
    asking: AtomicBool,
}

impl Guest {
    pub(super) fn asks(&self) {
        self.begun.store(true, Relaxed);
        self.asking.store(true, Relaxed);
    }

    pub(super) fn is_answered(&self) {
        self.asking.store(false, Relaxed);
    }

    pub(super) fn has_asked(&self) -> bool {
        self.begun.load(Relaxed)
    }
}

/// All of them, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Guests(VecDeque<(Arc<Guest>, AbortHandle)>);

impl Guests {
    pub(super) fn enter(&mut self, guest: Arc<Guest>, handle: AbortHandle) {
        self.0.retain(|(_, handle)| !handle.is_finished());
        self.0.push_back((guest, handle));
    }

    /// Have one leave that asks for nothing, the one that came first.
    pub(super) fn make_room(&mut self) {
        let idle = |(guest, handle): &(Arc<Guest>, AbortHandle)| {
            !guest.asking.load(Relaxed) && !handle.is_finished()
        };
        if let Some((_, handle)) = self
            .0
            .iter()
            .position(idle)
            .and_then(|at| self.0.remove(at))
        {
            handle.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::task::JoinSet;

    #[tokio::test]
    async fn who_asks_for_nothing_leaves_first() {
        let (mut guests, mut tasks) = (Guests::default(), JoinSet::new());
        let all: Vec<_> = (0..3).map(|_| Arc::new(Guest::default())).collect();
        let mut ids = Vec::new();
        for guest in &all {
            let handle = tasks.spawn(pending::<()>());
            ids.push(handle.id());
            guests.enter(Arc::clone(guest), handle);
        }
        all[0].asks();
        guests.make_room();
        let left = tasks.join_next().await.expect("one");
        assert_eq!(left.expect_err("sent away").id(), ids[1]);
        all[2].asks();
        guests.make_room();
        assert_eq!(tasks.len(), 2, "both are being answered");
        tokio::task::yield_now().await;
        assert!(tasks.try_join_next().is_none());
        all[0].is_answered();
        guests.make_room();
        let left = tasks.join_next().await.expect("one");
        assert_eq!(left.expect_err("sent away").id(), ids[0]);
        assert!(all[0].has_asked() && !all[1].has_asked());
    }
}
