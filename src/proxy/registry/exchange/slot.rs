//! One exchange, as its own task writes it and others read it.
//!
//! Invariant: a reader sees an exchange whole or not at all. What is put on it
//! from outside, a forecast's mark or a server's word, is put on the exchange
//! that was looked at, never on the next one in its place: the tag says which.
//!
//! Deliberately absent: which slots are taken.

use super::{Place, Round};
use crate::drain::{Doing, Protocol, Timestamp, Verdict};
use crate::proxy::registry::berth::Berth;
use crate::proxy::registry::record::{Record, micros};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};
use std::time::Duration;

/// For how long nothing must have been taken by a client that counts as one
/// that does not read: a full socket is everyday life.
const STUCK: Duration = Duration::from_secs(1);

/// No exchange is in the slot, or it is not written yet.
const EMPTY: u8 = u8::MAX;

/// There is no such number.
const NONE: u64 = u64::MAX;

/// Bits of a tag below the serial number: the marks, and what a server's
/// drain has told.
const MARKS: u32 = 0xff;

/// The bits of what was foreseen.
const FORESEEN: u32 = 0x3f;

/// A server's drain has told the exchange that its time is over.
const DUE: u32 = 0x40;

/// Nothing of it may be left, by that drain.
const CUT: u32 = 0x80;

/// Bits of one round's mark.
const MARK: u32 = 3;

/// What was foreseen of an exchange, for each round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::proxy::registry) struct Marks(u32);

impl Marks {
    pub(in crate::proxy::registry) fn none(self) -> bool {
        self.0 == 0
    }

    pub(in crate::proxy::registry) fn of(self, round: Round) -> Option<Verdict> {
        let code = self.0 >> (round as u32 * MARK) & ((1 << MARK) - 1);
        let position = usize::try_from(code).ok()?.checked_sub(1)?;
        Verdict::ALL.get(position).copied()
    }

    fn with(self, round: Round, verdict: Verdict) -> Self {
        let shift = round as u32 * MARK;
        let cleared = self.0 & !(((1 << MARK) - 1) << shift);
        Self(cleared | (verdict as u32 + 1) << shift)
    }
}

/// One exchange.
#[derive(Debug)]
pub(in crate::proxy::registry) struct Slot {
    /// A number that changes with each exchange, and its marks.
    tag: AtomicU32,
    /// The route's number, from one; zero before there is a route.
    route: AtomicU32,
    /// The number of the berth that it is at; zero while it is at none.
    server: AtomicU32,
    doing: AtomicU8,
    protocol: AtomicU8,
    began: AtomicU64,
    gives_up: AtomicU64,
    length: AtomicU64,
    sent: AtomicU64,
    /// A moment while the response went on, and what was sent by then.
    noted_at: AtomicU64,
    noted: AtomicU64,
    /// Since when nothing is taken.
    stuck: AtomicU64,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            tag: AtomicU32::new(0),
            route: AtomicU32::new(0),
            server: AtomicU32::new(0),
            doing: AtomicU8::new(EMPTY),
            protocol: AtomicU8::new(0),
            began: AtomicU64::new(0),
            gives_up: AtomicU64::new(NONE),
            length: AtomicU64::new(NONE),
            sent: AtomicU64::new(0),
            noted_at: AtomicU64::new(NONE),
            noted: AtomicU64::new(0),
            stuck: AtomicU64::new(NONE),
        }
    }
}

impl Slot {
    pub(super) fn begin(&self, protocol: Protocol, began: Timestamp) {
        // Whoever reads what follows also sees that the last one has ended.
        fence(Release);
        self.route.store(0, Relaxed);
        self.protocol.store(protocol as u8, Relaxed);
        self.began.store(micros(began), Relaxed);
        self.gives_up.store(NONE, Relaxed);
        self.length.store(NONE, Relaxed);
        self.sent.store(0, Relaxed);
        self.noted_at.store(NONE, Relaxed);
        self.stuck.store(NONE, Relaxed);
        // Last: from here on it may be read.
        self.doing.store(Doing::Awaiting as u8, Release);
    }

    pub(super) fn end(&self) -> Marks {
        self.doing.store(EMPTY, Relaxed);
        // Before the tag: who sees the next exchange's does not see this one's
        // server.
        self.server.store(0, Relaxed);
        let next = (self.tag.load(Relaxed) | MARKS).wrapping_add(1);
        Marks(self.tag.swap(next, AcqRel) & FORESEEN)
    }

    /// The exchange goes to a server.
    pub(in crate::proxy::registry) fn board(&self, number: u32) {
        if self.server.load(Relaxed) != 0 {
            self.go_ashore();
        }
        self.server.store(number, SeqCst);
    }

    /// It does not go there after all. What it was told there is void; what
    /// was foreseen of it holds.
    pub(in crate::proxy::registry) fn go_ashore(&self) {
        self.server.store(0, SeqCst);
        let next = |tag: u32| Some((tag | MARKS).wrapping_add(1) | tag & FORESEEN);
        // Never refused: `next` always has one.
        let _ = self.tag.fetch_update(AcqRel, Acquire, next);
    }

    /// Tell an exchange that is on this server what its drain has come to;
    /// whether that is news.
    pub(in crate::proxy::registry) fn tell(&self, berth: &Berth) -> bool {
        let tag = self.tag.load(Acquire);
        if self.server.load(SeqCst) != berth.number {
            return false;
        }
        let protocol = Protocol::ALL.get(usize::from(self.protocol.load(Relaxed)));
        let Some(protocol) = protocol.copied() else {
            return false;
        };
        let hopeless = || time(&self.gives_up).is_some_and(|own| berth.is_hopeless(protocol, own));
        let told = match (berth.is_cut(protocol), berth.is_due(protocol)) {
            (true, _) => DUE | CUT,
            (false, true) => DUE,
            (false, false) if hopeless() => DUE,
            (false, false) => return false,
        };
        // Another exchange, or the same one elsewhere, is not meant.
        let fresh =
            |now: u32| (now & !MARKS == tag & !MARKS && now & told != told).then_some(now | told);
        self.tag.fetch_update(AcqRel, Acquire, fresh).is_ok()
    }

    /// Whether its server's drain has told it that its time is over.
    pub(in crate::proxy::registry) fn is_due(&self) -> bool {
        self.tag.load(Relaxed) & DUE != 0
    }

    /// Whether nothing of it may be left, by its server's drain.
    pub(in crate::proxy::registry) fn is_cut(&self) -> bool {
        self.tag.load(Relaxed) & CUT != 0
    }

    pub(in crate::proxy::registry) fn route(&self, number: u32) {
        self.route.store(number.wrapping_add(1), Relaxed);
    }

    pub(in crate::proxy::registry) fn gives_up(&self, at: Timestamp) {
        self.gives_up.store(micros(at), Relaxed);
    }

    pub(in crate::proxy::registry) fn enter(&self, doing: Doing) {
        self.doing.store(doing as u8, Relaxed);
    }

    pub(in crate::proxy::registry) fn length(&self, length: Option<u64>) {
        self.length.store(length.unwrap_or(NONE), Relaxed);
    }

    /// Note that so many bytes of the response are out. A response that is
    /// out in one piece is not timed.
    pub(in crate::proxy::registry) fn sent(&self, all: u64, now: impl Fn() -> Timestamp) {
        let before = self.sent.load(Relaxed);
        self.sent.store(all, Relaxed);
        let timed = self.noted_at.load(Relaxed) != NONE;
        if before > 0 && !timed && self.length.load(Relaxed) != NONE {
            self.noted.store(all, Relaxed);
            self.noted_at.store(micros(now()), Relaxed);
        }
    }

    pub(in crate::proxy::registry) fn sent_so_far(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Note whether the client takes what is sent.
    pub(in crate::proxy::registry) fn stuck(&self, is: bool, now: impl Fn() -> Timestamp) {
        let was = self.stuck.load(Relaxed) != NONE;
        if is != was {
            let since = if is { micros(now()) } else { NONE };
            self.stuck.store(since, Relaxed);
        }
    }

    pub(in crate::proxy::registry) fn doing(
        &self,
        record: &Record,
        now: Timestamp,
    ) -> Option<Doing> {
        let doing = Doing::at(self.doing.load(Acquire))?;
        let long = |since: Timestamp| now.saturating_since(since) >= STUCK;
        let stuck = time(&self.stuck).is_some_and(long);
        let full = record.blocked_since().is_some_and(long);
        let blocked = doing != Doing::Awaiting && (stuck || full);
        Some(if blocked { Doing::Blocked } else { doing })
    }

    pub(super) fn read(&self, record: &Record, place: Place, now: Timestamp) -> Option<Seen> {
        let tag = self.tag.load(Acquire);
        let doing = self.doing(record, now)?;
        let length = Some(self.length.load(Relaxed)).filter(|length| *length != NONE);
        let seen = Seen {
            place,
            tag: tag & !MARKS,
            protocol: *Protocol::ALL.get(usize::from(self.protocol.load(Relaxed)))?,
            route: self.route.load(Relaxed).checked_sub(1),
            server: self.server.load(Relaxed),
            doing,
            began: time(&self.began)?,
            gives_up: time(&self.gives_up),
            length,
            sent: self.sent.load(Relaxed),
            noted: time(&self.noted_at).map(|at| (at, self.noted.load(Relaxed))),
        };
        // Another exchange may have taken its place meanwhile.
        fence(Acquire);
        (self.tag.load(Relaxed) & !MARKS == seen.tag).then_some(seen)
    }

    /// Since when it is there, if it is on this server.
    pub(super) fn began_on(&self, berth: u32) -> Option<Timestamp> {
        let there = self.server.load(Relaxed) == berth;
        there.then(|| time(&self.began)).flatten()
    }

    /// Forget what was foreseen.
    pub(super) fn unmark(&self) {
        self.tag.fetch_and(!FORESEEN, AcqRel);
    }

    /// Whether the mark will be counted: not if the exchange has ended.
    pub(super) fn mark(&self, seen: &Seen, round: Round, verdict: Verdict) -> bool {
        let tag = seen.tag;
        let marked = self.tag.fetch_update(AcqRel, Acquire, |now| {
            let marks = Marks(now & FORESEEN).with(round, verdict);
            (now & !MARKS == tag).then_some(now & !FORESEEN | marks.0)
        });
        marked.is_ok()
    }
}

fn time(cell: &AtomicU64) -> Option<Timestamp> {
    let micros = cell.load(Relaxed);
    (micros != NONE).then(|| Timestamp::from_start(Duration::from_micros(micros)))
}

/// An exchange in flight, as it was seen at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub(super) place: Place,
    tag: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// The number of its route, once it has one.
    pub route: Option<u32>,
    /// The number of the server that it is on; zero while it is on none.
    pub server: u32,
    /// What it does.
    pub doing: Doing,
    /// When it began.
    pub began: Timestamp,
    /// When its client gives up by itself.
    pub gives_up: Option<Timestamp>,
    /// The length of the response, if that was declared.
    pub length: Option<u64>,
    /// Bytes of the response that are out.
    pub sent: u64,
    /// A moment while the response went on, and what was out by then.
    pub noted: Option<(Timestamp, u64)>,
}
