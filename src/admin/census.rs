//! How many connections are there, by listener, protocol and state.
//!
//! A scrape looks at every connection, and with ten thousand of them what it
//! does for each is what it costs. So one look counts everything, into arrays,
//! and where connections lie; none is held on to.
//!
//! Invariant: every connection is counted once. Absent: names of metrics, and
//! what is in flight, which the books have.

use crate::drain::Protocol;
use crate::proxy::registry::{Record, Registry, State};
use std::sync::Arc;

/// The protocols that a connection may have, and none known yet.
const SPOKEN: usize = Protocol::ALL.len() + 1;

/// What one listener has.
#[derive(Clone, Debug)]
pub(super) struct Count {
    pub(super) listener: Arc<str>,
    connections: [[u64; State::ALL.len()]; SPOKEN],
}

impl Count {
    fn none(listener: &Arc<str>) -> Self {
        Self {
            listener: Arc::clone(listener),
            connections: Default::default(),
        }
    }

    fn add(&mut self, record: &Record) {
        let spoken = record.protocol().map_or(SPOKEN - 1, |one| one as usize);
        self.connections[spoken][record.state() as usize] += 1;
    }

    /// Connections on which this is spoken, or nothing that is known yet.
    pub(super) fn connections(&self, spoken: Option<Protocol>, state: State) -> u64 {
        let spoken = spoken.map_or(SPOKEN - 1, |one| one as usize);
        self.connections[spoken][state as usize]
    }
}

/// Count every connection by its listener: these first, then others that have
/// any.
pub(super) fn census(listeners: &[Arc<str>], registry: &Registry) -> Vec<Count> {
    let mut counts: Vec<Count> = Vec::new();
    for listener in listeners {
        if counts.iter().all(|count| count.listener != *listener) {
            counts.push(Count::none(listener));
        }
    }
    registry.look(|record| {
        let listener = record.listener();
        let same = |count: &Count| Arc::ptr_eq(&count.listener, listener);
        let alike = |count: &Count| count.listener == *listener;
        let known = counts.iter().position(same);
        let known = known.or_else(|| counts.iter().position(alike));
        let index = known.unwrap_or_else(|| {
            counts.push(Count::none(listener));
            counts.len() - 1
        });
        counts[index].add(record);
    });
    counts
}
