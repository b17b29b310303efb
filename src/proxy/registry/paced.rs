//! How fast something may happen: so many times a second, and the rest in turn.
//!
//! Whoever comes is given the next free moment (the generic cell rate
//! algorithm): nobody is turned away as long as that is near. One number says
//! it all, the moment at which everything that was given out will be over, so
//! that threads share it without a lock.
//!
//! Clients have such a number each, in a table of fixed size, found by a hash
//! whose key is the process's own: two clients that share one hold each other
//! up, which an attacker cannot bring about, and no client makes it grow.
//!
//! Deliberately absent: the clock, and waiting.

use super::crowd::Who;
use crate::drain::Timestamp;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Clients that have a number of their own, more or less.
const CLIENTS: usize = 4096;

/// How often something may happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Times a second; 0 is any number.
    pub(super) rate: u32,
    /// What may happen at once after a pause, as the time that it counts for.
    pub(super) burst: Duration,
}

/// The moment at which everything given out is over, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Turns(AtomicU64);

impl Turns {
    /// How long to wait for the next turn; `None`, and none is given, if that
    /// is longer than `patience`.
    pub(super) fn take(&self, now: Timestamp, pace: Pace, patience: Duration) -> Option<Duration> {
        if pace.rate == 0 {
            return Some(Duration::ZERO);
        }
        let now = micros(now.since_start());
        let each = (1_000_000 / u64::from(pace.rate)).max(1);
        let mut over = self.0.load(Relaxed);
        loop {
            let begins = over.max(now);
            let wait = begins.saturating_sub(now + micros(pace.burst));
            if wait > micros(patience) {
                return None;
            }
            let taken = self
                .0
                .compare_exchange_weak(over, begins + each, Relaxed, Relaxed);
            match taken {
                Ok(_) => return Some(Duration::from_micros(wait)),
                Err(other) => over = other,
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2)
}

/// The turns of each client.
#[derive(Debug, Default)]
pub(super) struct ClientTurns {
    table: OnceLock<Box<[Turns]>>,
    hash: RandomState,
}

impl ClientTurns {
    pub(super) fn of(&self, who: Who) -> &Turns {
        let table = self
            .table
            .get_or_init(|| (0..CLIENTS).map(|_| Turns::default()).collect());
        let hash = usize::try_from(self.hash.hash_one(who) % CLIENTS as u64);
        &table[hash.unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Pace = Pace {
        rate: 10,
        burst: Duration::from_millis(300),
    };
    const PATIENCE: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    fn waits(turns: &Turns, now: u64, times: usize) -> Vec<Option<u128>> {
        let take = |_| turns.take(at(now), TEN, PATIENCE);
        let waits = (0..times).map(take);
        waits
            .map(|wait| wait.map(|wait| wait.as_millis()))
            .collect()
    }

    #[test]
    fn a_burst_is_free_and_the_rest_comes_in_turn() {
        let turns = Turns::default();
        let free = [0, 0, 0, 0];
        let in_turn = (1..=10).map(|turn| turn * 100);
        let expected = free.into_iter().chain(in_turn).map(Some);
        let expected: Vec<_> = expected.chain([None, None]).collect();
        assert_eq!(waits(&turns, 5_000, 16), expected);
        // Who was refused has taken no turn.
        assert_eq!(waits(&turns, 5_100, 2), [Some(1_000), None]);
        assert_eq!(waits(&turns, 60_000, 5)[..4], [Some(0); 4]);
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let turns = Turns::default();
        let any = Pace { rate: 0, ..TEN };
        for _ in 0..1_000 {
            assert_eq!(turns.take(at(1), any, PATIENCE), Some(Duration::ZERO));
        }
    }

    #[test]
    fn no_more_than_the_rate_is_given_out_by_many_threads() {
        let turns = Turns::default();
        let given: usize = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    (0..1_000)
                        .filter(|_| turns.take(at(9), TEN, PATIENCE).is_some())
                        .count()
                })
            });
            threads
                .map(|thread| thread.join().expect("no panic"))
                .iter()
                .sum()
        });
        assert_eq!(given, 14);
    }

    #[test]
    fn a_client_keeps_its_turns_and_the_table_its_size() {
        let clients = ClientTurns::default();
        let one = Who::Ipv4(7);
        assert!(std::ptr::eq(clients.of(one), clients.of(one)));
        for number in 0..100_000 {
            clients.of(Who::Ipv6(number));
        }
        assert_eq!(clients.table.get().expect("there").len(), CLIENTS);
    }
}
