//! The only reader of time.
//!
//! Every other module is handed a [`Timestamp`]; none asks the system. That
//! keeps the drain machine deterministic and makes "when" a parameter that a
//! test can choose. Timestamps count from the first reading in this process,
//! on the monotonic clock; wall-clock time exists only for people, in
//! receipts and metrics.
//!
//! Deliberately absent: sleeping. Timers belong to whoever waits; this module
//! only converts a [`Timestamp`] into the instant that a timer needs.

use crate::drain::Timestamp;
use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();

fn origin() -> std::time::Instant {
    *ORIGIN.get_or_init(std::time::Instant::now)
}

/// The monotonic time now, counted from the first reading in this process.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_start(origin().elapsed())
}

/// The instant at which a runtime timer must fire to mean `at`.
#[must_use]
pub fn instant(at: Timestamp) -> Instant {
    Instant::from_std(origin() + at.since_start())
}

/// The monotonic clock as the system counts it (`CLOCK_MONOTONIC`), for those
/// outside of this process who read it too.
#[must_use]
pub fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.try_into().unwrap_or_default()
}

/// A moment since the Unix epoch, for people: `2026-11-25T03:41:56.123456Z`
/// (RFC 3339). Good until the year 9999.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rfc3339(pub Duration);

impl Rfc3339 {
    /// The text, in ASCII. Digit by digit, since each line of an access log has one.
    #[must_use]
    pub fn text(self) -> [u8; 27] {
        let seconds = self.0.as_secs();
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // Years that begin in March have their leap day last; 400 of them have
        // 146,097 days. 719,468 days lie between such a beginning and 1970.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let date = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        let micros = u64::from(self.0.subsec_micros());
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        for (place, number) in [
            (0..4, year),
            (5..7, month),
            (8..10, date),
            (11..13, hour),
            (14..16, minute),
            (17..19, second),
            (20..26, micros),
        ] {
            digits(&mut text[place], number);
        }
        text
    }
}

/// The last digits of a number, as many as there is room for.
fn digits(to: &mut [u8], mut number: u64) {
    for place in to.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Wall-clock time since the Unix epoch; zero if the clock stands before it.
#[must_use]
pub fn unix() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The same of another moment, as the wall clock stands now.
#[must_use]
pub fn unix_at(at: Timestamp) -> Duration {
    let (now, unix) = (now(), unix());
    let past = unix.saturating_sub(now.saturating_since(at));
    past.saturating_add(at.saturating_since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_and_after_have_their_wall_clock_time() {
        let hour = Duration::from_secs(3_600);
        let (ahead, before) = (now() + hour, unix());
        let (ahead, origin) = (unix_at(ahead), unix_at(Timestamp::ZERO));
        let after = unix();
        assert!(before < ahead && ahead <= after + hour, "{ahead:?}");
        assert!(origin <= after, "{origin:?}");
        assert!(unix_at(now() + 2 * hour) > ahead);
    }

    #[test]
    fn moments_are_written_as_people_read_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(Rfc3339(Duration::from_secs(seconds)).to_string(), text);
        }
        let micros = Rfc3339(Duration::from_micros(1_000_250)).to_string();
        assert_eq!(micros, "1970-01-01T00:00:01.000250Z");
    }
}
