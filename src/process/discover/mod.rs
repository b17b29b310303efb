//! Servers that are found: in DNS, or in files.
//!
//! Purpose: upstreams have servers that are written in the config, and sources of
//! others. [`Discovery`] asks the sources and writes what it knows into a config,
//! [`Config`] in, [`Config`] out: so what was found is put in force like a reload,
//! by the same steps, and who is gone is drained like one that a reload took away
//! ([decision 0026](../../../docs/decisions/0026-servers-that-are-found.md)).
//!
//! - `findings`: what is known, from answers and the time. Pure;
//! - `said`: answers, from what resolvers say. Pure;
//! - `dns`, `file`: asking;
//! - `inherited`: what one process tells the next;
//! - `seeker`: the task that asks one source.
//!
//! Invariant: what is known of a source outlives reloads that keep it. A source
//! that a config is to begin with was asked once before the config is in force, or
//! its time is over.
//!
//! Deliberately absent: workers. Whatever is found reaches them as a new upstream.

mod dns;
mod file;
mod findings;
mod inherited;
mod said;
mod seeker;

use super::handover::Found;
use crate::config::{Config, Upstream};
use crate::control::SourceStatus;
use parking_lot::Mutex;
use seeker::{Before, Seeker};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Questions that a source may take to its first answer: records first, then the
/// addresses of their targets.
const ROUNDS: u32 = 2;

/// All that is asked for servers. Clones know the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Discovery {
    seekers: Arc<Mutex<Vec<Arc<Seeker>>>>,
    /// What a predecessor had found.
    inherited: Arc<Mutex<Vec<Found>>>,
    news: Arc<Notify>,
}

/// Servers of one upstream that came and went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Moved {
    pub(super) upstream: Arc<str>,
    pub(super) found: Vec<Arc<str>>,
    pub(super) gone: Vec<Arc<str>>,
}

impl Discovery {
    /// Ask the sources of this config, and wait until each was asked once, but no
    /// longer than the config says. To be called on the main runtime.
    pub(super) async fn look(&self, config: &Config) {
        let mut waited = Vec::new();
        for upstream in &config.upstreams {
            let patience = upstream.discover.timeout * ROUNDS;
            let seekers = upstream.sources.iter();
            let seekers = seekers.map(|source| self.seeker(upstream, source));
            waited.extend(seekers.map(|seeker| async move {
                // Who is not known by then comes later.
                let _ = timeout(patience, seeker.asked()).await;
            }));
        }
        futures_util::future::join_all(waited).await;
    }

    fn seeker(&self, upstream: &Upstream, source: &crate::config::Source) -> Arc<Seeker> {
        let mut seekers = self.seekers.lock();
        let mut known = seekers
            .iter()
            .filter(|one| one.asks(&upstream.name, source));
        let before = known.next_back();
        if let Some(before) = before.filter(|one| one.is_set(&upstream.discover)) {
            return Arc::clone(before);
        }
        let inherited = || {
            let inherited = self.inherited.lock();
            inherited::of(&inherited, &upstream.name, source)
        };
        let before = match before {
            Some(before) => Before::Seeker(before),
            None => inherited().map_or(Before::Nobody, Before::Process),
        };
        let ways = (source, &upstream.discover);
        let seeker = Seeker::new(&upstream.name, ways, before, &self.news);
        let seeker = Arc::new(seeker);
        seekers.push(Arc::clone(&seeker));
        seeker
    }

    /// Begin with what a predecessor had found, where nobody says anything else.
    pub(super) fn begin_with(&self, found: Vec<Found>) {
        *self.inherited.lock() = found;
    }

    /// What was found, for a successor; as much of it as can be said at once.
    pub(super) fn known(&self) -> Vec<Found> {
        let seekers = self.seekers.lock();
        inherited::told(
            seekers
                .iter()
                .map(|seeker| (&**seeker.status(), seeker.parts())),
        )
    }

    /// Cease to ask what this config does not ask for.
    pub(super) fn keep_only(&self, config: &Config) {
        let wanted = |seeker: &Seeker| {
            let mut upstreams = config.upstreams.iter();
            upstreams.any(|upstream| {
                let mut sources = upstream.sources.iter();
                seeker.is_set(&upstream.discover)
                    && sources.any(|source| seeker.asks(&upstream.name, source))
            })
        };
        self.seekers.lock().retain(|seeker| wanted(seeker));
    }

    /// Wait until servers have changed.
    pub(super) async fn changed(&self) {
        self.news.notified().await;
    }

    /// Say that they have, after a while: what could not be put in force is tried
    /// again.
    pub(super) fn again_in(&self, pause: Duration) {
        let news = Arc::clone(&self.news);
        tokio::spawn(async move {
            sleep(pause).await;
            news.notify_one();
        });
    }

    /// Write what is known into a config; what moves by that.
    pub(super) fn fill(&self, config: &mut Config) -> Vec<Moved> {
        let seekers = self.seekers.lock();
        let mut moved = Vec::new();
        for upstream in &mut config.upstreams {
            if upstream.sources.is_empty() {
                continue;
            }
            let before = upstream.servers.clone();
            let found = upstream.sources.iter().flat_map(|source| {
                let mut known = seekers.iter().rev();
                let seeker = known.find(|one| one.asks(&upstream.name, source));
                seeker.map(|seeker| seeker.servers()).unwrap_or_default()
            });
            let found: Vec<_> = found.collect();
            upstream.set_found(found);
            if upstream.servers != before {
                moved.push(Moved::between(&before, upstream));
            }
        }
        moved
    }

    /// How each source gets on, in the order of the config.
    pub(super) fn status(&self, config: &Config) -> Vec<Arc<SourceStatus>> {
        let seekers = self.seekers.lock();
        let sources = config.upstreams.iter().flat_map(|upstream| {
            let sources = upstream.sources.iter();
            sources.map(move |source| (upstream, source))
        });
        let status = sources.filter_map(|(upstream, source)| {
            let mut known = seekers.iter().rev();
            let seeker = known.find(|one| one.asks(&upstream.name, source))?;
            Some(Arc::clone(seeker.status()))
        });
        status.collect()
    }
}

impl Moved {
    /// Whether anybody came or went.
    pub(super) fn is_news(&self) -> bool {
        !self.found.is_empty() || !self.gone.is_empty()
    }

    fn between(before: &[crate::config::Server], upstream: &Upstream) -> Self {
        let names = |all: &[crate::config::Server], others: &[crate::config::Server]| {
            let new = all.iter().filter(|one| {
                let mut others = others.iter();
                !others.any(|other| other.address == one.address)
            });
            new.map(|one| Arc::clone(&one.name)).collect()
        };
        Self {
            upstream: Arc::clone(&upstream.name),
            found: names(&upstream.servers, before),
            gone: names(before, &upstream.servers),
        }
    }
}
