//! When a connection to a server has had its time.
//!
//! Purpose: from what the config says, and what is known of a connection, whether
//! it may carry one more exchange, and whether it may be kept while it carries
//! none.
//!
//! Invariant: pure. Time is an argument, and so is what was drawn: two
//! connections that were made in one moment do not end in one moment.
//!
//! Deliberately absent: connections; see `idle` and `fleet`, which ask.

use crate::config;
use crate::drain::Timestamp;
use std::time::Duration;

/// What is drawn for each connection is a part of so many.
pub(super) const WHOLE: u32 = 1000;

/// Of the age that a connection may have, this part at most is left when the one
/// is dialled that is to take its place.
const LEAD: u32 = 10;

/// Why a connection to a server ended.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Closed {
    /// Its server closed it, or it broke.
    Server = 1,
    /// With its exchange, which was cut short or became a tunnel, or had it for
    /// its own.
    Exchange,
    /// There was nothing on it for too long.
    Idle,
    /// More were idle than are kept.
    Excess,
    /// It was too old.
    Age,
    /// It had carried all that it may.
    Requests,
    /// Its server did not answer a PING.
    Ping,
    /// Nothing is to be sent there any more: its server or the process is
    /// drained, or a reload connects in another way.
    Drain,
}

impl Closed {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Server,
        Self::Exchange,
        Self::Idle,
        Self::Excess,
        Self::Age,
        Self::Requests,
        Self::Ping,
        Self::Drain,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Exchange => "exchange",
            Self::Idle => "idle",
            Self::Excess => "excess",
            Self::Age => "age",
            Self::Requests => "requests",
            Self::Ping => "ping",
            Self::Drain => "drain",
        }
    }

    /// Its place among all, for who counts.
    pub(super) const fn index(self) -> usize {
        self as usize - 1
    }

    /// The reason with this number, as a cell has it; zero is none yet.
    pub(super) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| *one as u8 == number)
    }
}

/// When a connection was made, and what was drawn for it, of [`WHOLE`].
#[derive(Copy, Clone, Debug)]
pub(super) struct Birth {
    pub(super) at: Timestamp,
    pub(super) draw: u32,
}

/// From when on it takes nothing new.
pub(super) fn expires(birth: Birth, pool: &config::Pool) -> Option<Timestamp> {
    if pool.max_age.is_zero() {
        return None;
    }
    let less = pool.max_age * pool.jitter / 100 * birth.draw / WHOLE;
    Some(birth.at + pool.max_age.saturating_sub(less))
}

/// From when on another one is to be made that takes its place, if a dial may
/// take so long.
pub(super) fn renews(birth: Birth, pool: &config::Pool, dial: Duration) -> Option<Timestamp> {
    let expires = expires(birth, pool)?;
    let age = expires.saturating_since(birth.at);
    Some(birth.at + age.saturating_sub(dial.min(age / LEAD)))
}

/// Whether one that carried so many exchanges has carried all that it may.
pub(super) fn is_spent(carried: u64, pool: &config::Pool) -> bool {
    pool.max_requests > 0 && carried >= pool.max_requests
}

/// How often idle connections are looked through: they are closed by as much
/// late.
pub(super) fn look(pool: &config::Pool) -> Duration {
    let shortest = match pool.max_age {
        Duration::ZERO => pool.idle,
        age => age.min(pool.idle),
    };
    (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(15))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    fn aged(seconds: u64, jitter: u32) -> config::Pool {
        config::Pool {
            max_age: Duration::from_secs(seconds),
            jitter,
            ..config::Pool::default()
        }
    }

    fn born(draw: u32) -> Birth {
        Birth { at: at(500), draw }
    }

    #[test]
    fn an_age_is_never_more_than_it_may_be_and_less_by_what_is_drawn() {
        let pool = aged(100, 10);
        assert_eq!(expires(born(0), &pool), Some(at(100_500)));
        assert_eq!(expires(born(500), &pool), Some(at(95_500)));
        assert_eq!(expires(born(WHOLE), &pool), Some(at(90_500)));
        assert_eq!(expires(born(WHOLE), &aged(100, 0)), Some(at(100_500)));
        assert_eq!(expires(born(WHOLE), &aged(100, 100)), Some(at(500)));
    }

    #[test]
    fn without_an_age_it_lives_for_ever() {
        assert_eq!(expires(born(3), &aged(0, 10)), None);
        assert_eq!(renews(born(3), &aged(0, 10), Duration::from_secs(1)), None);
    }

    #[test]
    fn the_next_one_is_dialled_early_enough_and_not_much_too_early() {
        let dial = Duration::from_secs(1);
        assert_eq!(renews(born(0), &aged(100, 0), dial), Some(at(99_500)));
        assert_eq!(renews(born(0), &aged(2, 0), dial), Some(at(2_300)));
    }

    #[test]
    fn requests_are_counted_if_there_is_a_limit() {
        let limit = |max_requests| config::Pool {
            max_requests,
            ..config::Pool::default()
        };
        assert!(!is_spent(u64::MAX, &limit(0)));
        assert!(!is_spent(2, &limit(3)));
        assert!(is_spent(3, &limit(3)));
    }

    #[test]
    fn pools_are_looked_through_in_a_quarter_of_what_they_keep() {
        let idle = |idle| config::Pool { idle, ..aged(0, 0) };
        assert_eq!(look(&idle(Duration::from_secs(8))), Duration::from_secs(2));
        assert_eq!(
            look(&idle(Duration::from_secs(900))),
            Duration::from_secs(15)
        );
        assert_eq!(look(&aged(2, 0)), Duration::from_millis(500));
        assert_eq!(
            look(&idle(Duration::from_millis(1))),
            Duration::from_millis(5)
        );
    }

    #[test]
    fn a_reason_is_known_by_its_number() {
        for (index, reason) in Closed::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert_eq!(Closed::numbered(reason as u8), Some(reason));
        }
        assert_eq!(Closed::numbered(0), None);
    }
}
