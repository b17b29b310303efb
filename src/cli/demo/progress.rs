//! The progress line: what is going on right now, on standard error.
//!
//! On a terminal it is one line that is written over; elsewhere it is a line
//! a second, so that a log stays readable.
//!
//! Deliberately absent: colour, and anything that the report says later.

use super::account::Sums;
use crate::drain::Timestamp;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often the line is renewed, on a terminal and elsewhere.
const RENEWED: Duration = Duration::from_millis(200);
const REPEATED: Duration = Duration::from_secs(1);

/// A line that says how things stand.
pub(super) struct Progress {
    terminal: bool,
    pace: Interval,
    began: Timestamp,
    shown: Timestamp,
    begun: u64,
}

impl Progress {
    pub(super) fn new(now: Timestamp) -> Self {
        let terminal = io::stderr().is_terminal();
        let mut pace = interval(if terminal { RENEWED } else { REPEATED });
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pace.reset();
        Self {
            terminal,
            pace,
            began: now,
            shown: now,
            begun: 0,
        }
    }

    /// Wait until the next line is due.
    pub(super) async fn due(&mut self) {
        self.pace.tick().await;
    }

    /// Show how things stand in `stage`.
    pub(super) fn show(&mut self, now: Timestamp, stage: &str, sums: Sums) {
        let since = now.saturating_since(self.shown).as_millis().max(1);
        let rate = u128::from(sums.begun - self.begun) * 1000 / since;
        let elapsed = now.saturating_since(self.began).as_secs_f64();
        let line = format!(
            "{elapsed:5.1} s  {stage:<9} {:>7} begun ({rate}/s)  {:>3} in flight  {} told  {} lost",
            sums.begun,
            sums.in_flight(),
            sums.told,
            sums.lost,
        );
        (self.shown, self.begun) = (now, sums.begun);
        // A closed standard error is no reason to stop.
        let _ = if self.terminal {
            write!(io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
    }

    /// Leave the line.
    pub(super) fn end(&self) {
        if self.terminal {
            let _ = writeln!(io::stderr());
        }
    }
}
