//! Whose turn it is: one worker's smooth weighted rotation.
//!
//! Purpose: over any stretch of choices each server gets its share, and the
//! shares are interleaved: weights 3 and 1 give `a a b a`, not `a a a b`.
//!
//! Each server has a credit. A choice gives every candidate its weight, takes
//! the one with the most, and takes the sum of what was given from it (as nginx
//! does it), so that weights may change from one choice to the next. Where all
//! weights are the same, counting does as well and costs one step. Among many,
//! credits cost a step for each server and choice, so they are not kept: the weights
//! are laid around a circle, and each choice goes on by the golden section of it,
//! which never comes near where it was lately.
//!
//! Invariant: the credits of the candidates add up to what they added up to
//! before. A candidate that is passed over leaves its turns to all others, not
//! to the next one.
//!
//! Deliberately absent: any word between workers. A rotation belongs to one, so
//! that its stores are plain ones; each starts at another server.

use super::roster::{Tier, WHOLE};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// So many servers have credits.
const FEW: usize = 32;

/// The golden section of all numbers of 64 bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// How many are looked at, where some may not be chosen.
const STEPS: usize = 16;

/// Where one worker stands.
#[derive(Debug)]
pub(in crate::proxy::upstream) struct Rotation {
    /// For each tier how many were chosen; for those whose servers have no credits.
    next: [AtomicUsize; 3],
    /// By server.
    credits: Box<[AtomicI64]>,
    /// How much is owed to the local servers, of [`WHOLE`].
    owed: AtomicU32,
}

impl Rotation {
    /// A rotation over so many servers, that begins at the one after `skip`.
    pub(super) fn new(servers: usize, skip: usize) -> Self {
        Self {
            next: std::array::from_fn(|_| AtomicUsize::new(skip)),
            credits: (0..servers).map(|_| AtomicI64::new(0)).collect(),
            owed: AtomicU32::new(0),
        }
    }

    /// Whether the next exchange stays in this zone, of which this part does.
    pub(super) fn stays(&self, part: u32) -> bool {
        if part == WHOLE {
            return true;
        }
        let owed = self.owed.load(Relaxed) + part;
        let stays = owed >= WHOLE;
        let left = if stays { owed - WHOLE } else { owed };
        self.owed.store(left, Relaxed);
        stays
    }

    /// The next of a tier, of those that may be chosen.
    pub(super) fn next(
        &self,
        (number, tier): (usize, &Tier),
        may: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        if tier.is_even() {
            self.count(number, tier, may)
        } else if tier.places().len() <= FEW {
            self.weigh(tier, may)
        } else {
            let found = self.go_round(number, tier, &may);
            found.or_else(|| self.weigh(tier, may))
        }
    }

    fn go_round(&self, number: usize, tier: &Tier, may: impl Fn(usize) -> bool) -> Option<usize> {
        let next = self.next[number].load(Relaxed);
        self.next[number].store(next.wrapping_add(1), Relaxed);
        let mut angle = GOLDEN.wrapping_mul(next as u64);
        for _ in 0..STEPS {
            let at = (u128::from(angle) * u128::from(tier.total())) >> u64::BITS;
            let place = tier.at(u64::try_from(at).ok()?)?;
            if may(place.server) {
                return Some(place.server);
            }
            // Anywhere: who lies a section behind would get all the turns of this one.
            angle = fastrand::u64(..);
        }
        None
    }

    fn count(&self, number: usize, tier: &Tier, may: impl Fn(usize) -> bool) -> Option<usize> {
        let places = tier.places();
        for _ in 0..places.len() {
            let next = self.next[number].load(Relaxed);
            self.next[number].store(next.wrapping_add(1), Relaxed);
            let server = places[next % places.len()].server;
            if may(server) {
                return Some(server);
            }
        }
        // Somebody else may have counted in between.
        let mut all = places.iter().map(|place| place.server);
        all.find(|server| may(*server))
    }

    fn weigh(&self, tier: &Tier, may: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best: Option<(usize, i64)> = None;
        let mut given = 0;
        for place in tier.places().iter().filter(|place| may(place.server)) {
            let weight = place.weight.cast_signed();
            let credit = self.credits[place.server].load(Relaxed) + weight;
            self.credits[place.server].store(credit, Relaxed);
            given += weight;
            if best.is_none_or(|(_, most)| credit > most) {
                best = Some((place.server, credit));
            }
        }
        let (server, credit) = best?;
        self.credits[server].store(credit - given, Relaxed);
        Some(server)
    }
}

#[cfg(test)]
mod tests;
