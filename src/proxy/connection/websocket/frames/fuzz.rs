//! Any bytes, cut anyhow, beside a reading of the whole at once.

use super::Frames;
use crate::fuzz::{cuts, fuzz};

#[derive(PartialEq, Eq, Debug, Default)]
struct Place {
    boundary: bool,
    closed: bool,
    lost: bool,
}

fn number(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .fold(0, |sum, byte| sum * 256 + u128::from(*byte))
}

/// Where these bytes end, frame by frame from the first (RFC 6455, section 5.2).
fn model(bytes: &[u8]) -> Place {
    let mut place = Place::default();
    let mut from = 0_u128;
    let byte = |at: u128| usize::try_from(at).ok().and_then(|at| bytes.get(at));
    while let Some(first) = byte(from) {
        let Some(second) = byte(from + 1) else {
            return place;
        };
        let extended = match second % 128 {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let start = usize::try_from(from).expect("inside") + 2;
        let Some(length) = bytes.get(start..start + extended) else {
            return place;
        };
        let payload = if extended == 0 {
            u128::from(second % 128)
        } else {
            number(length)
        };
        if payload >= 1 << 63 {
            place.lost = true;
            return place;
        }
        let mask = if *second >= 128 { 4 } else { 0 };
        from = start as u128 + extended as u128 + mask + payload;
        if from > bytes.len() as u128 {
            return place;
        }
        place.closed |= first % 16 == 8;
    }
    place.boundary = true;
    place
}

fn place(frames: &Frames) -> Place {
    Place {
        boundary: frames.at_boundary(),
        closed: frames.closed(),
        lost: frames.lost(),
    }
}

#[test]
fn any_bytes_have_the_edges_of_the_model() {
    fuzz("websocket", 6_000, |bytes, random| {
        let mut frames = Frames::default();
        let mut from = 0;
        for to in cuts(random, bytes.len()) {
            frames.follow(&bytes[from..to]);
            from = to;
            assert_eq!(place(&frames), model(&bytes[..to]), "after {to}");
        }
    });
}

#[test]
fn a_close_is_put_at_an_edge_of_the_model_only() {
    fuzz("websocket", 3_000, |bytes, random| {
        let from = random.usize(..=bytes.len());
        let mut frames = Frames::default();
        frames.follow(&bytes[..from]);
        let to = from + frames.follow_to_boundary(&bytes[from..]);
        let first = (from..=bytes.len()).find(|end| model(&bytes[..*end]).boundary);
        if frames.at_boundary() {
            assert_eq!(Some(to), first);
        } else {
            assert_eq!(first, None);
        }
    });
}
