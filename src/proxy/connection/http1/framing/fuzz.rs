//! Any bytes, cut anyhow, beside a reading of RFC 9112 that shares nothing
//! with the machine: it has the whole stream and looks at it as text.

use super::{Bounds, Framing, Step};
use crate::fuzz::{cuts, fuzz};
use crate::reading::{Message, Read};

const MAX_HEAD: usize = 512;
const MAX_FIELDS: usize = 8;

/// Where messages end, and whether the stream is refused behind the last.
#[derive(PartialEq, Eq, Debug, Default)]
struct Reading {
    ends: Vec<usize>,
    refused: bool,
}

fn machine(bytes: &[u8], cuts: &[usize]) -> Reading {
    let mut framing = Framing::new(Bounds {
        head: MAX_HEAD,
        // The model knows no shorter limit for the target.
        target: MAX_HEAD,
        fields: MAX_FIELDS,
    });
    let mut reading = Reading::default();
    let mut from = 0;
    for to in cuts {
        while from < *to {
            match framing.advance(&bytes[from..*to]) {
                Step::Pass(passed) => {
                    assert!((1..=to - from).contains(&passed), "passed {passed}");
                    from += passed;
                    if framing.at_boundary() {
                        reading.ends.push(from);
                    }
                }
                Step::More => break,
                Step::Refuse(_) => {
                    reading.refused = true;
                    return reading;
                }
            }
        }
    }
    reading
}

/// Where the first message ends, if it is whole and can be read one way only.
fn message(bytes: &[u8]) -> Option<usize> {
    let Read::Whole(message) = Message::read(bytes) else {
        return None;
    };
    let bounded = message.head.length <= MAX_HEAD && message.head.fields.len() <= MAX_FIELDS;
    bounded.then(|| message.length())
}

#[test]
fn what_passes_is_framed_as_the_model_frames_it() {
    fuzz("http1", 20_000, |bytes, _| {
        let reading = machine(bytes, &[bytes.len()]);
        let mut from = 0;
        for end in reading.ends {
            assert_eq!(
                message(&bytes[from..]).map(|length| from + length),
                Some(end)
            );
            from = end;
        }
    });
}

#[test]
fn any_cut_of_the_bytes_has_one_reading() {
    fuzz("http1", 20_000, |bytes, random| {
        let whole = machine(bytes, &[bytes.len()]);
        let cuts = cuts(random, bytes.len());
        assert_eq!(machine(bytes, &cuts), whole, "cut at {cuts:?}");
    });
}
