//! What is being drained, and what everything in it must obey.
//!
//! A [`Scope`] is the set of listeners and connections that one drain machine
//! speaks to. The conductor stores new [`Orders`] first and wakes every
//! connection second; a connection is entered in the registry first and reads
//! the orders second. Whichever comes first, none misses an order: that is
//! the race this module exists to prevent ("added after the drain began").
//!
//! Deliberately absent: deciding anything. Orders come from `drain`.

use crate::drain::Orders;
use parking_lot::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The orders in force for a set of listeners and connections.
#[derive(Debug)]
pub struct Scope {
    orders: RwLock<Orders>,
    version: AtomicU64,
    changed: Notify,
}

impl Scope {
    /// A scope in which nothing is being drained.
    #[must_use]
    pub fn new(orders: Orders) -> Self {
        Self {
            orders: RwLock::new(orders),
            version: AtomicU64::new(1),
            changed: Notify::new(),
        }
    }

    /// The orders in force now.
    #[must_use]
    pub fn orders(&self) -> Orders {
        *self.orders.read()
    }

    /// Grows with every change of the orders; never zero.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Put new orders in force. The caller wakes the connections afterwards.
    pub(super) fn store(&self, orders: Orders) {
        *self.orders.write() = orders;
        self.version.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Wait until the orders are others than those of version `seen`, and
    /// return them with their version.
    pub async fn changed(&self, seen: u64) -> (Orders, u64) {
        loop {
            let notified = self.changed.notified();
            tokio::pin!(notified);
            // Enlisted before the look, or a change between the two is lost.
            notified.as_mut().enable();
            let version = self.version();
            if version != seen {
                return (self.orders(), version);
            }
            notified.await;
        }
    }
}

/// The orders as one task last heard them: read again only when they changed,
/// which costs a busy connection one load.
#[derive(Debug)]
pub struct Heard {
    orders: Orders,
    version: u64,
}

impl Heard {
    /// The orders in force in the scope now.
    pub fn refresh(&mut self, scope: &Scope) -> &Orders {
        let version = scope.version();
        if version != self.version {
            // Version first: orders stored in between are read again next time.
            self.version = version;
            self.orders = scope.orders();
        }
        &self.orders
    }
}

impl From<&Scope> for Heard {
    fn from(scope: &Scope) -> Self {
        let version = scope.version();
        Self {
            orders: scope.orders(),
            version,
        }
    }
}
