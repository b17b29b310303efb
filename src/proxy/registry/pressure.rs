//! Whether the process is short of memory: what every station may look at.
//!
//! Whoever measures says so here (see `process::memory`); while it is so,
//! listeners leave who comes in the accept queue, requests that begin are
//! answered `503`, and the oldest half-open connections are closed.
//!
//! Invariant: what is in flight is never touched for it.
//!
//! Deliberately absent: measuring, and deciding.

use super::Registry;
use super::limit::Limit;
use super::scope::Scope;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tokio::sync::Notify;

/// Shared by the scopes of a registry.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    tight: AtomicBool,
    eased: Notify,
    used: AtomicU64,
    limit: AtomicU64,
}

impl Registry {
    /// So many bytes are used of those that may be; whether that is too much
    /// is the caller's to say.
    pub fn measured(&self, used: u64, limit: u64, tight: bool) {
        self.pressure.used.store(used, Relaxed);
        self.pressure.limit.store(limit, Relaxed);
        self.pressure.tight.store(tight, Relaxed);
        if !tight {
            self.pressure.eased.notify_waiters();
            return;
        }
        for scope in self.scopes() {
            // A quarter at a time: it is looked at again soon.
            scope.shed_half_open(scope.half_open().div_ceil(4), Limit::Memory);
        }
    }

    /// What was measured last, in bytes: used, and the limit.
    #[must_use]
    pub fn memory(&self) -> (u64, u64) {
        let Pressure { used, limit, .. } = &*self.pressure;
        (used.load(Relaxed), limit.load(Relaxed))
    }
}

impl Scope {
    /// Whether nothing new is to begin for want of memory.
    pub(in crate::proxy) fn is_tight(&self) -> bool {
        self.pressure.tight.load(Relaxed)
    }

    /// Wait until there is enough; whoever must is counted.
    pub(in crate::proxy) async fn eased(&self) {
        if !self.is_tight() {
            return;
        }
        self.limited(Limit::Memory);
        loop {
            let eased = self.pressure.eased.notified();
            tokio::pin!(eased);
            // Enlisted before the look, or the word between the two is lost.
            eased.as_mut().enable();
            if !self.is_tight() {
                return;
            }
            eased.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Orders;
    use crate::proxy::registry::State;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn who_comes_waits_and_the_oldest_half_open_ones_leave() {
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        let enter = || registry.enter(&scope, ([192, 0, 2, 7], 9).into());
        let (open, half_open) = (enter(), [enter(), enter(), enter()]);
        open.enter(State::Idle);
        assert!(scope.eased().now_or_never().is_some());
        registry.measured(11, 10, true);
        assert_eq!(registry.memory(), (11, 10));
        let shed = || half_open.each_ref().map(|one| one.shed_for().is_some());
        assert_eq!(shed(), [true, false, false]);
        let waits = scope.eased();
        tokio::pin!(waits);
        assert!(waits.as_mut().now_or_never().is_none());
        registry.measured(11, 10, true);
        assert_eq!(shed(), [true, true, false]);
        assert_eq!(open.shed_for(), None);
        registry.measured(9, 10, false);
        assert!(waits.now_or_never().is_some());
        assert_eq!(scope.limited_count(Limit::Memory), 1);
    }
}
