//! How long exchanges of one kind lasted, and what that says of one that is
//! still there.
//!
//! A [`History`] counts ended exchanges in log-linear buckets: four to each
//! doubling, from a millisecond to a day, so that an estimate is off by at
//! most an eighth wherever it lies. [`Survival`] is the life table made of it
//! (the actuarial estimator; Cutler and Ederer, 1958): those still open count
//! as at risk up to their age. Without them a route of long streams that
//! rarely end would be judged by the few that ended early.
//!
//! Invariant: a chance is asked for *given* the age: `P(T > age + more | T >
//! age)`. Where fewer than [`ENOUGH`] exchanges ever ended at that age or
//! later, there is no answer rather than a guess.
//!
//! Deliberately absent: forgetting. A history is as old as its process.

use super::time::micros;
use std::time::Duration;

/// The buckets above the first, which takes all below a millisecond.
const FINE: usize = 27 * 4;

/// The smallest power of two, in microseconds, that has its own buckets.
const LEAST_POWER: u32 = 10;

/// How many must have ended at an age or later, for the history to say
/// anything of one of that age.
pub const ENOUGH: u64 = 3;

/// Counts of ended exchanges, by how long they lasted.
#[derive(Clone, Debug)]
pub struct History {
    counts: [u64; Self::BUCKETS],
}

impl Default for History {
    fn default() -> Self {
        Self::read([0; Self::BUCKETS])
    }
}

impl History {
    /// How many buckets there are.
    pub const BUCKETS: usize = 1 + FINE;

    /// Counts as they are read off.
    #[must_use]
    pub const fn read(counts: [u64; Self::BUCKETS]) -> Self {
        Self { counts }
    }

    /// The bucket of something that lasted so many microseconds.
    #[must_use]
    pub fn bucket(micros: u64) -> usize {
        let Some(power) = micros.checked_ilog2().filter(|power| *power >= LEAST_POWER) else {
            return 0;
        };
        let quarter = (micros >> (power - 2)) & 3;
        let position = u64::from(power - LEAST_POWER) * 4 + quarter;
        // Whatever lasted for more than a day lasted for a day.
        usize::try_from(position).map_or(FINE, |position| position.min(FINE - 1) + 1)
    }

    /// Where a bucket begins, in microseconds.
    fn begin(bucket: usize) -> u64 {
        let Some(fine) = bucket.checked_sub(1) else {
            return 0;
        };
        (4 + fine as u64 % 4) << (u64::from(LEAST_POWER) - 2 + fine as u64 / 4)
    }

    /// Count one that lasted so long.
    pub fn note(&mut self, took: Duration) {
        self.counts[Self::bucket(micros(took))] += 1;
    }

    /// How many have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// How likely it is to last until an age; made of what ended and what is open.
#[derive(Debug)]
pub(super) struct Survival {
    /// The logarithm of the chance to get into a bucket; one more for its end.
    log: [f64; History::BUCKETS + 1],
    /// How many ended in a bucket or a later one.
    later: [u64; History::BUCKETS],
}

impl Survival {
    /// `open` are the ages of those that are still there.
    pub(super) fn of(history: &History, open: impl Iterator<Item = Duration>) -> Self {
        let mut ages = [0_u64; History::BUCKETS];
        for age in open {
            ages[History::bucket(micros(age))] += 1;
        }
        let (mut later, mut risk) = ([0; History::BUCKETS], [0; History::BUCKETS]);
        let (mut ended, mut there) = (0, 0);
        for bucket in (0..History::BUCKETS).rev() {
            ended += history.counts[bucket];
            there += history.counts[bucket] + ages[bucket];
            (later[bucket], risk[bucket]) = (ended, there);
        }
        let mut log = [0.0; History::BUCKETS + 1];
        for bucket in 0..History::BUCKETS {
            // One more than was seen: that none outlived the longest known is
            // no proof that none will.
            let risk = real(risk[bucket]) - real(ages[bucket]) / 2.0 + 1.0;
            let ends = real(history.counts[bucket]) / risk;
            log[bucket + 1] = log[bucket] + (-ends).ln_1p();
        }
        Self { log, later }
    }

    /// Whether enough ended at this age or later.
    pub(super) fn knows(&self, age: Duration) -> bool {
        self.later[History::bucket(micros(age))] >= ENOUGH
    }

    /// The chance that one of age `age` is there `more` later.
    pub(super) fn outlives(&self, age: Duration, more: Duration) -> f64 {
        (self.at(age.saturating_add(more)) - self.at(age)).exp()
    }

    /// In which time it is as likely as not that one of age `age` ends; `None`
    /// if that lies beyond what is known.
    pub(super) fn median(&self, age: Duration) -> Option<Duration> {
        let wanted = self.at(age) + 0.5_f64.ln();
        let after = self.log.iter().position(|log| *log <= wanted)?;
        let bucket = after.checked_sub(1)?;
        let part = (self.log[bucket] - wanted) / (self.log[bucket] - self.log[after]);
        let begin = real(History::begin(bucket));
        let end = begin + part * (real(History::begin(after)) - begin);
        let at = Duration::try_from_secs_f64(end / 1e6).ok()?;
        Some(at.saturating_sub(age))
    }

    /// Even within a bucket: so much of it, so much of its logarithm.
    fn at(&self, age: Duration) -> f64 {
        let age = micros(age);
        let bucket = History::bucket(age);
        let (begin, end) = (History::begin(bucket), History::begin(bucket + 1));
        let part = real(age - begin) / real(end - begin);
        self.log[bucket] + part.min(1.0) * (self.log[bucket + 1] - self.log[bucket])
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and times: 53 bits are far more than an estimate needs"
)]
fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(count: f64) -> Duration {
        Duration::from_secs_f64(count)
    }

    fn alone(history: &History) -> Survival {
        Survival::of(history, std::iter::empty())
    }

    #[test]
    fn buckets_are_fine_and_in_order() {
        assert_eq!(History::bucket(0), 0);
        assert_eq!(History::bucket(1_023), 0);
        for bucket in 1..History::BUCKETS {
            let begin = History::begin(bucket);
            assert_eq!(History::bucket(begin), bucket);
            assert_eq!(History::bucket(begin - 1), bucket - 1);
            let wide = History::begin(bucket + 1) - begin;
            assert!(wide * 4 <= begin, "{bucket}");
        }
        assert_eq!(History::bucket(u64::MAX), History::BUCKETS - 1);
    }

    #[test]
    fn the_age_counts() {
        let mut history = History::default();
        // Nine in ten are done in 10 ms, the tenth takes a minute.
        for _ in 0..90 {
            history.note(secs(0.01));
        }
        for _ in 0..10 {
            history.note(secs(60.0));
        }
        let survival = alone(&history);
        let young = survival.outlives(Duration::ZERO, secs(20.0));
        assert!((0.09..0.12).contains(&young), "{young}");
        let old = survival.outlives(secs(1.0), secs(20.0));
        assert!(old > 0.99, "{old}: one that did not end early ends late");
        let nearly = survival.outlives(secs(50.0), secs(30.0));
        assert!(nearly < 0.1, "{nearly}");
        let median = survival.median(secs(1.0)).expect("within a minute");
        assert!((secs(50.0)..secs(65.0)).contains(&median), "{median:?}");
    }

    #[test]
    fn beyond_what_was_seen_nothing_is_known() {
        let mut history = History::default();
        assert!(!alone(&history).knows(Duration::ZERO));
        for _ in 0..ENOUGH {
            history.note(secs(2.0));
        }
        let survival = alone(&history);
        assert!(survival.knows(secs(1.0)));
        assert!(!survival.knows(secs(3.0)));
        assert_eq!(history.ended(), ENOUGH);
        let few = survival.outlives(Duration::ZERO, secs(30.0));
        assert!((0.2..0.3).contains(&few), "{few}: three are no proof");
    }

    #[test]
    fn the_open_ones_count_as_survivors() {
        let mut history = History::default();
        for _ in 0..10 {
            history.note(secs(2.0));
        }
        let misled = alone(&history).outlives(secs(1.0), secs(20.0));
        let open = std::iter::repeat_n(secs(7_200.0), 990);
        let survival = Survival::of(&history, open);
        let outlives = survival.outlives(secs(1.0), secs(20.0));
        assert!(misled < 0.1 && outlives > 0.98, "{misled} {outlives}");
        assert_eq!(survival.median(secs(1.0)), None, "most never end");
    }

    #[test]
    fn chances_are_chances_whatever_is_asked() {
        let mut history = History::default();
        for power in 0..40 {
            history.note(Duration::from_micros(1 << power));
        }
        let survival = alone(&history);
        let times = [0.0, 0.001, 0.5, 3.0, 600.0, 90_000.0, 1e9].map(secs);
        for age in times.into_iter().chain([Duration::MAX]) {
            let mut before = 1.0;
            for more in times.into_iter().chain([Duration::MAX]) {
                let chance = survival.outlives(age, more);
                assert!((0.0..=before).contains(&chance), "{age:?} {more:?}");
                before = chance;
            }
        }
    }
}
