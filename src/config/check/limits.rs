//! How much of an upstream may be in use at once.
//!
//! Purpose: each `limits` of an upstream becomes an [`UpstreamLimits`].
//!
//! Invariant: there is room for one, and who waits waits for a while.
//!
//! Deliberately absent: a relation between `requests` and `queue`: a short queue
//! before many, or a long one before few, are both meant.

use super::super::file;
use super::super::model::UpstreamLimits;
use super::super::read::{At, value_or};
use super::super::report::{Problem, Reported};
use super::Check;

/// As many as are counted.
const REQUESTS: (u64, u64) = (0, 16_000_000);
const QUEUE: (u64, u64) = (0, 65_535);

impl Check<'_> {
    pub(super) fn upstream_limits(
        &self,
        written: Option<At<file::UpstreamLimits>>,
    ) -> Result<UpstreamLimits, Reported> {
        let written = value_or(written, file::UpstreamLimits::default())?;
        let usual = UpstreamLimits::default();
        let requests = self.number("requests", written.requests, REQUESTS, usual.requests);
        let queue = self.number("queue", written.queue, QUEUE, usual.queue);
        let queue_time = self.time("queue_time", written.queue_time, usual.queue_time);
        let share = written.share.map(|key| {
            let share = key.value?.0;
            if share == 0 {
                let problem = Problem::at(&key.span, "`share` cannot be 0%");
                return self
                    .refuse(problem.help("write at least `\"1%\"`; `\"100%\"` is no limit"));
            }
            Ok(share)
        });
        Ok(UpstreamLimits {
            requests: requests?,
            queue: queue?,
            queue_time: queue_time?,
            share: share.transpose()?,
        })
    }
}
