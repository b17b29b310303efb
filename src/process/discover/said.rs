//! What resolvers say, put together into an answer.
//!
//! Purpose: the addresses of a name come in two kinds, the targets of SRV records
//! in as many as there are targets. Each was found, is known not to be, or could
//! not be asked for.
//!
//! Invariant: if something was found, it counts, and of what could not be asked
//! for the last that is known holds. There is nothing only if all is known not to
//! be.
//!
//! Pure. Deliberately absent: asking (see `dns`).

use super::findings::{Answer, Part};
use crate::config::{Server, ServerAddress, Source};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The greatest weight that a server can have.
const MOST_WEIGHT: u32 = 100;

/// What was said to one question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Said<T> {
    /// There are these, for so long.
    Found(Vec<T>, Duration),
    /// There is none; why, and for how long.
    Nothing(Arc<str>, Option<Duration>),
    /// Nobody could say; why.
    Outage(Arc<str>),
}

impl<T> Said<T> {
    pub(super) fn none(why: &str) -> Self {
        Self::Nothing(why.into(), None)
    }
}

/// What is known of a server besides its address.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    pub(super) port: u16,
    pub(super) weight: u32,
}

/// What was said of the kinds of addresses of one name.
type Kinds = Vec<(Part, Said<IpAddr>)>;

/// The answer if the addresses of one name are the servers.
pub(super) fn answer_of_addresses(kinds: Kinds, target: Target, source: &Source) -> Answer {
    let kinds = kinds.into_iter().map(|(part, said)| (part, target, said));
    joined(kinds.collect(), None, source)
}

/// The answer if targets of SRV records are, which have these names and addresses;
/// the records themselves hold for `ttl`.
pub(super) fn answer_of_targets(
    targets: Vec<(Arc<str>, Target, Kinds)>,
    ttl: Duration,
    source: &Source,
) -> Answer {
    let parts = targets.into_iter().flat_map(|(name, target, kinds)| {
        let parts = kinds.into_iter();
        parts.map(move |(kind, said)| (Part::from(format!("{name} {kind}")), target, said))
    });
    joined(parts.collect(), Some(ttl), source)
}

fn joined(
    parts: Vec<(Part, Target, Said<IpAddr>)>,
    ttl: Option<Duration>,
    source: &Source,
) -> Answer {
    let (mut servers, mut silent) = (Vec::new(), Vec::new());
    let (mut times, mut absent) = (ttl, None);
    let mut outage = None;
    let shorter = |a: Option<Duration>, b: Duration| Some(a.map_or(b, |a| a.min(b)));
    for (part, target, said) in parts {
        match said {
            Said::Found(addresses, ttl) => {
                times = shorter(times, ttl);
                for address in addresses {
                    let address = SocketAddr::new(address, target.port);
                    servers.push((Arc::clone(&part), server(address, target.weight, source)));
                }
            }
            Said::Nothing(why, ttl) => {
                let until = ttl.into_iter().fold(ttl_of(absent.as_ref()), shorter);
                absent = Some((why, until));
            }
            Said::Outage(why) => {
                outage.get_or_insert(why);
                silent.push(part);
            }
        }
    }
    if servers.is_empty() {
        return match (outage, absent) {
            (Some(why), _) => Answer::Outage { why },
            (None, Some((why, ttl))) => Answer::Nothing { why, ttl },
            (None, None) => Answer::Nothing {
                why: "there was nothing to ask for".into(),
                ttl,
            },
        };
    }
    Answer::Found {
        servers: once(servers),
        silent,
        ttl: times,
    }
}

fn ttl_of(absent: Option<&(Arc<str>, Option<Duration>)>) -> Option<Duration> {
    absent.and_then(|(_, ttl)| *ttl)
}

fn server(address: SocketAddr, weight: u32, source: &Source) -> Server {
    Server {
        name: address.to_string().into(),
        address: ServerAddress::Inet(address),
        weight,
        zone: source.zone.clone(),
        found_by: Some(source.place.to_string().into()),
    }
}

/// Each address once: two targets may lead to the same one.
fn once(servers: Vec<(Part, Server)>) -> Vec<(Part, Server)> {
    let mut kept: Vec<(Part, Server)> = Vec::new();
    for one in servers {
        if kept
            .iter()
            .all(|(_, server)| server.address != one.1.address)
        {
            kept.push(one);
        }
    }
    kept
}

/// Take the records with the lowest priority out, with weights that servers can
/// have: as they are if they fit, else in proportion. A weight of zero is the
/// smallest there is (RFC 2782).
pub(super) fn group_of(
    records: &mut Vec<(u16, Target, Arc<str>)>,
) -> Option<Vec<(Target, Arc<str>)>> {
    let lowest = records.iter().map(|(priority, ..)| *priority).min()?;
    let group = records.extract_if(.., |(priority, ..)| *priority == lowest);
    let mut group: Vec<_> = group.map(|(_, target, name)| (target, name)).collect();
    let most = group.iter().map(|(target, _)| target.weight).max();
    let most = most.unwrap_or_default().max(MOST_WEIGHT);
    for (target, _) in &mut group {
        let scaled = u64::from(target.weight) * u64::from(MOST_WEIGHT);
        let scaled = u32::try_from(scaled.div_ceil(u64::from(most))).unwrap_or(MOST_WEIGHT);
        target.weight = scaled.max(1);
    }
    Some(group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Family, Place};

    fn source() -> Source {
        Source {
            place: Place::Srv {
                name: "_grpc._tcp.orders".into(),
                family: Family::Any,
            },
            zone: Some("a".into()),
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn found(addresses: &[&str], ttl: u64) -> Said<IpAddr> {
        let addresses = addresses
            .iter()
            .map(|text| text.parse().expect("an address"));
        Said::Found(addresses.collect(), seconds(ttl))
    }

    fn outage() -> Said<IpAddr> {
        Said::Outage("timed out".into())
    }

    const WEB: Target = Target {
        port: 80,
        weight: 3,
    };

    fn of(a: Said<IpAddr>, aaaa: Said<IpAddr>) -> Answer {
        answer_of_addresses(vec![("A".into(), a), ("AAAA".into(), aaaa)], WEB, &source())
    }

    #[test]
    fn both_kinds_of_addresses_are_servers_for_the_shorter_time() {
        let answer = of(found(&["10.0.0.1"], 30), found(&["::1"], 5));
        let Answer::Found {
            servers,
            silent,
            ttl,
        } = answer
        else {
            panic!("{answer:?}");
        };
        let shown: Vec<_> = servers
            .iter()
            .map(|(part, server)| format!("{part} {} {}", server.name, server.weight))
            .collect();
        assert_eq!(shown, ["A 10.0.0.1:80 3", "AAAA [::1]:80 3"]);
        assert_eq!(servers[0].1.zone.as_deref(), Some("a"));
        assert_eq!(
            servers[0].1.found_by.as_deref(),
            Some("srv:_grpc._tcp.orders")
        );
        assert!(silent.is_empty());
        assert_eq!(ttl, Some(seconds(5)));
    }

    #[test]
    fn what_could_not_be_asked_for_is_silent_beside_what_was_found() {
        let answer = of(found(&["10.0.0.1"], 30), outage());
        assert!(
            matches!(&answer, Answer::Found { silent, .. } if **silent == ["AAAA".into()]),
            "{answer:?}"
        );
        let answer = of(found(&["10.0.0.1"], 30), Said::none("no"));
        assert!(matches!(&answer, Answer::Found { silent, .. } if silent.is_empty()));
    }

    #[test]
    fn there_is_nothing_only_if_all_is_known_not_to_be() {
        let none = |ttl| Said::Nothing("no".into(), Some(seconds(ttl)));
        assert!(matches!(of(none(9), outage()), Answer::Outage { .. }));
        assert!(matches!(of(outage(), none(9)), Answer::Outage { .. }));
        let both = of(none(9), none(4));
        assert!(
            matches!(both, Answer::Nothing { ttl: Some(ttl), .. } if ttl == seconds(4)),
            "{both:?}"
        );
    }

    #[test]
    fn an_address_that_two_targets_have_is_one_server() {
        let target = |name: &str, said| {
            let kinds = vec![(Part::from("A"), said)];
            (Arc::from(name), WEB, kinds)
        };
        let told = vec![
            target("a", found(&["10.0.0.1", "10.0.0.2"], 60)),
            target("b", found(&["10.0.0.1"], 60)),
            target("c", outage()),
        ];
        let answer = answer_of_targets(told, seconds(7), &source());
        let Answer::Found {
            servers,
            silent,
            ttl,
        } = answer
        else {
            panic!("{answer:?}");
        };
        assert_eq!(servers.len(), 2);
        assert_eq!(silent, ["c A".into()]);
        assert_eq!(ttl, Some(seconds(7)), "the records' own");
    }

    fn weights(records: &[(u16, u32)]) -> Vec<Vec<u32>> {
        let records = records.iter().map(|(priority, weight)| {
            let target = Target {
                port: 1,
                weight: *weight,
            };
            (*priority, target, Arc::from("t"))
        });
        let mut records: Vec<_> = records.collect();
        let groups = std::iter::from_fn(|| group_of(&mut records));
        let weights = |group: Vec<(Target, _)>| group.iter().map(|(t, _)| t.weight).collect();
        groups.map(weights).collect()
    }

    #[test]
    fn the_lowest_priority_comes_first() {
        assert_eq!(weights(&[(20, 1), (10, 2), (20, 3)]), [vec![2], vec![1, 3]]);
        assert!(weights(&[]).is_empty());
    }

    #[test]
    fn weights_fit_and_keep_their_proportions() {
        assert_eq!(weights(&[(1, 0), (1, 0)]), [[1, 1]]);
        assert_eq!(weights(&[(1, 100), (1, 50), (1, 0)]), [[100, 50, 1]]);
        assert_eq!(weights(&[(1, 60_000), (1, 30_000), (1, 1)]), [[100, 50, 1]]);
    }
}
