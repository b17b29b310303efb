//! What the storm says: each loss with its seed, how far it is, the sum.

use super::judge::Verdict;
use super::script::{Script, Trigger};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After how many drains to say how far it is.
const OFTEN: u64 = 50;
/// How many complaints of one drain are printed; all are in its folder.
const PRINTED: usize = 10;

/// The sums over all drains so far.
pub(crate) struct Tally {
    drains: u64,
    seed: u64,
    began: Instant,
    sums: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    drains: u64,
    endless: u64,
    triggers: [u64; 3],
    exchanges: usize,
    told: usize,
    complaints: usize,
    void: u64,
    failed: Vec<u64>,
    took: Vec<Duration>,
}

impl Tally {
    pub(crate) fn begin(drains: u64, seed: u64) -> Self {
        Self {
            drains,
            seed,
            began: Instant::now(),
            sums: Mutex::default(),
        }
    }

    /// A drain proved nothing, and is tried again.
    pub(crate) fn void(&self) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.void += 1;
    }

    /// A drain is over.
    pub(crate) fn enter(
        &self,
        script: &Script,
        verdict: &Verdict,
        folder: &Path,
    ) -> io::Result<()> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.drains += 1;
        sums.endless += u64::from(script.endless);
        sums.triggers[match script.trigger {
            Trigger::Signal => 0,
            Trigger::Api => 1,
            Trigger::Command => 2,
        }] += 1;
        sums.exchanges += verdict.exchanges;
        sums.told += verdict.told;
        sums.complaints += verdict.complaints.len();
        sums.took.push(verdict.took);
        // Held on, so that the lines of two drains do not mix.
        let mut out = io::stdout();
        if !verdict.complaints.is_empty() {
            sums.failed.push(script.seed);
            let Script { seed, trigger, .. } = script;
            let millis = (script.moment.as_millis(), script.announce.as_millis());
            writeln!(
                out,
                "seed {seed}: {trigger:?} at {} ms, announce {} ms; kept in {}",
                millis.0,
                millis.1,
                folder.display()
            )?;
            for complaint in verdict.complaints.iter().take(PRINTED) {
                writeln!(out, "  {complaint}")?;
            }
        }
        if sums.drains.is_multiple_of(OFTEN) {
            writeln!(
                out,
                "{} of {} drains, {} exchanges, {} complaints, {} s",
                sums.drains,
                self.drains,
                sums.exchanges,
                sums.complaints,
                self.began.elapsed().as_secs()
            )?;
        }
        Ok(())
    }

    /// It is over; whether anything was lost.
    pub(crate) fn end(self) -> io::Result<bool> {
        let mut sums = self
            .sums
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        sums.took.sort();
        let took = |part: usize| {
            let at = sums.took.len().saturating_sub(1) * part / 100;
            sums.took.get(at).map_or(0, Duration::as_millis)
        };
        let mut out = io::stdout();
        writeln!(
            out,
            "\n{} drains of seeds {} to {} in {} s: {} by SIGTERM, {} by POST, {} by `drain --wait`",
            sums.drains,
            self.seed,
            self.seed + self.drains.saturating_sub(1),
            self.began.elapsed().as_secs(),
            sums.triggers[0],
            sums.triggers[1],
            sums.triggers[2],
        )?;
        writeln!(
            out,
            "{} with clients that stay; from asking to exit {} ms (median), {} ms (p95), {} ms (max)",
            sums.endless,
            took(50),
            took(95),
            took(100),
        )?;
        writeln!(
            out,
            "{} exchanges, {} told in their own protocol, {} complaints",
            sums.exchanges, sums.told, sums.complaints
        )?;
        if sums.void > 0 {
            writeln!(
                out,
                "{} drains tried again: this program itself had stood still",
                sums.void
            )?;
        }
        if !sums.failed.is_empty() {
            sums.failed.sort_unstable();
            writeln!(out, "seeds with complaints: {:?}", sums.failed)?;
        }
        Ok(sums.complaints > 0)
    }
}
