//! Trace context as it is on the wire (W3C Trace Context): whose trace it is,
//! and whether it is recorded.
//!
//! Invariant: what is not to the letter is not there: a malformed
//! `traceparent` begins a new trace (section 3.2.4 of level 1), and a
//! malformed `tracestate` is not passed on by who takes part. Reading copies nothing.
//!
//! Deliberately absent: entries of our own in `tracestate`. Nothing has to be
//! told to who is next but who asked.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::ops::Range;

/// The field that names the trace and who asks.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The field that systems on the way keep their own words in.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// Entries that a `tracestate` may have.
const ENTRIES: usize = 32;

/// Recorded by who asks.
const SAMPLED: u8 = 1;

/// Drawn by chance, so that parts of all traces can be told by it.
const RANDOM: u8 = 2;

/// The name of a trace; never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// This name; `None` for zero.
    const fn new(id: u128) -> Option<Self> {
        if id == 0 { None } else { Some(Self(id)) }
    }

    /// Made of these halves; the lower one should not be zero.
    pub(super) fn of(high: u64, low: u64) -> Self {
        Self(u128::from(high) << 64 | u128::from(low.max(1)))
    }

    /// As it is exported.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a span within its trace; never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

impl SpanId {
    /// A new one.
    #[must_use]
    pub fn draw() -> Self {
        Self(fastrand::u64(1..))
    }

    /// As it is exported.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A span, named all over the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ids {
    /// Its trace.
    pub trace: TraceId,
    /// Itself.
    pub span: SpanId,
}

/// Who asks, as a `traceparent` says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    /// The span that asks.
    pub ids: Ids,
    flags: u8,
}

impl Parent {
    /// Whether who asks records.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What is passed on of the flags by who records.
    #[must_use]
    pub const fn flags(self) -> u8 {
        self.flags & RANDOM | SAMPLED
    }

    /// Read a `traceparent`. Versions to come may have more behind what is known
    /// of this one.
    #[must_use]
    pub fn read(field: &[u8]) -> Option<Self> {
        let (known, more) = field.split_at_checked(LENGTH)?;
        let part = |part: Range<usize>| number(&known[part]);
        let fits = match part(0..2)? {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|next| *next == b'-'),
        };
        if !fits || [2, 35, 52].iter().any(|dash| known[*dash] != b'-') {
            return None;
        }
        let span = u64::try_from(part(36..52)?).ok()?;
        Some(Self {
            ids: Ids {
                trace: TraceId::new(part(3..35)?)?,
                span: (span != 0).then_some(SpanId(span))?,
            },
            flags: u8::try_from(part(53..55)?).ok()?,
        })
    }

    /// Who asks, by a request's head; `None` if that says nothing, or not in one
    /// way.
    #[must_use]
    pub fn of(fields: &HeaderMap) -> Option<Self> {
        let mut said = fields.get_all(TRACEPARENT).iter();
        let (Some(first), None) = (said.next(), said.next()) else {
            return None;
        };
        Self::read(first.as_bytes())
    }
}

/// Lower-case hexadecimal digits, at most 32 of them.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let digit = match *digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// The `traceparent` by which a span asks others.
#[must_use]
pub fn traceparent(ids: Ids, flags: u8) -> HeaderValue {
    let text = format!("00-{}-{}-{flags:02x}", ids.trace, ids.span);
    // Digits and dashes are a value.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// The `tracestate` of a request as one text; `None` if there is none, or one
/// that is malformed.
#[must_use]
pub(super) fn tracestate(fields: &HeaderMap) -> Option<String> {
    let mut said = fields.get_all(TRACESTATE).iter();
    let mut text = said.next()?.to_str().ok()?.to_owned();
    for more in said {
        text.push(',');
        text.push_str(more.to_str().ok()?);
    }
    let mut keys: Vec<&str> = Vec::new();
    for entry in text.split(',') {
        // Blanks around an entry, and entries that are empty, mean nothing.
        let entry = entry.trim_matches([' ', '\t']);
        if entry.is_empty() {
            continue;
        }
        let (key, value) = entry.split_once('=')?;
        if !is_key(key) || !is_value(value) || keys.contains(&key) {
            return None;
        }
        keys.push(key);
    }
    (1..=ENTRIES).contains(&keys.len()).then_some(text)
}

/// Small letters, digits and a few signs; it begins with one of the former.
fn is_key(key: &str) -> bool {
    let begins = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let goes_on = |byte: u8| begins(byte) || b"_-*/@".contains(&byte);
    key.len() <= 256 && key.bytes().next().is_some_and(begins) && key.bytes().all(goes_on)
}

/// Visible characters and blanks, but none of these at the end.
fn is_value(value: &str) -> bool {
    let fits = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'=';
    let ends = value.bytes().next_back();
    value.len() <= 256 && ends.is_some_and(|last| last != b' ') && value.bytes().all(fits)
}

#[cfg(test)]
mod tests;
