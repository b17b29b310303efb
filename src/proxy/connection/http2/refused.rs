//! What the HTTP/2 engine refuses by itself, told from what it writes.
//!
//! A stream too many gets `RST_STREAM(REFUSED_STREAM)`, and a head that is too
//! large `431`, from the engine: nobody is ever shown such a stream. Both are
//! limits of the config, and are to be counted like the others. So what goes
//! out is followed from frame head to frame head (RFC 9113, section 4.1); what
//! is said on a stream that was never accepted is the engine's own word. So is
//! a GOAWAY for a flood, which alone says what it was a flood of: the engine's
//! error has the reason and not the words.
//!
//! Invariant: a stream that was accepted is never taken for a refused one:
//! its number is noted before anything is said on it.
//!
//! Deliberately absent: what goes out while the socket takes nothing may be
//! said after a later stream was accepted, and is not counted then.

use super::floods::worth;
use super::preface::FRAME_HEAD;
use crate::proxy::registry::Limit;
use h2::Reason;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// Bytes of a GOAWAY that are looked at: the last stream, the reason, and what
/// else it says, none of which is longer.
const WORDS: usize = 8 + 32;

/// What the engine says to a client that sent too much of something.
const FLOODS: [(&[u8], Limit); 5] = [
    (b"too_many_continuations", Limit::Continuation),
    (b"too_many_data_frames", Limit::DataFrames),
    (b"too_many_internal_resets", Limit::Malformed),
    (b"too_many_resets", Limit::Resets),
    (b"header_list_way_too_large", Limit::Head),
];

/// Where in its frames what goes out stands.
#[derive(Debug)]
pub(super) struct Refused {
    /// The frame's head, and what of it is looked at besides.
    head: [u8; FRAME_HEAD + WORDS],
    have: usize,
    /// Bytes to the next head.
    left: usize,
    /// What frames were worth that carried something.
    carried: u32,
    /// Why the engine has told the client to leave, if for a flood.
    flood: Option<Limit>,
}

impl Default for Refused {
    fn default() -> Self {
        Self {
            head: [0; FRAME_HEAD + WORDS],
            have: 0,
            left: 0,
            carried: 0,
            flood: None,
        }
    }
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

    /// What frames were worth that carried something since this was last asked.
    pub(super) fn take_carried(&mut self) -> u32 {
        std::mem::take(&mut self.carried)
    }

    /// Why the engine has told the client to leave, if for a flood that it
    /// names. Its error does not say so.
    pub(super) fn flood(&self) -> Option<Limit> {
        self.flood
    }

    /// How much of this frame is looked at.
    fn wanted(&self) -> usize {
        let more = match self.head[3] {
            _ if self.have < FRAME_HEAD => 0,
            RST_STREAM | GOAWAY => self.length().min(WORDS),
            _ => 0,
        };
        FRAME_HEAD + more
    }

    fn length(&self) -> usize {
        let [a, b, c, ..] = self.head;
        u32::from_be_bytes([0, a, b, c]) as usize
    }

    fn whole(&mut self, accepted: u32, limited: &mut impl FnMut(Limit)) {
        let [_, _, _, kind, _, a, b, c, d, reason @ ..] = self.head;
        let stream = u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1);
        let reason = reason.first_chunk::<4>().copied().map(u32::from_be_bytes);
        if kind == GOAWAY {
            let says = self.head[..self.have].get(FRAME_HEAD + 8..);
            let known = FLOODS.iter().find(|(words, _)| says == Some(*words));
            self.flood = known.map(|(_, limit)| *limit).or(self.flood);
        }
        if stream > accepted {
            if kind == RST_STREAM && reason == Some(u32::from(Reason::REFUSED_STREAM)) {
                limited(Limit::Streams);
            } else if kind == HEADERS {
                limited(Limit::Head);
            }
        }
        if kind <= HEADERS {
            self.carried = self.carried.saturating_add(worth(self.length()));
        }
        self.left = self.length() - (self.have - FRAME_HEAD);
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;

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
    fn the_flood_that_the_engine_names_is_known_however_the_bytes_go() {
        let away = |says: &[u8]| frame(GOAWAY, 0, &[&[0, 0, 0, 9, 0, 0, 0, 11][..], says].concat());
        let long = [b'x'; 100];
        let said = [
            away(b""),
            away(&long),
            away(b"too_many_data_frames"),
            away(b""),
        ]
        .concat();
        for piece in 1..=said.len() {
            let mut refused = Refused::default();
            for bytes in said.chunks(piece) {
                refused.follow(bytes, 9, |limit| panic!("{limit:?}"));
            }
            assert_eq!(
                refused.flood(),
                Some(Limit::DataFrames),
                "in pieces of {piece}"
            );
            assert_eq!((refused.have, refused.left), (0, 0));
        }
        let mut refused = Refused::default();
        refused.follow(&away(&long), 9, |limit| panic!("{limit:?}"));
        assert_eq!(refused.flood(), None);
    }

    #[test]
    fn a_server_that_was_asked_refuses_for_itself() {
        let mut refused = Refused::default();
        refused.follow(&talk(), 13, |limit| panic!("{limit:?}"));
    }
}
