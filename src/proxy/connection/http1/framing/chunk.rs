//! The chunked coding (RFC 9112, section 7.1).
//!
//! Follows sizes, data and trailers to the byte where the message ends; what
//! two readers might measure differently is refused.

use super::Refusal;
use super::line::{field, line, token};

/// A chunk-size line may be this long, extensions included.
const CHUNK_LINE: usize = 256;

#[derive(Debug, Clone, Copy)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailer { seen: usize },
}

impl Chunk {
    /// The bytes used and what comes next; `(0, None)` is too few bytes, and
    /// any other `None` the end of the message.
    pub(super) fn advance(
        self,
        bytes: &[u8],
        max_head: usize,
    ) -> Result<(usize, Option<Self>), Refusal> {
        match self {
            Self::Size => match line(bytes)? {
                Some(line) => {
                    let size = chunk_size(line)?;
                    let next = if size == 0 {
                        Self::Trailer { seen: 0 }
                    } else {
                        Self::Data(size)
                    };
                    Ok((line.len() + 2, Some(next)))
                }
                // The last byte may be the CR of a line that is as long as may be.
                None if bytes.len() > CHUNK_LINE + 1 => Err(Refusal::Malformed),
                None => Ok((0, None)),
            },
            Self::Data(left) => {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - taken as u64;
                match (taken, left) {
                    (0, _) => Ok((0, None)),
                    (_, 0) => Ok((taken, Some(Self::DataEnd))),
                    _ => Ok((taken, Some(Self::Data(left)))),
                }
            }
            Self::DataEnd => match bytes {
                [b'\r', b'\n', ..] => Ok((2, Some(Self::Size))),
                [] | [b'\r'] => Ok((0, None)),
                _ => Err(Refusal::Malformed),
            },
            Self::Trailer { seen } => match line(bytes)? {
                Some([]) => Ok((2, None)),
                Some(line) => {
                    let seen = seen + line.len() + 2;
                    if seen > max_head {
                        return Err(Refusal::HeadTooLarge);
                    }
                    field(line)?;
                    Ok((line.len() + 2, Some(Self::Trailer { seen })))
                }
                None if bytes.len() > max_head => Err(Refusal::HeadTooLarge),
                None => Ok((0, None)),
            },
        }
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    if line.len() > CHUNK_LINE {
        return Err(Refusal::Malformed);
    }
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    if digits == 0 || digits > 15 || !are_extensions(&line[digits..]) {
        return Err(Refusal::Malformed);
    }
    line[..digits].iter().try_fold(0, |size: u64, digit| {
        let value = (*digit as char).to_digit(16).ok_or(Refusal::Malformed)?;
        Ok(size << 4 | u64::from(value))
    })
}

/// Whether this is a list of extensions, each a semicolon, a name and perhaps
/// a value (RFC 9112, section 7.1.1). White space before a semicolon is bad
/// grace, and a way to differ; where the grammar has it behind, it may be.
fn are_extensions(mut rest: &[u8]) -> bool {
    while let [b';', after @ ..] = rest {
        let Some((name, after)) = word(blanks(after)) else {
            return false;
        };
        if !token(name) {
            return false;
        }
        rest = after;
        if let [b'=', value @ ..] = rest {
            let Some(after) = past_value(blanks(value)) else {
                return false;
            };
            rest = after;
        }
    }
    rest.is_empty()
}

fn blanks(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = bytes.iter().position(|byte| !blank(byte));
    &bytes[end.unwrap_or(bytes.len())..]
}

/// What stands before the next mark, and that mark with the rest.
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| matches!(byte, b';' | b'='));
    bytes.split_at_checked(end.unwrap_or(bytes.len()))
}

/// The rest behind a token or a quoted string.
fn past_value(bytes: &[u8]) -> Option<&[u8]> {
    let Some(quoted) = bytes.strip_prefix(b"\"") else {
        let (value, rest) = word(bytes)?;
        return token(value).then_some(rest);
    };
    let mut at = 0;
    loop {
        match quoted.get(at)? {
            b'"' => return Some(&quoted[at + 1..]),
            // A backslash quotes the byte behind it, which must be text too.
            b'\\' if quoted.get(at + 1).copied().is_some_and(is_text) => at += 2,
            b'\\' => return None,
            byte if is_text(*byte) => at += 1,
            _ => return None,
        }
    }
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
