//! A client that has ended its side, and is owed an answer.
//!
//! That may be a client that has said all it had to say and waits, or one
//! that is gone: TCP shows both as the same FIN. Only what is written tells,
//! since one that is gone answers it with a reset. So the answer goes on, and
//! where there is none yet, after a moment an interim response asks: a client
//! that waits must be able to read one, and discards it (RFC 9110, section
//! 15.2). What never asks nor is written to is taken for gone in the end, so
//! that a server does not work for nobody, and no drain waits for it.
//!
//! A pure judge of what it is shown once a [`PAUSE`]; deliberately absent are
//! the socket and the timer, which are the gate's.

use std::time::Duration;

/// How long after its FIN, and then how often, a client is looked at.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// The question; HTTP/1.0 does not know it.
pub(super) const QUESTION: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Pauses amid an answer in which nothing is written, after which nobody is
/// taken to read it.
const SILENT: u32 = 20;

/// What to do about the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Nothing: it is written to, or a reset would show by now.
    Wait,
    /// Write the question.
    Ask,
    /// Take it for gone.
    Gone,
}

/// What can be seen of the client and its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Bytes written to it so far.
    pub(super) sent: u64,
    /// It does not take what is written.
    pub(super) blocked: bool,
    /// Nothing of the answer has come yet.
    pub(super) unanswered: bool,
    /// It speaks HTTP/1.0.
    pub(super) old: bool,
}

/// Follows one client from its FIN on.
#[derive(Debug, Default)]
pub(super) struct Parting {
    sent: Option<u64>,
    silent: u32,
    asked: bool,
}

impl Parting {
    /// A pause is over.
    pub(super) fn judge(&mut self, seen: Seen) -> Verdict {
        let moved = self.sent.replace(seen.sent) != Some(seen.sent);
        if moved || seen.blocked {
            // One that takes nothing has its own limit.
            self.silent = 0;
            if moved && !seen.unanswered || seen.blocked {
                return Verdict::Wait;
            }
        }
        if !seen.unanswered {
            self.silent += 1;
            return if self.silent < SILENT {
                Verdict::Wait
            } else {
                Verdict::Gone
            };
        }
        if seen.old || self.asked {
            return Verdict::Wait;
        }
        self.asked = true;
        Verdict::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unanswered() -> Seen {
        Seen {
            sent: 100,
            blocked: false,
            unanswered: true,
            old: false,
        }
    }

    #[test]
    fn a_client_without_an_answer_is_asked_once() {
        let mut parting = Parting::default();
        assert_eq!(parting.judge(unanswered()), Verdict::Ask);
        for _ in 0..100 {
            assert_eq!(parting.judge(unanswered()), Verdict::Wait);
        }
    }

    #[test]
    fn who_knows_no_question_is_not_asked() {
        let mut parting = Parting::default();
        let old = Seen {
            old: true,
            ..unanswered()
        };
        for _ in 0..100 {
            assert_eq!(parting.judge(old), Verdict::Wait);
        }
    }

    #[test]
    fn the_question_waits_for_what_is_being_written() {
        let mut parting = Parting::default();
        let blocked = Seen {
            blocked: true,
            ..unanswered()
        };
        assert_eq!(parting.judge(blocked), Verdict::Wait);
        assert_eq!(parting.judge(unanswered()), Verdict::Ask);
    }

    #[test]
    fn an_answer_goes_on_while_it_moves() {
        let mut parting = Parting::default();
        for sent in 0..100 {
            let moving = Seen {
                sent,
                unanswered: false,
                ..unanswered()
            };
            assert_eq!(parting.judge(moving), Verdict::Wait);
        }
    }

    #[test]
    fn an_answer_that_stands_still_has_no_reader() {
        let mut parting = Parting::default();
        let still = Seen {
            unanswered: false,
            ..unanswered()
        };
        let waited = (0..100).take_while(|_| parting.judge(still) == Verdict::Wait);
        assert_eq!(waited.count(), SILENT as usize);
        let blocked = Seen {
            blocked: true,
            ..still
        };
        assert_eq!(parting.judge(blocked), Verdict::Wait);
        assert_eq!(parting.judge(still), Verdict::Wait, "it begins anew");
    }
}
