//! One way of a tunnel: what one peer sends, the other gets.
//!
//! A [`Direction`] owns no socket; it is lent both at each poll, so that two
//! directions can share two sockets in one task. Until the tunnel is told to
//! end it *passes*: read, write, read on, and at the source's end shut down the
//! sink. Once told, it passes on to the next boundary, says its last words,
//! and from there on only listens until the source ends as well.
//!
//! What a boundary is and which words are said is the [`Grammar`]'s to know.
//! Invariants: bytes that were read before the end was ordered are written;
//! nothing that comes after the last words is.
//!
//! Deliberately absent: time. How long a peer may dawdle is the caller's.

use super::buffer::Buffer;
use crate::drain::Farewell;
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::has_budget_remaining;

/// Why a tunnel is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy::connection) enum Why {
    /// Its time is over.
    Due,
    /// Nothing has passed through it for too long.
    Idle,
}

/// What is known about the bytes that go one way.
pub(in crate::proxy::connection) trait Grammar {
    /// What an end is called at which the last words were said.
    const TOLD: Farewell;

    /// Follow bytes on their way.
    fn pass(&mut self, bytes: &[u8]);

    /// Follow bytes up to the next boundary; how many that were. All of them,
    /// without standing at a boundary, if it is further on.
    fn pass_to_boundary(&mut self, bytes: &[u8]) -> usize;

    /// Whether the direction may be ended here.
    fn at_boundary(&self) -> bool;

    /// Whether the source has said its own last words.
    fn closed(&self) -> bool;

    /// What to say to the sink before nothing more is said; none if nothing
    /// can be said, or all was.
    fn last_words(&self, why: Why) -> Option<Bytes>;
}

/// How much one direction may do before the other gets its turn. A read and a
/// write each, for both directions: the runtime's own budget of 128.
const ROUNDS: usize = 32;

/// How far a direction is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    /// Everything goes through.
    Passing,
    /// Told to end; what comes goes through up to the next boundary.
    Finishing,
    /// What is in hand is the last.
    Parting,
    /// All is written and flushed.
    Told,
}

/// The side that is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Open,
    /// It cannot be written to any more: what has come already is the last.
    Last,
    Ended,
    Failed,
}

/// The side that is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sink {
    Open,
    Shut,
    Failed,
}

/// One way of a tunnel.
#[derive(Debug)]
pub(super) struct Direction<G> {
    grammar: G,
    buffer: Buffer,
    stage: Stage,
    source: Source,
    sink: Sink,
    spoke: bool,
    gave_way: bool,
    why: Why,
    /// Bytes came or went since that was last asked.
    moved: bool,
}

impl<G: Grammar> Direction<G> {
    /// A direction whose first bytes were read already.
    pub(super) fn new(mut grammar: G, early: Bytes) -> Self {
        grammar.pass(&early);
        Self {
            grammar,
            buffer: Buffer::holding(early),
            stage: Stage::Passing,
            source: Source::Open,
            sink: Sink::Open,
            spoke: false,
            gave_way: false,
            why: Why::Due,
            moved: false,
        }
    }

    /// Pass bytes until there is nothing to pass any more: the source ended
    /// and the sink was told, the sink failed, or, once told to end, a
    /// boundary was reached.
    pub(super) fn poll_pass<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..ROUNDS {
            if self.sink_done() || self.stage >= Stage::Parting {
                return Poll::Ready(());
            }
            if !ready!(self.poll_write(cx, to)) {
                return Poll::Ready(());
            }
            if self.source_done() {
                ready!(self.poll_shut(cx, to));
                return Poll::Ready(());
            }
            match self.buffer.poll_read(cx, from) {
                Poll::Ready(Ok(1..)) => self.take_in(),
                Poll::Ready(end) => self.end(&end),
                Poll::Pending if self.nothing_left() => self.source = Source::Ended,
                Poll::Pending => {
                    // Nothing more is at hand, so what the sink holds back
                    // must go: its reader may be whom the source waits for.
                    // And one that is gone may say so only when asked.
                    if self.poll_flush(cx, to).is_ready() && self.sink == Sink::Failed {
                        return Poll::Ready(());
                    }
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether any byte came or went since this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Begin to end: pass on to the next boundary only.
    pub(super) fn part(&mut self, why: Why) {
        self.why = why;
        if self.sink_done() || self.source_done() {
            self.stage = Stage::Parting;
        } else if self.grammar.at_boundary() {
            self.say();
        } else {
            self.stage = Stage::Finishing;
        }
    }

    /// Listen to the source and drop what it says. Only for a direction that
    /// was told to end; one that is not at its boundary passes on instead.
    pub(super) fn listen<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.stage == Stage::Finishing {
            if self.poll_pass(cx, from, to).is_pending() {
                return;
            }
            // Ended in the middle of a frame: there is nobody to say it to,
            // or no place to say it in.
            self.stage = Stage::Parting;
        }
        let mut dropped = Buffer::default();
        for _ in 0..ROUNDS {
            if self.source_done() {
                return;
            }
            match dropped.poll_read(cx, from) {
                Poll::Ready(Ok(1..)) => {
                    self.grammar.pass(dropped.in_hand());
                    dropped.keep(0);
                }
                Poll::Ready(end) => self.end(&end),
                Poll::Pending if self.nothing_left() => self.source = Source::Ended,
                Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Write out what is in hand and shut the sink down; if it was told to
    /// leave, not before it `answered`.
    pub(super) fn tell<W>(&mut self, cx: &mut Context<'_>, to: &mut W, answered: bool)
    where
        W: AsyncWrite + Unpin,
    {
        if self.sink_done() || self.stage < Stage::Parting {
            return;
        }
        if self.stage == Stage::Parting {
            match self.poll_write(cx, to) {
                Poll::Ready(true) => {}
                _ => return,
            }
            if self.poll_flush(cx, to).is_pending() || self.sink == Sink::Failed {
                return;
            }
            self.stage = Stage::Told;
        }
        if answered || !self.awaits_answer() {
            // When it is pending, the sink wakes the task.
            let _ = self.poll_shut(cx, to);
        }
    }

    /// Whether the source has nothing more to say in its protocol.
    pub(super) fn heard(&self) -> bool {
        self.source_done() || self.grammar.closed()
    }

    /// Whether the sink was shut down, or is gone.
    pub(super) fn sink_done(&self) -> bool {
        matches!(self.sink, Sink::Shut | Sink::Failed)
    }

    /// Whether the source has ended, or is gone.
    pub(super) fn source_done(&self) -> bool {
        matches!(self.source, Source::Ended | Source::Failed)
    }

    /// Whether everything reached the sink that was to reach it.
    pub(super) fn told(&self) -> bool {
        self.stage == Stage::Told || self.sink == Sink::Shut
    }

    /// Whether the sink got last words that are ours.
    pub(super) fn spoke(&self) -> bool {
        self.spoke && self.told()
    }

    /// Whether the source said its own last words.
    pub(super) fn closed(&self) -> bool {
        self.grammar.closed()
    }

    /// Learn from the other direction, whose sink is the source here and the
    /// reverse, that a peer is gone. Whether that was news.
    pub(super) fn learn(&mut self, other: &Self) -> bool {
        let unwritable = other.source == Source::Failed && !self.sink_done();
        if unwritable {
            self.fail_sink();
        }
        let last = other.sink == Sink::Failed && self.source == Source::Open;
        if last {
            self.source = Source::Last;
        }
        unwritable || last
    }

    fn awaits_answer(&self) -> bool {
        self.spoke || (self.grammar.closed() && !self.source_done())
    }

    /// Whether a source that is pending will not say more. Once the task's
    /// budget is spent, sources that have bytes are pending too.
    fn nothing_left(&self) -> bool {
        self.source == Source::Last && has_budget_remaining()
    }

    /// Bytes have come.
    fn take_in(&mut self) {
        self.moved = true;
        if self.stage == Stage::Passing {
            self.grammar.pass(self.buffer.in_hand());
            return;
        }
        let passed = self.grammar.pass_to_boundary(self.buffer.in_hand());
        if self.grammar.at_boundary() {
            // Decided before the rest is followed: a Close that is dropped
            // with it does not stand for one that was passed.
            let words = self.grammar.last_words(self.why);
            self.grammar.pass(&self.buffer.in_hand()[passed..]);
            self.buffer.keep(passed);
            self.append(words);
        }
    }

    fn say(&mut self) {
        let words = self.grammar.last_words(self.why);
        self.append(words);
    }

    fn append(&mut self, words: Option<Bytes>) {
        self.stage = Stage::Parting;
        if let Some(words) = words {
            self.spoke = true;
            self.buffer.append(&words);
        }
    }

    fn end(&mut self, end: &io::Result<usize>) {
        self.source = match end {
            Ok(_) => Source::Ended,
            Err(_) => Source::Failed,
        };
    }

    /// Write what is in hand; whether the sink took it.
    fn poll_write<W>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<bool>
    where
        W: AsyncWrite + Unpin,
    {
        if self.buffer.in_hand().is_empty() {
            return Poll::Ready(true);
        }
        let in_hand = self.buffer.in_hand().len();
        let poll = self.buffer.poll_write(cx, to);
        self.moved |= self.buffer.in_hand().len() < in_hand;
        let written = ready!(poll);
        if written.is_err() {
            self.fail_sink();
        }
        Poll::Ready(written.is_ok())
    }

    fn poll_flush<W>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<()>
    where
        W: AsyncWrite + Unpin,
    {
        if !self.sink_done() && ready!(Pin::new(to).poll_flush(cx)).is_err() {
            self.fail_sink();
        }
        Poll::Ready(())
    }

    /// Flush and shut down. An error tells that the peer is gone, which is
    /// what was to be told to it. A source that broke off must not seem to
    /// have ended: its sink is dropped as it is, and shows it if it can (TLS by
    /// the missing alert, HTTP/2 by a reset).
    fn poll_shut<W>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<()>
    where
        W: AsyncWrite + Unpin,
    {
        ready!(self.poll_flush(cx, to));
        if !self.sink_done() {
            if self.spoke || self.source != Source::Failed {
                let _ = ready!(Pin::new(to).poll_shutdown(cx));
            } else if !self.gave_way {
                // A reset overtakes what an HTTP/2 connection has in hand:
                // its task gets a turn to send that.
                self.gave_way = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.sink = Sink::Shut;
        }
        Poll::Ready(())
    }

    fn fail_sink(&mut self) {
        self.sink = Sink::Failed;
        self.buffer.release();
    }
}

#[cfg(test)]
mod tests;
