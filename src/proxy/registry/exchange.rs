//! Single exchanges in flight, as others may see them.
//!
//! Each exchange has a [`Slot`] on its connection: one that is part of the
//! record, since most connections carry one exchange at a time, and shelves of
//! more for those that carry many, made when first needed and kept. Taking a
//! slot and giving it back is three operations on atomics that hardly anybody
//! else touches; all else are plain stores.
//!
//! Invariant: a reader sees an exchange whole or not at all: it is read only
//! between its last field's store and its end. A mark that is put on it is
//! counted when it ends, or was refused.
//!
//! Deliberately absent: a name for the exchange. Nobody outside holds one for
//! longer than it takes to mark what was read.

use super::berth::Berth;
use super::record::{Record, micros};
use crate::drain::{Doing, Protocol, Timestamp, Verdict};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};
use std::time::Duration;

/// For how long nothing must have been taken by a client that counts as one
/// that does not read: a full socket is everyday life.
const STUCK: Duration = Duration::from_secs(1);

/// Slots on a shelf.
const SHELF: usize = 16;

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

/// Which of a drain's two forecasts a mark belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Round {
    /// The one at its beginning.
    Announce,
    /// The one when its listeners refuse.
    Refuse,
}

impl Round {
    /// Both; the position is `round as usize`.
    pub const ALL: [Self; 2] = [Self::Announce, Self::Refuse];
}

/// What was foreseen of an exchange, for each round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Marks(u32);

impl Marks {
    pub(super) fn none(self) -> bool {
        self.0 == 0
    }

    pub(super) fn of(self, round: Round) -> Option<Verdict> {
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
pub(super) struct Slot {
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
    fn begin(&self, protocol: Protocol, began: Timestamp) {
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

    fn end(&self) -> Marks {
        self.doing.store(EMPTY, Relaxed);
        // Before the tag: who sees the next exchange's does not see this one's
        // server.
        self.server.store(0, Relaxed);
        let next = (self.tag.load(Relaxed) | MARKS).wrapping_add(1);
        Marks(self.tag.swap(next, AcqRel) & FORESEEN)
    }

    /// The exchange goes to a server.
    pub(super) fn board(&self, number: u32) {
        if self.server.load(Relaxed) != 0 {
            self.go_ashore();
        }
        self.server.store(number, SeqCst);
    }

    /// It does not go there after all. What it was told there is void; what
    /// was foreseen of it holds.
    pub(super) fn go_ashore(&self) {
        self.server.store(0, SeqCst);
        let next = |tag: u32| Some((tag | MARKS).wrapping_add(1) | tag & FORESEEN);
        // Never refused: `next` always has one.
        let _ = self.tag.fetch_update(AcqRel, Acquire, next);
    }

    /// Tell an exchange that is on this server what its drain has come to;
    /// whether that is news.
    pub(super) fn tell(&self, berth: &Berth) -> bool {
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
    pub(super) fn is_due(&self) -> bool {
        self.tag.load(Relaxed) & DUE != 0
    }

    /// Whether nothing of it may be left, by its server's drain.
    pub(super) fn is_cut(&self) -> bool {
        self.tag.load(Relaxed) & CUT != 0
    }

    pub(super) fn route(&self, number: u32) {
        self.route.store(number.wrapping_add(1), Relaxed);
    }

    pub(super) fn gives_up(&self, at: Timestamp) {
        self.gives_up.store(micros(at), Relaxed);
    }

    pub(super) fn enter(&self, doing: Doing) {
        self.doing.store(doing as u8, Relaxed);
    }

    pub(super) fn length(&self, length: Option<u64>) {
        self.length.store(length.unwrap_or(NONE), Relaxed);
    }

    /// Note that so many bytes of the response are out. A response that is
    /// out in one piece is not timed.
    pub(super) fn sent(&self, all: u64, now: impl Fn() -> Timestamp) {
        let before = self.sent.load(Relaxed);
        self.sent.store(all, Relaxed);
        let timed = self.noted_at.load(Relaxed) != NONE;
        if before > 0 && !timed && self.length.load(Relaxed) != NONE {
            self.noted.store(all, Relaxed);
            self.noted_at.store(micros(now()), Relaxed);
        }
    }

    pub(super) fn sent_so_far(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Note whether the client takes what is sent.
    pub(super) fn stuck(&self, is: bool, now: impl Fn() -> Timestamp) {
        let was = self.stuck.load(Relaxed) != NONE;
        if is != was {
            let since = if is { micros(now()) } else { NONE };
            self.stuck.store(since, Relaxed);
        }
    }

    pub(super) fn doing(&self, record: &Record, now: Timestamp) -> Option<Doing> {
        let doing = Doing::at(self.doing.load(Acquire))?;
        let long = |since: Timestamp| now.saturating_since(since) >= STUCK;
        let stuck = time(&self.stuck).is_some_and(long);
        let full = record.blocked_since().is_some_and(long);
        let blocked = doing != Doing::Awaiting && (stuck || full);
        Some(if blocked { Doing::Blocked } else { doing })
    }

    fn read(&self, record: &Record, place: Place, now: Timestamp) -> Option<Seen> {
        let tag = self.tag.load(Acquire);
        let doing = self.doing(record, now)?;
        let length = Some(self.length.load(Relaxed)).filter(|length| *length != NONE);
        let seen = Seen {
            place,
            tag: tag & !MARKS,
            protocol: *Protocol::ALL.get(usize::from(self.protocol.load(Relaxed)))?,
            route: self.route.load(Relaxed).checked_sub(1),
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

    /// Whether the mark will be counted: not if the exchange has ended.
    fn mark(&self, tag: u32, round: Round, verdict: Verdict) -> bool {
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
    place: Place,
    tag: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// The number of its route, once it has one.
    pub route: Option<u32>,
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

/// Where on its connection an exchange is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place(u32);

/// Slots, and which of them are taken.
#[derive(Debug)]
struct Shelf<const N: usize> {
    taken: AtomicU32,
    slots: [Slot; N],
}

impl<const N: usize> Default for Shelf<N> {
    fn default() -> Self {
        Self {
            taken: AtomicU32::new(0),
            slots: std::array::from_fn(|_| Slot::default()),
        }
    }
}

impl<const N: usize> Shelf<N> {
    fn take(&self) -> Option<usize> {
        let mut taken = self.taken.load(Relaxed);
        loop {
            let free = taken.trailing_ones();
            let index = usize::try_from(free).ok().filter(|index| *index < N)?;
            taken = self.taken.fetch_or(1 << free, Acquire);
            if taken & 1 << free == 0 {
                return Some(index);
            }
        }
    }

    fn release(&self, index: usize) {
        self.taken.fetch_and(!(1 << index), Release);
    }

    fn taken(&self) -> impl Iterator<Item = usize> {
        let taken = self.taken.load(Acquire);
        (0..N).filter(move |index| taken & 1 << index != 0)
    }
}

/// A shelf, and the next one if it was ever full.
#[derive(Debug, Default)]
struct More {
    shelf: Shelf<SHELF>,
    next: OnceLock<Box<More>>,
}

/// The exchanges of one connection.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    first: Shelf<1>,
    more: OnceLock<Box<More>>,
}

impl Exchanges {
    /// Enter an exchange.
    pub(super) fn begin(&self, protocol: Protocol, began: Timestamp) -> Place {
        let place = self.take();
        self.slot(place, |slot| slot.begin(protocol, began));
        place
    }

    fn take(&self) -> Place {
        if self.first.take().is_some() {
            return Place(0);
        }
        let mut next = &self.more;
        let mut before = 1;
        loop {
            let more = next.get_or_init(Box::default);
            if let Some(index) = more.shelf.take() {
                return Place(before + u32::try_from(index).unwrap_or_default());
            }
            before += u32::try_from(SHELF).unwrap_or_default();
            next = &more.next;
        }
    }

    /// Look at the slot of a place that is taken.
    pub(super) fn slot<T>(&self, place: Place, look: impl FnOnce(&Slot) -> T) -> T {
        match place.0.checked_sub(1) {
            None => look(&self.first.slots[0]),
            Some(beyond) => {
                let beyond = beyond as usize;
                let mut more = self.more.get_or_init(Box::default);
                for _ in 0..beyond / SHELF {
                    more = more.next.get_or_init(Box::default);
                }
                look(&more.shelf.slots[beyond % SHELF])
            }
        }
    }

    /// An exchange has ended; what had been foreseen of it.
    pub(super) fn end(&self, place: Place) -> Marks {
        let marks = self.slot(place, Slot::end);
        match place.0.checked_sub(1) {
            None => self.first.release(0),
            Some(beyond) => {
                let beyond = beyond as usize;
                let mut more = self.more.get_or_init(Box::default);
                for _ in 0..beyond / SHELF {
                    more = more.next.get_or_init(Box::default);
                }
                more.shelf.release(beyond % SHELF);
            }
        }
        marks
    }

    /// Whether the drain of its server has cut the exchange of a connection
    /// that carries one at a time.
    pub(super) fn only_one_is_cut(&self) -> bool {
        self.first.slots[0].is_cut()
    }

    fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.first.taken().map(|_| Place(0)).collect();
        let mut next = self.more.get();
        let mut before = 1;
        while let Some(more) = next {
            let taken = more.shelf.taken();
            places.extend(taken.map(|index| Place(before + u32::try_from(index).unwrap_or(0))));
            before += u32::try_from(SHELF).unwrap_or_default();
            next = more.next.get();
        }
        places
    }
}

impl Record {
    /// The exchanges in flight, each as it is now.
    #[must_use]
    pub fn exchanges(&self, now: Timestamp) -> Vec<Seen> {
        if self.in_flight() == 0 {
            return Vec::new();
        }
        let places = self.slots.places().into_iter();
        places
            .filter_map(|place| self.slots.slot(place, |slot| slot.read(self, place, now)))
            .collect()
    }

    /// Note what is foreseen of an exchange that was seen. `false` if it has
    /// ended since.
    pub(super) fn mark(&self, seen: &Seen, round: Round, verdict: Verdict) -> bool {
        let mark = |slot: &Slot| slot.mark(seen.tag, round, verdict);
        self.slots.slot(seen.place, mark)
    }

    /// Tell the exchanges that are on this server what its drain has come to.
    pub(super) fn tell_aboard(&self, berth: &Berth) {
        if self.in_flight() == 0 {
            return;
        }
        let places = self.slots.places().into_iter();
        let told = places.filter(|place| self.slots.slot(*place, |slot| slot.tell(berth)));
        if told.count() > 0 {
            self.wake();
        }
    }

    /// Since when the oldest exchange on a server is there.
    pub(super) fn oldest_on(&self, berth: u32) -> Option<Timestamp> {
        let places = self.slots.places().into_iter();
        let began = |slot: &Slot| {
            let there = slot.server.load(Relaxed) == berth;
            there.then(|| time(&slot.began)).flatten()
        };
        places
            .filter_map(|place| self.slots.slot(place, began))
            .min()
    }

    /// Forget what was foreseen.
    pub(super) fn unmark(&self) {
        for place in self.slots.places() {
            self.slots.slot(place, |slot| {
                slot.tag.fetch_and(!FORESEEN, AcqRel);
            });
        }
    }
}

#[cfg(test)]
mod tests;
