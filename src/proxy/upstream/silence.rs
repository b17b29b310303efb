//! When a silent HTTP/2 connection is asked whether it still lives.
//!
//! Purpose: a server that is gone without a word is found by a PING that it does
//! not answer (RFC 9113, section 6.7). Here it is decided when to send one.
//!
//! Time goes in quarters of the silence that is borne: reads leave a mark, which
//! is looked at and taken away once in a quarter, so that bytes cost one store
//! and no timer.
//!
//! Invariant: the first PING of a silence comes after three quarters of it at the
//! least and the whole at the most. What it is answered by does not end the
//! silence: servers of gRPC count PINGs between two answers of theirs, take the
//! third that comes too soon for abuse and end the connection (`too_many_pings`),
//! which would make a failure of every stream that is quiet by nature. So a
//! silence has three PINGs at the most, the second and third only for streams
//! that were opened since the last one; after that there is one every
//! [`Silence::again`], which they take for seldom enough, and without streams
//! none.
//!
//! Deliberately absent: sending it, and how long its answer may take.

use crate::config;
use std::time::Duration;

/// PINGs of one silence that may come soon after each other.
const SOON: u32 = 3;

/// Quarters after which a PING is due: the silence began in the one before.
const DUE: u32 = 3;

/// When a connection counts as silent, and what then.
#[derive(Copy, Clone, Debug)]
pub(super) struct Silence {
    /// With nothing received for this long, a PING is sent.
    pub(super) after: Duration,
    /// Without its ack for this long, the connection is closed.
    pub(super) answer: Duration,
    /// Between two PINGs with nothing but acks received in between. Servers of
    /// gRPC want five minutes.
    pub(super) again: Duration,
}

impl From<config::Ping> for Silence {
    fn from(ping: config::Ping) -> Self {
        Self {
            after: ping.after,
            answer: ping.answer,
            again: Duration::from_secs(330).max(ping.after),
        }
    }
}

impl Silence {
    /// How often it is looked.
    pub(super) fn quarter(&self) -> Duration {
        (self.after / 4).max(Duration::from_millis(1))
    }
}

/// What is seen in a quarter.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Seen {
    /// Something was received.
    pub(super) heard: bool,
    /// A stream was opened.
    pub(super) opened: bool,
    /// Streams are open.
    pub(super) busy: bool,
}

/// A silence, if there is one.
#[derive(Debug, Default)]
pub(super) struct Lull {
    /// Whole quarters without a word, since the last PING if there was one.
    quiet: u32,
    /// PINGs that were sent.
    asked: u32,
    /// Whole quarters since a stream was opened that no PING was sent for.
    awaited: Option<u32>,
}

impl Lull {
    /// A quarter has passed; whether a PING is due.
    pub(super) fn quarter(&mut self, seen: Seen, silence: &Silence) -> bool {
        if seen.heard {
            *self = Self::default();
            return false;
        }
        self.quiet = self.quiet.saturating_add(1);
        self.awaited = match self.awaited {
            Some(quarters) => Some(quarters + 1),
            None => seen.opened.then_some(0),
        };
        let due = if self.asked == 0 {
            self.quiet >= DUE
        } else if self.asked < SOON && self.awaited.is_some_and(|quarters| quarters >= DUE) {
            seen.busy
        } else {
            let rested = silence.quarter() * self.quiet >= silence.again;
            rested && seen.busy
        };
        if due {
            self.quiet = 0;
            self.asked = self.asked.saturating_add(1);
            self.awaited = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Silence = Silence {
        after: Duration::from_secs(4),
        answer: Duration::from_secs(1),
        again: Duration::from_secs(20),
    };

    const NOTHING: Seen = Seen {
        heard: false,
        opened: false,
        busy: false,
    };
    const BUSY: Seen = Seen {
        busy: true,
        ..NOTHING
    };
    const OPENED: Seen = Seen {
        opened: true,
        ..BUSY
    };
    const HEARD: Seen = Seen {
        heard: true,
        ..BUSY
    };

    /// In which of these quarters a PING is due.
    fn due(quarters: &[Seen]) -> Vec<usize> {
        let mut lull = Lull::default();
        let numbered = quarters.iter().enumerate();
        let due = numbered.filter(|(_, seen)| lull.quarter(**seen, &SILENCE));
        due.map(|(index, _)| index).collect()
    }

    #[test]
    fn a_silence_is_asked_in_its_last_quarter_with_streams_or_without() {
        assert_eq!(due(&[BUSY; 6]), [2]);
        assert_eq!(due(&[NOTHING; 6]), [2]);
    }

    #[test]
    fn what_is_heard_begins_it_anew() {
        assert_eq!(due(&[BUSY, BUSY, HEARD, BUSY, BUSY, HEARD, BUSY]), [0; 0]);
        assert_eq!(
            due(&[HEARD, BUSY, BUSY, BUSY, HEARD, BUSY, BUSY, BUSY]),
            [3, 7]
        );
    }

    #[test]
    fn streams_that_are_quiet_by_nature_are_asked_seldom() {
        assert_eq!(due(&[BUSY; 50]), [2, 22, 42]);
    }

    #[test]
    fn without_streams_it_is_asked_once() {
        assert_eq!(due(&[NOTHING; 500]), [2]);
    }

    #[test]
    fn a_stream_on_a_connection_that_was_asked_before_is_not_left_alone() {
        let mut quarters = vec![NOTHING; 10];
        quarters.push(OPENED);
        quarters.extend([BUSY; 6]);
        assert_eq!(due(&quarters), [2, 13]);
    }

    #[test]
    fn streams_that_come_and_come_do_not_make_abuse_of_it() {
        assert_eq!(due(&[OPENED; 20]), [2, 6, 10]);
        let mut gone = vec![NOTHING; 4];
        gone.push(OPENED);
        gone.extend([NOTHING; 20]);
        assert_eq!(due(&gone), [2], "nobody waits there any more");
    }

    #[test]
    fn the_time_between_is_never_shorter_than_the_silence() {
        let long = config::Ping {
            after: Duration::from_secs(3600),
            ..config::Ping::default()
        };
        assert_eq!(Silence::from(long).again, Duration::from_secs(3600));
        let usual = Silence::from(config::Ping::default());
        assert_eq!(usual.again, Duration::from_secs(330));
    }
}
