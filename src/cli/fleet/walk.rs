//! A walk through a fleet: whose turn it is, and what ends it.
//!
//! Pure: the shell (`drain`) says what happened, and asks who is next.
//!
//! Invariant: no more than the allowed number are away at once, each member
//! has one turn, and after the first that cut something, failed or did not
//! come back, nobody begins. Those under way are seen to their end, so that
//! the account is of all.
//!
//! Deliberately absent: looking at anybody. Who must be ready before a turn
//! is said here ([`Walk::must_be_ready`]), whether they are is not.

use crate::cli::exit;
use std::fmt;

/// How far a member is.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) enum Stand {
    /// Its turn has not come.
    Left,
    /// It was asked to drain.
    Draining,
    /// It has drained, and its successor is awaited.
    Awaited,
    /// Its successor is ready.
    Back,
    /// It has drained, and something was cut.
    Cut,
    /// It has drained, and nobody came in its place.
    Missing,
    /// It could not be drained, or left without a receipt.
    Failed(String),
}

impl Stand {
    /// The name used in the account.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Draining => "draining",
            Self::Awaited => "awaited",
            Self::Back => "drained",
            Self::Cut => "cut",
            Self::Missing => "missing",
            Self::Failed(_) => "failed",
        }
    }

    const fn is_away(&self) -> bool {
        matches!(self, Self::Draining | Self::Awaited)
    }
}

/// What happened to a member.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) enum Event {
    /// Its drain is over.
    Drained {
        /// Whether something was cut.
        cut: bool,
    },
    /// Its successor is ready.
    Returned,
    /// Its successor was not ready in time.
    Missed,
    /// It could not be drained, or left without a receipt.
    Failed(String),
}

/// Why nobody begins any more.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) enum Stop {
    /// This one cut something.
    Cut(usize),
    /// This one did not come back.
    Missing(usize),
    /// This one could not be drained.
    Failed(usize),
    /// Some that must be ready before the next turn were not.
    NotReady(String),
    /// The operator wished so.
    Asked,
}

/// A walk, and how far it is.
#[derive(Debug)]
pub(super) struct Walk {
    stands: Vec<Stand>,
    at_once: usize,
    stop: Option<Stop>,
}

impl Walk {
    /// Through so many, of whom so many may be away at once.
    pub(super) fn new(members: usize, at_once: usize) -> Self {
        Self {
            stands: vec![Stand::Left; members],
            at_once,
            stop: None,
        }
    }

    /// How far each is.
    pub(super) fn stands(&self) -> &[Stand] {
        &self.stands
    }

    /// Why it stopped, if it did.
    pub(super) const fn stopped(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// How many are away.
    pub(super) fn away(&self) -> usize {
        self.stands.iter().filter(|stand| stand.is_away()).count()
    }

    /// Whose turn it is, if anybody's.
    pub(super) fn next(&self) -> Option<usize> {
        if self.stop.is_some() || self.away() >= self.at_once {
            return None;
        }
        self.stands.iter().position(|stand| *stand == Stand::Left)
    }

    /// Who must be ready before the next turn: all but those who are away, for
    /// whom the others stand in.
    pub(super) fn must_be_ready(&self) -> impl Iterator<Item = usize> {
        let here = self.stands.iter().enumerate();
        here.filter(|(_, stand)| !stand.is_away())
            .map(|(member, _)| member)
    }

    /// It was asked to drain.
    pub(super) fn begin(&mut self, member: usize) {
        self.stands[member] = Stand::Draining;
    }

    /// This happened to one that is away.
    pub(super) fn handle(&mut self, member: usize, event: Event) {
        let (stand, stop) = match event {
            Event::Drained { cut: false } => (Stand::Awaited, None),
            Event::Drained { cut: true } => (Stand::Cut, Some(Stop::Cut(member))),
            Event::Returned => (Stand::Back, None),
            Event::Missed => (Stand::Missing, Some(Stop::Missing(member))),
            Event::Failed(why) => (Stand::Failed(why), Some(Stop::Failed(member))),
        };
        self.stands[member] = stand;
        if let Some(stop) = stop {
            self.stop(stop);
        }
    }

    /// Nobody begins any more; the first reason stays.
    pub(super) fn stop(&mut self, why: Stop) {
        self.stop.get_or_insert(why);
    }

    /// Whether nobody is away and nobody will be.
    pub(super) fn is_over(&self) -> bool {
        self.away() == 0 && self.next().is_none()
    }

    /// See [`exit`]: that something was cut is said before anything else.
    pub(super) fn code(&self) -> u8 {
        if self.stands.contains(&Stand::Cut) {
            exit::CUT
        } else if self.stands.iter().all(|stand| *stand == Stand::Back) {
            0
        } else {
            exit::FAILED
        }
    }
}

impl fmt::Display for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(f, "failed: {why}"),
            other => f.write_str(other.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WELL: Event = Event::Drained { cut: false };

    fn turn(walk: &mut Walk) -> usize {
        let member = walk.next().expect("a turn");
        walk.begin(member);
        member
    }

    #[test]
    fn one_after_the_other_each_when_the_one_before_is_back() {
        let mut walk = Walk::new(2, 1);
        let first = turn(&mut walk);
        assert_eq!((first, walk.next()), (0, None));
        assert_eq!(walk.must_be_ready().collect::<Vec<_>>(), [1]);
        walk.handle(0, WELL);
        assert_eq!(walk.next(), None, "its successor is not ready yet");
        walk.handle(0, Event::Returned);
        assert_eq!(walk.must_be_ready().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(turn(&mut walk), 1);
        walk.handle(1, WELL);
        assert!(!walk.is_over());
        walk.handle(1, Event::Returned);
        assert_eq!((walk.is_over(), walk.code()), (true, 0));
    }

    #[test]
    fn the_first_that_cuts_ends_it_and_is_told_by_the_code() {
        let mut walk = Walk::new(3, 2);
        turn(&mut walk);
        turn(&mut walk);
        walk.handle(1, Event::Drained { cut: true });
        assert_eq!((walk.next(), walk.is_over()), (None, false));
        walk.handle(0, WELL);
        walk.handle(0, Event::Missed);
        assert!(walk.is_over());
        assert_eq!(walk.stopped(), Some(&Stop::Cut(1)));
        assert_eq!(walk.stands(), [Stand::Missing, Stand::Cut, Stand::Left]);
        assert_eq!(walk.code(), exit::CUT);
    }

    #[test]
    fn who_does_not_come_back_or_fails_ends_it() {
        for event in [Event::Missed, Event::Failed("refused".to_owned())] {
            let mut walk = Walk::new(2, 1);
            turn(&mut walk);
            walk.handle(0, event);
            assert_eq!((walk.is_over(), walk.code()), (true, exit::FAILED));
        }
    }

    #[test]
    fn an_operator_stops_it_after_those_under_way() {
        let mut walk = Walk::new(2, 1);
        turn(&mut walk);
        walk.stop(Stop::Asked);
        assert!(!walk.is_over());
        walk.handle(0, WELL);
        walk.handle(0, Event::Returned);
        assert_eq!((walk.is_over(), walk.code()), (true, exit::FAILED));
        assert_eq!(walk.stands(), [Stand::Back, Stand::Left]);
    }

    proptest! {
        #[test]
        fn whatever_happens_it_ends_and_never_takes_too_many(
            members in 1_usize..9,
            at_once in 1_usize..4,
            fates in prop::collection::vec((0_u8..8, any::<prop::sample::Index>()), 64),
        ) {
            let mut walk = Walk::new(members, at_once);
            let mut turns = vec![0; members];
            let mut fates = fates.into_iter();
            while !walk.is_over() {
                if let Some(member) = walk.next() {
                    prop_assert!(walk.stopped().is_none());
                    prop_assert!(walk.must_be_ready().any(|one| one == member));
                    walk.begin(member);
                    turns[member] += 1;
                    continue;
                }
                prop_assert!(walk.away() <= at_once);
                let (fate, index) = fates.next().expect("it ends sooner");
                let away = walk.stands().iter().enumerate();
                let away: Vec<usize> = away.filter(|(_, one)| one.is_away()).map(|(at, _)| at).collect();
                let member = *index.get(&away);
                let event = match (&walk.stands()[member], fate) {
                    (_, 7) => Event::Failed(String::new()),
                    (Stand::Draining, fate) => Event::Drained { cut: fate == 6 },
                    (_, 6) => Event::Missed,
                    _ => Event::Returned,
                };
                walk.handle(member, event);
            }
            prop_assert!(turns.iter().all(|turns| *turns <= 1));
            let all_back = walk.stands().iter().all(|stand| *stand == Stand::Back);
            prop_assert_eq!(walk.code() == 0, all_back);
            prop_assert_eq!(walk.stopped().is_none(), all_back);
        }
    }
}
