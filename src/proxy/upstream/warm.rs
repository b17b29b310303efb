//! How many connections to dial ahead, and when.
//!
//! Purpose: keep so many open to a server as the config says, and have no storm
//! of dials where they do not stay: a server that refuses, or that closes
//! whatever it is not asked on.
//!
//! Invariant: pure. Dials that follow each other closely, and after which there is
//! no more than before, have a pause between them that doubles each time, up to
//! [`LONGEST`]; when there was none for twice as long, the next one comes at once
//! again.
//!
//! Deliberately absent: dialling, and which servers are well enough; see `tend`.

use super::lifetime::WHOLE;
use crate::drain::Timestamp;
use std::time::Duration;

/// Dials under way to one server at most, by one worker.
const AT_ONCE: usize = 4;

/// The pause after a second dial, and the longest one.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// For so long there must have been no dial for the next one to be a first one.
const CALM: Duration = Duration::from_secs(1);

/// One server, as far as it is kept warm.
#[derive(Debug, Default)]
pub(super) struct Warmth {
    under_way: usize,
    pause: Duration,
    /// How many were there when dials last began.
    there: usize,
    /// When a dial last began or ended.
    last: Option<Timestamp>,
    /// When the next one may begin.
    next: Option<Timestamp>,
}

impl Warmth {
    /// How many dials to begin, where `open` of `wanted` connections are there.
    /// `draw` is of [`WHOLE`]: by so much of its half a pause is shorter.
    pub(super) fn begin(&mut self, open: usize, wanted: usize, now: Timestamp, draw: u32) -> usize {
        let there = open + self.under_way;
        let free = AT_ONCE.saturating_sub(self.under_way);
        let missing = wanted.saturating_sub(there).min(free);
        if missing == 0 || self.next.is_some_and(|next| now < next) {
            return 0;
        }
        // What is wanted at once is one row, not one after the other.
        if self.under_way == 0 {
            let calm = CALM.max(self.pause * 2);
            let soon = |last: Timestamp| now.saturating_since(last) < calm;
            self.pause = match self.last {
                Some(last) if soon(last) && open > self.there => self.pause,
                Some(last) if soon(last) => (self.pause * 2).clamp(FIRST, LONGEST),
                _ => Duration::ZERO,
            };
        }
        self.there = open;
        self.last = Some(now);
        let less = self.pause / 2 * draw / WHOLE;
        self.next = Some(now + self.pause.saturating_sub(less));
        self.under_way += missing;
        missing
    }

    /// A dial has ended, well or not.
    pub(super) fn ended(&mut self, now: Timestamp) {
        self.under_way = self.under_way.saturating_sub(1);
        self.last = Some(now);
        if !self.pause.is_zero() {
            self.next = self.next.max(Some(now + self.pause / 2));
        }
    }

    /// When it is to be asked again, if connections are missing.
    pub(super) fn due(&self, open: usize, wanted: usize) -> Option<Timestamp> {
        let there = open + self.under_way;
        // While dials are under way, the end of one is the time.
        (there < wanted && self.under_way < AT_ONCE)
            .then_some(self.next)
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn what_is_missing_is_dialled_at_once_and_no_more() {
        let mut warmth = Warmth::default();
        assert_eq!(warmth.begin(0, 3, at(0), 0), 3);
        assert_eq!(warmth.begin(0, 3, at(1), 0), 0, "they are under way");
        for open in 1..=3 {
            warmth.ended(at(2));
            assert_eq!(warmth.begin(open, 3, at(2), 0), 0);
        }
        assert_eq!(warmth.due(3, 3), None);
    }

    #[test]
    fn many_are_dialled_a_few_at_a_time() {
        // Whether they end one by one or all at once.
        for together in [1, AT_ONCE] {
            let (mut open, mut now) = (0, 0);
            let mut warmth = Warmth::default();
            assert_eq!(warmth.begin(0, 100, at(now), 0), AT_ONCE);
            while open < 100 {
                now += 1;
                (0..together).for_each(|_| warmth.ended(at(now)));
                open += together;
                warmth.begin(open, 100, at(now), 0);
                assert!(now < 500, "only {open} after half a second");
            }
        }
    }

    #[test]
    fn one_that_closes_after_a_long_time_is_replaced_at_once() {
        let mut warmth = Warmth::default();
        let mut now = 0;
        for _ in 0..10 {
            assert_eq!(warmth.begin(0, 1, at(now), 0), 1, "at {now}");
            warmth.ended(at(now));
            now += 2000;
        }
    }

    /// How many dials there are in so many milliseconds, each of which takes
    /// `takes`, and nothing of it stays.
    fn dials(within: u64, takes: u64, draw: u32) -> usize {
        let mut warmth = Warmth::default();
        let mut ends = Vec::new();
        let mut dials = 0;
        for now in 0..within {
            while ends.first() == Some(&now) {
                ends.remove(0);
                warmth.ended(at(now));
            }
            let begun = warmth.begin(0, 1, at(now), draw);
            dials += begun;
            ends.extend((0..begun).map(|_| now + takes.max(1)));
            let due = warmth.due(0, 1);
            assert!(begun > 0 || !ends.is_empty() || due.is_some(), "forgotten");
        }
        dials
    }

    #[test]
    fn a_server_that_closes_or_refuses_at_once_meets_no_storm() {
        for draw in [0, 500, 1000] {
            let minute = dials(60_000, 0, draw);
            assert!((8..=25).contains(&minute), "{minute} with {draw}");
        }
    }

    #[test]
    fn nor_does_one_at_which_dials_take_long() {
        let minute = dials(60_000, 1_500, 0);
        assert!((5..=15).contains(&minute), "{minute}");
    }

    #[test]
    fn a_server_that_is_back_is_dialled_at_once() {
        let mut warmth = Warmth::default();
        for now in 0..5000 {
            if warmth.begin(0, 1, at(now), 0) > 0 {
                warmth.ended(at(now));
            }
        }
        assert!(warmth.due(0, 1).is_some_and(|due| due > at(5000)));
        assert_eq!(warmth.begin(0, 1, at(60_000), 0), 1);
        assert_eq!(warmth.pause, Duration::ZERO);
    }
}
