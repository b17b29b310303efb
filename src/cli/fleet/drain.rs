//! `drain --fleet`: the shell of the walk.
//!
//! Nothing is touched unless everybody could be asked, is ready, and is a
//! process of its own. Before each turn all who are not away must be ready; a
//! turn is over when another process is ready at the same address.
//!
//! Invariant: whoever was asked to drain is waited for, so that the account
//! says what became of it. Ctrl-C ends the walk after those under way; again,
//! it ends the command, and their drains go on without it.
//!
//! Deliberately absent: starting anything.

use super::account::{self, Entry, Process};
use super::walk::{Event, Stop, Walk};
use super::{Member, look, look_at_all, members};
use crate::admin::view::Status;
use crate::cli::args::{self, Fleet};
use crate::cli::client::{Patience, exchange, runtime};
use crate::cli::output::{self, Done};
use crate::cli::text::span;
use crate::drain::Receipt;
use anyhow::{Context, bail};
use http::Method;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Between two looks at who is not ready.
const LOOK: Duration = Duration::from_millis(250);

pub(in crate::cli) fn drain(what: &args::Drain, fleet: &Fleet) -> anyhow::Result<Done> {
    runtime()?.block_on(async {
        let members = members(fleet, &what.remote).await?;
        let at_once = what.walk.max_concurrent.get();
        if members.len() > 1 && at_once >= members.len() {
            bail!(
                "with {at_once} away at once nobody of {} would be left; nothing was done",
                members.len()
            );
        }
        let entries = before(&members).await?;
        let mut shell = Shell {
            walk: Walk::new(members.len(), at_once),
            members: members.into_iter().map(Arc::new).collect(),
            entries,
            patience: what.walk.ready_timeout,
            under_way: JoinSet::new(),
            interrupts: signal(SignalKind::interrupt())?,
        };
        shell.go().await?;
        Ok(account::told(&shell.walk, &shell.entries, what.remote.json))
    })
}

/// Who is there before anything is done.
async fn before(members: &[Member]) -> anyhow::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for (member, seen) in members.iter().zip(look_at_all(members).await) {
        let address = &member.admin;
        let status =
            seen.with_context(|| format!("{address} cannot be asked; nothing was done"))?;
        if !status.ready {
            bail!(
                "{address} is not ready ({}); nothing was done",
                phase(&status)
            );
        }
        if status.instance.is_empty() {
            bail!(
                "{address} is of version {}, and does not say which process it is: it could not \
                 be told from its successor; nothing was done",
                status.version
            );
        }
        let twice = entries
            .iter()
            .find(|one| one.before.instance == status.instance);
        if let Some(other) = twice {
            bail!(
                "{address} and {} are one process; nothing was done",
                other.address
            );
        }
        entries.push(Entry {
            address: address.to_string(),
            before: process(&status),
            receipt: None,
            after: None,
        });
    }
    Ok(entries)
}

fn process(status: &Status) -> Process {
    Process {
        pid: status.pid,
        instance: status.instance.clone(),
    }
}

fn phase(status: &Status) -> String {
    let stage = status.stage.map_or("", |stage| stage.as_str());
    format!("{} {stage}", status.phase.as_str())
        .trim_end()
        .to_owned()
}

/// What became of a task.
enum News {
    /// The drain of a member.
    Drained(usize, anyhow::Result<Box<Receipt>>),
    /// The wait for its successor.
    Awaited(usize, Option<Process>),
}

/// What ends the wait for a turn.
enum Met {
    /// Everybody is ready; this is who is there.
    Ready(Process),
    /// Somebody was not in time.
    Late,
    /// The operator wants no more.
    Wish,
    /// Something became of one that is away.
    News(News),
}

struct Shell {
    walk: Walk,
    members: Vec<Arc<Member>>,
    entries: Vec<Entry>,
    /// What a successor has to be ready.
    patience: Duration,
    under_way: JoinSet<News>,
    interrupts: Signal,
}

impl Shell {
    async fn go(&mut self) -> anyhow::Result<()> {
        while !self.walk.is_over() {
            if let Some(member) = self.walk.next() {
                if self.is_time_for(member).await? {
                    self.begin(member);
                }
                continue;
            }
            tokio::select! {
                biased;
                Some(news) = self.under_way.join_next() => self.hear(news?),
                _ = self.interrupts.recv() => {
                    if self.walk.stopped() == Some(&Stop::Asked) {
                        return Ok(());
                    }
                    self.wished();
                }
            }
        }
        Ok(())
    }

    /// Wait until everybody is ready who must be for the turn of this one. By
    /// the operator's wish, or after too long, the walk stops; news of those
    /// who are away may stop it, too.
    async fn is_time_for(&mut self, at: usize) -> anyhow::Result<bool> {
        let others: Vec<usize> = self.walk.must_be_ready().collect();
        let mut last = String::new();
        let met = {
            let (members, entries, last) = (&self.members, &self.entries, &mut last);
            let ready = async move {
                loop {
                    match all_ready(members, entries, &others, at).await {
                        Ok(process) => return process,
                        Err(why) => {
                            if last.is_empty() {
                                output::say(&format!("{why}; waiting"));
                            }
                            *last = why;
                        }
                    }
                    sleep(LOOK).await;
                }
            };
            tokio::select! {
                biased;
                _ = self.interrupts.recv() => Met::Wish,
                Some(news) = self.under_way.join_next() => Met::News(news?),
                ready = timeout(self.patience, ready) => {
                    ready.map_or(Met::Late, Met::Ready)
                }
            }
        };
        match met {
            Met::Ready(process) => {
                self.entries[at].before = process;
                return Ok(true);
            }
            Met::Late => self.walk.stop(Stop::NotReady(last)),
            Met::Wish => self.wished(),
            Met::News(news) => self.hear(news),
        }
        Ok(false)
    }

    fn wished(&mut self) {
        self.walk.stop(Stop::Asked);
        output::say(
            "nobody else is drained after those under way; Ctrl-C again ends the command, and \
             their drains go on",
        );
    }

    fn begin(&mut self, at: usize) {
        let member = Arc::clone(&self.members[at]);
        self.say(at, "drains");
        self.walk.begin(at);
        self.under_way.spawn(async move {
            let path = "/v1/drain?wait=true";
            let asked = exchange(
                &member,
                Method::POST,
                path,
                String::new(),
                Patience::Endless,
            );
            let receipt = async { Ok(Box::new(serde_json::from_slice(&asked.await?)?)) };
            News::Drained(at, receipt.await)
        });
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Drained(at, Ok(receipt)) => {
                let cut = receipt.cut_anything();
                let took = span(Duration::from_secs_f64(receipt.duration_ms / 1e3));
                self.say(at, &format!("drained in {took}. {}", receipt.verdict()));
                self.entries[at].receipt = Some(*receipt);
                self.walk.handle(at, Event::Drained { cut });
                if !cut {
                    self.await_successor(at);
                }
            }
            News::Drained(at, Err(error)) => {
                let why = format!("{error:#}");
                self.say(at, &format!("could not be drained: {why}"));
                self.walk.handle(at, Event::Failed(why));
            }
            News::Awaited(at, Some(process)) => {
                self.say(at, &format!("process {} is ready", process.pid));
                self.entries[at].after = Some(process);
                self.walk.handle(at, Event::Returned);
            }
            News::Awaited(at, None) => {
                let patience = span(self.patience);
                self.say(
                    at,
                    &format!("nobody was ready in its place within {patience}"),
                );
                self.walk.handle(at, Event::Missed);
            }
        }
    }

    fn await_successor(&mut self, at: usize) {
        let member = Arc::clone(&self.members[at]);
        let before = self.entries[at].before.instance.clone();
        let patience = self.patience;
        self.under_way.spawn(async move {
            let successor = async {
                loop {
                    if let Ok(status) = look(&member).await
                        && status.ready
                        && status.instance != before
                    {
                        return process(&status);
                    }
                    sleep(LOOK).await;
                }
            };
            News::Awaited(at, timeout(patience, successor).await.ok())
        });
    }

    fn say(&self, at: usize, what: &str) {
        let Entry {
            address, before, ..
        } = &self.entries[at];
        output::say(&format!("{address} ({}): {what}", before.pid));
    }
}

/// Who is at `at`, if all others are ready; else the first who is not.
async fn all_ready(
    members: &[Arc<Member>],
    entries: &[Entry],
    others: &[usize],
    at: usize,
) -> Result<Process, String> {
    let mut there = entries[at].before.clone();
    for one in others {
        let address = &entries[*one].address;
        match look(&members[*one]).await {
            Ok(status) if status.ready && *one == at => there = process(&status),
            Ok(status) if status.ready => {}
            Ok(status) => return Err(format!("{address} is not ready ({})", phase(&status))),
            Err(error) => return Err(format!("{address} is not ready ({error:#})")),
        }
    }
    Ok(there)
}
