//! The last word to a client that sends too many PINGs.
//!
//! gRPC's clients look at the debug data of GOAWAY: `too_many_pings` has them
//! send fewer on their next connection, and without it they come back and do
//! the same (gRPC, "Client-side Keepalive"). The HTTP/2 engine says GOAWAY
//! without such data, so it is added to the frame on its way out.
//!
//! Invariant: nothing but the last frame is touched, and only where it is that
//! GOAWAY.

use super::preface::FRAME_HEAD;
use h2::Reason;

const WHY: &[u8] = b"too_many_pings";

/// A GOAWAY without debug data: the head, the last stream, the reason.
const GOAWAY: usize = FRAME_HEAD + 8;

/// The same bytes with the reason told in words; `None` if they do not end
/// with that GOAWAY.
pub(super) fn with_why(bytes: &[u8]) -> Option<Vec<u8>> {
    let at = bytes.len().checked_sub(GOAWAY)?;
    let (before, frame) = bytes.split_at(at);
    let head = [0, 0, 8, 7, 0, 0, 0, 0, 0];
    let reason = u32::from(Reason::ENHANCE_YOUR_CALM).to_be_bytes();
    if !frame.starts_with(&head) || !frame.ends_with(&reason) {
        return None;
    }
    let mut whole = bytes.to_vec();
    whole[before.len() + 2] = 8 + u8::try_from(WHY.len()).ok()?;
    whole.extend_from_slice(WHY);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 11];

    #[test]
    fn the_goaway_gets_its_word_and_its_length() {
        let pong = [0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        for before in [&[][..], &pong] {
            let whole = with_why(&[before, &CALM].concat()).expect("a GOAWAY");
            let (kept, frame) = whole.split_at(before.len());
            assert_eq!(kept, before);
            assert_eq!(frame[..3], [0, 0, 22]);
            assert_eq!(frame[3..17], CALM[3..]);
            assert_eq!(&frame[17..], b"too_many_pings");
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        let mut other = CALM;
        other[16] = 0;
        for bytes in [&other[..], &CALM[1..], &[&CALM[..], &[0]].concat(), &[]] {
            assert_eq!(with_why(bytes), None);
        }
    }
}
