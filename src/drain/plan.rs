//! The plan: how long each stage of a drain may take.
//!
//! A plan is plain data and any plan can be run; [`Plan::check`] says whether
//! it *should* be. It is checked as a whole, because each duration may be fine
//! alone and still not leave room for the next before SIGKILL comes.
//!
//! Invariant: the machine cuts the last connection no later than
//! [`Plan::total`] after the drain began.
//!
//! Deliberately absent: reading the config. Errors name the key they blame
//! ([`PlanError::key`]), and the config floor finds it in the text.

use super::policy::{Hopeless, LateRequests};
use super::protocol::{Protocol, Protocols};
use super::time::{Brief, millis};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The timeline of a drain.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What the orchestrator gives between SIGTERM and SIGKILL.
    #[serde(rename = "grace_ms", with = "millis")]
    pub grace: Duration,
    /// How long readiness fails before listeners refuse.
    #[serde(rename = "announce_ms", with = "millis")]
    pub announce: Duration,
    /// Over which time connections are told to take no more requests.
    #[serde(rename = "spread_ms", with = "millis")]
    pub spread: Duration,
    /// What a half-open connection has, from its accept, to become a request.
    #[serde(rename = "handshake_ms", with = "millis")]
    pub handshake: Duration,
    /// What an idle HTTP/1.1 connection has, from its last answer, to send one
    /// more request.
    #[serde(rename = "last_request_ms", with = "millis")]
    pub last_request: Duration,
    /// What in-flight work has, from refuse on.
    pub finish: Finish,
    /// What a peer that was told to leave has before it is cut.
    #[serde(rename = "farewell_ms", with = "millis")]
    pub farewell: Duration,
    /// What in-flight work of every protocol has after a handover, where
    /// nobody waits for the exit.
    #[serde(rename = "handover_finish_ms", with = "millis")]
    pub handover_finish: Duration,
    /// What becomes of requests that come after the word to retire.
    pub late_requests: LateRequests,
    /// What becomes of requests that cannot be awaited by their own deadline.
    pub hopeless: Hopeless,
}

/// What in-flight work has to finish, from refuse on, by protocol.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Finish {
    /// HTTP/1.1 requests and HTTP/2 streams.
    #[serde(rename = "http_ms", with = "millis")]
    pub http: Duration,
    /// gRPC calls.
    #[serde(rename = "grpc_ms", with = "millis")]
    pub grpc: Duration,
    /// WebSocket tunnels.
    #[serde(rename = "websocket_ms", with = "millis")]
    pub websocket: Duration,
    /// All other tunnels.
    #[serde(rename = "tcp_ms", with = "millis")]
    pub tcp: Duration,
}

impl Default for Plan {
    /// Fits the 30 s that Kubernetes gives by default
    /// (`terminationGracePeriodSeconds`), with 3 s to spare.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            grace: seconds(30),
            announce: seconds(5),
            spread: seconds(2),
            handshake: seconds(2),
            last_request: seconds(1),
            finish: Finish {
                http: seconds(20),
                grpc: seconds(20),
                websocket: seconds(10),
                tcp: seconds(20),
            },
            farewell: seconds(2),
            handover_finish: seconds(3_600),
            late_requests: LateRequests::default(),
            hopeless: Hopeless::default(),
        }
    }
}

impl Plan {
    /// What work of this protocol has to finish, from refuse on.
    #[must_use]
    pub const fn finish_for(&self, protocol: Protocol) -> Duration {
        match protocol {
            Protocol::Http1 | Protocol::Http2 => self.finish.http,
            Protocol::Grpc => self.finish.grpc,
            Protocol::WebSocket => self.finish.websocket,
            Protocol::Tcp => self.finish.tcp,
        }
    }

    /// The longest of the finish times.
    #[must_use]
    pub fn longest_finish(&self) -> Duration {
        self.finish
            .entries()
            .map(|(_, time)| time)
            .into_iter()
            .fold(Duration::ZERO, Duration::max)
    }

    /// The shortest of the finish times.
    #[must_use]
    pub fn shortest_finish(&self) -> Duration {
        self.finish
            .entries()
            .map(|(_, time)| time)
            .into_iter()
            .fold(Duration::MAX, Duration::min)
    }

    /// The plan as it is followed after a handover: nothing is announced, and
    /// what is in flight has its own patience.
    #[must_use]
    pub fn after_handover(mut self) -> Self {
        self.announce = Duration::ZERO;
        self.finish = Finish {
            http: self.handover_finish,
            grpc: self.handover_finish,
            websocket: self.handover_finish,
            tcp: self.handover_finish,
        };
        self
    }

    /// From the beginning of the drain to the last cut, if nobody leaves
    /// earlier: announce, the longest finish, farewell.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.total_in(1)
    }

    /// The same where `turns` listeners, one after another, each wait for the
    /// one before to be gone.
    #[must_use]
    pub fn total_in(&self, turns: u32) -> Duration {
        let work = self.longest_finish().saturating_add(self.farewell);
        self.announce.saturating_add(work.saturating_mul(turns))
    }

    /// The plan with a retirement short enough for its `finish`: what the
    /// defaults become where an operator has chosen short deadlines only, and
    /// should not be told of keys that were never written.
    #[must_use]
    pub fn with_room(mut self) -> Self {
        self.spread = self.spread.min(self.finish.http / 2).min(self.finish.grpc);
        self.last_request = self.last_request.min(self.finish.http / 2);
        self.handshake = self.handshake.min(self.longest_finish());
        self
    }

    /// Everything that is wrong with the plan; empty if it can be kept.
    #[must_use]
    pub fn check(&self) -> Vec<PlanError> {
        let mut errors = Vec::new();
        if self.total() > self.grace {
            errors.push(self.too_long());
        }
        let retirement = self.spread.saturating_add(self.last_request);
        if retirement > self.finish.http {
            errors.push(PlanError::RetirementOutlivesHttp {
                spread: self.spread,
                last_request: self.last_request,
                finish: self.finish.http,
            });
        }
        if self.spread > self.finish.grpc {
            errors.push(PlanError::SpreadOutlivesGrpc {
                spread: self.spread,
                finish: self.finish.grpc,
            });
        }
        if self.handshake > self.longest_finish() {
            errors.push(PlanError::HandshakeOutlivesFinish {
                handshake: self.handshake,
                finish: self.longest_finish(),
            });
        }
        errors
    }

    fn too_long(&self) -> PlanError {
        let longest = self.longest_finish();
        // The first of equals, in the order of the config.
        let protocol = self
            .finish
            .entries()
            .into_iter()
            .find(|(_, time)| *time == longest)
            .map_or("http", |(name, _)| name);
        PlanError::TooLong {
            grace: self.grace,
            announce: self.announce,
            protocol,
            finish: longest,
            farewell: self.farewell,
            total: self.total(),
        }
    }
}

impl Finish {
    /// More time for every protocol that is not among `past`.
    pub(super) fn extend(&mut self, by: Duration, past: Protocols) {
        let more = |time: &mut Duration, protocols: &[Protocol]| {
            if protocols.iter().any(|protocol| !past.contains(*protocol)) {
                *time = time.saturating_add(by);
            }
        };
        more(&mut self.http, &[Protocol::Http1, Protocol::Http2]);
        more(&mut self.grpc, &[Protocol::Grpc]);
        more(&mut self.websocket, &[Protocol::WebSocket]);
        more(&mut self.tcp, &[Protocol::Tcp]);
    }

    /// At most these times, once `spent` has passed, for every protocol that
    /// is not among `past`.
    pub(super) fn hurry(&mut self, spent: Duration, plan: &Self, past: Protocols) {
        let less = |time: &mut Duration, planned: Duration, protocols: &[Protocol]| {
            if protocols.iter().any(|protocol| !past.contains(*protocol)) {
                *time = (*time).min(spent.saturating_add(planned));
            }
        };
        less(
            &mut self.http,
            plan.http,
            &[Protocol::Http1, Protocol::Http2],
        );
        less(&mut self.grpc, plan.grpc, &[Protocol::Grpc]);
        less(&mut self.websocket, plan.websocket, &[Protocol::WebSocket]);
        less(&mut self.tcp, plan.tcp, &[Protocol::Tcp]);
    }

    /// The longer time of each pair.
    pub(super) fn longer(&self, other: &Self) -> Self {
        Self {
            http: self.http.max(other.http),
            grpc: self.grpc.max(other.grpc),
            websocket: self.websocket.max(other.websocket),
            tcp: self.tcp.max(other.tcp),
        }
    }

    /// The keys of the config and their values.
    const fn entries(&self) -> [(&'static str, Duration); 4] {
        [
            ("http", self.http),
            ("grpc", self.grpc),
            ("websocket", self.websocket),
            ("tcp", self.tcp),
        ]
    }
}

/// Why a plan cannot be kept. The message says what, with which numbers, and
/// what to do about it.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum PlanError {
    /// The stages together take longer than `grace`.
    #[error(
        "the drain can take {}, but `grace` is {}: announce {} + finish.{protocol} {} + farewell {}; \
         raise `grace` (and what the orchestrator gives before SIGKILL) or take {} from the stages",
        Brief(*total), Brief(*grace), Brief(*announce), Brief(*finish), Brief(*farewell),
        Brief(total.saturating_sub(*grace))
    )]
    TooLong {
        /// What there is.
        grace: Duration,
        /// The part of announce.
        announce: Duration,
        /// The key of `finish` that is the longest.
        protocol: &'static str,
        /// The part of finish.
        finish: Duration,
        /// The part of farewell.
        farewell: Duration,
        /// All parts together.
        total: Duration,
    },
    /// Idle HTTP connections would still be retiring after `finish.http`.
    #[error(
        "idle HTTP connections retire over {} (spread {} + last_request {}), but `finish.http` is {}; \
         raise `finish.http` to at least {} or lower `spread` or `last_request`",
        Brief(spread.saturating_add(*last_request)), Brief(*spread), Brief(*last_request),
        Brief(*finish), Brief(spread.saturating_add(*last_request))
    )]
    RetirementOutlivesHttp {
        /// The part of spread.
        spread: Duration,
        /// The part of the last request.
        last_request: Duration,
        /// What there is.
        finish: Duration,
    },
    /// Some gRPC clients would get GOAWAY after their calls were ended.
    #[error(
        "connections are told to retire over {} (`spread`), but `finish.grpc` is {}: \
         some would hear of it only after their calls were ended; \
         raise `finish.grpc` to at least {} or lower `spread`",
        Brief(*spread), Brief(*finish), Brief(*spread)
    )]
    SpreadOutlivesGrpc {
        /// The time over which connections are told.
        spread: Duration,
        /// What there is.
        finish: Duration,
    },
    /// A half-open connection would hold the exit longer than any request.
    #[error(
        "a half-open connection has {} to become a request (`handshake`), but the longest `finish` is {}; \
         lower `handshake` to at most {}",
        Brief(*handshake), Brief(*finish), Brief(*finish)
    )]
    HandshakeOutlivesFinish {
        /// The time for the handshake.
        handshake: Duration,
        /// What there is.
        finish: Duration,
    },
}

impl PlanError {
    /// The key under `[drain]` that the error blames, for the config floor to
    /// draw it there.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "grace",
            Self::RetirementOutlivesHttp { .. } | Self::SpreadOutlivesGrpc { .. } => "spread",
            Self::HandshakeOutlivesFinish { .. } => "handshake",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_make_room_for_short_deadlines() {
        let second = Duration::from_secs(1);
        let finish = Finish {
            http: second,
            grpc: second,
            websocket: second,
            tcp: second,
        };
        let short = Plan {
            finish,
            ..Plan::default()
        };
        assert!(!short.check().is_empty());
        assert_eq!(short.with_room().check(), []);
        assert_eq!(Plan::default().with_room(), Plan::default());
    }

    #[test]
    fn the_default_fits_kubernetes() {
        let plan = Plan::default();
        assert_eq!(plan.check(), []);
        assert_eq!(plan.total(), Duration::from_secs(27));
        assert!(plan.total() < plan.grace);
    }

    #[test]
    fn a_plan_that_fills_its_grace_exactly_fits() {
        let plan = Plan {
            grace: Duration::from_secs(27),
            ..Plan::default()
        };
        assert_eq!(plan.check(), []);
    }

    #[test]
    fn every_fault_is_found_in_one_pass_and_blames_its_key() {
        let mut plan = Plan {
            grace: Duration::from_secs(1),
            handshake: Duration::from_secs(30),
            ..Plan::default()
        };
        plan.finish.http = Duration::from_millis(2_500);
        plan.finish.grpc = Duration::from_millis(1_500);
        let errors = plan.check();
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors.iter().map(PlanError::key).collect::<Vec<_>>(),
            ["grace", "spread", "spread", "handshake"]
        );
        assert_eq!(
            told,
            [
                "the drain can take 27s, but `grace` is 1s: announce 5s + finish.tcp 20s + farewell 2s; \
                 raise `grace` (and what the orchestrator gives before SIGKILL) or take 26s from the stages",
                "idle HTTP connections retire over 3s (spread 2s + last_request 1s), but `finish.http` is 2.5s; \
                 raise `finish.http` to at least 3s or lower `spread` or `last_request`",
                "connections are told to retire over 2s (`spread`), but `finish.grpc` is 1.5s: \
                 some would hear of it only after their calls were ended; \
                 raise `finish.grpc` to at least 2s or lower `spread`",
                "a half-open connection has 30s to become a request (`handshake`), but the longest `finish` is 20s; \
                 lower `handshake` to at most 20s",
            ]
        );
    }

    #[test]
    fn absurd_durations_are_told_of_not_wrapped() {
        let plan = Plan {
            announce: Duration::MAX,
            ..Plan::default()
        };
        assert_eq!(plan.total(), Duration::MAX);
        assert_eq!(plan.check().len(), 1);
    }

    #[test]
    fn a_plan_survives_the_receipt() {
        let plan = Plan {
            last_request: Duration::from_micros(1_500),
            ..Plan::default()
        };
        let text = serde_json::to_string(&plan).expect("plain data");
        assert!(text.contains(r#""grace_ms":30000,"#) && text.contains(r#""http_ms":20000"#));
        assert!(text.contains(r#""last_request_ms":1.5"#));
        assert_eq!(serde_json::from_str::<Plan>(&text).expect("own text"), plan);
    }
}
