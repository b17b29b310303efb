//! Who is connected to the interface, so that there is room for who asks.
//!
//! Anybody who reaches the address can connect and say nothing. When all places
//! are taken, the one that has been here longest without asking for anything has
//! to go; who is being answered, as who waits for a receipt, stays. So does who
//! listens to events, of whom there are few, while it takes them.
//!
//! Invariant: nobody is sent away while the answer to a request is made.
//!
//! Deliberately absent: whom a place belongs to. Addresses can be had in any
//! number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// One connection, as it knows itself.
#[derive(Debug, Default)]
pub(super) struct Guest {
    /// Whether it has asked for anything yet.
    begun: AtomicBool,
    /// Whether it is being answered.
    asking: AtomicBool,
    /// Whether the last answer is a stream of events, and how often more of it
    /// was taken.
    listens: AtomicBool,
    taken: AtomicU64,
}

/// For as long as it is there a guest listens to events.
#[derive(Debug)]
pub(super) struct Stay(Arc<Guest>);

impl Stay {
    pub(super) fn new(guest: &Arc<Guest>) -> Self {
        guest.listens.store(true, Relaxed);
        Self(Arc::clone(guest))
    }

    /// There was room for more.
    pub(super) fn takes(&self) {
        self.0.taken.fetch_add(1, Relaxed);
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.is_answered();
    }
}

impl Guest {
    pub(super) fn asks(&self) {
        self.begun.store(true, Relaxed);
        self.listens.store(false, Relaxed);
        self.asking.store(true, Relaxed);
    }

    pub(super) fn is_answered(&self) {
        self.asking.store(false, Relaxed);
    }

    pub(super) fn has_asked(&self) -> bool {
        self.begun.load(Relaxed)
    }

    /// Whether it listens, or did until there was no more.
    pub(super) fn listens(&self) -> bool {
        self.listens.load(Relaxed)
    }

    fn hears(&self) -> bool {
        self.listens() && self.asking.load(Relaxed)
    }

    /// Returns when it listens and has taken nothing for `patience`, though
    /// there is something to take all the time.
    pub(super) async fn is_deaf(&self, patience: Duration) {
        loop {
            let before = (self.hears(), self.taken.load(Relaxed));
            sleep(patience).await;
            if before == (true, self.taken.load(Relaxed)) && self.hears() {
                return;
            }
        }
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
    use tokio::time::timeout;

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

    #[tokio::test(start_paused = true)]
    async fn who_takes_no_events_is_deaf_and_nobody_else_is() {
        let patience = Duration::from_secs(30);
        let guest = Arc::new(Guest::default());
        guest.asks();
        let deaf = async |guest: &Arc<Guest>| {
            let long = timeout(patience * 3, guest.is_deaf(patience));
            long.await.is_ok()
        };
        assert!(!deaf(&guest).await, "it waits for an answer");
        let stay = Stay::new(&guest);
        let takes = async {
            for _ in 0..9 {
                stay.takes();
                sleep(patience / 3).await;
            }
        };
        tokio::select! {
            () = guest.is_deaf(patience) => panic!("it took all the time"),
            () = takes => {}
        }
        assert!(deaf(&guest).await);
        drop(stay);
        assert!(!deaf(&guest).await, "there is no more");
        assert!(guest.listens());
        guest.asks();
        assert!(!guest.listens());
    }
}
