//! Consistent hashing: a key has its place on a ring, and with it its server.
//!
//! Purpose: pingora's ketama over all servers of an upstream, by their weights.
//! When one cannot be chosen its keys go to those that come next on the ring,
//! each to another one, and all other keys stay where they are.
//!
//! Invariant: the ring depends on addresses and weights alone, so that every
//! process with this config, and every reload, gives a key the same server; for
//! IP addresses it is the one that nginx's `hash ... consistent` would take. A
//! Unix socket has no address: one is made from its path.
//!
//! Deliberately absent: who may be chosen. Health changes; the ring does not.

use crate::config::{Server, ServerAddress};
use pingora_ketama::{Bucket, Continuum};
use std::net::{Ipv6Addr, SocketAddr};

/// Where a key is on the ring.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(in crate::proxy::upstream) struct Spot(u32);

impl Spot {
    /// A number below `limit` that is as good as random, and always the same
    /// for this spot.
    pub(super) fn below(self, limit: u32) -> u32 {
        let mixed = self.0.wrapping_mul(0x9e37_79b9);
        let number = (u64::from(mixed) * u64::from(limit)) >> 32;
        u32::try_from(number).unwrap_or(0)
    }
}

/// The servers of an upstream on a ring.
pub(super) struct Ring {
    continuum: Continuum,
    /// The server at each address, sorted.
    servers: Box<[(SocketAddr, usize)]>,
}

impl Ring {
    pub(super) fn new(servers: &[Server]) -> Self {
        let divisor = servers.iter().fold(0, |most, one| common(most, one.weight));
        let buckets = servers
            .iter()
            .map(|server| Bucket::new(address(server), server.weight / divisor.max(1)));
        let continuum = Continuum::new(&buckets.collect::<Vec<_>>());
        let mut table: Vec<_> = servers.iter().map(address).zip(0..).collect();
        table.sort_unstable();
        Self {
            continuum,
            servers: table.into_boxed_slice(),
        }
    }

    /// Where a key is.
    pub(super) fn spot(&self, key: &[u8]) -> Spot {
        // A ring has fewer points than this: weights and servers are bounded.
        Spot(u32::try_from(self.continuum.node_idx(key)).unwrap_or(0))
    }

    /// The server there, then those that come next; some come again.
    pub(super) fn from(&self, spot: Spot) -> impl Iterator<Item = usize> {
        let mut at = spot.0 as usize;
        // So far that all have come, but for one in a long line by chance.
        let steps = 32 * self.servers.len();
        (0..steps).filter_map(move |_| {
            let address = self.continuum.get_addr(&mut at)?;
            let found = self.servers.binary_search_by_key(&address, |(at, _)| at);
            found.ok().map(|found| self.servers[found].1)
        })
    }
}

/// The greatest number that divides both.
fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}

fn address(server: &Server) -> SocketAddr {
    match &server.address {
        ServerAddress::Inet(address) => *address,
        ServerAddress::Unix(path) => {
            // FNV-1a, in a network that is never routed (RFC 6666).
            let bytes = path.as_os_str().as_encoded_bytes();
            let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let address = 0x0100_u128 << 112 | u128::from(hash);
            (Ipv6Addr::from_bits(address), 0).into()
        }
    }
}

#[cfg(test)]
mod tests;
