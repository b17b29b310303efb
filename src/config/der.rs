//! Values in DER (X.690), as far as certificates and OCSP responses are looked
//! into.
//!
//! Invariant: whatever the bytes are, reading ends and never panics; what
//! follows a malformed value is not there.
//!
//! Deliberately absent: the meaning of any tag.

/// One value in DER (X.690, section 8.1).
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
}

/// The content of the first value with `tag` in `bytes`.
pub(super) fn find(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let found = children(bytes).into_iter().find(|value| value.tag == tag);
    found.map(|value| value.content)
}

/// The values in `bytes`, up to the first that is malformed.
pub(super) fn children(bytes: &[u8]) -> Vec<Value<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(|| {
        let (value, after) = first(rest)?;
        rest = after;
        Some(value)
    })
    .collect()
}

/// The first value in `bytes`, and what follows it.
fn first(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    const LONG: u8 = 0x80;
    let (&tag, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < LONG {
        (usize::from(length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(length - LONG))?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        (
            digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit)),
            rest,
        )
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((Value { tag, content }, rest))
}
