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

mod slot;

pub use slot::Seen;
pub(super) use slot::{Marks, Slot};

use super::berth::Berth;
use super::record::Record;
use crate::drain::{Protocol, Timestamp, Verdict};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Slots on a shelf.
const SHELF: usize = 16;

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
        let mark = |slot: &Slot| slot.mark(seen, round, verdict);
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
        let began = |slot: &Slot| slot.began_on(berth);
        places
            .filter_map(|place| self.slots.slot(place, began))
            .min()
    }

    /// Forget what was foreseen.
    pub(super) fn unmark(&self) {
        for place in self.slots.places() {
            self.slots.slot(place, Slot::unmark);
        }
    }
}

#[cfg(test)]
mod tests;
