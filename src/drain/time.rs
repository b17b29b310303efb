//! Points in time as this floor sees them: numbers handed in, never read.
//!
//! A [`Timestamp`] counts microseconds since the process began. Arithmetic
//! saturates: a plan with absurd durations yields a deadline that never comes,
//! not a panic in the middle of a drain.
//!
//! Deliberately absent: a clock. Whoever calls this floor says what time it is,
//! and that is what lets a test run an hour of drain in a millisecond.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A point in time: microseconds since the process began.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Default, Debug)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The beginning of the process.
    pub const ZERO: Self = Self(0);
    /// Later than any other.
    pub const MAX: Self = Self(u64::MAX);

    /// The point that lies `elapsed` after the beginning of the process, to
    /// the microsecond.
    #[must_use]
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(micros(elapsed))
    }

    /// How long after the beginning of the process this is.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the value is compared with the limit before the cast"
)]
pub(super) const fn micros(span: Duration) -> u64 {
    let micros = span.as_micros();
    if micros > u64::MAX as u128 {
        u64::MAX
    } else {
        micros as u64
    }
}

/// A duration as it is written in the config: `20s`, `1.5s`, `250ms`.
#[derive(Copy, Clone, Debug)]
pub(super) struct Brief(pub(super) Duration);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.0;
        if span.is_zero() || span >= Duration::from_secs(1) {
            write!(f, "{}s", span.as_secs_f64())
        } else if span >= Duration::from_millis(1) {
            write!(f, "{}ms", span.as_secs_f64() * 1e3)
        } else {
            write!(f, "{}us", span.as_secs_f64() * 1e6)
        }
    }
}

/// Serde's view of a duration: milliseconds, whole where they are whole.
pub(super) mod millis {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    pub(in crate::drain) fn serialize<S: Serializer>(
        span: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let micros = super::micros(*span);
        if micros.is_multiple_of(1_000) {
            to.serialize_u64(micros / 1_000)
        } else {
            to.serialize_f64(in_millis(*span))
        }
    }

    pub(in crate::drain) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        let millis = f64::deserialize(from)?;
        Duration::try_from_secs_f64(millis / 1e3).map_err(D::Error::custom)
    }

    /// Milliseconds to the microsecond.
    pub(in crate::drain) fn in_millis(span: Duration) -> f64 {
        span.as_secs_f64() * 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::ZERO + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(
            Timestamp::ZERO.saturating_since(Timestamp::MAX),
            Duration::ZERO
        );
        let later = Timestamp::from_start(Duration::from_millis(5));
        assert_eq!(
            later.saturating_since(Timestamp::ZERO),
            Duration::from_millis(5)
        );
    }

    #[test]
    fn durations_read_as_they_are_written() {
        let shown = |millis| Brief(Duration::from_millis(millis)).to_string();
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(250), "250ms");
        assert_eq!(shown(1_500), "1.5s");
        assert_eq!(shown(20_000), "20s");
        assert_eq!(Brief(Duration::from_micros(40)).to_string(), "40us");
    }
}
