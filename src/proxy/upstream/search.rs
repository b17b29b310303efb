//! What the choice of a server depends on besides the servers.
//!
//! Purpose: an exchange that looks for a server carries with it whom it must not
//! be given to again, and, where servers are chosen by a hash, where its key is.
//! Both fit into registers and are copied, so that looking costs nothing.
//!
//! Invariant: the key of an exchange does not change while it looks.
//!
//! Deliberately absent: the key itself. It is what a client sent, and is looked
//! at once.

use super::balance::Spot;
use super::tried::Tried;

/// An exchange in search of a server.
#[derive(Copy, Clone, Debug, Default)]
pub struct Search {
    pub(super) tried: Tried,
    pub(super) spot: Option<Spot>,
}

impl Search {
    /// The search of an exchange without a key.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            tried: Tried::new(),
            spot: None,
        }
    }

    pub(super) const fn at(spot: Option<Spot>) -> Self {
        Self {
            tried: Tried::new(),
            spot,
        }
    }

    /// Avoid the server with this index from now on.
    pub const fn mark(&mut self, server: usize) {
        self.tried.mark(server);
    }

    /// Whether it goes on, from a server that was tried in vain.
    pub(super) const fn goes_on(self) -> bool {
        !self.tried.is_empty()
    }

    /// Avoid none any more.
    pub const fn forget(&mut self) {
        self.tried = Tried::new();
    }

    /// Whether the server with this index is to be avoided.
    #[must_use]
    pub const fn contains(self, server: usize) -> bool {
        self.tried.contains(server)
    }
}
