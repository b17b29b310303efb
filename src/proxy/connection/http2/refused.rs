//! What the HTTP/2 engine refuses by itself, told from what it writes.
//!
//! A stream too many gets `RST_STREAM(REFUSED_STREAM)`, and a head that is too
//! large `431`, from the engine: nobody is ever shown such a stream. Both are
//! limits of the config, and are to be counted like the others. So what goes
//! out is followed from frame head to frame head (RFC 9113, section 4.1); what
//! is said on a stream that was never accepted is the engine's own word.
//!
//! Invariant: a stream that was accepted is never taken for a refused one:
//! its number is noted before anything is said on it.
//!
//! Deliberately absent: what goes out while the socket takes nothing may be
//! said after a later stream was accepted, and is not counted then.

use super::preface::FRAME_HEAD;
use crate::proxy::registry::Limit;
use h2::Reason;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// Where in its frames what goes out stands.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// The frame's head, and the reason if it is a reset.
    head: [u8; FRAME_HEAD + 4],
    have: usize,
    /// Bytes to the next head.
    left: usize,
}

impl Refused {
    /// These bytes have gone out, while `accepted` was the last stream that
    /// was accepted; hands on each limit for which one was refused.
    pub(super) fn follow(
        &mut self,
        mut bytes: &[u8],
        accepted: u32,
        mut limited: impl FnMut(Limit),
    ) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let some = self.left.min(bytes.len());
                self.left -= some;
                bytes = &bytes[some..];
                continue;
            }
            let wanted = self.wanted();
            let some = (wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + some].copy_from_slice(&bytes[..some]);
            self.have += some;
            bytes = &bytes[some..];
            if self.have == self.wanted() {
                self.whole(accepted, &mut limited);
            }
        }
    }

    /// How much of this frame is looked at.
    fn wanted(&self) -> usize {
        if self.have >= FRAME_HEAD && self.head[3] == RST_STREAM && self.length() == 4 {
            self.head.len()
        } else {
            FRAME_HEAD
        }
    }

    fn length(&self) -> usize {
        let [a, b, c, ..] = self.head;
        u32::from_be_bytes([0, a, b, c]) as usize
    }

    fn whole(&mut self, accepted: u32, limited: &mut impl FnMut(Limit)) {
        let [_, _, _, kind, _, a, b, c, d, reason @ ..] = self.head;
        let stream = u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1);
        let reset = self.have == self.head.len();
        if stream > accepted {
            if reset && u32::from_be_bytes(reason) == u32::from(Reason::REFUSED_STREAM) {
                limited(Limit::Streams);
            } else if kind == HEADERS {
                limited(Limit::Head);
            }
        }
        self.left = self.length() - (self.have - FRAME_HEAD);
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, 0]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn reset(stream: u32, reason: Reason) -> Vec<u8> {
        frame(RST_STREAM, stream, &u32::from(reason).to_be_bytes())
    }

    /// What an engine may write that has accepted streams up to 5.
    fn talk() -> Vec<u8> {
        [
            frame(4, 0, &[0; 12]),
            frame(HEADERS, 5, b"an answer"),
            frame(0, 5, &reset(9, Reason::REFUSED_STREAM)),
            reset(3, Reason::REFUSED_STREAM),
            reset(7, Reason::REFUSED_STREAM),
            reset(9, Reason::PROTOCOL_ERROR),
            frame(HEADERS, 11, b"431"),
            frame(6, 0, &[0; 8]),
            frame(4, 0, &[]),
            reset(13, Reason::REFUSED_STREAM),
        ]
        .concat()
    }

    #[test]
    fn what_was_never_accepted_is_counted_however_the_bytes_go() {
        let talk = talk();
        for piece in 1..=talk.len() {
            let mut refused = Refused::default();
            let mut counted = Vec::new();
            for bytes in talk.chunks(piece) {
                refused.follow(bytes, 5, |limit| counted.push(limit));
            }
            let expected = [Limit::Streams, Limit::Head, Limit::Streams];
            assert_eq!(counted, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_server_that_was_asked_refuses_for_itself() {
        let mut refused = Refused::default();
        refused.follow(&talk(), 13, |limit| panic!("{limit:?}"));
    }
}
