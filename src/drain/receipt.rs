//! The receipt: what a drain did, for programs (serde) and for people
//! ([`Display`](std::fmt::Display)).
//!
//! It answers, in this order: how long did each stage take, what came to which
//! end, who was told what, was anything lost. *Lost* is an exchange that was
//! cut, since nobody told its client; one that got a farewell was ended early
//! but not lost.
//!
//! Times in a receipt count from the beginning of the drain, in milliseconds
//! with microseconds as fractions.
//!
//! Deliberately absent: looking anything up. Whoever has the books and the
//! clock hands them in.

use super::accept_filter::AcceptFilter;
use super::event::Trigger;
use super::ledger::{Ledger, Outcome};
use super::plan::Plan;
use super::protocol::Protocol;
use super::stage::{Stage, StageSpan};
use super::table::{Side, Table};
use super::time::{Timestamp, millis::in_millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// What is said where the kernel did not take the accept filter.
const UNFILTERED: &str = "New connections could not be held off while listeners closed \
    (no accept filter): clients that connected in that instant may have been lost.";

/// What a drain did, or has done so far.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The listener that was drained; none if the process was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
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
    /// Exchanges that ended without their client being told.
    pub lost: u64,
    /// Whether new connections were held off while listeners closed; none if
    /// they never opened.
    #[serde(default)]
    pub accept_filter: Option<AcceptFilter>,
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

/// One connection or exchange that did not come to its own end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The id of the connection.
    pub connection: u64,
    /// The listener that accepted it.
    pub listener: String,
    /// The client's address.
    pub peer: String,
    /// What was spoken.
    pub protocol: Protocol,
    /// What became of it: `outcome` and `what` in JSON.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How old it was.
    pub age_ms: f64,
    /// When it ended. In a receipt since the beginning of the drain, before
    /// that since the beginning of the process.
    pub at_ms: f64,
}

impl Told {
    /// A connection or exchange of age `age` ended at `at`.
    #[must_use]
    pub fn new(
        connection: u64,
        listener: &str,
        peer: SocketAddr,
        protocol: Protocol,
        outcome: Outcome,
        age: Duration,
        at: Timestamp,
    ) -> Self {
        Self {
            connection,
            listener: listener.to_owned(),
            peer: peer.to_string(),
            protocol,
            outcome,
            age_ms: in_millis(age),
            at_ms: in_millis(at.since_start()),
        }
    }
}

/// What the shell counted during a drain.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Accounts {
    /// Over connections, since the drain began (see [`Ledger::since`]).
    pub connections: Ledger,
    /// Over exchanges, by [`Protocol`], since the drain began.
    pub requests: [Ledger; Protocol::ALL.len()],
    /// Who did not finish, as [`Told::new`] made them.
    pub told: Vec<Told>,
    /// How many more there were.
    pub told_omitted: u64,
    /// What became of the filter on the listening sockets, once they closed.
    pub accept_filter: Option<AcceptFilter>,
}

/// The course that a drain took, or is taking.
#[derive(Clone, PartialEq, Debug)]
pub struct Course {
    /// The listener that is drained; none if the process is.
    pub listener: Option<String>,
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
        let requests = Protocol::ALL.into_iter().zip(accounts.requests);
        Self {
            listener: course.listener,
            trigger: course.trigger,
            started_unix_ms: u64::try_from(started_unix.as_millis()).unwrap_or(u64::MAX),
            duration_ms: since(until),
            complete: course.ended.is_some(),
            plan: course.plan,
            extended_ms: in_millis(course.extended),
            stages: stages.collect(),
            connections: accounts.connections,
            requests: requests.filter(|(_, ledger)| ledger.opened > 0).collect(),
            told: told.collect(),
            told_omitted: accounts.told_omitted,
            lost: accounts.requests.iter().map(|ledger| ledger.cut).sum(),
            accept_filter: accounts.accept_filter,
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

    fn stage_table(&self) -> Table {
        let mut table = Table::new([
            ("Stage", Side::Left),
            ("began", Side::Right),
            ("took", Side::Right),
            ("what happened", Side::Left),
        ]);
        for times in &self.stages {
            let meaning = match times.stage {
                Stage::Cut if !self.cut_anything() => "nothing was left to cut",
                stage => stage.meaning(),
            };
            table.row([
                times.stage.as_str().to_owned(),
                seconds(times.began_ms),
                seconds(times.ended_ms - times.began_ms),
                meaning.to_owned(),
            ]);
        }
        table
    }

    fn book_table(&self) -> Table {
        let mut table = Table::new([
            ("Work", Side::Left),
            ("opened", Side::Right),
            ("finished", Side::Right),
            ("farewelled", Side::Right),
            ("cut", Side::Right),
        ]);
        let requests = self.requests.iter();
        let rows = requests.map(|(protocol, ledger)| (protocol.as_str(), ledger));
        for (name, ledger) in rows.chain([("connections", &self.connections)]) {
            table.row([
                name.to_owned(),
                ledger.opened.to_string(),
                ledger.finished.to_string(),
                ledger.farewelled.to_string(),
                ledger.cut.to_string(),
            ]);
        }
        table
    }

    fn told_table(&self) -> Table {
        let mut table = Table::new([
            ("At", Side::Right),
            ("listener", Side::Left),
            ("client", Side::Left),
            ("protocol", Side::Left),
            ("age", Side::Right),
            ("outcome", Side::Left),
            ("what the client saw", Side::Left),
        ]);
        for told in &self.told {
            table.row([
                seconds(told.at_ms),
                told.listener.clone(),
                told.peer.clone(),
                told.protocol.as_str().to_owned(),
                seconds(told.age_ms),
                told.outcome.as_str().to_owned(),
                told.outcome.meaning().to_owned(),
            ]);
        }
        table
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
            (lost, _) => format!("Lost {lost}: cut without being told. {ends}."),
        }
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = seconds(self.duration_ms);
        let trigger = self.trigger.meaning();
        let whose = self.listener.as_ref();
        let whose = whose.map_or_else(String::new, |name| format!(" of listener {name}"));
        if self.complete {
            write!(f, "Drain receipt{whose}: started by {trigger}, took {took}")?;
        } else {
            write!(f, "Drain{whose} so far: started by {trigger}, {took} ago")?;
        }
        if self.extended_ms > 0.0 {
            write!(f, ", extended by {}", seconds(self.extended_ms))?;
        }
        writeln!(f, "\n")?;
        if !self.stages.is_empty() {
            writeln!(f, "{}", self.stage_table())?;
        }
        writeln!(f, "{}", self.book_table())?;
        if !self.told.is_empty() {
            write!(f, "{}", self.told_table())?;
            if self.told_omitted > 0 {
                writeln!(f, "... and {} more", self.told_omitted)?;
            }
            writeln!(f)?;
        }
        if self.accept_filter == Some(AcceptFilter::Unavailable) {
            writeln!(f, "{UNFILTERED}\n")?;
        }
        writeln!(f, "{}", self.verdict())
    }
}

/// Milliseconds as seconds, to the millisecond.
fn seconds(millis: f64) -> String {
    format!("{:.3} s", millis / 1e3)
}

#[cfg(test)]
mod tests;
