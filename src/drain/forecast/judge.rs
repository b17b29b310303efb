//! One exchange before its deadline: will it still be there?
//!
//! Invariant: a chance never rises with the time that is given.
//!
//! Deliberately absent: any other exchange, but for what their histories say.

use super::{InFlight, Transfer};
use crate::drain::doing::Doing;
use crate::drain::history::Survival;
use crate::drain::ledger::Farewell;
use crate::drain::protocol::Protocol;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a prediction rests on.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The bytes left of a known length, and the rate so far.
    Length,
    /// The client gives up before (`grpc-timeout`).
    Timeout,
    /// How long others of its route and protocol lasted.
    History,
    /// A stream or a tunnel that nothing says will end.
    Endless,
    /// Nothing: there is no history yet.
    Unknown,
}

impl Basis {
    /// In words for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Length => "length and rate",
            Self::Timeout => "grpc-timeout",
            Self::History => "history of its route",
            Self::Endless => "endless by nature",
            Self::Unknown => "no history",
        }
    }
}

/// What would become of an exchange.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Verdict {
    /// It comes to its own end.
    Finish,
    /// It is ended in its own protocol.
    Farewell,
    /// It is ended by force, since its client does not read.
    Cut,
    /// Nobody can tell.
    Unknown,
}

impl Verdict {
    /// Every verdict; the position is `verdict as usize`.
    pub const ALL: [Self; 4] = [Self::Finish, Self::Farewell, Self::Cut, Self::Unknown];

    /// The name used in forecasts and receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Farewell => "farewell",
            Self::Cut => "cut",
            Self::Unknown => "unknown",
        }
    }
}

/// What is foreseen of one exchange.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Prediction {
    /// The chance that it outlives its deadline; `None` if unknown.
    pub outlives: Option<f64>,
    /// In which time it is as likely as not that it ends; `None` if that is
    /// unknown or not in sight.
    pub ends_in: Option<Duration>,
    /// What this rests on.
    pub basis: Basis,
    /// What would become of it.
    pub verdict: Verdict,
    /// What its client would be told if it outlives its deadline.
    pub told: Farewell,
    /// Until its deadline.
    pub left: Duration,
}

/// An exchange, what is known of its kind, and what it has left.
pub(super) struct Case<'a> {
    exchange: &'a InFlight,
    survival: Option<&'a Survival>,
    basis: Basis,
    pub(super) left: Duration,
}

impl<'a> Case<'a> {
    pub(super) fn new(
        exchange: &'a InFlight,
        survival: Option<&'a Survival>,
        left: Duration,
    ) -> Self {
        let survival = survival.filter(|survival| survival.knows(exchange.age));
        let gives_up = exchange.gives_up_in.is_some_and(|limit| limit <= left);
        let basis = match exchange.transfer {
            Some(transfer) if transfer.needs().is_some() => Basis::Length,
            _ if gives_up => Basis::Timeout,
            _ if survival.is_some() => Basis::History,
            _ if endless(exchange) => Basis::Endless,
            _ => Basis::Unknown,
        };
        Self {
            exchange,
            survival,
            basis,
            left,
        }
    }

    pub(super) fn predict(&self) -> Prediction {
        let outlives = match self.basis {
            Basis::Unknown => None,
            _ => Some(self.outlives(self.left)),
        };
        let told = farewell(self.exchange);
        let verdict = match outlives {
            None => Verdict::Unknown,
            Some(chance) if chance <= 0.5 => Verdict::Finish,
            Some(_) if deaf(self.exchange) => Verdict::Cut,
            Some(_) => Verdict::Farewell,
        };
        Prediction {
            outlives,
            ends_in: self.ends_in(),
            basis: self.basis,
            verdict,
            told,
            left: self.left,
        }
    }

    /// The chance that it is there after `time`, if it is ended at its
    /// deadline; what is unknown does not count.
    pub(super) fn there_after(&self, time: Duration) -> f64 {
        if time >= self.left || self.basis == Basis::Unknown {
            0.0
        } else {
            self.outlives(time)
        }
    }

    fn outlives(&self, time: Duration) -> f64 {
        if self.exchange.gives_up_in.is_some_and(|limit| limit <= time) {
            return 0.0;
        }
        let needs = self.exchange.transfer.and_then(Transfer::needs);
        match (self.basis, self.survival, needs) {
            (Basis::Length, _, Some(needs)) => too_slow(needs, time),
            (_, Some(survival), _) => survival.outlives(self.exchange.age, time),
            // Endless, or given up by its client later than this.
            _ => 1.0,
        }
    }

    fn ends_in(&self) -> Option<Duration> {
        let by_itself = match self.basis {
            Basis::Length => self.exchange.transfer.and_then(Transfer::needs),
            Basis::Timeout | Basis::History => self
                .survival
                .and_then(|survival| survival.median(self.exchange.age)),
            Basis::Endless | Basis::Unknown => None,
        };
        match (by_itself, self.exchange.gives_up_in) {
            (Some(end), Some(limit)) => Some(end.min(limit)),
            // Only where its own end is not in sight, a limit is no estimate.
            (None, Some(limit)) if self.basis != Basis::Unknown => Some(limit),
            (end, _) => end,
        }
    }
}

impl Transfer {
    /// How long the rest takes at the rate so far; `None` without a rate.
    fn needs(self) -> Option<Duration> {
        if self.sent == 0 || self.over.is_zero() {
            return None;
        }
        let needs = self.over.as_nanos().checked_mul(u128::from(self.left))?;
        let nanos = u64::try_from(needs / u128::from(self.sent)).ok()?;
        Some(Duration::from_nanos(nanos))
    }
}

/// The chance that what needs so long is not through in `time`: a rate that
/// may halve or double, each as likely as the other.
fn too_slow(needs: Duration, time: Duration) -> f64 {
    if time.is_zero() {
        return 1.0;
    }
    let times = needs.as_secs_f64() / time.as_secs_f64();
    f64::midpoint(times.log2(), 1.0).clamp(0.0, 1.0)
}

/// Whether it is of a kind that ends only when somebody wants it to.
fn endless(exchange: &InFlight) -> bool {
    let begun = exchange.doing != Doing::Awaiting;
    match exchange.protocol {
        Protocol::Http1 | Protocol::Http2 => exchange.doing == Doing::Events,
        // A call that is answered in parts is a stream; its end is its
        // trailers, which come at once with the answer of any other.
        Protocol::Grpc => begun && exchange.gives_up_in.is_none(),
        Protocol::WebSocket | Protocol::Tcp => begun,
    }
}

/// Whether nothing can be told to its client, for want of room in its socket.
/// An HTTP/2 stream has its trailers and resets ready all the same.
fn deaf(exchange: &InFlight) -> bool {
    let http2 = exchange.carrier == Some(Protocol::Http2);
    exchange.doing == Doing::Blocked && !http2
}

/// The farewell that it would get as it is now.
fn farewell(exchange: &InFlight) -> Farewell {
    let over_http1 = exchange.carrier != Some(Protocol::Http2);
    let awaiting = exchange.doing == Doing::Awaiting;
    match exchange.protocol {
        Protocol::Tcp => Farewell::HalfClose,
        Protocol::Grpc if awaiting => Farewell::GrpcTrailersOnly,
        Protocol::Grpc if !over_http1 => Farewell::GrpcTrailers,
        _ if awaiting => Farewell::Unanswered,
        Protocol::WebSocket => Farewell::WebSocketClose,
        _ if exchange.doing == Doing::Events => Farewell::EventStream,
        _ if !over_http1 => Farewell::Reset,
        _ => Farewell::Truncated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_names_agree_with_serde() {
        for (position, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, position);
            let written = serde_json::to_string(&verdict).expect("a plain enum");
            assert_eq!(written, format!("\"{}\"", verdict.as_str()));
        }
    }

    #[test]
    fn a_rate_may_halve_or_double() {
        let secs = Duration::from_secs;
        assert!((too_slow(secs(10), secs(10)) - 0.5).abs() < 1e-9);
        assert!(too_slow(secs(10), secs(20)) < 1e-9);
        assert!(too_slow(secs(10), secs(5)) > 1.0 - 1e-9);
        assert!(too_slow(secs(10), Duration::ZERO) > 1.0 - 1e-9);
        assert!(too_slow(Duration::ZERO, secs(1)) < 1e-9);
    }

    #[test]
    fn a_rate_needs_bytes_and_time() {
        let transfer = |left, sent, millis| {
            let over = Duration::from_millis(millis);
            Transfer { left, sent, over }.needs()
        };
        assert_eq!(transfer(300, 100, 1_000), Some(Duration::from_secs(3)));
        assert_eq!(transfer(300, 0, 1_000), None);
        assert_eq!(transfer(300, 100, 0), None);
        assert_eq!(transfer(u64::MAX, 1, u64::MAX / 1_000), None, "for ever");
    }
}
