//! When a server is ejected, and for how long.
//!
//! Purpose: a server that fails one exchange after the other is given none for a
//! while, and the longer the oftener that happens.
//!
//! Invariant: the length grows by one `time` with each ejection, up to `longest`,
//! and shrinks by one with each `time` that the server has served since. Never
//! more than a set share of an upstream's servers is ejected, so that its only
//! server never is.
//!
//! Deliberately absent: counting what went wrong, and any clock.

use crate::config::Eject;
use crate::drain::Timestamp;

/// What a server was ejected for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Reason {
    /// Connections to it failed, one after the other.
    ConnectErrors,
    /// It broke exchanges off, or did not answer them, one after the other.
    Resets,
    /// It answered with 5xx, one after the other.
    ServerErrors,
    /// It fails so much oftener than the others.
    SuccessRate,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 4] = [
        Self::ConnectErrors,
        Self::Resets,
        Self::ServerErrors,
        Self::SuccessRate,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectErrors => "connect_errors",
            Self::Resets => "resets",
            Self::ServerErrors => "server_errors",
            Self::SuccessRate => "success_rate",
        }
    }
}

/// Whether one more of these may be ejected.
pub(in crate::proxy::upstream) fn may_eject(
    ejected: usize,
    servers: usize,
    settings: &Eject,
) -> bool {
    (ejected + 1) * 100 <= settings.max as usize * servers
}

/// The ejections of one server.
#[derive(Copy, Clone, Debug, Default)]
pub(in crate::proxy::upstream) struct Ejection {
    /// Until when it is, if it is.
    until: Option<Timestamp>,
    /// By how many times `time` it was ejected last, less what it has made good.
    times: u32,
    /// Since when it serves.
    back: Timestamp,
}

impl Ejection {
    /// Eject it from now on; until when.
    pub(in crate::proxy::upstream) fn begin(
        &mut self,
        settings: &Eject,
        now: Timestamp,
    ) -> Timestamp {
        let served = now.saturating_since(self.back).as_micros();
        let made_good = served / settings.time.as_micros().max(1);
        let made_good = u32::try_from(made_good).unwrap_or(u32::MAX);
        self.times = self.times.saturating_sub(made_good).saturating_add(1);
        let longest = settings.longest.max(settings.time);
        let length = settings.time.saturating_mul(self.times).min(longest);
        if length == longest {
            // Beyond that there is nothing to be made good.
            let most = longest
                .as_micros()
                .div_ceil(settings.time.as_micros().max(1));
            self.times = self.times.min(u32::try_from(most).unwrap_or(u32::MAX));
        }
        let until = now + length;
        self.until = Some(until);
        until
    }

    /// Until when it is ejected.
    pub(in crate::proxy::upstream) fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Let it serve again.
    pub(in crate::proxy::upstream) fn end(&mut self, now: Timestamp) {
        self.until = None;
        self.back = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_secs(seconds))
    }

    fn settings() -> Eject {
        Eject {
            time: Duration::from_secs(30),
            longest: Duration::from_secs(100),
            max: 50,
            ..Eject::default()
        }
    }

    #[test]
    fn each_ejection_is_longer_than_the_last_up_to_the_longest() {
        let (mut ejection, settings) = (Ejection::default(), settings());
        let mut now = at(1000);
        ejection.end(now);
        for length in [30, 60, 90, 100, 100, 100] {
            let until = ejection.begin(&settings, now);
            assert_eq!(until.saturating_since(now), Duration::from_secs(length));
            now = until;
            ejection.end(now);
        }
    }

    #[test]
    fn time_that_it_serves_is_made_good() {
        let (mut ejection, settings) = (Ejection::default(), settings());
        let mut now = at(1000);
        for _ in 0..3 {
            now = ejection.begin(&settings, now);
            ejection.end(now);
        }
        now = now + Duration::from_secs(61);
        let until = ejection.begin(&settings, now);
        assert_eq!(
            until.saturating_since(now),
            Duration::from_secs(60),
            "two of three"
        );
        now = until + Duration::from_secs(3600);
        ejection.end(until);
        let until = ejection.begin(&settings, now);
        assert_eq!(until.saturating_since(now), Duration::from_secs(30), "all");
    }

    #[test]
    fn no_more_than_the_share_is_ejected() {
        let settings = settings();
        for (servers, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (10, 5)] {
            let ejected = (0..).take_while(|ejected| may_eject(*ejected, servers, &settings));
            assert_eq!(ejected.count(), most, "of {servers}");
        }
        let all = Eject {
            max: 100,
            ..settings
        };
        assert!(may_eject(0, 1, &all) && !may_eject(1, 1, &all));
    }

    proptest! {
        #[test]
        fn an_ejection_is_at_least_the_time_and_at_most_the_longest(
            pauses in prop::collection::vec(0_u64..1000, 1..50),
        ) {
            let (mut ejection, settings) = (Ejection::default(), settings());
            let mut now = at(0);
            let mut last = Duration::ZERO;
            for pause in pauses {
                now = now + Duration::from_secs(pause);
                let until = ejection.begin(&settings, now);
                let length = until.saturating_since(now);
                prop_assert!(length >= settings.time && length <= settings.longest);
                if pause < 30 {
                    prop_assert!(length >= last, "nothing was made good");
                }
                last = length;
                now = until;
                ejection.end(now);
            }
        }
    }
}
