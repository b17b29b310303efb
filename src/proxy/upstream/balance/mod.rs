//! Which server is next.
//!
//! Purpose: by turns, by the least in flight, or by a hash; weighted, at home
//! first where there are zones, and never one that an exchange has tried, or one
//! that is drained, while there is another.
//!
//! Invariant: if some server may be chosen, one is found, whatever others choose
//! meanwhile. A choice takes no lock and allocates nothing: it reads a roster
//! that was drawn up when something changed last.
//!
//! Deliberately absent: health, and its consequences for the roster (see
//! `roster`); whoever changes something calls [`Balancer::redraw`].

mod ring;
mod roster;
mod rotation;

pub(super) use ring::Spot;
pub(super) use roster::{Entry, Fitness, Policy, WHOLE};
pub(super) use rotation::Rotation;

use super::key;
use super::search::Search;
use super::server::Server;
use crate::config::{self, Balance, HashBy};
use arc_swap::ArcSwap;
use http::HeaderMap;
use parking_lot::Mutex;
use ring::Ring;
use roster::{Place, Roster, Tier};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How often a second server is drawn that is not the first one.
const DRAWS: usize = 4;

enum Method {
    Turns,
    LeastInFlight,
    Hash(Ring, HashBy),
}

/// The selection over one upstream's servers, shared by all workers.
pub(super) struct Balancer {
    servers: Arc<[Server]>,
    method: Method,
    policy: Policy,
    roster: ArcSwap<Roster>,
    /// Held while a roster is drawn up, so that the last one is the newest.
    drawing: Mutex<()>,
    rotations: AtomicUsize,
}

impl Balancer {
    /// Over `servers`, as `config` says.
    pub(super) fn new(config: &config::Upstream, servers: &Arc<[Server]>) -> Self {
        let policy = Policy {
            spill: config.zone.is_some().then_some(config.spill),
            panic: config.panic,
        };
        Self {
            servers: Arc::clone(servers),
            method: match &config.balance {
                Balance::RoundRobin => Method::Turns,
                Balance::LeastInFlight => Method::LeastInFlight,
                Balance::Hash(by) => Method::Hash(Ring::new(&config.servers), by.clone()),
            },
            policy,
            roster: ArcSwap::from_pointee(Roster::draw(&entries(servers), policy)),
            drawing: Mutex::new(()),
            rotations: AtomicUsize::new(0),
        }
    }

    /// Heed what has changed of the servers.
    pub(super) fn redraw(&self) {
        let _drawing = self.drawing.lock();
        let roster = Roster::draw(&entries(&self.servers), self.policy);
        self.roster.store(Arc::new(roster));
    }

    /// Whether so few servers are fit that all are used.
    #[cfg(test)]
    pub(super) fn panics(&self) -> bool {
        self.roster.load().panicking
    }

    /// A rotation for one more worker. Each begins at another server.
    pub(super) fn rotation(&self) -> Rotation {
        let others = self.rotations.fetch_add(1, Relaxed);
        let rotation = Rotation::new(self.servers.len(), others);
        let roster = self.roster.load();
        let weighted = roster.tiers.iter().filter(|tier| !tier.is_even());
        for tier in weighted {
            for _ in 0..others % self.servers.len() {
                rotation.next((0, tier), |_| true);
            }
        }
        rotation
    }

    /// What a request looks for.
    pub(super) fn search(&self, fields: &HeaderMap, client: IpAddr) -> Search {
        let Method::Hash(ring, by) = &self.method else {
            return Search::new();
        };
        Search::at(key::of(by, fields, client, |key| ring.spot(key)))
    }

    /// What a tunnel looks for.
    pub(super) fn search_of_client(&self, client: IpAddr) -> Search {
        let Method::Hash(ring, _) = &self.method else {
            return Search::new();
        };
        Search::at(Some(key::of_client(client, |key| ring.spot(key))))
    }

    /// A server that may be chosen and was not tried; where there is none, one
    /// that there is something against, or that is leaving with its config.
    pub(super) fn select(&self, search: Search, rotation: &Rotation) -> Option<usize> {
        let roster = self.roster.load();
        let calm = !roster.panicking;
        let may = |server: usize| {
            let known = &self.servers[server];
            !search.contains(server) && known.is_open() && !(calm && known.is_out())
        };
        let by_key = match (&self.method, search.spot) {
            (Method::Hash(ring, _), Some(spot)) => by_key(ring, spot, &roster, may),
            _ => None,
        };
        let turns = Turns {
            rotation,
            beside: search.goes_on(),
        };
        by_key
            .or_else(|| self.in_zone(&roster, turns, &may))
            .or_else(|| turns.next((2, &roster.tiers[2]), may))
            .or_else(|| self.leaving(search))
    }

    fn in_zone(
        &self,
        roster: &Roster,
        turns: Turns<'_>,
        may: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        let [here, elsewhere, _] = &roster.tiers;
        let among = |number, tier| self.among((number, tier), turns, may);
        if turns.rotation.stays(roster.stays) {
            among(0, here).or_else(|| among(1, elsewhere))
        } else {
            among(1, elsewhere).or_else(|| among(0, here))
        }
    }

    fn among(
        &self,
        (number, tier): (usize, &Tier),
        turns: Turns<'_>,
        may: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        match self.method {
            Method::LeastInFlight if tier.places().len() > 1 => self
                .less_in_flight(tier, may)
                .or_else(|| turns.next((number, tier), may)),
            _ => turns.next((number, tier), may),
        }
    }

    /// Of two servers drawn by weight the one with less in flight for its
    /// weight: almost as good as the least of all, and nobody has to look at
    /// all, or runs with all others to the same one.
    fn less_in_flight(&self, tier: &Tier, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        let draw = || {
            let draws = (0..DRAWS).filter_map(|_| tier.at(fastrand::u64(..tier.total())));
            draws.into_iter().find(|place| may(place.server))
        };
        let first = draw()?;
        let others = (0..DRAWS).filter_map(|_| draw());
        let second = others
            .into_iter()
            .find(|other| other.server != first.server);
        let Some(second) = second else {
            return Some(first.server);
        };
        // One more, as if it were given this one.
        let load = |place: &Place| u128::from(self.servers[place.server].berth.aboard()) + 1;
        let heavier =
            load(&first) * u128::from(second.weight) > load(&second) * u128::from(first.weight);
        Some(if heavier { second.server } else { first.server })
    }

    fn leaving(&self, search: Search) -> Option<usize> {
        let mut servers = self.servers.iter().enumerate();
        servers
            .find(|(index, server)| server.last_resort() && !search.contains(*index))
            .map(|(index, _)| index)
    }
}

/// How turns are taken: who looks for another server, after one that failed, has
/// had its turn. With two servers of which one fails, it would otherwise be the
/// turn of that one again for each next exchange.
#[derive(Copy, Clone)]
struct Turns<'r> {
    rotation: &'r Rotation,
    /// Draw, and leave the turns to the others.
    beside: bool,
}

impl Turns<'_> {
    fn next(self, (number, tier): (usize, &Tier), may: impl Fn(usize) -> bool) -> Option<usize> {
        let drawn = self.beside.then(|| drawn(tier, &may)).flatten();
        drawn.or_else(|| self.rotation.next((number, tier), may))
    }
}

/// One of those that may be chosen, by weight; where few may be, the next of them
/// behind the last draw.
fn drawn(tier: &Tier, may: impl Fn(usize) -> bool) -> Option<usize> {
    let places = tier.places();
    if places.is_empty() {
        return None;
    }
    let mut at = 0;
    for _ in 0..DRAWS {
        at = tier.index(fastrand::u64(..tier.total()));
        let server = places.get(at)?.server;
        if may(server) {
            return Some(server);
        }
    }
    let (before, behind) = places.split_at_checked(at)?;
    let mut others = behind.iter().chain(before).map(|place| place.server);
    others.find(|server| may(*server))
}

/// The server of a key. One whose weight counts in part has that part of its
/// keys, and always the same ones; the others go on as if it were not there.
fn by_key(ring: &Ring, spot: Spot, roster: &Roster, may: impl Fn(usize) -> bool) -> Option<usize> {
    ring.from(spot)
        .find(|server| spot.below(WHOLE) < roster.ramps[*server] && may(*server))
}

fn entries(servers: &[Server]) -> Vec<Entry> {
    servers.iter().map(Server::entry).collect()
}

#[cfg(test)]
mod tests;
