//! The messages of `grpc.health.v1`, to and from bytes.
//!
//! Purpose: what the checks of servers ask and what this proxy answers when
//! it is asked itself. Both are a string one way and a number the other, so
//! they are encoded by hand: a code generator would weigh more than they do.
//!
//! Invariant: what is read is bounded by what is handed in, and malformed
//! bytes are `None`, never a guess. Fields that are not known are stepped
//! over (protobuf, "Unknown Fields").
//!
//! Deliberately absent: compression. Nobody compresses seven bytes.

use bytes::{BufMut, Bytes, BytesMut};

/// gRPC's framing: whether it is compressed, and the length.
const FRAME_HEAD: usize = 5;

/// `HealthCheckResponse.ServingStatus`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum Serving {
    /// It takes calls.
    Yes,
    /// It does not.
    No,
    /// There is no such service; said by Watch only.
    Unknown,
}

impl Serving {
    /// The number on the wire.
    #[must_use]
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Yes => 1,
            Self::No => 2,
            Self::Unknown => 3,
        }
    }
}

/// A `HealthCheckRequest`, framed.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        field(&mut message, 1, service.as_bytes());
    }
    framed(&message)
}

/// The service that a framed `HealthCheckRequest` names, empty if it names
/// none; `None` if it is no such message.
#[must_use]
pub(in crate::proxy) fn asked(framed: &[u8]) -> Option<String> {
    let mut service = "";
    let mut rest = message(framed)?;
    while !rest.is_empty() {
        match next(&mut rest)? {
            (1, Value::Bytes(bytes)) => service = std::str::from_utf8(bytes).ok()?,
            (1, _) => return None,
            _ => {}
        }
    }
    Some(service.to_owned())
}

/// A `HealthCheckResponse`, framed.
#[must_use]
pub(in crate::proxy) fn response(serving: Serving) -> Bytes {
    framed(&status(serving))
}

/// A `HealthListResponse`, framed: services, and how each is.
#[must_use]
pub(in crate::proxy) fn list<'a>(all: impl Iterator<Item = (&'a str, Serving)>) -> Bytes {
    let mut whole = BytesMut::new();
    for (service, serving) in all {
        let mut entry = BytesMut::new();
        field(&mut entry, 1, service.as_bytes());
        field(&mut entry, 2, &status(serving));
        field(&mut whole, 1, &entry);
    }
    framed(&whole)
}

/// The status in a framed `HealthCheckResponse`, absent is 0 (`UNKNOWN`);
/// `None` if it is no such message.
pub(super) fn answered(framed: &[u8]) -> Option<u64> {
    let mut rest = message(framed)?;
    let mut status = 0;
    while !rest.is_empty() {
        match next(&mut rest)? {
            (1, Value::Number(number)) => status = number,
            (1, _) => return None,
            _ => {}
        }
    }
    Some(status)
}

fn status(serving: Serving) -> BytesMut {
    let mut message = BytesMut::with_capacity(2);
    message.put_u8(1 << 3);
    put_varint(&mut message, serving.number());
    message
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(FRAME_HEAD + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

/// The one message that is framed.
fn message(framed: &[u8]) -> Option<&[u8]> {
    let (head, message) = framed.split_at_checked(FRAME_HEAD)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    (head[0] == 0 && usize::try_from(length).ok()? == message.len()).then_some(message)
}

/// What a field holds, as far as these messages need it.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The next field: its number and what it holds.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(rest)?),
        1 => {
            take(rest, 8)?;
            Value::Other
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(take(rest, length)?)
        }
        5 => {
            take(rest, 4)?;
            Value::Other
        }
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_varint(into: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        into.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    into.put_u8(value.to_le_bytes()[0]);
}

/// A field that holds bytes.
fn field(into: &mut BytesMut, number: u8, bytes: &[u8]) {
    into.put_u8(number << 3 | 2);
    put_varint(into, bytes.len() as u64);
    into.put(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_framed_and_read_back() {
        assert_eq!(&request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request("a.B")[..], b"\0\0\0\0\x05\x0a\x03a.B");
        let long = "x".repeat(300);
        let framed = request(&long);
        assert_eq!(&framed[..8], [0, 0, 0, 1, 47, 10, 0xac, 2]);
        assert_eq!(framed.len(), 5 + 303);
        for service in ["", "a.B", &long] {
            assert_eq!(asked(&request(service)).as_deref(), Some(service));
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert_eq!(
            asked(b"\0\0\0\0\x02\x10\x05").as_deref(),
            Some(""),
            "unknown"
        );
        for malformed in [
            &b""[..],
            b"\0\0\0\0\x01",
            b"\x01\0\0\0\0",
            b"\0\0\0\0\x02\x0a\x01",
            b"\0\0\0\0\x03\x0a\x01\xff",
            b"\0\0\0\0\x02\x08\x01",
            b"\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(asked(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn a_response_is_framed_and_read_back() {
        assert_eq!(&response(Serving::Yes)[..], b"\0\0\0\0\x02\x08\x01");
        for serving in [Serving::Yes, Serving::No, Serving::Unknown] {
            assert_eq!(answered(&response(serving)), Some(serving.number()));
        }
        let all = [("", Serving::Yes), ("a", Serving::No)];
        assert_eq!(
            &list(all.into_iter())[..],
            b"\0\0\0\0\x11\x0a\x06\x0a\0\x12\x02\x08\x01\x0a\x07\x0a\x01a\x12\x02\x08\x02"
        );
    }

    #[test]
    fn a_response_is_read_or_refused() {
        assert_eq!(answered(b"\0\0\0\0\x02\x08\x02"), Some(2));
        assert_eq!(answered(b"\0\0\0\0\0"), Some(0), "absent is UNKNOWN");
        // Unknown fields of every wire type are stepped over.
        let padded =
            b"\0\0\0\0\x19\x10\x05\x1a\x02hi\x21\0\0\0\0\0\0\0\0\x2d\0\0\0\0\x08\x01\x10\x80\x01";
        assert_eq!(answered(padded), Some(1));
        for malformed in [
            &b""[..],
            b"\0\0\0\0",
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x03\x08\x01",
            b"\0\0\0\0\x01\x08",
            b"\0\0\0\0\x03\x12\x05a",
            b"\0\0\0\0\x02\x0b\x01",
        ] {
            assert_eq!(answered(malformed), None, "{malformed:?}");
        }
    }
}
