//! The servers that an exchange must not be given to again.
//!
//! Purpose: a retry goes to another server. The set is as wide as a machine
//! register allows, so that it costs the hot path nothing.
//!
//! Invariant: marking is monotone and finite, so "pick one that was not
//! tried" ends. Deliberately absent: why a server was tried in vain.

/// How many servers are told apart.
const WIDTH: usize = u128::BITS as usize;

/// A set of servers of one upstream, by index.
///
/// Servers whose indices differ by a multiple of 128 share a mark: in an
/// upstream that large a retry passes over a few servers more than it must,
/// never over fewer.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Tried(u128);

impl Tried {
    /// No server has been tried.
    #[must_use]
    pub(super) const fn new() -> Self {
        Self(0)
    }

    /// Avoid the server with this index from now on.
    pub(super) const fn mark(&mut self, server: usize) {
        self.0 |= 1 << (server % WIDTH);
    }

    /// Whether the server with this index is to be avoided.
    #[must_use]
    pub(super) const fn contains(self, server: usize) -> bool {
        self.0 & (1 << (server % WIDTH)) != 0
    }

    /// Whether no server is to be avoided.
    #[must_use]
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_kept_apart_up_to_the_width_and_shared_beyond() {
        let mut tried = Tried::new();
        assert!(tried.is_empty());
        tried.mark(0);
        tried.mark(127);
        assert!(tried.contains(0) && tried.contains(127));
        assert!(!tried.contains(1));
        assert!(tried.contains(128), "shares the mark of 0");
        assert!(!tried.contains(129));
    }
}
