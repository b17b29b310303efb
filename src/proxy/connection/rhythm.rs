//! A client's rhythm: when its next request is about due.
//!
//! A request and the end of an idle HTTP/1.1 connection can cross on the
//! wire: for one round trip neither side can know of the other, and the
//! request is lost. Many clients come at regular intervals, though, and the
//! pause before a client's last request foretells the next one. A close that
//! would fall about there is put off until that request has come, and been
//! answered with `Connection: close`, or has stayed away.
//!
//! Invariant: a close is put off by no more than half of `last_request`, and
//! never brought forward.
//!
//! Deliberately absent: any claim on clients without a rhythm, or with a round
//! trip beyond a quarter of `last_request`: RFC 9112, section 9.5, has them
//! send such a request again.

use crate::drain::Timestamp;
use crate::proxy::registry::State;
use std::time::Duration;

/// What was seen of one client's pauses.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Rhythm {
    /// Since when the connection has been idle, after an answer.
    idle: Option<Timestamp>,
    /// How long it was idle before its last request.
    pause: Option<Duration>,
}

impl Rhythm {
    /// Note where the connection stands, and since when; what was noted
    /// before changes nothing.
    pub(super) fn note(&mut self, state: State, since: Timestamp) {
        match state {
            State::Idle => self.idle = Some(since),
            State::InFlight => {
                if let Some(idle) = self.idle.take() {
                    self.pause = Some(since.saturating_since(idle));
                }
            }
            // Half a head is neither: its request has not begun.
            _ => {}
        }
    }

    /// When to close a connection that has been idle since `idle`: at `close`,
    /// or once the request that is about due then would have come.
    pub(super) fn clear_of_next(
        &self,
        close: Timestamp,
        idle: Timestamp,
        last_request: Duration,
    ) -> Timestamp {
        let Some(pause) = self.pause else {
            return close;
        };
        // What a round trip and an irregular client may take.
        let margin = last_request / 4;
        let (due, overdue) = (idle + pause, idle + pause + margin);
        if due < close + margin && close < overdue {
            overdue
        } else {
            close
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST_REQUEST: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    /// A client that waited so long before its last request.
    fn pausing(millis: u64) -> Rhythm {
        let mut rhythm = Rhythm::default();
        rhythm.note(State::Idle, at(5_000));
        rhythm.note(State::InFlight, at(5_000 + millis));
        rhythm
    }

    /// When it is closed that was idle at 9 s and would be closed at 10 s.
    fn closed(rhythm: &Rhythm) -> Timestamp {
        rhythm.clear_of_next(at(10_000), at(9_000), LAST_REQUEST)
    }

    #[test]
    fn a_request_that_is_about_due_is_awaited() {
        assert_eq!(closed(&pausing(751)), at(10_001), "a little late");
        assert_eq!(closed(&pausing(1_000)), at(10_250));
        assert_eq!(closed(&pausing(1_249)), at(10_499), "under way");
    }

    #[test]
    fn one_that_is_not_due_is_not_awaited() {
        for pause in [0, 300, 750, 1_250, 60_000] {
            assert_eq!(closed(&pausing(pause)), at(10_000), "{pause} ms");
        }
    }

    #[test]
    fn a_close_is_put_off_by_half_of_last_request_at_most() {
        for pause in 0..3_000 {
            let closed = closed(&pausing(pause));
            assert!(at(10_000) <= closed && closed < at(10_500), "{pause} ms");
        }
    }

    #[test]
    fn a_client_of_one_request_has_no_rhythm() {
        let mut rhythm = Rhythm::default();
        rhythm.note(State::InFlight, at(5_000));
        rhythm.note(State::Idle, at(9_000));
        assert_eq!(closed(&rhythm), at(10_000));
    }

    #[test]
    fn the_pause_runs_from_an_answer_to_the_whole_head_of_the_next_request() {
        let mut rhythm = pausing(300);
        // Noted at every turn of the loop.
        rhythm.note(State::InFlight, at(5_300));
        rhythm.note(State::Idle, at(6_000));
        rhythm.note(State::Idle, at(6_000));
        rhythm.note(State::Head, at(6_900));
        rhythm.note(State::InFlight, at(7_000));
        rhythm.note(State::InFlight, at(7_000));
        rhythm.note(State::Idle, at(9_000));
        assert_eq!(closed(&rhythm), at(10_250), "one second");
    }
}
