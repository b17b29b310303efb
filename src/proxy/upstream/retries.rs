//! What retries may cost an upstream's servers, and what became of them.
//!
//! Purpose: when every server fails, retries multiply what they are asked, and
//! keep them from getting up again. So retries are paid for: each request earns a
//! part of one, time earns some more, and a retry takes a whole one.
//!
//! Invariant: not more is taken than was earned, besides a few to begin with; and
//! what was earned long ago does not count: it is kept up to a bound. One for the
//! process, over all workers, without a lock; it outlives a reload.
//!
//! Deliberately absent: when to retry, and what no server has processed: that
//! costs servers nothing.

use crate::drain::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One retry.
const WHOLE: u64 = 1000;

/// Retries that are there to begin with, and kept at most.
const KEPT: u64 = 10;

/// Seconds of what time earns that are kept besides.
const KEPT_SECONDS: u64 = 10;

/// What a request was sent again for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Retried {
    /// No server had processed it, or its pooled connection had closed.
    Unprocessed,
    /// It was broken off without an answer.
    BrokenOff,
    /// The answer took too long.
    Timeout,
    /// The answer was one in place of which another server is asked.
    Answer,
    /// It was sent a second time while the first was still awaited.
    Hedge,
}

impl Retried {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Unprocessed,
        Self::BrokenOff,
        Self::Timeout,
        Self::Answer,
        Self::Hedge,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unprocessed => "unprocessed",
            Self::BrokenOff => "broken_off",
            Self::Timeout => "timeout",
            Self::Answer => "answer",
            Self::Hedge => "hedge",
        }
    }
}

/// Why a request that failed was not sent again.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Forgone {
    /// It may not be processed twice.
    Method,
    /// It had all of its retries.
    Tries,
    /// Its upstream had more in flight than it may.
    Room,
    /// Its body is not at hand any more.
    Body,
    /// The pause before it would have been too long.
    Time,
    /// There were too many retries already.
    Budget,
}

impl Forgone {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Method,
        Self::Tries,
        Self::Room,
        Self::Body,
        Self::Time,
        Self::Budget,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Tries => "tries",
            Self::Room => "room",
            Self::Body => "body",
            Self::Time => "time",
            Self::Budget => "budget",
        }
    }
}

/// What became of a second request beside the first.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Hedged {
    /// Its answer was taken.
    Won,
    /// The first one's was, or there was none from it.
    Lost,
    /// It was not sent: there were too many retries already.
    Forgone,
}

impl Hedged {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Won, Self::Lost, Self::Forgone];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Forgone => "forgone",
        }
    }
}

/// The retries of one upstream.
#[derive(Debug)]
pub struct Retries {
    /// What is left, in thousandths of a retry.
    left: AtomicU64,
    /// Up to when time has earned, in milliseconds.
    earned: AtomicU64,
    retried: [AtomicU64; Retried::ALL.len()],
    forgone: [AtomicU64; Forgone::ALL.len()],
    hedged: [AtomicU64; Hedged::ALL.len()],
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            left: AtomicU64::new(KEPT * WHOLE),
            earned: AtomicU64::new(0),
            retried: Default::default(),
            forgone: Default::default(),
            hedged: Default::default(),
        }
    }
}

impl Retries {
    /// A request has come: it earns `share` percent of a retry, where time earns
    /// `least` of them in a second. While nothing fails this is one load.
    pub fn earn(&self, share: u32, least: u32) {
        let most = most(least);
        if self.left.load(Relaxed) < most {
            self.add(u64::from(share) * (WHOLE / 100), most);
        }
    }

    /// Take one retry; `false` if there is none.
    pub fn spend(&self, least: u32, now: Timestamp) -> bool {
        let now = u64::try_from(now.since_start().as_millis()).unwrap_or(u64::MAX);
        let then = self.earned.load(Relaxed);
        // Of several who come at once, one adds what time has earned.
        if now > then
            && self
                .earned
                .compare_exchange(then, now, Relaxed, Relaxed)
                .is_ok()
        {
            // A thousandth for each in a millisecond.
            self.add((now - then).saturating_mul(u64::from(least)), most(least));
        }
        let less = |left: u64| left.checked_sub(WHOLE);
        self.left.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    fn add(&self, more: u64, most: u64) {
        let sum = |left: u64| Some(left.saturating_add(more).min(most.max(left)));
        // Never refused: there always is a sum.
        let _ = self.left.fetch_update(Relaxed, Relaxed, sum);
    }

    /// A request was sent again.
    pub fn retried(&self, reason: Retried) {
        self.retried[reason as usize].fetch_add(1, Relaxed);
    }

    /// A request was not.
    pub fn forgone(&self, why: Forgone) {
        self.forgone[why as usize].fetch_add(1, Relaxed);
    }

    /// A second request beside the first came to this.
    pub fn hedged(&self, came: Hedged) {
        self.hedged[came as usize].fetch_add(1, Relaxed);
    }

    /// How often it did.
    #[must_use]
    pub fn count_hedged(&self, came: Hedged) -> u64 {
        self.hedged[came as usize].load(Relaxed)
    }

    /// How often requests were sent again for this.
    #[must_use]
    pub fn count(&self, reason: Retried) -> u64 {
        self.retried[reason as usize].load(Relaxed)
    }

    /// How often they were not.
    #[must_use]
    pub fn count_forgone(&self, why: Forgone) -> u64 {
        self.forgone[why as usize].load(Relaxed)
    }
}

/// What is kept at most.
fn most(least: u32) -> u64 {
    (KEPT + KEPT_SECONDS * u64::from(least)) * WHOLE
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    fn spent(retries: &Retries, least: u32, now: u64) -> usize {
        let tries = (0..1000).take_while(|_| retries.spend(least, at(now)));
        tries.count()
    }

    #[test]
    fn each_request_earns_its_part() {
        let retries = Retries::default();
        assert_eq!(spent(&retries, 0, 0), 10, "to begin with");
        for _ in 0..14 {
            retries.earn(20, 0);
        }
        assert_eq!(spent(&retries, 0, 0), 2, "two and four fifths");
        retries.earn(20, 0);
        assert_eq!(spent(&retries, 0, 0), 1);
        retries.earn(0, 0);
        assert_eq!(spent(&retries, 0, 1_000_000), 0);
    }

    #[test]
    fn time_earns_the_least_and_not_for_ever() {
        let retries = Retries::default();
        spent(&retries, 3, 0);
        assert_eq!(spent(&retries, 3, 1_000), 3);
        assert_eq!(spent(&retries, 3, 1_400), 1);
        assert_eq!(spent(&retries, 3, 1_000_000), 40, "ten, and ten seconds");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let retries = Retries::default();
        for _ in 0..10_000 {
            retries.earn(100, 0);
        }
        assert_eq!(spent(&retries, 0, 0), 10);
    }

    proptest! {
        #[test]
        fn never_more_is_taken_than_was_earned(
            share in 0_u32..=100,
            least in 0_u32..5,
            steps in prop::collection::vec((any::<bool>(), 0_u64..500), 1..300),
        ) {
            let retries = Retries::default();
            let (mut now, mut requests, mut taken) = (0, 0, 0);
            for (asked, pause) in steps {
                now += pause;
                if asked {
                    requests += 1;
                    retries.earn(share, least);
                }
                taken += u64::from(retries.spend(least, at(now)));
                let earned = requests * u64::from(share) * 10 + now * u64::from(least);
                prop_assert!(taken * WHOLE <= KEPT * WHOLE + earned);
            }
        }
    }
}
