//! How many are there: connections and exchanges, by listener.
//!
//! A scrape looks at every connection, and with ten thousand of them what it
//! does for each is what it costs. So one look counts everything, into arrays.
//!
//! Invariant: every connection is counted once. Absent: names of metrics.

use crate::drain::Protocol;
use crate::proxy::registry::{Record, State};
use std::sync::Arc;

/// The protocols that a connection may have, and none known yet.
const SPOKEN: usize = Protocol::ALL.len() + 1;

/// What one listener has.
#[derive(Clone, Debug)]
pub(super) struct Count {
    pub(super) listener: Arc<str>,
    connections: [[u64; State::ALL.len()]; SPOKEN],
    in_flight: [u64; Protocol::ALL.len()],
}

impl Count {
    fn none(listener: &Arc<str>) -> Self {
        Self {
            listener: Arc::clone(listener),
            connections: Default::default(),
            in_flight: Default::default(),
        }
    }

    fn add(&mut self, record: &Record) {
        let spoken = record.protocol().map_or(SPOKEN - 1, |one| one as usize);
        self.connections[spoken][record.state() as usize] += 1;
        if record.in_flight() > 0 {
            for protocol in Protocol::ALL {
                self.in_flight[protocol as usize] += u64::from(record.in_flight_of(protocol));
            }
        }
    }

    /// Connections on which this is spoken, or nothing that is known yet.
    pub(super) fn connections(&self, spoken: Option<Protocol>, state: State) -> u64 {
        let spoken = spoken.map_or(SPOKEN - 1, |one| one as usize);
        self.connections[spoken][state as usize]
    }

    pub(super) fn in_flight(&self, protocol: Protocol) -> u64 {
        self.in_flight[protocol as usize]
    }
}

/// Count `records` by listener: these first, then others that have any.
pub(super) fn census(listeners: &[Arc<str>], records: &[Arc<Record>]) -> Vec<Count> {
    let mut counts: Vec<Count> = Vec::new();
    for listener in listeners {
        if counts.iter().all(|count| count.listener != *listener) {
            counts.push(Count::none(listener));
        }
    }
    for record in records {
        let listener = record.listener();
        let of =
            |count: &Count| Arc::ptr_eq(&count.listener, listener) || count.listener == *listener;
        let known = counts.iter().position(of);
        let index = known.unwrap_or_else(|| {
            counts.push(Count::none(listener));
            counts.len() - 1
        });
        counts[index].add(record);
    }
    counts
}
