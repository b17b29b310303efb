//! Who asks one source, again and again.
//!
//! Purpose: a task on the main runtime that asks when it is time, has the findings
//! take the answer, and says so if servers have changed. There is one for each
//! source in the process, whatever the number of workers.
//!
//! Invariant: an outage is logged when it begins and when it ends, and not in
//! between. A seeker ends when it is dropped.
//!
//! Deliberately absent: what an answer means (see `findings`), and doing anything
//! about servers: they are the conductor's.

use super::dns::Asker;
use super::file::Eyes;
use super::findings::{Answer, Findings, Part, Patience};
use crate::clock;
use crate::config::{Discover, Place, Server, Source};
use crate::control::{Sought, SourceState, SourceStatus};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// Who has asked before, and knows something.
pub(super) enum Before<'a> {
    /// Nobody.
    Nobody,
    /// Another process, which knew these servers.
    Process(Vec<(Part, Server)>),
    /// One that asked in another way.
    Seeker(&'a Seeker),
}

/// One source that is asked.
#[derive(Debug)]
pub(super) struct Seeker {
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    settings: Discover,
    findings: Mutex<Findings>,
    status: Arc<SourceStatus>,
    /// Whether something came of the first question.
    asked: watch::Sender<bool>,
}

impl Seeker {
    /// Ask this source of an upstream from now on, beginning with what is known of
    /// it from `before`; tell `news` when its servers change. To be called on a
    /// runtime.
    pub(super) fn new(
        upstream: &Arc<str>,
        (source, settings): (&Source, &Discover),
        before: Before<'_>,
        news: &Arc<Notify>,
    ) -> Self {
        let patience = patience(source, settings);
        let fresh = |servers| {
            let name = source.place.to_string().into();
            let status = SourceStatus::new(Arc::clone(upstream), name);
            let mut findings = Findings::new(patience.clone());
            findings.begin_with(servers);
            (findings, Arc::new(status))
        };
        let (findings, status) = match before {
            Before::Seeker(before) => {
                let known = &before.shared;
                let findings = known.findings.lock().with(patience);
                (findings, Arc::clone(&known.status))
            }
            Before::Process(servers) => fresh(servers),
            Before::Nobody => fresh(Vec::new()),
        };
        let shared = Arc::new(Shared {
            source: source.clone(),
            settings: settings.clone(),
            findings: Mutex::new(findings),
            status,
            asked: watch::Sender::new(false),
        });
        let seeking = seek(Arc::clone(&shared), Arc::clone(news));
        Self {
            task: tokio::spawn(seeking).abort_handle(),
            shared,
        }
    }

    /// Whether it asks this source for this upstream.
    pub(super) fn asks(&self, upstream: &str, source: &Source) -> bool {
        *self.shared.status.upstream == *upstream && self.shared.source == *source
    }

    /// Whether it asks in this way.
    pub(super) fn is_set(&self, settings: &Discover) -> bool {
        self.shared.settings == *settings
    }

    pub(super) fn status(&self) -> &Arc<SourceStatus> {
        &self.shared.status
    }

    /// Wait until something came of the first question.
    pub(super) async fn asked(&self) {
        // The sender is here.
        let _ = self.shared.asked.subscribe().wait_for(|asked| *asked).await;
    }

    /// What it knows, each with its part.
    pub(super) fn parts(&self) -> Vec<(Part, Server)> {
        let findings = self.shared.findings.lock();
        let parts = findings.parts();
        parts
            .map(|(part, server)| (Arc::clone(part), server.clone()))
            .collect()
    }

    /// What it knows.
    pub(super) fn servers(&self) -> Vec<Server> {
        self.shared.findings.lock().servers().cloned().collect()
    }
}

impl Drop for Seeker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A file says nothing of times and lists all that there are.
fn patience(source: &Source, settings: &Discover) -> Patience {
    let every = settings.every;
    match source.place {
        Place::File(_) => Patience {
            least: every,
            longest: every,
            retry: every,
            hold: Duration::ZERO,
            empty: settings.empty,
        },
        Place::Dns { .. } | Place::Srv { .. } => Patience {
            least: settings.least,
            longest: settings.longest,
            retry: settings.retry,
            hold: settings.hold,
            empty: settings.empty,
        },
    }
}

async fn seek(shared: Arc<Shared>, news: Arc<Notify>) {
    match &shared.source.place {
        Place::File(path) => {
            let mut eyes = Eyes::of(path, &shared.source);
            loop {
                let look = move || (eyes.look(), eyes);
                let looked = tokio::task::spawn_blocking(look).await;
                // One that panicked says nothing, and another begins.
                let (answer, back) = looked.unwrap_or_else(|error| {
                    let why = error.to_string().into();
                    (Some(Answer::Outage { why }), Eyes::of(path, &shared.source))
                });
                eyes = back;
                if let Some(answer) = answer {
                    shared.take(answer, &news);
                }
                tokio::time::sleep(shared.settings.every).await;
            }
        }
        Place::Dns { .. } | Place::Srv { .. } => {
            let new = || Asker::new(shared.source.clone(), shared.settings.clone());
            let mut asker = new();
            loop {
                // What others send is read there; whatever it does must not be the
                // last that is asked.
                let caught = AssertUnwindSafe(asker.ask()).catch_unwind().await;
                let answer = caught.unwrap_or_else(|_| {
                    asker = new();
                    let why = "asking has failed".into();
                    Answer::Outage { why }
                });
                let next = shared.take(answer, &news);
                tokio::time::sleep_until(clock::instant(next)).await;
            }
        }
    }
}

impl Shared {
    /// Take an answer; when to ask next.
    fn take(&self, answer: Answer, news: &Notify) -> crate::drain::Timestamp {
        let sought = match &answer {
            Answer::Found { .. } => Sought::Found,
            Answer::Nothing { .. } => Sought::Nothing,
            Answer::Outage { .. } => Sought::Outage,
        };
        let mut findings = self.findings.lock();
        let change = findings.take(answer, clock::now(), fastrand::u32(..=1000));
        let state = SourceState {
            servers: findings.servers().count(),
            last: Some(sought),
            why: findings.why().cloned(),
            answered: findings.answered(),
            next: findings.next(),
        };
        drop(findings);
        let next = state.next;
        self.tell(&self.status.state(), &state);
        self.status.note(sought, state);
        self.asked.send_replace(true);
        if !change.is_none() {
            news.notify_one();
        }
        next
    }

    fn tell(&self, before: &SourceState, now: &SourceState) {
        let (upstream, source) = (&*self.status.upstream, &*self.status.source);
        let servers = now.servers;
        match now.last {
            Some(Sought::Found) if before.why.is_some() => {
                tracing::info!(
                    event = "discovery",
                    upstream,
                    source,
                    servers,
                    result = "found",
                    "there are servers again"
                );
            }
            Some(result @ (Sought::Nothing | Sought::Outage)) if before.why != now.why => {
                let (result, why) = (result.as_str(), now.why.as_deref().unwrap_or_default());
                tracing::warn!(
                    event = "discovery",
                    upstream,
                    source,
                    servers,
                    result,
                    "{why}; what is known stays: {servers} servers"
                );
            }
            _ => {}
        }
    }
}
