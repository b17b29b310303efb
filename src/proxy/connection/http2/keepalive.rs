//! PINGs: how often a client may send them, and when it is sent one.
//!
//! A client with nothing in flight that sends PINGs all the same keeps its
//! connection, the way to it and this proxy awake for nothing: gRPC's servers
//! say `too_many_pings` then, and its clients send half as many from there on
//! (gRPC, "Client-side Keepalive"). The other way round, a client that is gone
//! without a word holds its streams, and what they hold at servers; so one that
//! has streams and says nothing is asked, and left if it does not answer.
//!
//! Invariant: a client that does anything at all is not asked, and one that
//! calls may send as many PINGs as it likes: those are measurements.
//!
//! Deliberately absent: sockets, and the clock.

use crate::config::Keepalive;
use crate::drain::Timestamp;
use std::time::Duration;

/// PINGs that may come too early, without a request in between; one more is
/// too many.
const STRIKES: u32 = 2;

/// What a client does with its PINGs.
#[derive(Debug, Default)]
pub(super) struct Manners {
    last: Option<Timestamp>,
    strikes: u32,
    /// Requests that had come by the last one.
    requests: u64,
}

impl Manners {
    /// A PING has come, with so many requests before it, and some in flight or
    /// none; whether it is one too many where they must be `least` apart.
    pub(super) fn pinged(
        &mut self,
        now: Timestamp,
        (requests, in_flight): (u64, bool),
        least: Duration,
    ) -> bool {
        let before = self.last.replace(now);
        if in_flight || requests != self.requests {
            self.requests = requests;
            self.strikes = 0;
        } else if before.is_some_and(|before| now.saturating_since(before) < least) {
            self.strikes += 1;
        }
        self.strikes > STRIKES
    }
}

/// What a look at a client that has streams has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// It does something, or has not been silent for long.
    There,
    /// It has said nothing for so long that it is to be asked.
    Silent,
    /// It was asked, and did not answer.
    Gone,
}

/// Looks whether a client is still there: twice in the time for which it may
/// be silent, so that bytes which come cost nothing.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// Bytes that had come by the last look.
    received: u64,
    next: Timestamp,
    /// Looks in a row that found nothing new.
    silent: u32,
    asked: bool,
}

impl Keeper {
    /// When to look; `since` is when the connection became busy, if it is.
    pub(super) fn due(&self, since: Option<Timestamp>, keepalive: &Keepalive) -> Option<Timestamp> {
        let since = since.filter(|_| !keepalive.after.is_zero())?;
        if self.asked {
            return Some(self.next);
        }
        Some(self.next.max(since + keepalive.after / 2))
    }

    /// Look: so many bytes have come by now.
    pub(super) fn look(&mut self, now: Timestamp, received: u64, keepalive: &Keepalive) -> Found {
        if received != self.received {
            *self = Self {
                received,
                next: now + keepalive.after / 2,
                ..Self::default()
            };
            return Found::There;
        }
        if self.asked {
            return Found::Gone;
        }
        self.silent += 1;
        self.asked = self.silent >= 2;
        if self.asked {
            self.next = now + keepalive.answer;
            return Found::Silent;
        }
        self.next = now + keepalive.after / 2;
        Found::There
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEPALIVE: Keepalive = Keepalive {
        after: Duration::from_secs(60),
        answer: Duration::from_secs(20),
        least: Duration::from_secs(5),
    };

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_secs(secs))
    }

    /// Of PINGs at these seconds, the first that is too many.
    fn too_many(pings: &[u64]) -> Option<u64> {
        let mut manners = Manners::default();
        let mut pings = pings.iter().copied();
        pings.find(|secs| manners.pinged(at(*secs), (0, false), KEEPALIVE.least))
    }

    #[test]
    fn three_pings_too_early_are_too_many() {
        assert_eq!(too_many(&[10, 11, 12, 13]), Some(13));
        assert_eq!(too_many(&[10, 15, 20, 25, 30, 35, 40]), None);
        assert_eq!(too_many(&[10, 11, 60, 61, 120, 121]), Some(121));
        assert_eq!(too_many(&[10, 11, 60, 61, 120, 180]), None);
    }

    #[test]
    fn who_calls_may_measure() {
        let mut manners = Manners::default();
        let mut pinged = |secs, calls| manners.pinged(at(secs), calls, KEEPALIVE.least);
        for secs in 0..100 {
            assert!(!pinged(secs, (1, true)));
        }
        for secs in 100..102 {
            assert!(!pinged(secs, (1, false)));
        }
        assert!(!pinged(102, (2, false)), "it has called");
        for secs in 103..105 {
            assert!(!pinged(secs, (2, false)));
        }
        assert!(pinged(105, (2, false)));
    }

    #[test]
    fn without_a_least_pause_nobody_is_rude() {
        let mut manners = Manners::default();
        for _ in 0..1_000 {
            assert!(!manners.pinged(at(1), (0, false), Duration::ZERO));
        }
    }

    #[test]
    fn who_is_silent_is_asked_and_then_left() {
        let mut keeper = Keeper::default();
        let busy = Some(at(100));
        assert_eq!(keeper.due(busy, &KEEPALIVE), Some(at(130)));
        assert_eq!(keeper.look(at(130), 50, &KEEPALIVE), Found::There);
        assert_eq!(keeper.due(busy, &KEEPALIVE), Some(at(160)));
        assert_eq!(keeper.look(at(160), 50, &KEEPALIVE), Found::There);
        assert_eq!(keeper.look(at(190), 50, &KEEPALIVE), Found::Silent);
        assert_eq!(keeper.due(busy, &KEEPALIVE), Some(at(210)));
        assert_eq!(keeper.look(at(210), 50, &KEEPALIVE), Found::Gone);
    }

    #[test]
    fn an_answer_is_enough() {
        let mut keeper = Keeper::default();
        keeper.look(at(130), 50, &KEEPALIVE);
        keeper.look(at(160), 50, &KEEPALIVE);
        assert_eq!(keeper.look(at(190), 50, &KEEPALIVE), Found::Silent);
        assert_eq!(keeper.look(at(210), 67, &KEEPALIVE), Found::There);
        assert_eq!(keeper.look(at(240), 67, &KEEPALIVE), Found::There);
        assert_eq!(keeper.look(at(270), 67, &KEEPALIVE), Found::Silent);
    }

    #[test]
    fn nobody_is_asked_without_streams_or_where_it_is_off() {
        let keeper = Keeper::default();
        assert_eq!(keeper.due(None, &KEEPALIVE), None);
        let off = Keepalive {
            after: Duration::ZERO,
            ..KEEPALIVE
        };
        assert_eq!(keeper.due(Some(at(1)), &off), None);
    }
}
