//! A server that works on so many at once, before which the rest waits, and a
//! proxy that gives it as many as the limit says: a second of it is a thousand
//! steps.

use super::*;
use crate::proxy::registry::seats::adapting::ENOUGH;
use crate::proxy::registry::seats::samples::Samples;
use proptest::prelude::*;
use std::collections::VecDeque;

fn settings() -> Adaptive {
    Adaptive {
        probe: Duration::from_secs(10),
        ..Adaptive::default()
    }
}

/// How long a request stands in the proxy's line at most, in milliseconds.
const PATIENCE: u64 = 500;

struct World {
    random: fastrand::Rng,
    controller: Controller,
    samples: Samples,
    until: Duration,
    now: u64,
    /// What the server can work on at once, and how long that takes.
    slots: usize,
    takes: u64,
    /// Requests that come in a second.
    rate: f64,
    /// Clients that wait for an answer come no more: so many there are.
    most: usize,
    /// Those that wait in the proxy: when they came.
    line: VecDeque<u64>,
    /// Those at the server: when they were sent.
    queued: VecDeque<u64>,
    /// Those that it works on: when they were sent, and when they end.
    worked: Vec<(u64, u64)>,
    served: u64,
    dropped: u64,
    /// Sum of the times at the server, in milliseconds.
    took: u64,
}

impl World {
    fn new(seed: u64, (slots, takes): (usize, u64), rate: f64) -> Self {
        let controller = Controller::new(&settings(), Timestamp::from_start(Duration::ZERO));
        Self {
            random: fastrand::Rng::with_seed(seed),
            until: controller.window(),
            controller,
            samples: Samples::default(),
            now: 0,
            slots,
            takes,
            rate,
            most: usize::MAX,
            line: VecDeque::new(),
            queued: VecDeque::new(),
            worked: Vec::new(),
            served: 0,
            dropped: 0,
            took: 0,
        }
    }

    fn in_flight(&self) -> usize {
        self.queued.len() + self.worked.len()
    }

    fn step(&mut self) {
        self.now += 1;
        let now = self.now;
        // As many arrivals as fall into a millisecond, at random.
        let mut left = self.rate / 1_000.0;
        while self.random.f64() < left.min(1.0) {
            if self.line.len() + self.in_flight() < self.most {
                self.line.push_back(now);
            }
            left -= 1.0;
        }
        let (done, under_way) = self.worked.drain(..).partition(|(_, end)| *end <= now);
        self.worked = under_way;
        let done: Vec<(u64, u64)> = done;
        for (sent, _) in done {
            self.served += 1;
            self.took += now - sent;
            let in_flight = u32::try_from(self.in_flight() + 1).expect("few");
            self.samples
                .add(Duration::from_millis(now - sent), in_flight);
        }
        while self.line.front().is_some_and(|came| came + PATIENCE < now) {
            self.line.pop_front();
            self.dropped += 1;
        }
        while self.in_flight() < self.controller.limit() as usize {
            let Some(_) = self.line.pop_front() else {
                break;
            };
            self.queued.push_back(now);
        }
        while self.worked.len() < self.slots {
            let Some(sent) = self.queued.pop_front() else {
                break;
            };
            let takes = self.takes * self.random.u64(80..=120) / 100;
            self.worked.push((sent, now + takes.max(1)));
        }
        let time = Duration::from_millis(now);
        if time >= self.until && self.samples.count() >= ENOUGH {
            let window = self.samples.take().expect("some");
            let draw = self.random.f64();
            self.controller
                .close(window, Timestamp::from_start(time), draw);
            self.until = time + self.controller.window();
        }
    }

    /// So many seconds go by; what was served in a second, the mean time of it in
    /// milliseconds, and how many were dropped.
    fn run(&mut self, seconds: u64) -> (f64, f64, u64) {
        (self.served, self.took, self.dropped) = (0, 0, 0);
        for _ in 0..seconds * 1_000 {
            self.step();
        }
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let (served, took, seconds) = (self.served as f64, self.took as f64, seconds as f64);
        (served / seconds, took / served, self.dropped)
    }
}

#[test]
fn many_who_wait_at_a_server_from_the_beginning_are_found_out() {
    for seed in 0..5 {
        // As many as are never more than half of what may be.
        let mut world = World::new(seed, USUAL, 1_500.0);
        world.most = 300;
        world.run(20);
        let (served, took, _) = world.run(20);
        assert!(served > 900.0, "{seed}: {served} of 1000 a second");
        assert!(took < 60.0, "{seed}: {took} ms of 20");
    }
}

/// A server that can do 1000 a second: 20 at once, 20 ms each.
const USUAL: (usize, u64) = (20, 20);

#[test]
fn under_twice_the_load_a_server_stays_quick_and_busy() {
    for seed in 0..5 {
        let mut world = World::new(seed, USUAL, 2_000.0);
        world.run(10);
        let (served, took, dropped) = world.run(30);
        assert!(served > 900.0, "{seed}: {served} of 1000 a second");
        assert!(took < 50.0, "{seed}: {took} ms of 20");
        assert!(dropped > 0, "{seed}: it was too much");
    }
}

#[test]
fn without_a_limit_the_same_server_would_be_slow() {
    let mut world = World::new(1, USUAL, 2_000.0);
    world.controller.settings.tolerance = 1_000_000;
    world.run(10);
    let (_, took, _) = world.run(10);
    assert!(took > 200.0, "{took} ms: the simulation proves nothing");
}

#[test]
fn what_a_server_can_do_is_not_refused() {
    for (seed, rate) in (0..3).flat_map(|seed| [(seed, 50.0), (seed, 500.0), (seed, 800.0)]) {
        let mut world = World::new(seed, USUAL, rate);
        world.run(5);
        let (_, took, dropped) = world.run(25);
        assert_eq!(dropped, 0, "{seed}: at {rate} a second");
        assert!(took < 40.0, "{seed}: {took} ms at {rate} a second");
    }
}

#[test]
fn a_server_that_loses_half_is_given_half_and_gets_it_back() {
    for seed in 0..5 {
        let mut world = World::new(seed, USUAL, 2_000.0);
        world.run(10);
        world.slots = 10;
        world.run(5);
        let (served, took, _) = world.run(20);
        assert!(served > 420.0, "{seed}: {served} of 500 a second");
        assert!(took < 60.0, "{seed}: {took} ms of 20");
        world.slots = 20;
        world.run(5);
        let (served, _, _) = world.run(20);
        assert!(served > 900.0, "{seed}: {served} of 1000 a second");
    }
}

#[test]
fn a_server_that_has_become_slower_is_not_taken_for_a_busy_one() {
    for seed in 0..5 {
        let mut world = World::new(seed, USUAL, 2_000.0);
        world.run(10);
        world.takes = 60;
        // A probe finds it out.
        world.run(15);
        let (served, took, _) = world.run(30);
        assert!(served > 290.0, "{seed}: {served} of 333 a second");
        assert!(took < 150.0, "{seed}: {took} ms of 60");
    }
}

#[test]
fn few_requests_to_a_server_that_has_become_slower_are_not_refused() {
    for seed in 0..5 {
        let mut world = World::new(seed, (1_000, 20), 400.0);
        world.run(5);
        world.takes = 400;
        let (_, _, dropped) = world.run(20);
        assert_eq!(dropped, 0, "{seed}");
    }
}

#[test]
fn nobody_is_refused_because_nothing_is_known() {
    for seed in 0..5 {
        let mut world = World::new(seed, (1_000, 300), 1_000.0);
        let (_, _, dropped) = world.run(20);
        assert_eq!(dropped, 0, "{seed}");
    }
}

proptest! {
    #[test]
    fn the_limit_is_always_within_the_settings(
        (least, most) in (1_u32..50, 50_u32..2_000),
        windows in prop::collection::vec((0_u64..10_000_000, 0_u32..3_000, 0_u64..20_000, 0.0_f64..1.0), 0..200),
    ) {
        let settings = Adaptive { least, most, ..Adaptive::default() };
        let mut now = Timestamp::from_start(Duration::ZERO);
        let mut controller = Controller::new(&settings, now);
        for (micros, busiest, pause, draw) in windows {
            let (busy, answers) = (f64::from(busiest) * draw, busiest / 2);
            now = now + Duration::from_millis(pause);
            let latency = Duration::from_micros(micros);
            controller.close(Window { latency, busiest, busy, answers }, now, draw);
            prop_assert!((least..=most).contains(&controller.limit()));
            prop_assert!(controller.window() >= settings.every);
        }
    }
}
