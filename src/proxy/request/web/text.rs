//! Base64, as gRPC-Web's text form has it.
//!
//! A body is a row of base64 texts, each padded by itself: a sender encodes
//! what it flushes, and need not know what it will flush next (gRPC-Web,
//! "application/grpc-web-text").
//!
//! Invariant: at most three characters are held back. What is not base64 ends
//! the request: nothing is repaired, white space neither.

use crate::proxy::body::{Body, Made, Pulled};
use crate::proxy::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::{Body as _, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Characters that stand for three bytes, or fewer with padding.
const GROUP: usize = 4;

/// Bytes as text that ends by itself.
pub(super) fn encode(bytes: &[u8]) -> Bytes {
    STANDARD.encode(bytes).into()
}

/// A body of text on its way to a server, as bytes.
#[derive(Debug)]
pub(super) struct Decoded {
    body: Body,
    /// The beginning of a group.
    held: Vec<u8>,
    over: bool,
}

impl Decoded {
    pub(super) fn of(body: Body) -> Self {
        Self {
            body,
            held: Vec::new(),
            over: false,
        }
    }

    fn decode(&mut self, text: &[u8]) -> Result<Bytes, Error> {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(text);
        self.held = all.split_off(all.len() - all.len() % GROUP);
        let mut bytes = Vec::with_capacity(all.len() / GROUP * 3);
        let mut rest = &all[..];
        while !rest.is_empty() {
            // A text ends with the group that is padded, or goes on.
            let end =
                memchr::memchr(b'=', rest).map_or(rest.len(), |at| at / GROUP * GROUP + GROUP);
            let (one, more) = rest.split_at(end);
            let decoded = STANDARD.decode_vec(one, &mut bytes);
            decoded.map_err(|_| Error::Broken)?;
            rest = more;
        }
        Ok(bytes.into())
    }

    fn pulled(&mut self, pulled: Pulled) -> Pulled {
        let Some(Ok(frame)) = pulled else {
            self.over = true;
            let whole = self.held.is_empty();
            return pulled.or_else(|| (!whole).then_some(Err(Error::Broken)));
        };
        match frame.into_data() {
            Ok(data) => {
                let decoded = self.decode(&data);
                self.over |= decoded.is_err();
                Some(decoded.map(Frame::data))
            }
            // Trailers of a request: there are none in gRPC-Web, nor in gRPC.
            Err(frame) => Some(Ok(frame)),
        }
    }
}

impl Made for Decoded {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        if self.over {
            return Poll::Ready(None);
        }
        let pulled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(self.pulled(pulled))
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.held.is_empty() && self.body.is_end_stream())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let mut body = Decoded::of(Body::Empty);
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.extend(body.decode(piece).ok()?);
        }
        match body.pulled(None) {
            None => Some(bytes),
            Some(_) => None,
        }
    }

    #[test]
    fn texts_in_a_row_are_read_however_they_come() {
        let text = [&encode(b"h")[..], &encode(b"ello, "), &encode(b"world")].concat();
        assert_eq!(decoded(&[&text]).as_deref(), Some(&b"hello, world"[..]));
        for cut in 0..=text.len() {
            let (first, second) = text.split_at(cut);
            let read = decoded(&[first, second]);
            assert_eq!(read.as_deref(), Some(&b"hello, world"[..]), "at {cut}");
        }
        let single: Vec<_> = text.chunks(1).collect();
        assert_eq!(decoded(&single).as_deref(), Some(&b"hello, world"[..]));
        assert_eq!(decoded(&[]).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for wrong in [
            &b"aGk"[..],
            b"aGk=\n",
            b"aG k",
            b"a===",
            b"=aGk",
            b"aG=k",
            b"aGl=",
            b"-_-_",
            b"\xff\xff\xff\xff",
        ] {
            assert_eq!(decoded(&[wrong]), None, "{wrong:?}");
        }
    }
}
