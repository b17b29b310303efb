//! Connections that have not carried a request yet, oldest first.
//!
//! Half-open connections cost a client nothing, so somebody may open them
//! without end. Whoever comes honestly is through in a few round trips; so when
//! there are too many, the oldest is told to leave, and whoever comes next
//! finds room, instead of waiting behind those who will never say more.
//!
//! Invariant: what has once been able to carry a request is never told to
//! leave from here. The queue is at most a few times as long as there are
//! half-open connections.
//!
//! Deliberately absent: how one is told (see `connection::pace`).

use super::limit::Limit;
use super::record::Record;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// Entries beyond those needed that are no reason to clear up.
const SLACK: usize = 64;

/// Those of one listener.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    count: AtomicUsize,
    queue: Mutex<VecDeque<Weak<Record>>>,
}

impl HalfOpen {
    /// A connection was accepted.
    pub(super) fn enter(&self, record: &Arc<Record>) {
        let count = self.count.fetch_add(1, Relaxed) + 1;
        let mut queue = self.queue.lock();
        if queue.len() > 2 * count + SLACK {
            queue.retain(|entry| entry.upgrade().is_some_and(|one| one.is_half_open()));
        }
        queue.push_back(Arc::downgrade(record));
    }

    /// One can carry a request, or is gone.
    pub(super) fn leave(&self) {
        self.count.fetch_sub(1, Relaxed);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// The oldest, which is not among them any more.
    pub(super) fn oldest(&self) -> Option<Arc<Record>> {
        let mut queue = self.queue.lock();
        while let Some(entry) = queue.pop_front() {
            if let Some(record) = entry.upgrade()
                && record.open_up()
            {
                return Some(record);
            }
        }
        None
    }

    #[cfg(test)]
    fn entries(&self) -> usize {
        self.queue.lock().len()
    }
}

impl Record {
    /// Whether it has never been able to carry a request.
    pub(super) fn is_half_open(&self) -> bool {
        !self.opened.load(Relaxed)
    }

    /// It counts as half-open no more; `false` if it did not before.
    pub(super) fn open_up(&self) -> bool {
        let first = !self.opened.swap(true, Relaxed);
        if first {
            self.scope.half_open.leave();
        }
        first
    }

    /// Tell it to leave for this limit, if it is half-open still when it hears
    /// of it.
    pub(super) fn shed(&self, limit: Limit) {
        self.shed.store(limit as u8, Relaxed);
        self.wake();
    }

    /// The limit for which it was told to.
    pub(in crate::proxy) fn shed_for(&self) -> Option<Limit> {
        Limit::from_u8(self.shed.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use crate::drain::Orders;
    use crate::proxy::registry::{ConnectionGuard, Limit, Registry, Scope, State};
    use std::sync::Arc;

    fn scene() -> (Arc<Registry>, Arc<Scope>) {
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        (registry, scope)
    }

    fn enter(registry: &Arc<Registry>, scope: &Arc<Scope>) -> ConnectionGuard {
        registry.enter(scope, ([192, 0, 2, 7], 9).into())
    }

    #[test]
    fn the_oldest_that_never_carried_a_request_leaves_first() {
        let (registry, scope) = scene();
        let all: Vec<_> = (0..5).map(|_| enter(&registry, &scope)).collect();
        all[0].enter(State::TlsHandshake);
        all[1].enter(State::Idle);
        assert_eq!(scope.half_open(), 4);
        scope.hold_half_open(0);
        scope.hold_half_open(4);
        assert!(all.iter().all(|one| one.shed_for().is_none()), "no more");
        scope.hold_half_open(2);
        let shed: Vec<_> = all.iter().map(|one| one.shed_for().is_some()).collect();
        assert_eq!(shed, [true, false, true, false, false]);
        assert_eq!(all[0].shed_for(), Some(Limit::Handshakes));
        assert_eq!(scope.half_open(), 2);
    }

    #[test]
    fn a_later_head_is_not_half_open_once_more() {
        let (registry, scope) = scene();
        let one = enter(&registry, &scope);
        one.enter(State::Idle);
        one.enter(State::Head);
        assert_eq!(scope.half_open(), 0);
        one.enter(State::Idle);
        drop(one);
        assert_eq!(scope.half_open(), 0);
    }

    #[test]
    fn the_queue_does_not_grow_with_who_has_passed() {
        let (registry, scope) = scene();
        let slow = enter(&registry, &scope);
        for _ in 0..10_000 {
            drop(enter(&registry, &scope));
        }
        assert_eq!(scope.half_open(), 1);
        assert!(scope.half_open.entries() < 100);
        scope.shed_half_open(1, Limit::Memory);
        assert_eq!(slow.shed_for(), Some(Limit::Memory));
    }
}
