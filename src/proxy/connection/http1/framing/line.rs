//! One line, and what may stand in it.
//!
//! A line ends with CRLF, both of them; nothing in it is a CR, an LF or a NUL
//! (RFC 9112, section 2.2). A field is a token, a colon, a value, without
//! white space before the colon (section 5.1) and without other controls than
//! tabs (RFC 9110, section 5.5).

use super::Refusal;
use memchr::memchr;

/// The first line without its CRLF; a bare CR, LF or NUL is refused as soon
/// as it is seen.
pub(super) fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let Some(end) = memchr(b'\n', bytes) else {
        // A CR at the very end may be half of a CRLF.
        let known = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        return if clean(known) {
            Ok(None)
        } else {
            Err(Refusal::Malformed)
        };
    };
    match bytes[..end].split_last() {
        Some((b'\r', line)) if clean(line) => Ok(Some(line)),
        _ => Err(Refusal::Malformed),
    }
}

fn clean(line: &[u8]) -> bool {
    memchr::memchr2(b'\r', 0, line).is_none()
}

pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = memchr(b':', line).ok_or(Refusal::Malformed)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !token(name) || has_control(value) {
        return Err(Refusal::Malformed);
    }
    // Without controls, all white space is blanks and tabs.
    Ok((name, value.trim_ascii()))
}

/// Every byte is looked at, so that many are looked at together.
fn has_control(value: &[u8]) -> bool {
    let odd = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    let found = value
        .iter()
        .fold(0, |found, byte| found | u8::from(odd(*byte)));
    found != 0
}

pub(super) fn token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}
