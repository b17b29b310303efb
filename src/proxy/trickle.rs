//! Peers that give or take so little that they merely hold on.
//!
//! A limit on silence is met by one byte every now and then. So the time for
//! which a peer is waited for is added up, and what has passed by then must
//! come to a rate. Time in which nothing is wanted of the peer counts for
//! nothing: neither a slow server nor a pause of ours is its fault.
//!
//! Invariant: nobody is judged before it was waited for as long as it may be
//! silent, and each such stretch is judged by itself: what was quick once does
//! not excuse what is slow now.
//!
//! Deliberately absent: timers, since who is silent altogether is found by
//! another limit, and who is not comes by here; and the clock, which is read
//! only where a wait begins or ends.

use crate::config::Limits;
use crate::drain::Timestamp;
use std::time::Duration;

/// How little is too little.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Least {
    /// Bytes in a second; 0 is any.
    pub rate: u32,
    /// How much waiting is judged at once.
    pub stretch: Duration,
}

impl Least {
    /// Any, for ever.
    pub const NONE: Self = Self {
        rate: 0,
        stretch: Duration::ZERO,
    };

    /// Of what a client is sent.
    #[must_use]
    pub fn to_take(limits: &Limits) -> Self {
        Self {
            rate: limits.send_rate,
            stretch: limits.send_idle,
        }
    }
}

/// What a peer was waited for, and what came of it.
#[derive(Debug, Default)]
pub struct Trickle {
    waiting: Option<Timestamp>,
    waited: Duration,
    passed: u64,
}

impl Trickle {
    /// The peer is waited for, from `now` on if it was not before.
    pub fn wait(&mut self, now: impl FnOnce() -> Timestamp) {
        if self.waiting.is_none() {
            self.waiting = Some(now());
        }
    }

    /// So many bytes have passed; whether that is too little for the time that
    /// they were waited for.
    pub fn pass(&mut self, bytes: usize, least: Least, now: impl FnOnce() -> Timestamp) -> bool {
        self.passed = self.passed.saturating_add(bytes as u64);
        let Some(since) = self.waiting.take() else {
            return false;
        };
        self.waited += now().saturating_since(since);
        if least.rate == 0 || self.waited < least.stretch {
            return false;
        }
        let wanted = self.waited.as_millis() * u128::from(least.rate) / 1_000;
        let slow = u128::from(self.passed) < wanted;
        *self = Self::default();
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Least = Least {
        rate: 100,
        stretch: Duration::from_secs(30),
    };

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_secs(secs))
    }

    /// The second in which a peer that gives so many bytes after each pause,
    /// for an hour, is found to be too slow.
    fn found(bytes: usize, pause: u64) -> Option<u64> {
        let mut trickle = Trickle::default();
        let mut pauses = (0..3_600 / pause).map(|turn| turn * pause);
        pauses.find(|from| {
            trickle.wait(|| at(*from));
            trickle.pass(bytes, LEAST, || at(from + pause))
        })
    }

    #[test]
    fn a_byte_every_now_and_then_is_too_little() {
        assert_eq!(found(1, 29), Some(29));
        assert_eq!(found(1, 1), Some(29));
        assert_eq!(found(99, 1), Some(29));
    }

    #[test]
    fn who_keeps_to_the_rate_goes_on() {
        assert_eq!(found(100, 1), None);
        assert_eq!(found(2_900, 29), None);
        assert_eq!(found(1 << 20, 29), None);
    }

    #[test]
    fn only_waiting_counts() {
        let mut trickle = Trickle::default();
        for hour in 0..100 {
            assert!(!trickle.pass(0, LEAST, || at(hour * 3_600)));
        }
        trickle.wait(|| at(500_000));
        // The wait has begun already.
        trickle.wait(|| at(500_010));
        assert!(trickle.pass(2_999, LEAST, || at(500_030)));
    }

    #[test]
    fn what_was_quick_once_excuses_nothing_later() {
        let mut trickle = Trickle::default();
        assert!(!trickle.pass(1 << 30, LEAST, || at(0)));
        let slow = (0..3).map(|turn| {
            trickle.wait(|| at(turn * 30));
            trickle.pass(1, LEAST, || at(turn * 30 + 30))
        });
        assert_eq!(slow.collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn without_a_rate_nobody_is_slow() {
        let mut trickle = Trickle::default();
        let any = Least { rate: 0, ..LEAST };
        trickle.wait(|| at(0));
        assert!(!trickle.pass(0, any, || at(3_600)));
    }
}
