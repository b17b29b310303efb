//! The status codes that are counted each for itself.
//!
//! A status code comes from a server or from a client's behaviour, so the
//! label must not follow it anywhere: codes of the table count alone, all
//! others under their class (`"4xx"`), and what is no status code at all under
//! `"other"`. Code 0 stands for a tunnel that had no status.
//!
//! Invariant: [`slot`] is below [`SLOTS`] for every `u16`, and constant time.

/// The codes counted each for itself: those of RFC 9110, section 15, that a
/// proxy meets, RFC 6585, and 0 for a tunnel without one.
const CODES: [u16; 36] = [
    0, 101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406,
    408, 409, 410, 412, 413, 415, 421, 422, 429, 431, 499, 500, 501, 502, 503, 504, 505,
];

/// What all other codes fold into.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// How many labels there are.
pub(super) const SLOTS: usize = CODES.len() + CLASSES.len();

/// The slot of every code below 600, worked out once, by the compiler.
static TABLE: [u8; 600] = table();

#[expect(
    clippy::cast_possible_truncation,
    reason = "a slot is below SLOTS, which is far below 256"
)]
const fn table() -> [u8; 600] {
    let mut table = [(SLOTS - 1) as u8; 600];
    let mut code = 100;
    while code < table.len() {
        table[code] = (CODES.len() + code / 100 - 1) as u8;
        code += 1;
    }
    let mut slot = 0;
    while slot < CODES.len() {
        table[CODES[slot] as usize] = slot as u8;
        slot += 1;
    }
    table
}

/// Where `code` is counted.
pub(super) fn slot(code: u16) -> usize {
    TABLE
        .get(usize::from(code))
        .map_or(SLOTS - 1, |slot| usize::from(*slot))
}

/// The label of a slot.
pub(super) fn label(slot: usize) -> String {
    match CODES.get(slot) {
        Some(code) => code.to_string(),
        None => CLASSES[(slot - CODES.len()).min(CLASSES.len() - 1)].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_label() {
        for code in CODES {
            assert_eq!(label(slot(code)), code.to_string());
        }
        for (code, expected) in [
            (100, "1xx"),
            (226, "2xx"),
            (399, "3xx"),
            (418, "4xx"),
            (599, "5xx"),
            (1, "other"),
            (99, "other"),
            (600, "other"),
            (u16::MAX, "other"),
        ] {
            assert_eq!(label(slot(code)), expected, "{code}");
        }
        for code in 0..=u16::MAX {
            assert!(slot(code) < SLOTS);
        }
    }
}
