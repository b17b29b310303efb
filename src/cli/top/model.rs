//! What is known of the process that is looked at.
//!
//! Pure: what came ([`News`]) and when goes in, and the view reads it.
//!
//! Invariant: the last state that was seen stays when the process goes, and is
//! labelled; clocks stand still then. Absent: more than [`KEPT`] events.

use super::keys::Choice;
use crate::admin::view::{Connections, Progress, ServerState, Status};
use crate::cli::args::ServerName;
use crate::drain::{Forecast, Phase, Receipt, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How many events are kept.
pub(super) const KEPT: usize = 100;

/// How long a look may take before it is said.
const LATE: Duration = Duration::from_secs(2);

/// What was seen at one look.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) at: Timestamp,
    pub(super) status: Status,
    pub(super) connections: Connections,
    pub(super) progress: Progress,
    pub(super) forecast: Forecast,
}

/// What can come.
#[derive(Debug)]
pub(super) enum News {
    /// A look begins.
    Looks { at: Timestamp },
    /// A look succeeded.
    Seen(Box<Seen>),
    /// A look did not.
    Lost {
        /// When it was tried.
        at: Timestamp,
        /// What was said.
        why: String,
    },
    /// The drain of this process is over, which need not be the one that
    /// answers by now.
    Over {
        instance: String,
        receipt: Box<Receipt>,
    },
    /// What was asked for was answered.
    Answered {
        at: Timestamp,
        answer: Result<String, String>,
    },
}

/// Since when nobody answers, and why.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) since: Timestamp,
    pub(super) why: String,
}

/// How things stand with the process.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Standing {
    /// No drain of it is under way.
    Calm,
    Draining,
    /// It has drained.
    Over,
    /// Nobody answers, and it is not known to have drained.
    Gone,
}

/// Something that happened.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) struct Happened {
    pub(super) at: Timestamp,
    pub(super) what: String,
}

/// All that is known.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// Where the process is asked.
    pub(super) address: String,
    pub(super) seen: Seen,
    /// Since when a look is under way.
    pub(super) looks: Option<Timestamp>,
    /// If nobody answers any more.
    pub(super) lost: Option<Lost>,
    /// What the drain did, once it is over.
    pub(super) receipt: Option<Receipt>,
    /// The last one first.
    pub(super) events: VecDeque<Happened>,
    /// What became of the last thing that was asked for.
    pub(super) note: Option<String>,
}

impl Model {
    pub(super) fn new(address: String, seen: Seen) -> Self {
        Self {
            address,
            seen,
            looks: None,
            lost: None,
            receipt: None,
            events: VecDeque::new(),
            note: None,
        }
    }

    /// Take in what came.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Looks { at } => self.looks = Some(at),
            News::Seen(seen) => self.see(*seen),
            News::Lost { at, why } => self.lose(at, why),
            News::Over { instance, receipt } => self.over(&instance, *receipt),
            News::Answered { at, answer } => {
                let note = answer.unwrap_or_else(|why| format!("not done: {why}"));
                self.happened(at, note.clone());
                self.note = Some(note);
            }
        }
    }

    fn see(&mut self, seen: Seen) {
        let at = seen.at;
        self.looks = None;
        if self.lost.take().is_some() {
            self.happened(at, "it answers again".to_owned());
        }
        if seen.status.instance == self.seen.status.instance {
            for what in changes(&self.seen, &seen) {
                self.happened(at, what);
            }
        } else {
            self.receipt = None;
            let (pid, before) = (seen.status.pid, self.seen.status.pid);
            self.happened(
                at,
                format!("process {pid} answers in the place of {before}"),
            );
        }
        self.seen = seen;
    }

    fn lose(&mut self, since: Timestamp, why: String) {
        self.looks = None;
        if self.lost.is_none() {
            self.happened(since, "nobody answers any more".to_owned());
            self.lost = Some(Lost { since, why });
        }
    }

    fn over(&mut self, instance: &str, receipt: Receipt) {
        let (at, verdict) = (self.seen.at, receipt.verdict());
        if instance != self.seen.status.instance {
            self.happened(at, format!("the process before has drained: {verdict}"));
        } else if self.receipt.is_none() {
            // Two may wait for it: who asked for the drain, and who saw it.
            self.happened(at, format!("drained: {verdict}"));
            self.receipt = Some(receipt);
        }
    }

    fn happened(&mut self, at: Timestamp, what: String) {
        self.events.push_front(Happened { at, what });
        self.events.truncate(KEPT);
    }

    /// How long ago the state was that is shown; no longer than it held.
    pub(super) fn old(&self, now: Timestamp) -> Duration {
        let until = self.lost.as_ref().map_or(now, |lost| lost.since.min(now));
        until.saturating_since(self.seen.at)
    }

    /// For how long a look has waited, if that is longer than it should be.
    pub(super) fn late(&self, now: Timestamp) -> Option<Duration> {
        let waits = now.saturating_since(self.looks?);
        (self.lost.is_none() && waits >= LATE).then_some(waits)
    }

    pub(super) fn standing(&self) -> Standing {
        let over = self.receipt.is_some() || self.seen.status.phase == Phase::Terminated;
        match (over, &self.lost) {
            (true, _) => Standing::Over,
            (false, Some(_)) => Standing::Gone,
            (false, None) if self.seen.progress.draining => Standing::Draining,
            (false, None) => Standing::Calm,
        }
    }

    /// Whether it has drained.
    pub(super) fn is_over(&self) -> bool {
        self.standing() == Standing::Over
    }

    /// The servers, in the order of the config.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let upstreams = self.seen.status.upstreams.iter();
        let all = upstreams.flat_map(|upstream| {
            upstream.servers.iter().map(|one| Choice {
                name: ServerName {
                    upstream: upstream.name.clone(),
                    server: one.name.clone(),
                },
                out: one.state != ServerState::Serving,
            })
        });
        all.collect()
    }
}

/// What is different, in words.
fn changes(before: &Seen, after: &Seen) -> Vec<String> {
    let mut changes = Vec::new();
    let known = |stage| before.progress.stages.iter().any(|one| one.stage == stage);
    for times in &after.progress.stages {
        if !known(times.stage) {
            changes.push(format!("{} began", times.stage.as_str()));
        }
    }
    if before.progress.draining && !after.progress.draining && after.status.phase == Phase::Active {
        changes.push("the drain was taken back".to_owned());
    }
    if let Some(pid) = after
        .status
        .successor
        .filter(|_| before.status.successor.is_none())
    {
        changes.push(format!("process {pid} took over"));
    }
    let servers = (servers(&before.status), servers(&after.status));
    for (name, is) in &servers.1 {
        match servers.0.get(name) {
            None => changes.push(format!("server {name} came")),
            Some(was) if was != is => changes.push(format!("server {name} is {is}")),
            Some(_) => {}
        }
    }
    let gone = servers
        .0
        .keys()
        .filter(|name| !servers.1.contains_key(*name));
    changes.extend(gone.map(|name| format!("server {name} went")));
    changes
}

fn servers(status: &Status) -> BTreeMap<String, &str> {
    let all = status.upstreams.iter().flat_map(|upstream| {
        let servers = upstream.servers.iter();
        servers.map(|one| (format!("{}/{}", upstream.name, one.name), one.said()))
    });
    all.collect()
}

#[cfg(test)]
mod tests;
