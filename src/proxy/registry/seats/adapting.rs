//! The limit that adapts, shared by all workers.
//!
//! Purpose: answers are counted by whoever gets them; whoever counts the last one
//! of a window closes it.
//!
//! Invariant: no lock is waited for. While it is off, all that it costs an exchange
//! is a load.
//!
//! Deliberately absent: the decision (see `adaptive`), and a timer: without answers
//! there is nothing to decide.

use super::adaptive::Controller;
use super::samples::Samples;
use crate::config::Adaptive;
use crate::drain::Timestamp;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// So many answers make a window.
pub(super) const ENOUGH: u32 = 20;

/// What is learned of an upstream's servers.
#[derive(Debug, Default)]
pub(super) struct Adapting {
    on: AtomicBool,
    samples: Samples,
    /// When the window under way may be closed, in microseconds.
    until: AtomicU64,
    controller: Mutex<Option<Controller>>,
}

fn micros(at: Timestamp) -> u64 {
    u64::try_from(at.since_start().as_micros()).unwrap_or(u64::MAX)
}

impl Adapting {
    /// Adapt by these settings from now on, or not at all; the limit.
    pub(super) fn set(&self, settings: Option<&Adaptive>, now: Timestamp) -> Option<u32> {
        let mut controller = self.controller.lock();
        self.on.store(settings.is_some(), Relaxed);
        match (settings, &mut *controller) {
            (None, _) => *controller = None,
            (Some(settings), Some(known)) => known.set(settings),
            (Some(settings), None) => {
                // What was left in it is of another time.
                let _ = self.samples.take();
                let new = controller.insert(Controller::new(settings, now));
                self.until.store(micros(now + new.window()), Relaxed);
            }
        }
        controller.as_ref().map(Controller::limit)
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// An answer came after this time, while so many were in flight; the limit, if
    /// that closes a window.
    pub(super) fn heard(&self, took: Duration, in_flight: u32, now: Timestamp) -> Option<u32> {
        self.samples.add(took, in_flight);
        if micros(now) < self.until.load(Relaxed) || self.samples.count() < ENOUGH {
            return None;
        }
        let mut controller = self.controller.try_lock()?;
        // Somebody else may have closed it a moment ago.
        if micros(now) < self.until.load(Relaxed) {
            return None;
        }
        let controller = controller.as_mut()?;
        let window = self.samples.take()?;
        controller.close(window, now, fastrand::f64());
        self.until.store(micros(now + controller.window()), Relaxed);
        Some(controller.limit())
    }

    /// No answer came within this time, and none is awaited any more: that counts
    /// if others are answered sooner.
    pub(super) fn gave_up(&self, waited: Duration, in_flight: u32, now: Timestamp) -> Option<u32> {
        let controller = self.controller.try_lock()?;
        let slow = controller.as_ref()?.is_slow(waited);
        drop(controller);
        slow.then(|| self.heard(waited, in_flight, now)).flatten()
    }
}
