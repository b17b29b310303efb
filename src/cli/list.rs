//! The list of connections: in which order, and which of them.
//!
//! Invariant: what is alike stands in the order of acceptance, so that a list
//! that is drawn again does not jump. Absent: drawing it.

use crate::admin::view::Connection;
use crate::drain::Protocol;
use clap::ValueEnum;
use std::cmp::{Ordering, Reverse};

/// What connections are sorted by.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, ValueEnum)]
pub(super) enum By {
    /// The oldest first
    #[default]
    Age,
    /// The longest in its state first
    For,
    /// The most bytes first, both ways
    Bytes,
    Protocol,
    Listener,
    State,
    /// The most requests first
    Requests,
    Client,
}

impl By {
    /// The order that this key stands for.
    pub(super) const fn of_key(key: char) -> Option<Self> {
        match key {
            'a' => Some(Self::Age),
            'b' => Some(Self::Bytes),
            'o' => Some(Self::Protocol),
            'l' => Some(Self::Listener),
            't' => Some(Self::State),
            'n' => Some(Self::Requests),
            _ => None,
        }
    }
}

/// An order: the most, or the first of the alphabet, stand first, unless it is
/// turned about.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub(super) struct Sort {
    pub(super) by: By,
    pub(super) reverse: bool,
}

impl Sort {
    /// This order; turned about if it is the same as before.
    pub(super) fn by(self, by: By) -> Self {
        Self {
            by,
            reverse: self.by == by && !self.reverse,
        }
    }

    fn compare(self, one: &Connection, other: &Connection) -> Ordering {
        let order = match self.by {
            By::Age => Reverse(one.age_ms).cmp(&Reverse(other.age_ms)),
            By::For => Reverse(one.since_ms).cmp(&Reverse(other.since_ms)),
            By::Client => one.peer.cmp(&other.peer),
            By::Bytes => Reverse(bytes(one)).cmp(&Reverse(bytes(other))),
            By::Requests => Reverse(one.requests).cmp(&Reverse(other.requests)),
            By::Protocol => one.protocol.cmp(&other.protocol),
            By::Listener => one.listener.cmp(&other.listener),
            By::State => one.state.cmp(&other.state),
        };
        if self.reverse { order.reverse() } else { order }
    }
}

/// Both ways.
pub(super) const fn bytes(one: &Connection) -> u64 {
    one.received.saturating_add(one.sent)
}

/// Those with `filter` in what is shown of them, in this order.
pub(super) fn listed<'a>(all: &'a [Connection], sort: Sort, filter: &str) -> Vec<&'a Connection> {
    let mut listed: Vec<&Connection> = all.iter().filter(|one| has(one, filter)).collect();
    listed.sort_by(|one, other| sort.compare(one, other).then(one.id.cmp(&other.id)));
    listed
}

fn has(one: &Connection, filter: &str) -> bool {
    let protocol = one.protocol.map_or("-", Protocol::as_str);
    contains(
        [
            &one.listener,
            &one.peer,
            protocol,
            &one.state,
            &one.waits_for,
        ],
        filter,
    )
}

/// Whether one of these has the filter in it, which is lower case.
pub(super) fn contains<const N: usize>(texts: [&str; N], filter: &str) -> bool {
    filter.is_empty()
        || texts
            .iter()
            .any(|text| text.to_lowercase().contains(filter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;

    fn ids(sort: Sort, filter: &str) -> Vec<u64> {
        let all = sample::connections().connections;
        listed(&all, sort, filter)
            .iter()
            .map(|one| one.id)
            .collect()
    }

    #[test]
    fn each_order_is_kept_and_turned_about() {
        for (key, order) in [
            ('a', [3, 1, 2, 4, 5]),
            ('b', [3, 1, 2, 4, 5]),
            ('o', [5, 2, 4, 1, 3]),
            ('l', [3, 1, 2, 4, 5]),
            ('t', [4, 1, 2, 3, 5]),
            ('n', [5, 4, 3, 2, 1]),
        ] {
            let by = By::of_key(key).expect("an order");
            let sort = Sort { by, reverse: false };
            assert_eq!(ids(sort, ""), order, "{key}");
        }
        let turned = Sort::default().by(By::Age);
        assert_eq!(ids(turned, ""), [5, 4, 2, 1, 3]);
        assert_eq!(By::of_key('x'), None);
    }

    #[test]
    fn what_is_filtered_for_may_stand_anywhere() {
        for (filter, found) in [
            ("db", &[3][..]),
            ("192.0.2.4", &[4]),
            ("grpc", &[1]),
            ("tls", &[5]),
            ("in_flight", &[3, 1, 2]),
            ("nowhere", &[]),
        ] {
            assert_eq!(ids(Sort::default(), filter), found, "{filter}");
        }
    }
}
