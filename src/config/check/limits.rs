//! How much of an upstream may be in use at once.
//!
//! Purpose: each `limits` of an upstream becomes an [`UpstreamLimits`], each
//! `adaptive` an [`Adaptive`].
//!
//! Invariant: there is room for one, and who waits waits for a while.
//!
//! Deliberately absent: a relation between `requests` and `queue`: a short queue
//! before many, or a long one before few, are both meant.

use super::super::file;
use super::super::model::{Adaptive, UpstreamLimits};
use super::super::read::{At, SwitchOr, value_or};
use super::super::report::{Problem, Reported};
use super::Check;

/// As many as are counted.
const REQUESTS: (u64, u64) = (0, 16_000_000);
const QUEUE: (u64, u64) = (0, 65_535);
const ADAPTIVE: (u64, u64) = (1, 16_000_000);
/// Times of answers differ by a tenth without a cause.
const TOLERANCE: (u64, u64) = (110, 10_000);

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

    pub(super) fn adaptive(
        &self,
        written: Option<At<SwitchOr<file::Adaptive>>>,
    ) -> Result<Option<Adaptive>, Reported> {
        let written = match written.map(|written| written.value).transpose()? {
            Some(SwitchOr::Switch(false)) | None => return Ok(None),
            Some(SwitchOr::With(table)) => table,
            Some(SwitchOr::Switch(true)) => file::Adaptive::default(),
        };
        let usual = Adaptive::default();
        let span = written.most.as_ref().or(written.least.as_ref());
        let span = span.map(|key| key.span.clone());
        let least = self.number("least", written.least, ADAPTIVE, usual.least);
        let most = self.number("most", written.most, ADAPTIVE, usual.most);
        let every = self.time("every", written.every, usual.every);
        let tolerance = self.number("tolerance", written.tolerance, TOLERANCE, usual.tolerance);
        let probe = self.time("probe", written.probe, usual.probe);
        let (least, most) = (least?, most?);
        if let Some(span) = span.filter(|_| least > most) {
            let problem = Problem::at(&span, format!("`least` is {least}, and `most` {most}"));
            return self.refuse(problem.help("write a `most` that is not less than `least`"));
        }
        Ok(Some(Adaptive {
            least,
            most,
            every: every?,
            tolerance: tolerance?,
            probe: probe?,
        }))
    }
}
