//! How long answers took in the window under way, counted by all workers.
//!
//! Purpose: a median for the price of an addition: times are counted in classes
//! that are a sixteenth wide.
//!
//! Invariant: no lock, nothing allocated, and of fixed size. What comes while a
//! window is closed is counted in one of the two.
//!
//! Deliberately absent: what comes of it.

use super::adaptive::Window;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Classes for each doubling.
const STEPS: usize = 16;

/// Of microseconds that have so many bits: up to an hour.
const BITS: usize = 32;

const CLASSES: usize = STEPS * BITS;

/// The times of one window.
#[derive(Debug)]
pub(super) struct Samples {
    classes: [AtomicU32; CLASSES],
    count: AtomicU32,
    busiest: AtomicU32,
    /// The sum of what was in flight at each.
    in_flight: AtomicU64,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            classes: [const { AtomicU32::new(0) }; CLASSES],
            count: AtomicU32::new(0),
            busiest: AtomicU32::new(0),
            in_flight: AtomicU64::new(0),
        }
    }
}

/// The class of a time: its highest bit, and the four behind it.
fn class(time: Duration) -> usize {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(16);
    let highest = micros.ilog2();
    let behind = (micros >> (highest - 4) & 15) as usize;
    (highest as usize * STEPS + behind).min(CLASSES - 1)
}

/// The least time of a class.
fn time(class: usize) -> Duration {
    let (highest, behind) = (class / STEPS, class % STEPS);
    let micros = (STEPS as u64 + behind as u64) << highest >> 4;
    Duration::from_micros(micros)
}

#[expect(clippy::cast_precision_loss, reason = "far from 52 bits")]
fn mean(sum: u64, count: u32) -> f64 {
    sum as f64 / f64::from(count.max(1))
}

impl Samples {
    /// One answer came after this time, while so many were in flight.
    pub(super) fn add(&self, took: Duration, in_flight: u32) {
        self.classes[class(took)].fetch_add(1, Relaxed);
        self.busiest.fetch_max(in_flight, Relaxed);
        self.in_flight.fetch_add(in_flight.into(), Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// What there is of this window; then it begins anew. `None` if there is nothing.
    pub(super) fn take(&self) -> Option<Window> {
        self.count.store(0, Relaxed);
        let busiest = self.busiest.swap(0, Relaxed);
        let in_flight = self.in_flight.swap(0, Relaxed);
        let classes: Vec<u32> = self
            .classes
            .iter()
            .map(|one| one.swap(0, Relaxed))
            .collect();
        let all: u32 = classes.iter().sum();
        let mut upto = 0;
        let middle = classes.iter().position(|count| {
            upto += count;
            all > 0 && upto * 2 >= all
        });
        middle.map(|class| Window {
            latency: time(class),
            busiest,
            busy: mean(in_flight, all),
            answers: all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_a_sixteenth_wide() {
        for micros in [16, 17, 31, 32, 100, 1_000, 12_345, 1_000_000, 3_000_000_000] {
            let of = Duration::from_micros(micros);
            let least = time(class(of));
            assert!(least <= of, "{micros}: {least:?}");
            assert!(
                of.as_micros() * 16 <= least.as_micros() * 17,
                "{micros}: {least:?}"
            );
        }
        assert_eq!(class(Duration::ZERO), class(Duration::from_micros(16)));
        assert_eq!(class(Duration::from_secs(1 << 40)), CLASSES - 1);
    }

    #[test]
    fn the_median_is_that_of_the_window() {
        let samples = Samples::default();
        assert!(samples.take().is_none());
        for millis in [1, 1, 2, 2, 2, 500, 900] {
            samples.add(Duration::from_millis(millis), 7);
        }
        samples.add(Duration::from_millis(900), 3);
        assert_eq!(samples.count(), 8);
        let window = samples.take().expect("there are some");
        assert_eq!(class(window.latency), class(Duration::from_millis(2)));
        assert_eq!((window.busiest, window.answers), (7, 8));
        assert!((window.busy - 6.5).abs() < 1e-9);
        assert_eq!(samples.count(), 0);
        assert!(samples.take().is_none());
    }
}
