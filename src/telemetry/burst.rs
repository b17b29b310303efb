//! A limit on log lines that clients or servers can bring about at will.
//!
//! A server that is gone fails thousands of requests a second, and a line for
//! each would cost more than the requests did. So many are let through in each
//! second; the next one after that says how many were not.
//!
//! Invariant: no lock, and one clock value for each line that is asked for.

use crate::drain::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Lets some lines through and counts the rest.
#[derive(Debug)]
pub struct Burst {
    most: u64,
    second: AtomicU64,
    passed: AtomicU64,
    held: AtomicU64,
}

impl Burst {
    /// At most so many lines in one second.
    #[must_use]
    pub const fn of(most: u64) -> Self {
        Self {
            most,
            second: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }
    }

    /// Whether to log at `now`, and if so, how many lines were held back
    /// before.
    pub fn pass(&self, now: Timestamp) -> Option<u64> {
        let second = now.since_start().as_secs();
        if self.second.swap(second, Relaxed) != second {
            self.passed.store(0, Relaxed);
        }
        if self.passed.fetch_add(1, Relaxed) < self.most {
            Some(self.held.swap(0, Relaxed))
        } else {
            self.held.fetch_add(1, Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_held_back_is_told_in_the_next_second() {
        let burst = Burst::of(2);
        let at = |millis| Timestamp::from_start(Duration::from_millis(millis));
        let passed = [1_000, 1_001, 1_500, 1_999, 2_000].map(|millis| burst.pass(at(millis)));
        assert_eq!(passed, [Some(0), Some(0), None, None, Some(2)]);
    }
}
