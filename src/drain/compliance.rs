//! Who did not heed what a drain told them.
//!
//! Readiness that fails is a word to whoever balances the traffic; GOAWAY and
//! `Connection: close` are words to clients. A [`Watch`] notes who went on
//! sending all the same, by address, and [`Compliance`] is what the receipt
//! says of it: a balancer that was too slow for `announce`, or a client that
//! will lose requests in every drain.
//!
//! Invariant: bounded. So many addresses are named, all others are counted.
//!
//! Deliberately absent: judging a race. What comes within [`RACED`] of the
//! word may have been on its way, and is not held against anybody.

use super::time::{Timestamp, millis::in_millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// How many addresses are named, of each kind of offence.
const NAMED: usize = 64;

/// How long after the word what comes may have been on its way.
pub(super) const RACED: Duration = Duration::from_secs(1);

/// What is added to the last arrival for an `announce` that is long enough.
const MARGIN: Duration = Duration::from_secs(1);

/// What is noted while a drain goes on.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    arrivals: Seen,
    goaway: Seen,
    close: Seen,
}

/// Addresses, and when they were seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    named: BTreeMap<IpAddr, Count>,
    others: u64,
    last: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug)]
struct Count {
    times: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Seen {
    fn note(&mut self, from: IpAddr, at: Timestamp) {
        self.last = self.last.max(Some(at));
        let room = self.named.len() < NAMED;
        match self.named.get_mut(&from) {
            Some(known) => {
                known.times += 1;
                known.last = known.last.max(at);
            }
            None if room => {
                let (first, last) = (at, at);
                self.named.insert(
                    from,
                    Count {
                        times: 1,
                        first,
                        last,
                    },
                );
            }
            None => self.others += 1,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.last = self.last.max(other.last);
        self.others += other.others;
        for (address, seen) in &other.named {
            let room = self.named.len() < NAMED;
            match self.named.get_mut(address) {
                Some(known) => {
                    known.times += seen.times;
                    known.first = known.first.min(seen.first);
                    known.last = known.last.max(seen.last);
                }
                None if room => {
                    self.named.insert(*address, *seen);
                }
                None => self.others += seen.times,
            }
        }
    }

    fn since(&self, started: Timestamp) -> Senders {
        let millis = |at: Timestamp| in_millis(at.saturating_since(started));
        let mut senders: Vec<Sender> = self
            .named
            .iter()
            .map(|(address, seen)| Sender {
                address: address.to_string(),
                count: seen.times,
                first_ms: millis(seen.first),
                last_ms: millis(seen.last),
            })
            .collect();
        senders.sort_by_key(|sender| std::cmp::Reverse(sender.count));
        let named: u64 = senders.iter().map(|sender| sender.count).sum();
        Senders {
            count: named + self.others,
            senders,
            others: self.others,
        }
    }
}

impl Watch {
    /// A connection from there was accepted although readiness had failed.
    pub fn arrived(&mut self, from: IpAddr, at: Timestamp) {
        self.arrivals.note(from, at);
    }

    /// A stream was opened on a connection to which GOAWAY was said at `told`.
    pub fn after_goaway(&mut self, from: IpAddr, told: Timestamp, at: Timestamp) {
        if at.saturating_since(told) > RACED {
            self.goaway.note(from, at);
        }
    }

    /// A request came on a connection to which `Connection: close` was said at
    /// `told`.
    pub fn after_close(&mut self, from: IpAddr, told: Timestamp, at: Timestamp) {
        if at.saturating_since(told) > RACED {
            self.close.note(from, at);
        }
    }

    /// Take in what was noted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.arrivals.merge(&other.arrivals);
        self.goaway.merge(&other.goaway);
        self.close.merge(&other.close);
    }

    /// What is said of it in the receipt of a drain that began at `started`
    /// and whose listeners refused at `refused`, if they have.
    #[must_use]
    pub fn compliance(&self, started: Timestamp, refused: Option<Timestamp>) -> Compliance {
        let last = self.arrivals.last;
        let needed = last.map(|last| long_enough(last.saturating_since(started)));
        let had = refused.map(|refused| refused.saturating_since(started));
        Compliance {
            newcomers: self.arrivals.since(started),
            ignored_goaway: self.goaway.since(started),
            ignored_close: self.close.since(started),
            suggested_announce_ms: needed.map(in_millis),
            // Those that were still coming in the last moment would have come
            // later as well: what was seen is too short then, and no measure.
            announce_sufficed: needed.zip(had).map(|(needed, had)| needed <= had),
        }
    }
}

/// Whole seconds, and the margin.
fn long_enough(last: Duration) -> Duration {
    let part = u64::from(last.subsec_nanos() > 0);
    Duration::from_secs(last.as_secs().saturating_add(part)).saturating_add(MARGIN)
}

/// Who did not heed what was told.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Compliance {
    /// Who opened connections after readiness had failed.
    pub newcomers: Senders,
    /// Who opened streams more than a second after GOAWAY.
    pub ignored_goaway: Senders,
    /// Who sent requests more than a second after `Connection: close`.
    pub ignored_close: Senders,
    /// The `announce` that would have been long enough for the newcomers that
    /// were seen; `None` if there were none.
    pub suggested_announce_ms: Option<f64>,
    /// Whether `announce` was that long; `None` if nobody came or the
    /// listeners have not refused yet. If it was not, more may have wanted to
    /// come.
    pub announce_sufficed: Option<bool>,
}

/// Addresses, those that sent most first.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Senders {
    /// How often, over all addresses.
    pub count: u64,
    /// Each address, up to 64.
    pub senders: Vec<Sender>,
    /// How often others did.
    pub others: u64,
}

/// One address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sender {
    /// The IP address.
    pub address: String,
    /// How often.
    pub count: u64,
    /// The first time, since the drain began.
    pub first_ms: f64,
    /// The last time, since the drain began.
    pub last_ms: f64,
}

impl Compliance {
    /// What an operator should know of it, in words; nothing if all did as
    /// they were told.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let seconds = |millis: f64| millis / 1e3;
        let mut remarks = Vec::new();
        if let (Some(false), Some(enough)) = (self.announce_sufficed, self.suggested_announce_ms) {
            remarks.push(format!(
                "announce was too short: connections still came after readiness had failed, {}; \
                 announce = \"{:.0}s\" would have been long enough for these.",
                self.newcomers.names(),
                seconds(enough)
            ));
        }
        if self.ignored_goaway.count > 0 {
            remarks.push(format!(
                "GOAWAY was ignored: {} streams came more than a second after it, {}.",
                self.ignored_goaway.count,
                self.ignored_goaway.names()
            ));
        }
        if self.ignored_close.count > 0 {
            remarks.push(format!(
                "Connection: close was ignored: {} requests came more than a second after it, {}.",
                self.ignored_close.count,
                self.ignored_close.names()
            ));
        }
        remarks
    }
}

impl Senders {
    /// The first few.
    fn names(&self) -> String {
        const SHOWN: usize = 3;
        let named = self.senders.iter().take(SHOWN);
        let named: Vec<String> = named
            .map(|sender| format!("{} from {}", sender.count, sender.address))
            .collect();
        let shown: u64 = self.senders.iter().take(SHOWN).map(|one| one.count).sum();
        match self.count.saturating_sub(shown) {
            0 => named.join(", "),
            more => format!("{}, {more} from others", named.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_announce_that_would_do_is_told() {
        let mut watch = Watch::default();
        assert_eq!(
            watch.compliance(at(1_000), Some(at(6_000))),
            Compliance::default()
        );
        for millis in [1_200, 5_300, 2_000] {
            watch.arrived(address(1), at(millis));
        }
        watch.arrived(address(2), at(1_500));
        let compliance = watch.compliance(at(1_000), Some(at(6_000)));
        // The last came 4.3 s after the drain began.
        assert_eq!(compliance.suggested_announce_ms, Some(6_000.0));
        assert_eq!(compliance.announce_sufficed, Some(false));
        assert_eq!(compliance.newcomers.count, 4);
        let first = &compliance.newcomers.senders[0];
        assert_eq!((first.address.as_str(), first.count), ("192.0.2.1", 3));
        assert!((first.first_ms - 200.0).abs() < 1e-9);
        assert!((first.last_ms - 4_300.0).abs() < 1e-9);
        assert_eq!(
            compliance.remarks(),
            [
                "announce was too short: connections still came after readiness had failed, \
                 3 from 192.0.2.1, 1 from 192.0.2.2; \
                 announce = \"6s\" would have been long enough for these."
            ]
        );
        let longer = watch.compliance(at(1_000), Some(at(7_000)));
        assert_eq!(longer.announce_sufficed, Some(true));
        assert!(longer.remarks().is_empty());
        let announcing = watch.compliance(at(1_000), None);
        assert_eq!(announcing.announce_sufficed, None);
    }

    #[test]
    fn what_raced_the_word_is_held_against_nobody() {
        let mut watch = Watch::default();
        watch.after_goaway(address(1), at(1_000), at(2_000));
        watch.after_close(address(1), at(1_000), at(1_500));
        assert_eq!(watch.compliance(at(0), None), Compliance::default());
        watch.after_goaway(address(1), at(1_000), at(2_001));
        watch.after_close(address(2), at(1_000), at(9_000));
        let compliance = watch.compliance(at(0), None);
        assert_eq!(compliance.ignored_goaway.count, 1);
        assert_eq!(compliance.ignored_close.senders[0].address, "192.0.2.2");
        assert_eq!(compliance.remarks().len(), 2);
        assert_eq!(compliance.newcomers.count, 0);
    }

    #[test]
    fn so_many_are_named_and_all_are_counted() {
        let mut watch = Watch::default();
        for round in 0..2 {
            for last in 0..100 {
                watch.arrived(address(last), at(round));
            }
        }
        let newcomers = watch.compliance(at(0), None).newcomers;
        assert_eq!(newcomers.senders.len(), NAMED);
        assert_eq!((newcomers.count, newcomers.others), (200, 72));
        let mut other = Watch::default();
        other.arrived(address(0), at(5));
        other.arrived(address(200), at(7));
        watch.merge(&other);
        let newcomers = watch.compliance(at(0), None).newcomers;
        assert_eq!(newcomers.senders.len(), NAMED);
        assert_eq!((newcomers.count, newcomers.others), (202, 73));
        let most = &newcomers.senders[0];
        assert_eq!((most.address.as_str(), most.count), ("192.0.2.0", 3));
        assert!((most.last_ms - 5.0).abs() < 1e-9);
    }
}
