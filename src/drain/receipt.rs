//! The receipt: what a drain did, for programs (serde) and for people
//! ([`Display`](std::fmt::Display), in `show`).
//!
//! It answers, in this order: how long did each stage take, what came to which
//! end, had that been foreseen, who was told what, who did not heed it, was
//! anything lost. *Lost* is an exchange that was cut: its client was not told,
//! or was told and did not leave; one that left after its farewell was ended
//! early but not lost.
//!
//! Times in a receipt count from the beginning of the drain, in milliseconds
//! with microseconds as fractions.
//!
//! Deliberately absent: looking anything up. Whoever has the books and the
//! clock hands them in.

use super::accept_filter::AcceptFilter;
use super::compliance::Compliance;
use super::event::Trigger;
use super::hooked::HookRan;
use super::ledger::Ledger;
use super::plan::Plan;
use super::protocol::Protocol;
use super::stage::{Stage, StageSpan};
use super::time::{Timestamp, millis::in_millis};
use super::told::Told;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

mod show;

/// What a drain did, or has done so far.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The listener that was drained; none if the process was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// The server that was drained, as `upstream/server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The id of its trace, if traces are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What started it.
    pub trigger: Trigger,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// How long it took.
    pub duration_ms: f64,
    /// Whether it is over; if not, this is what it did so far.
    pub complete: bool,
    /// The plan that it followed.
    pub plan: Plan,
    /// The time that was given on top of the plan; `plan` has it included.
    #[serde(default)]
    pub extended_ms: f64,
    /// When each stage was.
    pub stages: Vec<StageTimes>,
    /// The books over connections: those open when it began, and later ones.
    pub connections: Ledger,
    /// The books over exchanges, for each protocol that had any.
    pub requests: BTreeMap<Protocol, Ledger>,
    /// Who did not finish, and what became of them.
    pub told: Vec<Told>,
    /// How many more there were than `told` has room for.
    pub told_omitted: u64,
    /// Exchanges that were cut: not told, or told and still there when their
    /// time was over.
    pub lost: u64,
    /// Whether new connections were held off while listeners closed; none if
    /// they never opened.
    #[serde(default)]
    pub accept_filter: Option<AcceptFilter>,
    /// What was foreseen when the drain began and when its listeners refused,
    /// and what came of it.
    pub foretold: Vec<Foretold>,
    /// Who did not heed what they were told.
    pub compliance: Compliance,
    /// What became of the hooks that it started, in the order of their
    /// beginning.
    #[serde(default)]
    pub hooks: Vec<HookRan>,
}

/// A forecast, and what came true of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Foretold {
    /// The stage that began at its instant.
    pub stage: Stage,
    /// That instant.
    pub at_ms: f64,
    /// How long the drain would take, counted from its beginning: what
    /// `duration_ms` of the receipt came to be.
    pub duration_ms: f64,
    /// What was said of the exchanges in flight at that instant, and of those
    /// only, by protocol.
    pub protocols: BTreeMap<Protocol, Compared>,
}

/// What was foreseen of exchanges of one protocol, and what came true.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Compared {
    /// Would finish.
    pub finish: u64,
    /// Of those, the ones that did.
    pub finish_came_true: u64,
    /// Would be farewelled or cut.
    pub told: u64,
    /// Of those, the ones that were.
    pub told_came_true: u64,
    /// Of which nothing was known.
    pub unknown: u64,
    /// Of those, the ones that finished.
    pub unknown_finished: u64,
}

impl Foretold {
    /// A forecast made at `at`, by which the drain lasts for `lasts` more.
    /// Its times count from the beginning of the process until a receipt
    /// takes it in.
    #[must_use]
    pub fn new(stage: Stage, at: Timestamp, lasts: Duration) -> Self {
        Self {
            stage,
            at_ms: in_millis(at.since_start()),
            duration_ms: in_millis((at + lasts).since_start()),
            protocols: BTreeMap::new(),
        }
    }
}

/// When a stage was.
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StageTimes {
    /// Which.
    pub stage: Stage,
    /// Its beginning.
    pub began_ms: f64,
    /// Its end; for a stage that lasts, the time of the receipt.
    pub ended_ms: f64,
}

/// What the shell counted during a drain.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Accounts {
    /// Over connections, since the drain began (see [`Ledger::since`]).
    pub connections: Ledger,
    /// Over exchanges, by [`Protocol`], since the drain began.
    pub requests: [Ledger; Protocol::ALL.len()],
    /// Who did not finish, as they were at their end.
    pub told: Vec<Told>,
    /// How many more there were.
    pub told_omitted: u64,
    /// What became of the filter on the listening sockets, once they closed.
    pub accept_filter: Option<AcceptFilter>,
    /// The forecasts of this drain, as [`Foretold::new`] made them, with what
    /// came true.
    pub foretold: Vec<Foretold>,
    /// Who did not heed what they were told.
    pub compliance: Compliance,
    /// What became of the hooks so far.
    pub hooks: Vec<HookRan>,
    /// The id of its trace.
    pub trace: Option<String>,
}

/// The course that a drain took, or is taking.
#[derive(Clone, PartialEq, Debug)]
pub struct Course {
    /// The listener that is drained; none if the process is.
    pub listener: Option<String>,
    /// The server that is drained, as `upstream/server`; none if something
    /// else is.
    pub server: Option<String>,
    /// What started it.
    pub trigger: Trigger,
    /// When it began.
    pub started: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// The plan that it follows, with what was given on top.
    pub plan: Plan,
    /// What was given on top.
    pub extended: Duration,
    /// When each stage was.
    pub timeline: Vec<StageSpan>,
}

impl Receipt {
    /// The receipt of a drain as it stands at `now`. `started_unix` is when it
    /// began, since the Unix epoch.
    #[must_use]
    pub fn of(course: Course, started_unix: Duration, now: Timestamp, accounts: Accounts) -> Self {
        let started = course.started;
        let until = course.ended.unwrap_or(now);
        let since = |at: Timestamp| in_millis(at.saturating_since(started));
        let stages = course.timeline.iter().map(|span| StageTimes {
            stage: span.stage,
            began_ms: since(span.began),
            ended_ms: since(span.ended.unwrap_or(until)),
        });
        let before = in_millis(started.since_start());
        let told = accounts.told.into_iter().filter_map(|told| {
            let at_ms = told.at_ms - before;
            (at_ms >= 0.0).then_some(Told { at_ms, ..told })
        });
        let foretold = accounts.foretold.into_iter().map(|foretold| Foretold {
            at_ms: (foretold.at_ms - before).max(0.0),
            duration_ms: (foretold.duration_ms - before).max(0.0),
            ..foretold
        });
        let complete = course.ended.is_some();
        let books = |ledger: Ledger| {
            // Who did not let go by the last limit ends with the drain.
            if complete {
                ledger.at_the_end()
            } else {
                ledger
            }
        };
        let requests = accounts.requests.map(books);
        let lost = requests.iter().map(|ledger| ledger.cut).sum();
        let requests = Protocol::ALL.into_iter().zip(requests);
        Self {
            listener: course.listener,
            server: course.server,
            trace: accounts.trace,
            trigger: course.trigger,
            started_unix_ms: u64::try_from(started_unix.as_millis()).unwrap_or(u64::MAX),
            duration_ms: since(until),
            complete,
            plan: course.plan,
            extended_ms: in_millis(course.extended),
            stages: stages.collect(),
            connections: books(accounts.connections),
            requests: requests.filter(|(_, ledger)| ledger.opened > 0).collect(),
            told: told.collect(),
            told_omitted: accounts.told_omitted,
            lost,
            accept_filter: accounts.accept_filter,
            foretold: foretold.collect(),
            compliance: accounts.compliance,
            hooks: accounts.hooks,
        }
    }

    /// The books over the exchanges of all protocols.
    #[must_use]
    pub fn exchanges(&self) -> Ledger {
        self.requests
            .values()
            .fold(Ledger::default(), |sum, ledger| sum.plus(ledger))
    }

    /// Whether anything was cut, be it an exchange or a connection without
    /// one: what `drain --wait` tells apart in its exit code.
    #[must_use]
    pub const fn cut_anything(&self) -> bool {
        self.lost > 0 || self.connections.cut > 0
    }

    /// One line that says how it went.
    #[must_use]
    pub fn verdict(&self) -> String {
        let exchanges = self.exchanges();
        let ends = format!(
            "{} finished, {} told in their own protocol",
            exchanges.finished, exchanges.farewelled
        );
        if !self.complete {
            return format!("Still draining: {ends}, {} in flight.", exchanges.open());
        }
        match (self.lost, self.connections.cut) {
            (0, 0) => format!("Nothing lost: {ends}."),
            (0, 1) => format!("Nothing lost: {ends}; 1 connection without work cut."),
            (0, idle) => format!("Nothing lost: {ends}; {idle} connections without work cut."),
            (lost, _) => format!("Lost {lost}: cut, still there when their time was over. {ends}."),
        }
    }
}

#[cfg(test)]
mod tests;
