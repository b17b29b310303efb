//! How many may be in flight, found out from how long answers take.
//!
//! Purpose: servers answer in about the same time until they are busy; what comes
//! beyond that only waits there. So the limit follows the ratio between how long
//! answers take when few are in flight, the floor, and how long they take now: a
//! gradient, as in Netflix's and Envoy's limits.
//!
//! Invariant: the limit is within what the config allows, and begins at the most of
//! it: nobody is refused because nothing is known yet. It moves only while it is
//! made use of. The floor is measured by a probe: with a quarter less than was in
//! flight, and half of that for as long as no fewer answers come for it, since what
//! was too much had only waited; each time a window passes first, in which those leave
//! who were too many. So a server that has become slower for good is not taken for a
//! busy one, nor a busy one for a slow one.
//!
//! Deliberately absent: a clock, and single answers. Time and windows come in.

use crate::config::Adaptive;
use crate::drain::Timestamp;
use std::time::Duration;

/// So fast the limit may fall and rise, from one window to the next.
const STEEPEST: (f64, f64) = (0.5, 1.2);

/// A probe begins with this part of what is in flight, and goes on by halves.
const SHALLOW: f64 = 0.75;
const DEEPER: f64 = 0.5;

/// Where answers were not slow, they have to come sooner for it by this part as well.
const SOONER: f64 = 0.92;

/// The first probe comes after so many windows.
const FIRST: u32 = 5;

/// A probe out of turn comes so much sooner after the last one.
const OUT_OF_TURN: u32 = 6;

/// And after so many windows in a row that were slow.
const STEADY: u32 = 3;

/// A probe is this part earlier or later, so that proxies do not probe together.
const JITTER: f64 = 0.1;

/// No window is longer than so many seconds, however slow servers are, unless the config says so.
const LONGEST: f64 = 10.0;

/// What was seen between two decisions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The median of the times until an answer began.
    pub(super) latency: Duration,
    /// As many as were in flight at once.
    pub(super) busiest: u32,
    /// As many as were in flight on average.
    pub(super) busy: f64,
    /// How many answers there were.
    pub(super) answers: u32,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The limit follows the gradient.
    Following,
    /// Those leave who are too many for a probe.
    Settling(Probe),
    /// The floor is measured.
    Probing(Probe),
}

/// A probe under way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// The limit before it, and what it comes to if fewer are answered sooner.
    before: f64,
    busy: f64,
    /// How long answers took before it, in seconds.
    began: f64,
    /// How many came in a second with more in flight than now, and what part of that
    /// is in flight.
    rate: f64,
    part: f64,
    /// How long they took then.
    last: f64,
}

/// The limit, and what it is found by.
#[derive(Debug)]
pub(super) struct Controller {
    settings: Adaptive,
    limit: f64,
    /// In seconds; infinite while nothing is known.
    floor: f64,
    /// How long answers took in the last window.
    latency: f64,
    /// When it ended.
    closed: Timestamp,
    /// How many windows in a row were slow.
    slow: u32,
    stage: Stage,
    /// When the next probe is due, and the earliest one out of turn.
    probe_at: Timestamp,
    earliest: Timestamp,
}

impl Controller {
    /// Nothing is known yet.
    pub(super) fn new(settings: &Adaptive, now: Timestamp) -> Self {
        let first = now + settings.every * FIRST;
        Self {
            limit: f64::from(settings.most),
            floor: f64::INFINITY,
            latency: 0.0,
            closed: now,
            slow: 0,
            stage: Stage::Following,
            probe_at: first,
            earliest: first,
            settings: settings.clone(),
        }
    }

    /// Other settings hold from now on; what was found out stays.
    pub(super) fn set(&mut self, settings: &Adaptive) {
        self.settings = settings.clone();
        self.move_to(self.limit);
    }

    /// How many may be in flight.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within what the config allows"
    )]
    pub(super) fn limit(&self) -> u32 {
        self.limit.round() as u32
    }

    /// How long the next window is: so long that most answers in it are to what was
    /// sent in it.
    pub(super) fn window(&self) -> Duration {
        let answers = Duration::from_secs_f64((self.latency * 1.5).min(LONGEST));
        self.settings.every.max(answers)
    }

    /// Whether an exchange that has no answer after this time is slow.
    pub(super) fn is_slow(&self, waited: Duration) -> bool {
        waited.as_secs_f64() > self.tolerable()
    }

    /// A window is over; `draw` is from 0 to 1.
    pub(super) fn close(&mut self, window: Window, now: Timestamp, draw: f64) {
        let latency = window.latency.as_secs_f64().max(1e-6);
        let lasted = now.saturating_since(self.closed).as_secs_f64().max(1e-6);
        let rate = f64::from(window.answers) / lasted;
        (self.latency, self.closed) = (latency, now);
        match self.stage {
            Stage::Settling(probe) => self.stage = Stage::Probing(probe),
            Stage::Probing(probe) => self.probed(probe, rate, (now, draw)),
            Stage::Following => self.follow(rate, &window, now),
        }
    }

    fn follow(&mut self, rate: f64, window: &Window, now: Timestamp) {
        let latency = self.latency;
        self.floor = self.floor.min(latency);
        let used = f64::from(window.busiest) * 2.0 >= self.limit;
        let slow = latency > self.tolerable();
        // Before anything is taken away from who has room, see whether that helps.
        // But not while they are only getting slow: fewer come then than will.
        self.slow = if slow { self.slow + 1 } else { 0 };
        let out_of_turn = self.slow >= STEADY && !used && now >= self.earliest;
        let before = self.limit;
        if now >= self.probe_at || out_of_turn {
            let busy = window.busy.min(self.limit);
            self.move_to(busy * SHALLOW);
            self.stage = Stage::Settling(Probe {
                before,
                busy,
                began: latency,
                rate,
                part: SHALLOW,
                last: latency,
            });
        } else if used {
            self.move_to(self.next(self.limit, latency));
        }
    }

    /// A window of a probe is over.
    fn probed(&mut self, probe: Probe, rate: f64, (now, draw): (Timestamp, f64)) {
        // Nearer to "as many" than to "as many as are in flight".
        let as_many = rate >= probe.rate * (1.0 + probe.part) / 2.0;
        let sooner = self.latency < probe.last * SOONER || probe.began > self.tolerable();
        if as_many && sooner && self.limit > f64::from(self.settings.least) {
            self.move_to(self.limit * DEEPER);
            self.stage = Stage::Settling(Probe {
                rate,
                part: DEEPER,
                last: self.latency,
                ..probe
            });
            return;
        }
        self.floor = self.latency;
        self.stage = Stage::Following;
        let was_slow = probe.began > self.tolerable();
        self.move_to(if was_slow {
            self.next(probe.busy, probe.began)
        } else {
            probe.before
        });
        let part = 1.0 - JITTER + 2.0 * JITTER * draw.clamp(0.0, 1.0);
        self.probe_at = now + self.settings.probe.mul_f64(part);
        self.earliest = now + self.settings.probe / OUT_OF_TURN;
    }

    /// What a limit comes to when answers take so long.
    fn next(&self, limit: f64, latency: f64) -> f64 {
        let (least, most) = STEEPEST;
        let gradient = (self.tolerable() / latency).clamp(least, most);
        limit * gradient + limit.sqrt()
    }

    /// What answers may take, in seconds.
    fn tolerable(&self) -> f64 {
        self.floor * f64::from(self.settings.tolerance) / 100.0
    }

    fn move_to(&mut self, limit: f64) {
        let (least, most) = (self.settings.least, self.settings.most);
        self.limit = limit.clamp(f64::from(least), f64::from(most));
    }
}

#[cfg(test)]
mod tests;
