//! How many connections a listener may have, and a limit that can move.
//!
//! Invariant: once as many have left as a lower limit asks for, no more are
//! there than it allows; nobody is sent away for it.
//!
//! Deliberately absent: who waits. A client waits in the accept queue, or in
//! the hand of the one that accepted it.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one listener, shared by its workers.
#[derive(Debug)]
pub struct Room {
    places: Arc<Semaphore>,
    limit: Mutex<usize>,
}

/// 0 stands for no limit.
fn places(limit: usize) -> usize {
    match limit {
        0 => Semaphore::MAX_PERMITS,
        limit => limit.min(Semaphore::MAX_PERMITS),
    }
}

impl Room {
    /// Room for so many connections; 0 is no limit.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places(limit))),
            limit: Mutex::new(places(limit)),
        })
    }

    /// A place, if one is free now. It is free again when what is returned is
    /// dropped.
    pub(super) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Wait for a place. It is free again when what is returned is dropped.
    pub(super) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Move the limit. To be called on a runtime, which waits for those to
    /// leave who are too many.
    pub fn set_limit(&self, limit: usize) {
        let wanted = places(limit);
        let mut limit = self.limit.lock();
        let (more, fewer) = (wanted.saturating_sub(*limit), limit.saturating_sub(wanted));
        *limit = wanted;
        drop(limit);
        self.places.add_permits(more);
        let taken = self.places.forget_permits(fewer);
        let too_many = u32::try_from(fewer - taken).unwrap_or(u32::MAX);
        if too_many > 0 {
            let places = Arc::clone(&self.places);
            tokio::spawn(async move {
                if let Ok(left) = places.acquire_many(too_many).await {
                    left.forget();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    async fn settle() {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_limit_moves_both_ways() {
        let room = Room::new(2);
        let one = room.enter().await.expect("a place");
        let two = room.enter().await.expect("a place");
        assert!(room.enter().now_or_never().is_none());
        room.set_limit(3);
        let three = room.enter().await.expect("a place");
        room.set_limit(1);
        settle().await;
        drop((one, two));
        settle().await;
        assert!(room.enter().now_or_never().is_none(), "one is there still");
        drop(three);
        settle().await;
        let last = room.enter().now_or_never().flatten();
        assert!(last.is_some());
        room.set_limit(0);
        assert!(room.enter().now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn without_a_limit_a_limit_can_come() {
        let room = Room::new(0);
        let there = [room.enter().await, room.enter().await];
        room.set_limit(1);
        settle().await;
        assert!(room.enter().now_or_never().is_none());
        drop(there);
        settle().await;
        assert!(room.enter().now_or_never().flatten().is_some());
    }
}
