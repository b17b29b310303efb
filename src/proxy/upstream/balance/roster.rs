//! Who may be chosen, and with what weight: drawn up when something changes,
//! read by every choice.
//!
//! Purpose: choices are made millions of times, and what they depend on changes
//! now and then. So that is put in order once, by a pure function over what is
//! known of each server, and published as a whole.
//!
//! Invariant: every server with a weight is in exactly one tier, unless it is
//! out; who is out is in none. Within a tier the weights add up to its total.
//!
//! Deliberately absent: drains and the servers that an exchange has tried. They
//! are looked at in each choice, since they hold from one moment to the next.

/// Whole shares are this many parts.
pub(in crate::proxy::upstream) const WHOLE: u32 = 1000;

/// Whether a server is to be given exchanges.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(in crate::proxy::upstream) enum Fitness {
    /// It is.
    Fit,
    /// Only if there is no other: it is up, but there is something against it.
    Doubtful,
    /// It is not: it is down.
    Out,
}

/// What is known of a server when a roster is drawn up.
#[derive(Copy, Clone, Debug)]
pub(in crate::proxy::upstream) struct Entry {
    pub(in crate::proxy::upstream) fitness: Fitness,
    /// Whether its drain lets it take exchanges.
    pub(in crate::proxy::upstream) open: bool,
    /// Its weight in the config; never zero.
    pub(in crate::proxy::upstream) weight: u32,
    /// The part of it that counts now, of [`WHOLE`]; never zero.
    pub(in crate::proxy::upstream) ramp: u32,
    /// Whether it is in the zone of this process.
    pub(in crate::proxy::upstream) local: bool,
}

/// What the config says of it.
#[derive(Copy, Clone, Debug, Default)]
pub(in crate::proxy::upstream) struct Policy {
    /// The percentage of the local servers that must be fit for all to stay
    /// local; `None` if zones are not looked at.
    pub(in crate::proxy::upstream) spill: Option<u32>,
    /// If fewer than this percentage of the servers are fit, all are used.
    pub(in crate::proxy::upstream) panic: u32,
}

/// One of those that are chosen from.
#[derive(Copy, Clone, Debug)]
pub(super) struct Place {
    pub(super) server: usize,
    pub(super) weight: u64,
    /// The sum of the weights up to and with this one.
    upto: u64,
}

/// Servers that are chosen from by weight.
#[derive(Clone, Debug, Default)]
pub(super) struct Tier {
    places: Box<[Place]>,
    even: bool,
}

impl Tier {
    fn of(servers: impl Iterator<Item = (usize, u64)>) -> Self {
        let mut upto = 0;
        let places = servers.map(|(server, weight)| {
            upto += weight;
            Place {
                server,
                weight,
                upto,
            }
        });
        let places: Box<[_]> = places.collect();
        let even = places.windows(2).all(|two| two[0].weight == two[1].weight);
        Self { places, even }
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Whether all weights are the same.
    pub(super) fn is_even(&self) -> bool {
        self.even
    }

    pub(super) fn total(&self) -> u64 {
        self.places.last().map_or(0, |last| last.upto)
    }

    /// The place in whose part of the total this number lies.
    pub(super) fn at(&self, number: u64) -> Option<Place> {
        self.places.get(self.index(number)).copied()
    }

    /// Where that is.
    pub(super) fn index(&self, number: u64) -> usize {
        self.places.partition_point(|place| place.upto <= number)
    }
}

/// Who may be chosen.
#[derive(Clone, Debug)]
pub(in crate::proxy::upstream) struct Roster {
    /// The fit servers here, those elsewhere, and the doubtful ones. Where zones
    /// are not looked at all fit ones are in the first.
    pub(super) tiers: [Tier; 3],
    /// The part of all exchanges that stays here, of [`WHOLE`].
    pub(super) stays: u32,
    /// So few are fit that all are used.
    pub(in crate::proxy::upstream) panicking: bool,
    /// By server: the part of its weight that counts; zero if it is not fit.
    pub(super) ramps: Box<[u32]>,
}

impl Roster {
    /// Draw up a roster.
    pub(in crate::proxy::upstream) fn draw(entries: &[Entry], policy: Policy) -> Self {
        let fit = |entry: &Entry| entry.fitness == Fitness::Fit;
        let serving = entries.iter().filter(|entry| fit(entry) && entry.open);
        let panicking = serving.count() * 100 < policy.panic as usize * entries.len();
        let chosen = |entry: &Entry| panicking || fit(entry);
        let mixed = entries.iter().any(|one| one.local) && entries.iter().any(|one| !one.local);
        let spill = policy.spill.filter(|_| mixed);
        let tier = |wanted: &dyn Fn(&Entry) -> bool| {
            let entries = entries.iter().enumerate();
            let wanted = entries.filter(|(_, entry)| wanted(entry));
            Tier::of(wanted.map(|(index, entry)| (index, effective(entry))))
        };
        Self {
            tiers: [
                tier(&|entry| chosen(entry) && (spill.is_none() || entry.local)),
                tier(&|entry| chosen(entry) && spill.is_some() && !entry.local),
                tier(&|entry| !panicking && entry.fitness == Fitness::Doubtful),
            ],
            stays: spill.map_or(WHOLE, |spill| stays(entries, spill)),
            panicking,
            ramps: entries
                .iter()
                .map(|entry| if chosen(entry) { entry.ramp } else { 0 })
                .collect(),
        }
    }
}

/// A weight at the part that counts.
fn effective(entry: &Entry) -> u64 {
    (u64::from(entry.weight) * u64::from(entry.ramp)).max(1)
}

/// What part of all exchanges the local servers take: all, while `spill` percent
/// of their weight is fit; below that so much less that none of them gets more
/// than it would get then.
fn stays(entries: &[Entry], spill: u32) -> u32 {
    let (mut all, mut fit) = (0, 0);
    for entry in entries.iter().filter(|entry| entry.local) {
        let weight = u64::from(entry.weight);
        all += weight;
        if entry.fitness == Fitness::Fit && entry.open {
            fit += weight;
        }
    }
    let needed = all * u64::from(spill);
    if fit * 100 >= needed {
        return if fit == 0 { 0 } else { WHOLE };
    }
    u32::try_from(fit * 100 * u64::from(WHOLE) / needed).unwrap_or(WHOLE)
}

#[cfg(test)]
mod tests;
