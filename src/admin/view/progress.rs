//! How far a drain is: `GET /v1/drain`.
//!
//! Invariant: the same members whether or not a drain is under way, so that
//! who polls needs one reading of it. Absent: who was told what; that is the
//! receipt's to say.

use super::{fine_millis, in_flight, millis};
use crate::admin::Admin;
use crate::clock;
use crate::control::Position;
use crate::drain::{Phase, Plan, Protocol, Stage, StageTimes, Timestamp, Trigger};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far the drain is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// The listener that it is about; none for the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// Whether a drain is under way, announce included.
    pub draining: bool,
    /// The lifecycle position.
    pub phase: Phase,
    /// The furthest stage begun.
    pub stage: Option<Stage>,
    /// Whether new traffic should be sent here.
    pub ready: bool,
    /// What started the drain.
    pub trigger: Option<Trigger>,
    /// The id of its trace, if traces are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Since the drain began.
    pub elapsed_ms: Option<f64>,
    /// When each stage was, counted from the drain's beginning; a stage that
    /// lasts ends now.
    pub stages: Vec<StageTimes>,
    /// Connections left.
    pub connections: u64,
    /// What is in flight, by protocol.
    pub in_flight: BTreeMap<Protocol, u64>,
    /// What comes when, if nothing ends the drain earlier.
    pub deadlines: Option<Deadlines>,
    /// The timeline that is followed, or would be.
    pub plan: Plan,
}

/// What comes when, counted from now; 0 for what has come.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Deadlines {
    /// The listeners refuse.
    pub refuse_in_ms: u64,
    /// Exchanges of this protocol are ended.
    pub farewell_in_ms: BTreeMap<Protocol, u64>,
    /// The last of what is left is cut.
    pub cut_in_ms: u64,
}

impl Deadlines {
    /// The stage that the last of what is in flight is in, where `furthest` is
    /// the furthest that has begun: each protocol has a deadline of its own, and
    /// some are cut while others run on.
    #[must_use]
    pub fn stage_of_the_last(&self, furthest: Stage, in_flight: &BTreeMap<Protocol, u64>) -> Stage {
        let runs_on = |(protocol, count): (&Protocol, &u64)| {
            let left = self.farewell_in_ms.get(protocol).copied();
            *count > 0 && left.unwrap_or_default() > 0
        };
        match furthest {
            Stage::Farewell | Stage::Cut if in_flight.iter().any(runs_on) => Stage::Finish,
            furthest => furthest,
        }
    }

    pub(super) fn of(position: &Position, started: Timestamp, now: Timestamp) -> Self {
        let plan = &position.plan;
        let refuse = position.refused.unwrap_or(started + plan.announce);
        let last = refuse + plan.longest_finish() + plan.farewell;
        let until = |at: Timestamp| millis(at.saturating_since(now));
        let farewell = |protocol| until(refuse + plan.finish_for(protocol));
        Self {
            refuse_in_ms: until(refuse),
            farewell_in_ms: Protocol::ALL
                .into_iter()
                .map(|protocol| (protocol, farewell(protocol)))
                .collect(),
            cut_in_ms: until(position.latest.unwrap_or(last).max(last)),
        }
    }
}

impl Admin {
    /// How far the process is, or one of its listeners; `None` if there is no
    /// such listener.
    pub(in crate::admin) fn progress_view(&self, listener: Option<&str>) -> Option<Progress> {
        let status = self.control.status();
        let position = match listener {
            None => &status.process,
            Some(name) => &status.listener(name)?.position,
        };
        let mut records = self.registry.records();
        records.retain(|record| listener.is_none_or(|name| **record.listener() == *name));
        let now = clock::now();
        let started = position.started.filter(|_| position.draining());
        Some(Progress {
            listener: listener.map(str::to_owned),
            draining: position.draining(),
            phase: position.phase,
            stage: position.stage,
            ready: position.ready,
            trigger: position.trigger,
            trace: position.trace.as_deref().map(str::to_owned),
            elapsed_ms: position
                .started
                .map(|started| fine_millis(now.saturating_since(started))),
            stages: stages(position, now),
            connections: records.len() as u64,
            in_flight: in_flight(&records),
            deadlines: started.map(|started| Deadlines::of(position, started, now)),
            plan: position.plan,
        })
    }
}

fn stages(position: &Position, now: Timestamp) -> Vec<StageTimes> {
    let Some(started) = position.started else {
        return Vec::new();
    };
    let since = |at: Timestamp| fine_millis(at.saturating_since(started));
    let spans = position.stages.iter().map(|span| StageTimes {
        stage: span.stage,
        began_ms: since(span.began),
        ended_ms: since(span.ended.unwrap_or(now)),
    });
    spans.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_run_on_while_others_are_cut() {
        let deadlines = Deadlines {
            refuse_in_ms: 0,
            farewell_in_ms: [(Protocol::WebSocket, 0), (Protocol::Http1, 9_000)].into(),
            cut_in_ms: 11_000,
        };
        let last = |furthest, protocol| {
            let in_flight = [(Protocol::Tcp, 0), (protocol, 1)].into();
            deadlines.stage_of_the_last(furthest, &in_flight)
        };
        assert_eq!(last(Stage::Cut, Protocol::Http1), Stage::Finish);
        assert_eq!(last(Stage::Farewell, Protocol::Http1), Stage::Finish);
        assert_eq!(last(Stage::Cut, Protocol::WebSocket), Stage::Cut);
        assert_eq!(last(Stage::Retire, Protocol::Http1), Stage::Retire);
    }
}
