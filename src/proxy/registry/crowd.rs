//! Who has how many connections: clients by their address.
//!
//! A client is an IPv4 address, or the 64 bits of an IPv6 address that name a
//! network: whoever has one address of such a network has them all (RFC 6177).
//! Clients on this machine are not told apart and not limited: behind such an
//! address stands a balancer, a sidecar or the operator.
//!
//! Invariant: an entry lives as long as its connections, so there are never
//! more entries than connections, whatever addresses clients have.
//!
//! Deliberately absent: what becomes of a connection too many.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::net::IpAddr;

/// A client, as far as limits tell clients apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Who {
    Ipv4(u32),
    Ipv6(u64),
}

impl Who {
    /// `None` on this machine.
    pub(super) fn at(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Self::Ipv4(address.to_bits())),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let high = [a, b, c, d].into_iter();
                Some(Self::Ipv6(
                    high.fold(0, |bits, part| bits << 16 | u64::from(part)),
                ))
            }
        }
    }
}

/// The clients of one listener.
#[derive(Debug, Default)]
pub(super) struct Crowd(DashMap<Who, u32>);

impl Crowd {
    /// One connection more of a client that may have `most`, 0 being any
    /// number; `false`, and nothing is counted, if it has as many.
    pub(super) fn enter(&self, who: Who, most: usize) -> bool {
        match self.0.entry(who) {
            Entry::Vacant(place) => {
                place.insert(1);
            }
            Entry::Occupied(mut there) => {
                if most > 0 && *there.get() as usize >= most {
                    return false;
                }
                *there.get_mut() += 1;
            }
        }
        true
    }

    /// One connection fewer.
    pub(super) fn leave(&self, who: Who) {
        if let Entry::Occupied(mut there) = self.0.entry(who) {
            *there.get_mut() -= 1;
            if *there.get() == 0 {
                there.remove();
            }
        }
    }

    /// How many clients are there.
    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(address: &str) -> Who {
        Who::at(address.parse().expect(address)).expect("not of this machine")
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_ipv4_within_it_is_ipv4() {
        assert_eq!(who("2001:db8:0:7::1"), who("2001:db8:0:7:ffff::2"));
        assert_ne!(who("2001:db8:0:7::1"), who("2001:db8:0:8::1"));
        assert_eq!(who("::ffff:192.0.2.7"), who("192.0.2.7"));
        assert_ne!(who("192.0.2.7"), who("192.0.2.8"));
        for here in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(Who::at(here.parse().expect(here)), None, "{here}");
        }
    }

    #[test]
    fn one_too_many_is_not_counted_and_nobody_is_remembered() {
        let crowd = Crowd::default();
        let (one, other) = (who("192.0.2.7"), who("192.0.2.8"));
        assert!(crowd.enter(one, 2) && crowd.enter(one, 2));
        assert!(!crowd.enter(one, 2) && !crowd.enter(one, 1));
        assert!(crowd.enter(other, 1), "another is another");
        crowd.leave(one);
        assert!(crowd.enter(one, 2), "one has left");
        assert!(crowd.enter(one, 0), "0 is any number");
        (0..3).for_each(|_| crowd.leave(one));
        assert_eq!(crowd.clients(), 1);
        crowd.leave(other);
        assert_eq!(crowd.clients(), 0);
    }
}
