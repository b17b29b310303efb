//! The client's answer to our retirement, kept until what it sent before it
//! knew of that has come.
//!
//! The second GOAWAY names the last stream that was seen, and the engine says
//! it the moment the PING that follows the first one is acknowledged (RFC
//! 9113, section 6.8). But clients answer a PING before anything else: the
//! requests that they had ready when GOAWAY came stand right behind the
//! answer, often in the same packet, and would be ignored. So the answer is
//! taken out of what is read, and handed on a little later.
//!
//! Invariant: every other byte goes through in order, and at once.
//! Deliberately absent: an answer that a read cuts in two; that one goes
//! through, as if this were not here.

use super::floods::Floods;
use super::preface::{FRAME_HEAD, PREFACE};
use crate::proxy::connection::edge::Edge;
use bytes::{Buf, Bytes};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The answer to the engine's PING: the head of a PING with ACK on stream 0,
/// and the payload that the engine sends when it retires a connection.
pub(super) const PONG: [u8; 17] = [
    0, 0, 8, 6, 1, 0, 0, 0, 0, 0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54,
];

/// The type of a PING frame, and the flag of an answer to one.
const PING: u8 = 6;
const ACK: u8 = 1;

/// How far behind its answer the requests of a client may be: those are in its
/// hands already, so it is the time of a write, not that of a round trip.
const BEHIND: Duration = Duration::from_millis(2);

/// What stands between the client and the HTTP/2 engine.
#[derive(Debug)]
pub(super) struct PongLast {
    edge: Edge,
    frames: Frames,
    /// The answer has come, and is handed on when this has passed.
    held: Option<Pin<Box<Sleep>>>,
    /// Of the answer, what is still to be handed on.
    back: Bytes,
}

impl PongLast {
    /// Nothing has been read of `edge` yet but what was put back.
    pub(super) fn new(edge: Edge) -> Self {
        Self {
            edge,
            frames: Frames::after(PREFACE.len()),
            held: None,
            back: Bytes::new(),
        }
    }

    /// How many PINGs have come since this was last asked.
    pub(super) fn take_pings(&mut self) -> u32 {
        std::mem::take(&mut self.frames.pings)
    }

    /// What has come of each kind of frame.
    pub(super) fn floods(&mut self) -> &mut Floods {
        &mut self.frames.floods
    }

    fn release_in_time(&mut self, cx: &mut Context<'_>) {
        if let Some(held) = &mut self.held
            && self.frames.between()
            && held.as_mut().poll(cx).is_ready()
        {
            self.held = None;
            self.back = Bytes::from_static(&PONG);
        }
    }
}

/// Where in its frames a stream of bytes stands.
#[derive(Debug)]
struct Frames {
    head: [u8; FRAME_HEAD],
    /// Bytes of the head that have come.
    have: usize,
    /// Bytes to the next head.
    left: usize,
    /// PINGs that have begun and were not asked for.
    pings: u32,
    floods: Floods,
}

impl Frames {
    /// The first frame begins after so many bytes.
    fn after(left: usize) -> Self {
        Self {
            head: [0; FRAME_HEAD],
            have: 0,
            left,
            pings: 0,
            floods: Floods::default(),
        }
    }

    /// Whether the next byte is the first of a frame.
    fn between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Walk over what has come; where in it the answer stands, if it does.
    fn walk(&mut self, bytes: &[u8]) -> Option<usize> {
        let (mut at, mut found) = (0, None);
        while at < bytes.len() {
            if self.left > 0 {
                let some = self.left.min(bytes.len() - at);
                self.left -= some;
                at += some;
            } else if found.is_none() && self.between() && bytes[at..].starts_with(&PONG) {
                found = Some(at);
                at += PONG.len();
            } else {
                self.head[self.have] = bytes[at];
                self.have += 1;
                at += 1;
                if let (FRAME_HEAD, [a, b, c, kind, flags, ..]) = (self.have, self.head) {
                    self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                    self.have = 0;
                    self.pings += u32::from(kind == PING && flags & ACK == 0);
                    self.floods.came(kind, self.left);
                }
            }
        }
        found
    }
}

fn take_out(buf: &mut ReadBuf<'_>, at: usize) {
    let filled = buf.filled_mut();
    filled.copy_within(at + PONG.len().., at);
    let rest = filled.len() - PONG.len();
    buf.set_filled(rest);
}

impl AsyncRead for PongLast {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.release_in_time(cx);
            if this.back.has_remaining() {
                let some = this.back.len().min(buf.remaining());
                buf.put_slice(&this.back.split_to(some));
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.edge).poll_read(cx, buf))?;
            let Some(at) = this.frames.walk(&buf.filled()[before..]) else {
                return Poll::Ready(Ok(()));
            };
            take_out(buf, before + at);
            this.held
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(BEHIND)));
            // Nothing at all would be the end of the stream.
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for PongLast {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().edge).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().edge).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.edge.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().edge).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().edge).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: [u8; 12] = [0, 0, 3, 0, 0, 0, 0, 0, 1, 7, 7, 7];

    #[test]
    fn the_answer_is_found_between_frames_however_they_come() {
        let bytes = [PREFACE, &DATA, &PONG, &DATA].concat();
        let pong = PREFACE.len() + DATA.len();
        for cut in 0..=bytes.len() {
            let mut frames = Frames::after(PREFACE.len());
            let (first, second) = bytes.split_at(cut);
            let found = (frames.walk(first), frames.walk(second));
            let expected = match cut {
                _ if cut >= pong + PONG.len() => (Some(pong), None),
                _ if cut <= pong => (None, Some(pong - cut)),
                _ => (None, None),
            };
            assert_eq!(found, expected, "cut at {cut}");
            assert!(frames.between());
        }
    }

    #[test]
    fn what_looks_like_it_within_a_frame_is_left_alone() {
        let mut inside = vec![0, 0, 17, 0, 0, 0, 0, 0, 1];
        inside.extend(PONG);
        let mut other = PONG;
        other[16] ^= 1;
        let mut frames = Frames::after(0);
        assert_eq!(frames.walk(&inside), None);
        assert_eq!(frames.walk(&other), None);
        assert!(frames.between());
    }

    #[test]
    fn pings_are_counted_and_answers_are_not() {
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let mut answer = ping;
        answer[4] = 1;
        let bytes = [&DATA[..], &ping, &answer, &PONG, &ping].concat();
        for piece in 1..bytes.len() {
            let mut frames = Frames::after(0);
            for bytes in bytes.chunks(piece) {
                frames.walk(bytes);
            }
            assert_eq!(frames.pings, 2, "in pieces of {piece}");
        }
    }

    #[test]
    fn it_is_taken_out_of_the_middle() {
        let bytes = [&DATA[..], &PONG, &DATA].concat();
        let mut space = [0; 64];
        let mut buf = ReadBuf::new(&mut space);
        buf.put_slice(&bytes);
        take_out(&mut buf, DATA.len());
        assert_eq!(buf.filled(), [DATA, DATA].concat());
    }
}
