//! How an HTTP/2 client begins: 24 fixed bytes and SETTINGS (RFC 9113, section
//! 3.4).
//!
//! The engine asks for the fixed bytes only, and would take a client that
//! stops there for one that may send requests. Both parts are read here, so a
//! half-open connection is known as such, and refused where it begins wrongly.
//!
//! Invariant: what was read is read again by the engine; nothing is consumed.
//! Deliberately absent: what the settings say.

use crate::proxy::connection::edge::Edge;
use bytes::BytesMut;
use h2::Reason;
use std::io;
use tokio::io::AsyncReadExt;

/// The fixed bytes.
pub(in crate::proxy) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head (RFC 9113, section 4.1).
pub(super) const FRAME_HEAD: usize = 9;
/// Payload that a frame may have until we allow more, which we never do.
const FRAME_MOST: u32 = 16_384;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// What the bytes so far amount to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Begun {
    /// All of it has come.
    Whole,
    /// It may still become right.
    Part,
    /// It is not HTTP/2, and this is how to say so.
    Wrong(Reason),
}

fn look(bytes: &[u8]) -> Begun {
    let Some(frame) = bytes.strip_prefix(PREFACE) else {
        return if PREFACE.starts_with(bytes) {
            Begun::Part
        } else {
            Begun::Wrong(Reason::PROTOCOL_ERROR)
        };
    };
    let Some([a, b, c, kind, flags, stream @ ..]) = frame.first_chunk::<FRAME_HEAD>() else {
        return Begun::Part;
    };
    // The highest bit is reserved, and ignored.
    let stream = u32::from_be_bytes(*stream) & (u32::MAX >> 1);
    if *kind != SETTINGS || flags & ACK != 0 || stream != 0 {
        return Begun::Wrong(Reason::PROTOCOL_ERROR);
    }
    let length = u32::from_be_bytes([0, *a, *b, *c]);
    if !length.is_multiple_of(6) || length > FRAME_MOST {
        return Begun::Wrong(Reason::FRAME_SIZE_ERROR);
    }
    if frame.len() - FRAME_HEAD < length as usize {
        Begun::Part
    } else {
        Begun::Whole
    }
}

/// Read on until the client has begun; the reason for a GOAWAY if it has begun
/// wrongly.
pub(super) async fn read(edge: &mut Edge) -> io::Result<Result<(), Reason>> {
    let mut seen = BytesMut::new();
    loop {
        match look(&seen) {
            Begun::Part => {}
            Begun::Wrong(reason) => return Ok(Err(reason)),
            Begun::Whole => {
                edge.put_back(seen);
                return Ok(Ok(()));
            }
        }
        if edge.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What a client is told that has begun wrongly: our own SETTINGS, empty, and
/// GOAWAY.
pub(super) fn refusal(reason: Reason) -> Vec<u8> {
    const GOAWAY: u8 = 7;
    let mut frames = vec![0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
    frames.extend([0, 0, 8, GOAWAY, 0, 0, 0, 0, 0]);
    frames.extend([0; 4]);
    frames.extend(u32::from(reason).to_be_bytes());
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(frame: &[u8]) -> Vec<u8> {
        [PREFACE, frame].concat()
    }

    #[test]
    fn it_is_whole_with_its_settings() {
        let mut whole = with(&[0, 0, 6, SETTINGS, 0, 0x80, 0, 0, 0, 0, 3, 0, 0, 0, 9]);
        for part in 0..whole.len() {
            assert_eq!(look(&whole[..part]), Begun::Part, "{part} bytes");
        }
        assert_eq!(look(&whole), Begun::Whole);
        whole.extend([1, 2, 3]);
        assert_eq!(look(&whole), Begun::Whole, "and what follows");
    }

    #[test]
    fn what_begins_wrongly_is_refused_as_soon_as_that_shows() {
        let protocol = Begun::Wrong(Reason::PROTOCOL_ERROR);
        let size = Begun::Wrong(Reason::FRAME_SIZE_ERROR);
        for (bytes, verdict) in [
            (b"G".to_vec(), protocol),
            (b"PRI * HTTP/1.1".to_vec(), protocol),
            (with(&[0, 0, 8, 6, 0, 0, 0, 0, 0]), protocol),
            (with(&[0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0]), protocol),
            (with(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 1]), protocol),
            (with(&[0, 0, 5, SETTINGS, 0, 0, 0, 0, 0]), size),
            (with(&[0, 0x40, 2, SETTINGS, 0, 0, 0, 0, 0]), size),
        ] {
            assert_eq!(look(&bytes), verdict, "{}", bytes.escape_ascii());
        }
    }
}
