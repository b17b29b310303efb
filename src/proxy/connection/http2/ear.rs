//! Hearing whether a client heeds GOAWAY.
//!
//! The HTTP/2 engine drops, without a word, streams that come after the last
//! GOAWAY; who goes on opening them loses every one, and nobody would know. So
//! once a connection retires, its bytes are listened to: the answer to the
//! PING that goes with GOAWAY shows that the client has read it, and where a
//! frame begins; from there on, frame by frame, a new stream is a client that
//! does not heed (RFC 9113, sections 4.1, 5.1.1 and 6.8).
//!
//! Here, too, a client is heard that sends too many PINGs (see `keepalive`), and
//! told why it must go, or too many frames of any kind (see `floods`); and what
//! the engine refuses by itself is noticed (see `refused`).
//!
//! Invariant: before a connection retires nothing is looked at but frame heads, and
//! never is a byte changed or held, but in that last word; a flood is held back
//! once, so that it is judged before more of it is read. Deliberately absent: what
//! a frame carries.

use super::calm::with_why;
use super::keepalive::Manners;
use super::pong::{PONG, PongLast};
use super::refused::Refused;
use crate::clock;
use crate::drain::Timestamp;
use crate::proxy::registry::{ConnectionGuard, Limit};
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A frame's head.
const HEAD: usize = 9;

/// The type of a HEADERS frame.
const HEADERS: u8 = 1;

/// What is heard of the frames.
#[derive(Debug)]
enum Hearing {
    /// The answer is awaited; how much of it the last bytes were.
    Answer(usize),
    /// In a frame's payload, or its head.
    Frames { skip: usize, head: Vec<u8> },
}

/// Follows the bytes of a client that was told to leave.
#[derive(Debug)]
struct Ear {
    hearing: Hearing,
    /// The last stream that was opened.
    last: u32,
}

impl Ear {
    fn new(last: u32) -> Self {
        Self {
            hearing: Hearing::Answer(0),
            last,
        }
    }

    /// Whether the client is known to have read GOAWAY.
    fn answered(&self) -> bool {
        matches!(self.hearing, Hearing::Frames { .. })
    }

    /// How many streams are opened in these bytes, once GOAWAY was read.
    fn hear(&mut self, mut bytes: &[u8]) -> u32 {
        let mut opened = 0;
        while let [first, rest @ ..] = bytes {
            match &mut self.hearing {
                Hearing::Answer(matched) => {
                    *matched = matching(*matched, *first);
                    if *matched == PONG.len() {
                        let head = Vec::with_capacity(HEAD);
                        self.hearing = Hearing::Frames { skip: 0, head };
                    }
                    bytes = rest;
                }
                Hearing::Frames { skip, .. } if *skip > 0 => {
                    let passed = bytes.len().min(*skip);
                    *skip -= passed;
                    bytes = &bytes[passed..];
                }
                Hearing::Frames { skip, head } => {
                    head.push(*first);
                    bytes = rest;
                    if let [a, b, c, kind, _, stream @ ..] = head.as_slice()
                        && let Ok(stream) = <[u8; 4]>::try_from(stream)
                    {
                        *skip = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
                        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
                        // A HEADERS frame on a known stream is its trailers.
                        if *kind == HEADERS && stream > self.last {
                            self.last = stream;
                            opened += 1;
                        }
                        head.clear();
                    }
                }
            }
        }
        opened
    }
}

/// How much of the answer is matched once this byte has come after so much.
fn matching(matched: usize, byte: u8) -> usize {
    let mut length = matched;
    loop {
        if PONG[length] == byte {
            return length + 1;
        }
        if length == 0 {
            return 0;
        }
        // The longest beginning that the bytes so far also end with.
        length = (0..length)
            .rev()
            .find(|shorter| PONG[..length].ends_with(&PONG[..*shorter]))
            .unwrap_or(0);
    }
}

/// What the loop tells the transport that the engine holds, and hears of it.
#[derive(Debug, Default)]
pub(super) struct Word {
    given: AtomicBool,
    /// The client sends too many PINGs.
    rude: AtomicBool,
    /// The client sends too many frames of one kind, by [`Limit`].
    flood: AtomicU8,
    /// The engine has told the client to leave for this flood, likewise.
    engine: AtomicU8,
    /// The last stream that was accepted.
    accepted: AtomicU32,
    ear: Mutex<Option<(Ear, Timestamp)>>,
}

impl Word {
    /// This stream was accepted; nothing has been said on it.
    pub(super) fn accept(&self, stream: u32) {
        self.accepted.store(stream, Relaxed);
    }

    /// The client was told to leave, at `told`.
    pub(super) fn give(&self, told: Timestamp) {
        let mut ear = self.ear.lock();
        if ear.is_none() {
            *ear = Some((Ear::new(self.accepted.load(Relaxed)), told));
        }
        self.given.store(true, Relaxed);
    }

    /// Whether the client sends too many PINGs.
    pub(super) fn is_rude(&self) -> bool {
        self.rude.load(Relaxed)
    }

    /// What the client sends too much of, if it does.
    pub(super) fn flood(&self) -> Option<Limit> {
        Limit::from_u8(self.flood.load(Relaxed).wrapping_sub(1))
    }

    /// For which flood the engine has told the client to leave.
    pub(super) fn flood_by_engine(&self) -> Option<Limit> {
        Limit::from_u8(self.engine.load(Relaxed).wrapping_sub(1))
    }

    /// Whether the client is known to have read it; from then on its streams
    /// are heard, and need not be counted by whoever accepts them.
    pub(super) fn answered(&self) -> bool {
        let heard = self.ear.lock();
        heard.as_ref().is_some_and(|(ear, _)| ear.answered())
    }
}

/// A transport that is listened to.
#[derive(Debug)]
pub(super) struct Overheard {
    edge: PongLast,
    word: Arc<Word>,
    guard: Arc<ConnectionGuard>,
    manners: Manners,
    /// How far apart PINGs must be.
    least: Duration,
    /// How many frames of a kind there may be.
    frames: u32,
    /// What goes out in place of the engine's last bytes.
    parting: Vec<u8>,
    refused: Refused,
    /// The loop was given the word once, for a flood.
    gave_way: bool,
}

impl Overheard {
    pub(super) fn new(
        edge: PongLast,
        word: Arc<Word>,
        guard: Arc<ConnectionGuard>,
        (least, frames): (Duration, u32),
    ) -> Self {
        Self {
            edge,
            word,
            guard,
            manners: Manners::default(),
            least,
            frames,
            parting: Vec::new(),
            refused: Refused::default(),
            gave_way: false,
        }
    }

    /// Look whether what has come is explained by what went.
    fn weigh(&mut self) {
        let carried = self.refused.take_carried();
        let floods = self.edge.floods();
        floods.carried(carried);
        match floods.over(self.frames, clock::now) {
            None => {}
            Some(Limit::Pings) => self.word.rude.store(true, Relaxed),
            Some(limit) => self.word.flood.store(limit as u8 + 1, Relaxed),
        }
    }

    fn pinged(&mut self, times: u32) {
        let now = clock::now();
        let calls = (self.guard.requests(), self.guard.in_flight() > 0);
        for _ in 0..times {
            if self.manners.pinged(now, calls, self.least) {
                self.word.rude.store(true, Relaxed);
            }
        }
    }

    /// Write what the engine says last, with the reason in words.
    fn poll_parting(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.parting.is_empty() {
            match with_why(buf) {
                Some(parting) => self.parting = parting,
                None => return Pin::new(&mut self.edge).poll_write(cx, buf),
            }
        }
        while !self.parting.is_empty() {
            let written = Pin::new(&mut self.edge).poll_write(cx, &self.parting);
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Ok(0));
            }
            self.parting.drain(..written);
        }
        Poll::Ready(Ok(buf.len()))
    }

    /// So many of these bytes have gone out.
    fn said(&mut self, written: usize, bufs: &[IoSlice<'_>]) {
        let accepted = self.word.accepted.load(Relaxed);
        let mut left = written;
        for buf in bufs {
            let some = left.min(buf.len());
            let limited = |limit| self.guard.scope().limited(limit);
            self.refused.follow(&buf[..some], accepted, limited);
            left -= some;
        }
        if let Some(limit) = self.refused.flood() {
            self.word.engine.store(limit as u8 + 1, Relaxed);
        }
    }

    fn listen(&self, bytes: &[u8]) {
        if let Some((ear, told)) = &mut *self.word.ear.lock() {
            for _ in 0..ear.hear(bytes) {
                self.guard
                    .scope()
                    .after_goaway(self.guard.client.address(), *told);
            }
        }
    }
}

impl AsyncRead for Overheard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The engine reads for as long as something comes. Whoever floods is to be
        // told so first, or it has the worker for itself meanwhile.
        if !this.gave_way && (this.word.is_rude() || this.word.flood().is_some()) {
            this.gave_way = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let poll = Pin::new(&mut this.edge).poll_read(cx, buf);
        let pings = this.edge.take_pings();
        if pings > 0 {
            this.pinged(pings);
        }
        this.weigh();
        if this.word.given.load(Relaxed) {
            this.listen(&buf.filled()[before..]);
        }
        poll
    }
}

impl AsyncWrite for Overheard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.word.is_rude() {
            return this.poll_parting(cx, buf);
        }
        let poll = Pin::new(&mut this.edge).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = poll {
            this.said(written, &[IoSlice::new(buf)]);
        }
        poll
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.word.is_rude() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return this.poll_parting(cx, first.map_or(&[], |buf| buf));
        }
        let poll = Pin::new(&mut this.edge).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(written)) = poll {
            this.said(written, bufs);
        }
        poll
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
    use super::super::frame;
    use super::*;
    use crate::drain::Protocol;
    use crate::proxy::connection::edge::{Edge, Transport};
    use crate::proxy::connection::tunnel::scene::{Scene, soon, tcp};
    use crate::proxy::trickle::Least;
    use bytes::Bytes;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What a client may send, the answer in the middle of it: two streams
    /// opened before, three after.
    fn talk() -> Vec<u8> {
        let mut talk = vec![0, 0, 0, 8, 6];
        talk.extend(frame(HEADERS, 5, b"before"));
        talk.extend(frame(0, 5, &[0; 40]));
        talk.extend(PONG);
        talk.extend(frame(0, 5, &frame(HEADERS, 99, b"no frame")));
        talk.extend(frame(HEADERS, 5, b"trailers"));
        talk.extend(frame(HEADERS, 7, b"one"));
        talk.extend(frame(8, 0, &[0, 0, 1, 0]));
        talk.extend(frame(HEADERS, 9, b""));
        talk.extend(frame(HEADERS, 9, b"trailers"));
        talk.extend(frame(HEADERS, 11, &[1; 300]));
        talk
    }

    #[test]
    fn streams_count_once_goaway_was_read_however_the_bytes_come() {
        let talk = talk();
        for piece in 1..=talk.len() {
            let mut ear = Ear::new(5);
            let opened: u32 = talk.chunks(piece).map(|bytes| ear.hear(bytes)).sum();
            assert_eq!(opened, 3, "in pieces of {piece}");
            assert!(ear.answered());
        }
    }

    #[test]
    fn before_the_answer_nothing_counts() {
        let mut ear = Ear::new(0);
        let mut other = PONG;
        other[16] ^= 1;
        assert_eq!(ear.hear(&other), 0);
        assert_eq!(ear.hear(&frame(HEADERS, 1, b"")), 0);
        assert!(!ear.answered());
    }

    #[test]
    fn an_answer_after_half_an_answer_is_found() {
        for half in 1..PONG.len() {
            let mut ear = Ear::new(0);
            ear.hear(&PONG[..half]);
            ear.hear(&PONG);
            assert!(ear.answered(), "after {half} bytes");
        }
    }

    #[tokio::test]
    async fn a_flood_is_not_read_on_before_the_loop_was_given_the_word() {
        const MOST: u32 = 100;
        let scene = Scene::new(Protocol::Http2);
        let (near, mut far) = tcp().await;
        let guard = scene.enter();
        let record = Arc::clone(guard.record());
        let edge = Edge::new(Transport::Plain(near), Bytes::new(), record, Least::NONE);
        let word = Arc::<Word>::default();
        let most = (Duration::ZERO, MOST);
        let edge = PongLast::new(edge);
        let mut edge = Overheard::new(edge, Arc::clone(&word), Arc::new(guard), most);
        let priority = frame(2, 1, &[0, 0, 0, 0, 9]);
        let flood = priority.repeat(1 << 16);
        let pouring = tokio::spawn(async move { far.write_all(&flood).await.map(|()| far) });
        let mut read = 0;
        let mut space = [0; 4096];
        soon(poll_fn(|cx| {
            loop {
                let mut some = ReadBuf::new(&mut space);
                match Pin::new(&mut edge).poll_read(cx, &mut some) {
                    Poll::Ready(done) => done.expect("open"),
                    Poll::Pending if word.flood().is_some() => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
                read += some.filled().len();
            }
        }))
        .await;
        assert_eq!(word.flood(), Some(Limit::Priority));
        let enough = priority.len() * MOST as usize + space.len() + priority.len();
        assert!(read <= enough, "{read}");
        // Once it had the word, what comes is read again.
        soon(edge.read_exact(&mut space)).await.expect("more");
        drop(edge);
        pouring.abort();
    }
}
