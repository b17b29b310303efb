//! How many connections a listener and the process may have, and limits that
//! can move.
//!
//! Invariant: once as many have left as a lower limit asks for, no more are
//! there than it allows; nobody is sent away for it.
//!
//! Deliberately absent: who waits. A client waits in the accept queue, or in
//! the hand of the one that accepted it.

use crate::proxy::registry::{Limit, Scope};
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

    /// Wait for a place; `full` is called if there is none now. It is free
    /// again when what is returned is dropped.
    async fn enter(&self, full: impl FnOnce()) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        full();
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

/// Where a connection needs a place: at its listener, and in the process.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// Of the listener, shared by its workers.
    pub own: Arc<Room>,
    /// Of the process, shared by its listeners.
    pub process: Arc<Room>,
}

/// What a connection takes up, as long as this is there.
#[derive(Debug)]
pub struct Place {
    _own: OwnedSemaphorePermit,
    _process: OwnedSemaphorePermit,
}

impl Rooms {
    /// Wait for a place; who must is counted in `scope`. Its listener's comes
    /// first: who waits there takes nothing of what others need.
    pub(super) async fn enter(&self, scope: &Scope) -> Option<Place> {
        let own = self.own.enter(|| scope.limited(Limit::Connections)).await?;
        let full = || scope.limited(Limit::ProcessConnections);
        Some(Place {
            _own: own,
            _process: self.process.enter(full).await?,
        })
    }
}

/// Descriptors that are nobody's connection: sockets that listen, logs, the
/// admin interface and its reserve, health checks.
const OTHERS: u64 = 128;

/// How many connections of clients a process may have that may open so many
/// descriptors; `None` is any number. Each may need one more, to a server.
#[must_use]
pub fn by_descriptors(most: Option<u64>) -> usize {
    let Some(most) = most else {
        return 0;
    };
    let for_clients = most.saturating_sub(OTHERS.min(most / 2)) / 2;
    usize::try_from(for_clients.max(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn half_of_the_descriptors_are_for_clients_and_some_for_neither() {
        assert_eq!(by_descriptors(Some(1_048_576)), 524_224);
        assert_eq!(by_descriptors(Some(1_024)), 448);
        assert_eq!(by_descriptors(Some(64)), 16);
        assert_eq!(by_descriptors(Some(0)), 1);
        assert_eq!(by_descriptors(None), 0, "no limit");
    }

    #[tokio::test]
    async fn a_full_process_holds_up_every_listener_and_a_full_listener_only_itself() {
        let process = Room::new(2);
        let [web, db] = [(); 2].map(|()| Rooms {
            own: Room::new(1),
            process: Arc::clone(&process),
        });
        let registry = crate::proxy::registry::Registry::new();
        let scope = registry.scope("web".into(), crate::drain::Orders::default());
        let first = web.enter(&scope).await;
        assert!(web.enter(&scope).now_or_never().is_none(), "it is full");
        assert_eq!(scope.limited_count(Limit::Connections), 1);
        let second = db.enter(&scope).now_or_never().flatten();
        assert!(second.is_some(), "the other is not");
        let third = Rooms {
            own: Room::new(0),
            process,
        };
        assert!(third.enter(&scope).now_or_never().is_none());
        assert_eq!(scope.limited_count(Limit::ProcessConnections), 1);
        drop(first);
        assert!(third.enter(&scope).now_or_never().flatten().is_some());
    }

    async fn settle() {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_limit_moves_both_ways() {
        let room = Room::new(2);
        let one = room.enter(|| ()).await.expect("a place");
        let two = room.enter(|| ()).await.expect("a place");
        assert!(room.enter(|| ()).now_or_never().is_none());
        room.set_limit(3);
        let three = room.enter(|| ()).await.expect("a place");
        room.set_limit(1);
        settle().await;
        drop((one, two));
        settle().await;
        assert!(
            room.enter(|| ()).now_or_never().is_none(),
            "one is there still"
        );
        drop(three);
        settle().await;
        let last = room.enter(|| ()).now_or_never().flatten();
        assert!(last.is_some());
        room.set_limit(0);
        assert!(room.enter(|| ()).now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn without_a_limit_a_limit_can_come() {
        let room = Room::new(0);
        let there = [room.enter(|| ()).await, room.enter(|| ()).await];
        room.set_limit(1);
        settle().await;
        assert!(room.enter(|| ()).now_or_never().is_none());
        drop(there);
        settle().await;
        assert!(room.enter(|| ()).now_or_never().flatten().is_some());
    }
}
