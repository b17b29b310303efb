//! What a scrape says of the drain under way: how long it may take, where its
//! listeners stand, when each stage is to be over.
//!
//! Alerts compare these with the time: a drain that lasts longer than planned,
//! a listener that is stuck in a stage. They stay as they are when the drain is
//! over, but for the listeners' stages: nobody is in one any more.
//!
//! Invariant: a listener that a reload put back while it was still being
//! drained is one series. Deliberately absent: deciding when a stage is over
//! (see `control`).

use crate::admin::Admin;
use crate::clock;
use crate::control::Status;
use crate::drain::{Stage, Timestamp};
use crate::telemetry::metrics::Family;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where the listeners of one name stand.
#[derive(Default)]
struct Standing {
    stages: Vec<Stage>,
    /// When the first of them should be further.
    ends: Option<Timestamp>,
}

fn standings(status: &Status) -> BTreeMap<Arc<str>, Standing> {
    let mut all = BTreeMap::<Arc<str>, Standing>::new();
    for listener in &status.listeners {
        let position = &listener.position;
        let standing = all.entry(Arc::clone(&listener.name)).or_default();
        let stage = position.stage.filter(|_| position.draining());
        standing.stages.extend(stage);
        let ends = position.stage_ends(&status.process);
        standing.ends = standing.ends.into_iter().chain(ends).min();
    }
    all
}

impl Admin {
    pub(super) fn drain_families(&self) -> [Family; 4] {
        let status = self.control.status();
        let standings = standings(&status);
        [
            planned(&status),
            stages(&standings),
            deadlines(&standings),
            lengths(&status),
        ]
    }
}

fn planned(status: &Status) -> Family {
    let mut family = Family::gauge(
        "ebbtide_drain_planned_seconds",
        "How long the drain of the process may take by its plan, with what it was extended by and \
         the half second that cutting takes; 0 if none has begun",
    )
    .answers("app_shutdown_duration_seconds_sum > ebbtide_drain_planned_seconds");
    let planned = status.process.planned().unwrap_or_default();
    family.add_real([], planned.as_secs_f64());
    family
}

fn stages(standings: &BTreeMap<Arc<str>, Standing>) -> Family {
    let mut family = Family::gauge(
        "ebbtide_drain_stage",
        "The stage that the drain of a listener is in, alone or with the process: 1 for the stage \
         that holds, 0 for the others",
    )
    .labelled(&["listener", "stage"])
    .answers("max by (instance, stage) (ebbtide_drain_stage) == 1");
    for (listener, standing) in standings {
        for stage in Stage::ALL {
            let labels = [
                ("listener", listener.to_string()),
                ("stage", stage.as_str().to_owned()),
            ];
            family.add(labels, u64::from(standing.stages.contains(&stage)));
        }
    }
    family
}

fn deadlines(standings: &BTreeMap<Arc<str>, Standing>) -> Family {
    let mut family = Family::gauge(
        "ebbtide_drain_stage_deadline_timestamp_seconds",
        "When the stage that a listener's drain is in has to be over, since the Unix epoch; 0 \
         without a drain",
    )
    .labelled(&["listener"])
    .answers("time() - (ebbtide_drain_stage_deadline_timestamp_seconds > 0) > 5");
    for (listener, standing) in standings {
        let ends = standing.ends.map(clock::unix_at).unwrap_or_default();
        let label = ("listener", listener.to_string());
        family.add_real([label], to_the_millisecond(ends));
    }
    family
}

fn lengths(status: &Status) -> Family {
    let mut family = Family::gauge(
        "ebbtide_drain_stage_duration_seconds",
        "How long each stage of the drain of the process took, or has lasted so far; 0 for one \
         that was not reached",
    )
    .labelled(&["stage"])
    .answers("max by (stage) (max_over_time(ebbtide_drain_stage_duration_seconds[1d]))");
    let now = clock::now();
    for stage in Stage::ALL {
        let spans = status.process.stages.iter();
        let took = spans
            .filter(|span| span.stage == stage)
            .map(|span| span.ended.unwrap_or(now).saturating_since(span.began))
            .sum::<Duration>();
        let label = ("stage", stage.as_str().to_owned());
        family.add_real([label], took.as_secs_f64());
    }
    family
}

/// Of two clocks that are read one after the other no more can be said.
fn to_the_millisecond(span: Duration) -> f64 {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis).as_secs_f64()
}
