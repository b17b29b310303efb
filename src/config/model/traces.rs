//! Traces, checked: where they are sent, and what is recorded.
//!
//! Invariant: the URL has a scheme that is spoken and a host; a path only where
//! HTTP has use for one.
//!
//! Deliberately absent: sending anything (see `telemetry::traces`).

use super::super::words::Word;
use http::{HeaderName, HeaderValue, Uri};
use rustls::RootCertStore;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where traces are sent, and of what.
#[derive(Clone)]
pub struct Traces {
    /// The collector: `http` or `https`, with a host.
    pub otlp: Uri,
    /// How it is spoken to.
    pub protocol: TracesProtocol,
    /// The part of exchanges that is recorded where the client does not say.
    pub ratio: Ratio,
    /// What this proxy is called there.
    pub service: String,
    /// Fields of requests to the collector; their values are not shown.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whom its certificate may come from; the system's authorities if nobody
    /// is named.
    pub ca: Option<Arc<RootCertStore>>,
    /// What it has to take one batch; never zero.
    pub timeout: Duration,
    /// How many ended exchanges may wait; at least one.
    pub queue: usize,
    /// What the last spans have when the process exits.
    pub flush: Duration,
}

impl PartialEq for Traces {
    fn eq(&self, other: &Self) -> bool {
        let ca = |one: &Self| one.ca.as_ref().map(|roots| roots.roots.clone());
        (&self.otlp, self.protocol, self.ratio, &self.service)
            == (&other.otlp, other.protocol, other.ratio, &other.service)
            && (&self.headers, self.timeout, self.queue, self.flush)
                == (&other.headers, other.timeout, other.queue, other.flush)
            && ca(self) == ca(other)
    }
}

impl Eq for Traces {}

/// Shows no value of a field: this value is logged.
impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Traces")
            .field("otlp", &self.otlp)
            .field("protocol", &self.protocol)
            .field("ratio", &self.ratio)
            .field("service", &self.service)
            .field("headers", &headers)
            .field("ca", &self.ca.is_some())
            .field("timeout", &self.timeout)
            .field("queue", &self.queue)
            .field("flush", &self.flush)
            .finish()
    }
}

/// How a collector is spoken to.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum TracesProtocol {
    /// OTLP over gRPC.
    #[default]
    Grpc,
    /// Protobuf in the bodies of HTTP/1.1 requests.
    Http,
}

impl Word for TracesProtocol {
    const WORDS: &'static [(&'static str, Self)] = &[("grpc", Self::Grpc), ("http", Self::Http)];
}

/// A part of all traces, told by their ids: the same ones everywhere.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Ratio(u64);

impl Ratio {
    /// How many ids there are to be told apart: the lower 63 bits of one.
    const WHOLE: u64 = 1 << 63;

    /// This part of all; what lies outside of 0 to 1 is none, or all.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a part of a whole, clamped to it; its last bits do not matter"
    )]
    pub fn of(part: f64) -> Self {
        Self((part.clamp(0.0, 1.0) * Self::WHOLE as f64) as u64)
    }

    /// Whether a trace is in it, by the lower half of its id. The upper 63 bits
    /// of that count, as they do in other implementations.
    #[must_use]
    pub const fn has(self, low: u64) -> bool {
        (low >> 1) < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_takes_its_part_and_always_the_same() {
        let ids = || (0..10_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let taken = |part| ids().filter(|id| Ratio::of(part).has(*id)).count();
        assert_eq!(taken(0.0), 0);
        assert_eq!(taken(1.0), 10_000);
        let tenth = taken(0.1);
        assert!((900..1100).contains(&tenth), "{tenth}");
        // Whoever is in a smaller part is in a greater one.
        assert!(ids().all(|id| !Ratio::of(0.1).has(id) || Ratio::of(0.2).has(id)));
        assert!(Ratio::of(1.0).has(u64::MAX) && Ratio::of(2.0).has(u64::MAX));
        assert!(!Ratio::of(-1.0).has(0));
    }
}
