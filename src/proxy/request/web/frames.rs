//! Where one message ends and the next begins.
//!
//! Each message stands behind five bytes: a flag, and its length (gRPC over
//! HTTP/2, "Length-Prefixed-Message").
//!
//! Invariant: each byte is accounted for once, and none is kept. Absent: what
//! a message says.

const HEAD: usize = 5;

/// Where in its messages a stream of bytes stands.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    have: usize,
    /// Bytes to the end of the message.
    left: usize,
}

impl Frames {
    /// Whether the next byte is the first of a message.
    pub(super) fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Follow all of the bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// Follow the bytes to the end of the message under way; how many that
    /// were. All of them, without standing there, if it is further on.
    pub(super) fn pass_to_boundary(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while !self.at_boundary() && passed < bytes.len() {
            passed += self.step(&bytes[passed..]);
        }
        passed
    }

    /// Follow some of the bytes, up to the end of a head or a message; how
    /// many. Not to be called without bytes.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let some = self.left.min(bytes.len());
            self.left -= some;
            return some;
        }
        let some = bytes.len().min(HEAD - self.have);
        self.head[self.have..self.have + some].copy_from_slice(&bytes[..some]);
        self.have += some;
        if self.have == HEAD {
            let [_, length @ ..] = self.head;
            self.left = u32::from_be_bytes(length) as usize;
            self.have = 0;
        }
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &[u8] = b"\0\0\0\0\x02hi\0\0\0\0\0\x01\0\0\0\x01x";

    #[test]
    fn messages_end_where_they_say_however_the_bytes_come() {
        for cut in 0..=MESSAGES.len() {
            let mut frames = Frames::default();
            let (first, second) = MESSAGES.split_at(cut);
            frames.pass(first);
            assert_eq!(frames.at_boundary(), [0, 7, 12, 18].contains(&cut), "{cut}");
            frames.pass(second);
            assert!(frames.at_boundary(), "cut at {cut}");
        }
    }

    #[test]
    fn the_message_under_way_passes_and_no_more() {
        for cut in 0..7 {
            let mut frames = Frames::default();
            let (first, second) = MESSAGES.split_at(cut);
            frames.pass(first);
            let rest = if cut == 0 { 0 } else { 7 - cut };
            assert_eq!(frames.pass_to_boundary(second), rest, "cut at {cut}");
            assert!(frames.at_boundary());
        }
        let mut frames = Frames::default();
        frames.pass(&MESSAGES[..3]);
        assert_eq!(frames.pass_to_boundary(&MESSAGES[3..6]), 3);
        assert!(!frames.at_boundary());
    }
}
