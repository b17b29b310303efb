//! How much of an upstream may be in use at once.
//!
//! Purpose: what protects its servers from too much, and all else in this
//! process from one that is slow.
//!
//! Invariant: see the module above; the defaults are here.
//!
//! Deliberately absent: how much room the process has.

use std::time::Duration;

/// How much may be in flight to an upstream, and who waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamLimits {
    /// Requests, streams and tunnels at once; zero is any number.
    pub requests: usize,
    /// How many may wait; zero is nobody.
    pub queue: usize,
    /// How long one waits; never zero.
    pub queue_time: Duration,
    /// The percentage of the process's connections that they may take up; without
    /// it three quarters, if there is another upstream. Never zero.
    pub share: Option<u32>,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            requests: 0,
            queue: 1_000,
            queue_time: Duration::from_secs(1),
            share: None,
        }
    }
}

/// When fewer may be in flight, as servers get busy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Adaptive {
    /// So many may always be in flight; never zero.
    pub least: u32,
    /// And never more than so many; not less than that.
    pub most: u32,
    /// How often it is decided, if there are answers to decide by; never zero.
    pub every: Duration,
    /// What answers may take, in hundredths of what they take when few are in flight.
    pub tolerance: u32,
    /// How often that is measured anew; never zero.
    pub probe: Duration,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            least: 4,
            most: 1_000,
            every: Duration::from_millis(200),
            tolerance: 150,
            probe: Duration::from_secs(30),
        }
    }
}

/// What one of several upstreams may take up.
const SHARE: u32 = 75;

impl UpstreamLimits {
    /// Of so many connections that the process may have, those that exchanges with
    /// this upstream may take up; zero is any number.
    #[must_use]
    pub fn share_of(&self, connections: usize, alone: bool) -> usize {
        let share = self.share.unwrap_or(if alone { 100 } else { SHARE });
        if share >= 100 || connections == 0 {
            return 0;
        }
        (connections * share as usize).div_ceil(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_leaves_room_for_the_others() {
        let limits = UpstreamLimits::default();
        assert_eq!(limits.share_of(448, false), 336);
        assert_eq!(limits.share_of(448, true), 0, "there is no other");
        assert_eq!(limits.share_of(0, false), 0, "there is room for any number");
        let written = |share| UpstreamLimits {
            share: Some(share),
            ..UpstreamLimits::default()
        };
        assert_eq!(written(50).share_of(448, true), 224);
        assert_eq!(written(1).share_of(3, false), 1);
        assert_eq!(written(100).share_of(448, false), 0);
    }
}
