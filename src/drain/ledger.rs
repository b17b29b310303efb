//! The books of a drain: how each thing that was opened came to its end.
//!
//! Invariant: `opened = finished + farewelled + cut` once nothing is open. A
//! drain is judged by it: what is missing on the right was lost without a
//! trace, and what stands under `cut` was lost in plain sight.
//!
//! Deliberately absent: counting. The live counters stand where connections
//! live; a [`Ledger`] is their sums at one instant.

use serde::{Deserialize, Serialize};

/// How a peer was told, in its own protocol, that its time is over.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Farewell {
    /// FIN to a connection that had not begun a request.
    Fin,
    /// A TLS alert in an unfinished handshake, then FIN.
    TlsAlert,
    /// `503` to a request head of which only a part had come.
    HalfHead,
    /// `503` to a request that had no response yet.
    Unanswered,
    /// An HTTP/1 response that had begun ends without its last chunk.
    Truncated,
    /// A `text/event-stream` ended at the boundary of an event.
    EventStream,
    /// gRPC status 14 as the whole response.
    GrpcTrailersOnly,
    /// gRPC status 14 in the trailers of an open stream.
    GrpcTrailers,
    /// `RST_STREAM` to an HTTP/2 response that had begun.
    Reset,
    /// WebSocket Close 1001 to both sides.
    #[serde(rename = "websocket_close")]
    WebSocketClose,
    /// A tunnel half-closed to both sides.
    HalfClose,
}

impl Farewell {
    /// Every farewell; the position is `farewell as usize`.
    pub const ALL: [Self; 11] = [
        Self::Fin,
        Self::TlsAlert,
        Self::HalfHead,
        Self::Unanswered,
        Self::Truncated,
        Self::EventStream,
        Self::GrpcTrailersOnly,
        Self::GrpcTrailers,
        Self::Reset,
        Self::WebSocketClose,
        Self::HalfClose,
    ];

    /// The name used in metrics, logs and the admin interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::TlsAlert => "tls_alert",
            Self::HalfHead => "half_head",
            Self::Unanswered => "unanswered",
            Self::Truncated => "truncated",
            Self::EventStream => "event_stream",
            Self::GrpcTrailersOnly => "grpc_trailers_only",
            Self::GrpcTrailers => "grpc_trailers",
            Self::Reset => "reset",
            Self::WebSocketClose => "websocket_close",
            Self::HalfClose => "half_close",
        }
    }

    /// What the client saw, in words for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Fin => "connection closed before a request began",
            Self::TlsAlert => "TLS alert in the unfinished handshake",
            Self::HalfHead => "503 to a request head that had come in part",
            Self::Unanswered => "503 with Retry-After",
            Self::Truncated => "response ended, visibly incomplete",
            Self::EventStream => "event stream ended after a whole event",
            Self::GrpcTrailersOnly => "gRPC UNAVAILABLE, before any response",
            Self::GrpcTrailers => "gRPC UNAVAILABLE, in the stream's trailers",
            Self::Reset => "HTTP/2 stream reset",
            Self::WebSocketClose => "WebSocket Close 1001 (going away)",
            Self::HalfClose => "tunnel closed on both sides",
        }
    }
}

/// Why something was ended by force.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum CutReason {
    /// It did not leave within the farewell time.
    Farewell,
    /// An operator asked for the cut at once (second SIGINT).
    Operator,
    /// Its server was drained, and it did not leave within the farewell time.
    ServerDrained,
}

impl CutReason {
    /// Every reason; the position is `reason as usize`.
    pub const ALL: [Self; 3] = [Self::Farewell, Self::Operator, Self::ServerDrained];

    /// The name used in metrics, logs and the admin interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Farewell => "farewell",
            Self::Operator => "operator",
            Self::ServerDrained => "server_drained",
        }
    }

    /// The reason, in words for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Farewell => "did not leave in the farewell time",
            Self::Operator => "an operator asked to cut at once",
            Self::ServerDrained => "its server was drained, and it did not leave",
        }
    }
}

/// How a connection or an exchange came to its end.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "what", rename_all = "snake_case")]
pub enum Outcome {
    /// By itself: it was done, or the peer left.
    Finished,
    /// At its deadline, told in its own protocol.
    Farewelled(Farewell),
    /// By force.
    Cut(CutReason),
}

impl Outcome {
    /// The name used in metrics, logs and the admin interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Farewelled(_) => "farewelled",
            Self::Cut(_) => "cut",
        }
    }

    /// What happened, in words for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Finished => "came to its own end",
            Self::Farewelled(farewell) => farewell.meaning(),
            Self::Cut(reason) => reason.meaning(),
        }
    }
}

/// The books: of what was opened, how much came to which end.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Begun.
    pub opened: u64,
    /// Came to their own end.
    pub finished: u64,
    /// Ended at their deadline, told in their own protocol.
    pub farewelled: u64,
    /// Ended by force.
    pub cut: u64,
}

impl Ledger {
    /// Note that one more was opened.
    pub const fn open_one(&mut self) {
        self.opened += 1;
    }

    /// Note how one of those that were open ended.
    pub const fn close(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Finished => self.finished += 1,
            Outcome::Farewelled(_) => self.farewelled += 1,
            Outcome::Cut(_) => self.cut += 1,
        }
    }

    /// The books as they are when everything is over: what is open has been
    /// ended by force.
    #[must_use]
    pub const fn at_the_end(&self) -> Self {
        Self {
            cut: self.cut.saturating_add(self.open()),
            ..*self
        }
    }

    /// How many came to an end, whichever.
    #[must_use]
    pub const fn closed(&self) -> u64 {
        self.finished
            .saturating_add(self.farewelled)
            .saturating_add(self.cut)
    }

    /// How many are still there.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.opened.saturating_sub(self.closed())
    }

    /// Whether everything that was opened came to exactly one end, and nothing
    /// is open.
    #[must_use]
    pub const fn balanced(&self) -> bool {
        self.opened == self.closed()
    }

    /// What happened since `earlier`, which are the same books read before:
    /// what was open then counts as opened, what had ended does not count.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            opened: self.opened.saturating_sub(earlier.closed()),
            finished: self.finished.saturating_sub(earlier.finished),
            farewelled: self.farewelled.saturating_sub(earlier.farewelled),
            cut: self.cut.saturating_sub(earlier.cut),
        }
    }

    /// Both books in one.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            opened: self.opened.saturating_add(other.opened),
            finished: self.finished.saturating_add(other.finished),
            farewelled: self.farewelled.saturating_add(other.farewelled),
            cut: self.cut.saturating_add(other.cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_names_agree_with_serde() {
        for (position, farewell) in Farewell::ALL.into_iter().enumerate() {
            assert_eq!(farewell as usize, position);
            let written = serde_json::to_string(&farewell).expect("a plain enum");
            assert_eq!(written, format!("\"{}\"", farewell.as_str()));
        }
        for (position, reason) in CutReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, position);
            let written = serde_json::to_string(&reason).expect("a plain enum");
            assert_eq!(written, format!("\"{}\"", reason.as_str()));
        }
    }

    #[test]
    fn the_books_balance_only_when_each_came_to_one_end() {
        let mut ledger = Ledger::default();
        for _ in 0..3 {
            ledger.open_one();
        }
        ledger.close(Outcome::Finished);
        ledger.close(Outcome::Farewelled(Farewell::Reset));
        assert_eq!(ledger.open(), 1);
        assert!(!ledger.balanced());
        ledger.close(Outcome::Cut(CutReason::Farewell));
        assert!(ledger.balanced());
        ledger.close(Outcome::Finished);
        assert!(!ledger.balanced(), "one end too many");
    }

    #[test]
    fn what_was_open_before_counts_as_opened_since() {
        let before = Ledger {
            opened: 10,
            finished: 6,
            farewelled: 0,
            cut: 1,
        };
        let after = Ledger {
            opened: 14,
            finished: 12,
            farewelled: 1,
            cut: 1,
        };
        let drain = after.since(&before);
        assert_eq!(
            drain,
            Ledger {
                opened: 7,
                finished: 6,
                farewelled: 1,
                cut: 0
            }
        );
        assert!(drain.balanced());
        assert_eq!(drain.plus(&drain).opened, 14);
    }
}
