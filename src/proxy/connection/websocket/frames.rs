//! Where WebSocket frames begin and end (RFC 6455, section 5.2).
//!
//! [`Frames`] follows a stream of bytes in pieces of any size and knows
//! whether it stands between two frames, and whether a Close went by. It looks
//! at the first two bytes of a frame and at the length that may follow; mask
//! and payload are skipped by counting, which costs a busy tunnel one
//! subtraction per read.
//!
//! Invariant: the result depends on the bytes alone, never on how they were
//! split. Pure: no I/O, no memory beyond its own fields.
//!
//! Deliberately absent: verdicts. Reserved bits and opcodes, a missing mask or
//! a Close of a kilobyte are between the peers. Only a length that no frame
//! can have ends the following: from there on the stream is *lost*.

const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
const MASK_KEY: u64 = 4;

/// A position in a stream of frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    at: At,
    /// The frame under way is a Close.
    close: bool,
    closed: bool,
}

#[derive(Debug, Default)]
enum At {
    /// Between two frames.
    #[default]
    Boundary,
    /// Before the second byte of a frame.
    Second,
    /// In the bytes of a longer length: what they say so far, how many are to
    /// come, and whether a mask follows.
    Length {
        value: u64,
        missing: u8,
        masked: bool,
    },
    /// In the mask or the payload: how many bytes are to come, never zero.
    Payload(u64),
    /// Nowhere.
    Lost,
}

impl Frames {
    /// Follow all of these bytes.
    pub(super) fn follow(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.lost() {
            let followed = self.step(rest);
            rest = &rest[followed..];
        }
    }

    /// Follow these bytes to the first boundary after the place where it
    /// stands now, no further; how many bytes that took. If it stands at a
    /// boundary, none.
    pub(super) fn follow_to_boundary(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && !self.at_boundary() && !self.lost() {
            let followed = self.step(rest);
            rest = &rest[followed..];
        }
        bytes.len() - rest.len()
    }

    /// Whether it stands between two frames.
    pub(super) fn at_boundary(&self) -> bool {
        matches!(self.at, At::Boundary)
    }

    /// Whether a whole Close frame went by.
    pub(super) fn closed(&self) -> bool {
        self.closed
    }

    /// Whether the bytes ceased to be frames.
    pub(super) fn lost(&self) -> bool {
        matches!(self.at, At::Lost)
    }

    /// Follow some of these bytes, which are not none; how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let byte = bytes[0];
        match self.at {
            At::Boundary => {
                self.close = byte & OPCODE == CLOSE;
                self.at = At::Second;
                1
            }
            At::Second => {
                self.second(byte);
                1
            }
            At::Length {
                value,
                missing,
                masked,
            } => {
                self.length(value << 8 | u64::from(byte), missing - 1, masked);
                1
            }
            At::Payload(left) => {
                let here = left.min(bytes.len() as u64);
                self.payload(left - here);
                // No more than the length of a slice.
                usize::try_from(here).unwrap_or(bytes.len())
            }
            At::Lost => bytes.len(),
        }
    }

    fn second(&mut self, byte: u8) {
        let masked = byte & MASKED != 0;
        match byte & LENGTH {
            LENGTH_16 => self.length(0, 2, masked),
            LENGTH_64 => self.length(0, 8, masked),
            short => self.length(u64::from(short), 0, masked),
        }
    }

    fn length(&mut self, value: u64, missing: u8, masked: bool) {
        if missing > 0 {
            self.at = At::Length {
                value,
                missing,
                masked,
            };
        } else if i64::try_from(value).is_err() {
            // "The most significant bit MUST be 0."
            self.at = At::Lost;
        } else {
            self.payload(value + if masked { MASK_KEY } else { 0 });
        }
    }

    fn payload(&mut self, left: u64) {
        if left > 0 {
            self.at = At::Payload(left);
        } else {
            self.closed |= self.close;
            self.at = At::Boundary;
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame as RFC 6455 draws it, in the length form asked for.
    fn frame(opcode: u8, mask: bool, form: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        let flag = if mask { MASKED } else { 0 };
        match form {
            0 => frame.push(flag | u8::try_from(length).expect("short")),
            1 => {
                frame.push(flag | LENGTH_16);
                frame.extend(u16::try_from(length).expect("medium").to_be_bytes());
            }
            _ => {
                frame.push(flag | LENGTH_64);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        if mask {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend((0..251).cycle().take(length));
        frame
    }

    fn after(bytes: &[u8]) -> Frames {
        let mut frames = Frames::default();
        frames.follow(bytes);
        frames
    }

    #[test]
    fn every_length_form_ends_where_it_ends() {
        for mask in [false, true] {
            for (form, length) in [(0, 0), (0, 1), (0, 125), (1, 126), (1, 65_535), (2, 65_536)] {
                let bytes = frame(2, mask, form, length);
                let mut frames = Frames::default();
                for (at, byte) in bytes.iter().enumerate() {
                    frames.follow(&[*byte]);
                    assert_eq!(
                        frames.at_boundary(),
                        at + 1 == bytes.len(),
                        "{form} {length} {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_length_form_that_is_too_long_is_still_followed() {
        for mask in [false, true] {
            let bytes = [frame(1, mask, 2, 3), frame(1, mask, 1, 0)].concat();
            assert!(after(&bytes).at_boundary());
        }
    }

    #[test]
    fn a_close_counts_once_it_is_whole() {
        let close = frame(8, true, 0, 20);
        let mut frames = after(&frame(9, true, 0, 8));
        assert!(!frames.closed());
        frames.follow(&close[..close.len() - 1]);
        assert!(!frames.closed());
        frames.follow(&close[close.len() - 1..]);
        assert!(frames.closed());
        frames.follow(&frame(1, true, 0, 3));
        assert!(frames.closed(), "what follows it does not take it back");
    }

    #[test]
    fn an_empty_close_is_a_close() {
        assert!(after(&[0x88, 0x00]).closed());
    }

    #[test]
    fn a_payload_that_looks_like_a_close_is_none() {
        let mut bytes = vec![0x82, 4];
        bytes.extend([0x88, 0x00, 0x88, 0x00]);
        let frames = after(&bytes);
        assert!(frames.at_boundary());
        assert!(!frames.closed());
    }

    #[test]
    fn fragments_are_frames_and_a_close_may_stand_between_them() {
        let first = [0x01, 2, b'a', b'b'];
        let mut frames = after(&first);
        assert!(frames.at_boundary());
        frames.follow(&frame(8, false, 0, 2));
        assert!(frames.at_boundary());
        assert!(frames.closed());
    }

    #[test]
    fn reserved_bits_and_opcodes_are_not_our_business() {
        for first in 0..=u8::MAX {
            let frames = after(&[first, 3, 9, 9, 9]);
            assert!(frames.at_boundary());
            assert_eq!(frames.closed(), first & OPCODE == CLOSE);
        }
    }

    #[test]
    fn a_length_that_no_frame_can_have_loses_the_place() {
        let mut bytes = vec![0x82, LENGTH_64];
        bytes.extend((1_u64 << 63).to_be_bytes());
        let mut frames = after(&bytes[..9]);
        assert!(!frames.lost());
        frames.follow(&bytes[9..]);
        assert!(frames.lost());
        frames.follow(&[0x88, 0x00]);
        assert!(frames.lost());
        assert!(!frames.closed());
        assert!(!frames.at_boundary());
        assert_eq!(frames.follow_to_boundary(&[1, 2, 3]), 0);
    }

    #[test]
    fn the_longest_length_in_a_mask_does_not_overflow() {
        let mut bytes = vec![0x82, MASKED | LENGTH_64];
        bytes.extend(i64::MAX.to_be_bytes());
        bytes.extend([0; 4]);
        let frames = after(&bytes);
        assert!(!frames.lost());
        assert!(!frames.at_boundary());
    }

    #[test]
    fn the_way_to_the_boundary_ends_there() {
        let frame_of_nine = frame(2, true, 0, 3);
        let mut frames = after(&frame_of_nine[..4]);
        let rest = [&frame_of_nine[4..], &[0x88, 0x00]].concat();
        assert_eq!(frames.follow_to_boundary(&rest), 5);
        assert!(frames.at_boundary());
        assert!(!frames.closed());
        assert_eq!(frames.follow_to_boundary(&rest[5..]), 0);
    }

    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let shape = prop_oneof![
            (Just(0_u8), 0..=125_usize),
            (Just(1_u8), 0..2_000_usize),
            (Just(2_u8), 0..2_000_usize),
            (Just(2_u8), 65_530..66_000_usize),
        ];
        (0..16_u8, any::<bool>(), shape)
            .prop_map(|(opcode, mask, (form, length))| frame(opcode, mask, form, length))
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(
            list in prop::collection::vec(any_frame(), 1..8),
            splits in prop::collection::vec(1..5_000_usize, 1..64),
        ) {
            let bytes = list.concat();
            let ends: Vec<usize> = list
                .iter()
                .scan(0, |sum, frame| { *sum += frame.len(); Some(*sum) })
                .collect();
            let closes_at = list
                .iter()
                .zip(&ends)
                .find(|(frame, _)| frame[0] & OPCODE == CLOSE)
                .map(|(_, end)| *end);
            let mut frames = Frames::default();
            let mut at = 0;
            for split in splits.iter().cycle() {
                let next = (at + split).min(bytes.len());
                frames.follow(&bytes[at..next]);
                at = next;
                prop_assert_eq!(frames.at_boundary(), ends.contains(&at));
                prop_assert_eq!(frames.closed(), closes_at.is_some_and(|end| end <= at));
                if at == bytes.len() {
                    break;
                }
            }
        }

        #[test]
        fn the_boundary_is_found_from_anywhere(
            list in prop::collection::vec(any_frame(), 1..5),
            from in any::<prop::sample::Index>(),
            piece in 1..3_000_usize,
        ) {
            let bytes = list.concat();
            let from = from.index(bytes.len());
            let mut ends = vec![0];
            for frame in &list {
                ends.push(ends[ends.len() - 1] + frame.len());
            }
            let boundary = *ends.iter().find(|end| **end >= from).expect("the last one");
            let mut frames = after(&bytes[..from]);
            let mut at = from;
            while !frames.at_boundary() {
                let next = (at + piece).min(bytes.len());
                at += frames.follow_to_boundary(&bytes[at..next]);
            }
            prop_assert_eq!(at, boundary);
        }

        #[test]
        fn noise_neither_panics_nor_depends_on_its_splits(
            noise in prop::collection::vec(any::<u8>(), 0..300),
            split in any::<prop::sample::Index>(),
        ) {
            let whole = after(&noise);
            let split = split.index(noise.len() + 1);
            let mut parts = after(&noise[..split]);
            parts.follow(&noise[split..]);
            prop_assert_eq!(whole.at_boundary(), parts.at_boundary());
            prop_assert_eq!(whole.closed(), parts.closed());
            prop_assert_eq!(whole.lost(), parts.lost());
        }
    }
}
