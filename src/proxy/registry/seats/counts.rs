//! Who may sit down, who waits, who is refused: the decision alone.
//!
//! Purpose: three numbers that belong together, in one word, so that one
//! compare-and-swap moves all of them: how many are in flight, how many hold a
//! connection that others may need, how many wait.
//!
//! Invariant: nobody sits down past somebody who waits. Who waits holds what it
//! holds, so it counts against the share like those in flight.
//!
//! Deliberately absent: who it is, and time.

use super::Full;

/// More than any process has in flight at once.
pub(super) const MOST: u32 = 16_000_000;

/// As many as can be counted as waiting.
pub(super) const MOST_WAITING: u32 = u16::MAX as u32;

const NUMBER: u64 = (1 << 24) - 1;
const HOLDING: u32 = 24;
const WAITING: u32 = 48;

/// What limits them; the numbers above stand for "none".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    /// In flight at once.
    pub(super) most: u32,
    /// Holding a connection, in flight or waiting.
    pub(super) share: u32,
    /// Waiting at once.
    pub(super) queue: u32,
}

/// What becomes of one that comes, and the numbers after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// It sits down.
    Seated(Counts),
    /// It waits.
    Waits(Counts),
    /// Neither.
    Refused(Full),
}

/// How many there are: 24 bits in flight, 24 holding, 16 waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts(pub(super) u64);

/// What one in flight adds to the numbers.
pub(super) const fn one(holds: bool) -> u64 {
    1 | (holds as u64) << HOLDING
}

impl Counts {
    pub(super) const fn in_flight(self) -> u32 {
        (self.0 & NUMBER) as u32
    }

    pub(super) const fn holding(self) -> u32 {
        (self.0 >> HOLDING & NUMBER) as u32
    }

    pub(super) const fn waiting(self) -> u32 {
        (self.0 >> WAITING) as u32
    }

    /// One comes; `holds` if it takes up a connection meanwhile.
    pub(super) const fn enter(self, bounds: Bounds, holds: bool) -> Entry {
        if holds && self.holding() >= bounds.share {
            Entry::Refused(Full::Share)
        } else if self.waiting() == 0 && self.in_flight() < bounds.most {
            Entry::Seated(Self(self.0 + one(holds)))
        } else if self.waiting() < bounds.queue {
            Entry::Waits(Self(self.0 + (1 << WAITING) + (one(holds) - 1)))
        } else if bounds.queue == 0 {
            Entry::Refused(Full::Requests)
        } else {
            Entry::Refused(Full::Queue)
        }
    }

    /// The next that waits sits down, if there is one and a seat for it.
    pub(super) const fn seat_next(self, bounds: Bounds) -> Option<Self> {
        if self.waiting() == 0 || self.in_flight() >= bounds.most {
            return None;
        }
        Some(Self(self.0 + 1 - (1 << WAITING)))
    }

    /// One that waited gives up.
    pub(super) const fn give_up(self, holds: bool) -> Self {
        Self(self.0 - (1 << WAITING) - (one(holds) - 1))
    }

    /// One that was in flight is not any more.
    #[cfg(test)]
    const fn leave(self, holds: bool) -> Self {
        Self(self.0 - one(holds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONE: Bounds = Bounds {
        most: MOST,
        share: MOST,
        queue: 0,
    };

    fn numbers(counts: Counts) -> [u32; 3] {
        [counts.in_flight(), counts.holding(), counts.waiting()]
    }

    #[test]
    fn without_limits_everybody_sits_down() {
        let mut counts = Counts::default();
        for holds in [true, false, true] {
            let Entry::Seated(next) = counts.enter(NONE, holds) else {
                panic!("there is room");
            };
            counts = next;
        }
        assert_eq!(numbers(counts), [3, 2, 0]);
        assert_eq!(numbers(counts.leave(true).leave(false)), [1, 1, 0]);
    }

    #[test]
    fn who_is_too_many_waits_and_who_comes_later_sits_down_later() {
        let bounds = Bounds {
            most: 1,
            queue: 1,
            ..NONE
        };
        let Entry::Seated(one) = Counts::default().enter(bounds, true) else {
            panic!("it is empty");
        };
        let Entry::Waits(two) = one.enter(bounds, true) else {
            panic!("there is a queue");
        };
        assert_eq!(numbers(two), [1, 2, 1]);
        assert_eq!(two.enter(bounds, true), Entry::Refused(Full::Queue));
        let left = two.leave(true);
        assert_eq!(
            left.enter(bounds, true),
            Entry::Refused(Full::Queue),
            "the seat is for who waits"
        );
        assert_eq!(two.seat_next(bounds), None);
        let next = left.seat_next(bounds).expect("a seat");
        assert_eq!(numbers(next), [1, 1, 0]);
        assert_eq!(numbers(two.give_up(true)), [1, 1, 0]);
    }

    #[test]
    fn a_share_is_for_who_holds_a_connection() {
        let bounds = Bounds { share: 1, ..NONE };
        let Entry::Seated(one) = Counts::default().enter(bounds, true) else {
            panic!("it is empty");
        };
        assert_eq!(one.enter(bounds, true), Entry::Refused(Full::Share));
        assert!(matches!(one.enter(bounds, false), Entry::Seated(_)));
    }

    proptest! {
        #[test]
        fn the_numbers_never_run_into_each_other(
            most in 1_u32..5, share in 1_u32..8, queue in 0_u32..5,
            steps in prop::collection::vec((0_u8..4, any::<bool>()), 0..200),
        ) {
            let bounds = Bounds { most, share, queue };
            let (mut counts, mut seated, mut line) = (Counts::default(), Vec::new(), Vec::new());
            for (step, holds) in steps {
                match step {
                    0 | 1 => match counts.enter(bounds, holds) {
                        Entry::Seated(next) => {
                            prop_assert!(line.is_empty());
                            seated.push(holds);
                            counts = next;
                        }
                        Entry::Waits(next) => {
                            line.push(holds);
                            counts = next;
                        }
                        Entry::Refused(_) => {}
                    },
                    2 => if let Some(holds) = seated.pop() {
                        counts = counts.leave(holds);
                        while let Some(next) = counts.seat_next(bounds) {
                            seated.push(line.remove(0));
                            counts = next;
                        }
                    },
                    _ => if let Some(holds) = line.pop() {
                        counts = counts.give_up(holds);
                    },
                }
                let holding = seated.iter().chain(&line).filter(|holds| **holds).count();
                let expected = [seated.len(), holding, line.len()];
                prop_assert_eq!(numbers(counts).map(|number| number as usize), expected);
                prop_assert!(seated.len() <= most as usize && line.len() <= queue as usize);
                prop_assert!(holding <= share as usize);
                prop_assert!(line.is_empty() || seated.len() == most as usize);
            }
        }
    }
}
