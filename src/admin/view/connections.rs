//! Every connection, one by one: `GET /v1/connections`.
//!
//! Invariant: each says what it waits for, in words that an operator can act
//! upon: that is what holds the exit. Absent: anything that was said on it.

use super::millis;
use crate::admin::Admin;
use crate::clock;
use crate::drain::{Protocol, Timestamp};
use crate::proxy::registry::{Record, State};
use serde::{Deserialize, Serialize};

/// Every open connection.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Connections {
    /// The oldest first.
    pub connections: Vec<Connection>,
}

/// One open connection.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// Unique in this process, in the order of acceptance.
    pub id: u64,
    /// The listener that accepted it.
    pub listener: String,
    /// The client's address.
    pub peer: String,
    /// The balancer that it came through, if a PROXY header named the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancer: Option<String>,
    /// What is spoken, once that is known.
    pub protocol: Option<Protocol>,
    /// Where it stands, as in `ebbtide_connections{state}`.
    pub state: String,
    /// For how long it has stood there.
    pub since_ms: u64,
    /// Since its accept.
    pub age_ms: u64,
    /// Exchanges begun on it.
    pub requests: u64,
    /// Exchanges in flight on it.
    pub in_flight: u64,
    /// Bytes from the client, after TLS.
    pub received: u64,
    /// Bytes to the client, before TLS.
    pub sent: u64,
    /// What it waits for.
    pub waits_for: String,
}

impl Connection {
    fn of(record: &Record, now: Timestamp) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let state = record.state();
        Self {
            id: record.id,
            listener: record.listener().to_string(),
            peer: record.client.address().to_string(),
            balancer: record.client.balancer().map(|at| at.to_string()),
            protocol: record.protocol(),
            state: state.as_str().to_owned(),
            since_ms: millis(now.saturating_since(record.since())),
            age_ms: millis(now.saturating_since(record.accepted)),
            requests: record.requests(),
            in_flight: u64::from(record.in_flight()),
            received: record.received.load(Relaxed),
            sent: record.sent.load(Relaxed),
            waits_for: waits_for(record, state),
        }
    }
}

impl Admin {
    pub(in crate::admin) fn connections_view(&self) -> Connections {
        let now = clock::now();
        let mut records = self.registry.records();
        records.sort_unstable_by_key(|record| record.id);
        let connections = records.iter().map(|record| Connection::of(record, now));
        Connections {
            connections: connections.collect(),
        }
    }
}

fn waits_for(record: &Record, state: State) -> String {
    match state {
        State::Accepted => "the client's first byte".to_owned(),
        State::ProxyHeader => "the rest of the PROXY header".to_owned(),
        State::TlsHandshake => "the client's part of the TLS handshake".to_owned(),
        State::Preface => "the rest of the HTTP/2 preface".to_owned(),
        State::Head => "the rest of a request head".to_owned(),
        State::Idle if record.draining() => "a last request, or its time to retire".to_owned(),
        State::Idle => "a request".to_owned(),
        State::InFlight => in_flight_of(record),
        State::Closing => "the client to close".to_owned(),
    }
}

/// As in `2 grpc and 1 http2 in flight`.
fn in_flight_of(record: &Record) -> String {
    let counts = Protocol::ALL.map(|protocol| (protocol, record.in_flight_of(protocol)));
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(protocol, count)| format!("{count} {}", protocol.as_str()))
        .collect();
    if parts.is_empty() {
        // It ended between the two looks.
        return "the end of a request".to_owned();
    }
    format!("{} in flight", parts.join(" and "))
}
