//! Who did not come to its own end: told in its own protocol, or cut.
//!
//! Invariant: made once, when the exchange or connection ends, from what it
//! was doing at that moment; nothing in it is looked up later.
//!
//! Deliberately absent: how many are kept. That is the keeper's to bound.

use super::doing::Doing;
use super::ledger::{CutReason, Farewell, Outcome};
use super::protocol::Protocol;
use super::time::{Timestamp, millis::in_millis};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// Why something was still there when it was ended.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It had not ended when its deadline came.
    Deadline,
    /// Its client did not read what was sent.
    ClientNotReading,
    /// It was told, and did not leave.
    DidNotLeave,
    /// It had not become a request in its time.
    NoRequest,
    /// An operator did not want to wait for it.
    Operator,
    /// Its server was drained.
    ServerDrained,
}

impl Why {
    /// The reason of an end; `for_server` if it came by the drain of the
    /// exchange's server alone.
    #[must_use]
    pub const fn of(outcome: Outcome, doing: Doing, for_server: bool) -> Self {
        match (outcome, doing) {
            _ if for_server => Self::ServerDrained,
            (Outcome::Cut(CutReason::ServerDrained), _) => Self::ServerDrained,
            (Outcome::Cut(CutReason::Operator), _) => Self::Operator,
            (_, Doing::Blocked) => Self::ClientNotReading,
            (Outcome::Farewelled(Farewell::Fin | Farewell::TlsAlert | Farewell::HalfHead), _) => {
                Self::NoRequest
            }
            (Outcome::Cut(CutReason::Farewell), _) => Self::DidNotLeave,
            _ => Self::Deadline,
        }
    }

    /// The name used in receipts and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::ClientNotReading => "client_not_reading",
            Self::DidNotLeave => "did_not_leave",
            Self::NoRequest => "no_request",
            Self::Operator => "operator",
            Self::ServerDrained => "server_drained",
        }
    }

    /// The reason, in words for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Deadline => "deadline passed",
            Self::ClientNotReading => "client did not read",
            Self::DidNotLeave => "told, and did not leave",
            Self::NoRequest => "no request in time",
            Self::Operator => "operator cut",
            Self::ServerDrained => "server drained",
        }
    }
}

/// What is known of a connection or an exchange at its end.
#[derive(Copy, Clone, Debug)]
pub struct Parting<'a> {
    /// The id of the connection.
    pub connection: u64,
    /// The listener that accepted it.
    pub listener: &'a str,
    /// The client's address.
    pub peer: SocketAddr,
    /// What was spoken.
    pub protocol: Protocol,
    /// The route that it took, if it took one.
    pub route: Option<&'a str>,
    /// The server whose drain ended it, as `upstream/server`; none if that was
    /// the drain of its listener.
    pub server: Option<&'a str>,
    /// What it was doing.
    pub doing: Doing,
    /// What became of it.
    pub outcome: Outcome,
    /// How old it was.
    pub age: Duration,
    /// When that was.
    pub at: Timestamp,
}

/// One connection or exchange that did not come to its own end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The id of the connection.
    pub connection: u64,
    /// The listener that accepted it.
    pub listener: String,
    /// The client's address.
    pub peer: String,
    /// What was spoken.
    pub protocol: Protocol,
    /// The route that it took; `None` if it had not taken one.
    pub route: Option<String>,
    /// The server whose drain ended it, as `upstream/server`; `None` if that
    /// was the drain of its listener.
    #[serde(default)]
    pub server: Option<String>,
    /// What it was doing.
    pub doing: Doing,
    /// What became of it: `outcome` and `what` in JSON.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Why it was still there.
    pub why: Why,
    /// How old it was.
    pub age_ms: f64,
    /// When it ended. In a receipt since the beginning of the drain, before
    /// that since the beginning of the process.
    pub at_ms: f64,
}

impl From<Parting<'_>> for Told {
    fn from(parting: Parting<'_>) -> Self {
        Self {
            connection: parting.connection,
            listener: parting.listener.to_owned(),
            peer: parting.peer.to_string(),
            protocol: parting.protocol,
            route: parting.route.map(str::to_owned),
            server: parting.server.map(str::to_owned),
            doing: parting.doing,
            outcome: parting.outcome,
            why: Why::of(parting.outcome, parting.doing, parting.server.is_some()),
            age_ms: in_millis(parting.age),
            at_ms: in_millis(parting.at.since_start()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_follows_from_what_it_did_and_what_became_of_it() {
        let farewelled = |farewell| Outcome::Farewelled(farewell);
        let cut = |reason| Outcome::Cut(reason);
        for (outcome, doing, why) in [
            (farewelled(Farewell::Reset), Doing::Sending, Why::Deadline),
            (
                farewelled(Farewell::GrpcTrailers),
                Doing::Blocked,
                Why::ClientNotReading,
            ),
            (
                farewelled(Farewell::HalfHead),
                Doing::HalfHead,
                Why::NoRequest,
            ),
            (cut(CutReason::Farewell), Doing::Tunnel, Why::DidNotLeave),
            (
                cut(CutReason::Farewell),
                Doing::Blocked,
                Why::ClientNotReading,
            ),
            (cut(CutReason::Operator), Doing::Blocked, Why::Operator),
            (
                cut(CutReason::ServerDrained),
                Doing::Tunnel,
                Why::ServerDrained,
            ),
        ] {
            assert_eq!(Why::of(outcome, doing, false), why, "{outcome:?} {doing:?}");
            let written = serde_json::to_string(&why).expect("a plain enum");
            assert_eq!(written, format!("\"{}\"", why.as_str()));
        }
    }

    #[test]
    fn what_ended_with_its_server_says_so_whatever_it_did() {
        let reset = Outcome::Farewelled(Farewell::Reset);
        for doing in [Doing::Sending, Doing::Blocked] {
            assert_eq!(Why::of(reset, doing, true), Why::ServerDrained);
        }
    }
}
