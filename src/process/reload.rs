//! A new config in place of the running one, while everything runs.
//!
//! The file is read and checked on a thread that may block; new sources of servers
//! are asked once; what is new is
//! built beside what runs; and only when nothing can fail any more is it put
//! in force, in one step of the conductor. A request is served by what was in
//! force when it began.
//!
//! Invariant: a reload that fails, wherever, has changed nothing.
//!
//! Deliberately absent: knowing what changed (see `config::Diff`), and ending
//! anything: what a config has no place for any more is drained like anything
//! else.

use super::discover::Discovery;
use super::post::Post;
use super::setup::Setup;
use crate::admin::Doorman;
use crate::config::{self, Change, Config, Diff, Listener, Report};
use crate::control::{NotReloaded, Reload, Reloaded, ServerName};
use crate::drain::{Group, MemberId};
use crate::proxy::listener::{self, Bound};
use crate::proxy::registry::{Berth, Registry};
use crate::proxy::request::Site;
use std::collections::VecDeque;
use std::future::pending;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

type Loaded = Result<Config, Report>;

/// Reloads that were asked for, one at a time.
#[derive(Debug)]
pub(super) struct Reloads {
    path: PathBuf,
    /// What the plan must fit.
    given: Option<Duration>,
    discovery: Discovery,
    waiting: VecDeque<Reload>,
    loading: Option<(Reload, JoinHandle<Loaded>)>,
}

impl Reloads {
    pub(super) fn of(config: &Config, discovery: &Discovery) -> Self {
        Self {
            path: config.source.clone(),
            given: config.given,
            discovery: discovery.clone(),
            waiting: VecDeque::new(),
            loading: None,
        }
    }

    /// Whether one is under way.
    pub(super) const fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Ask for one more. A signal that repeats before its turn has one effect.
    pub(super) fn ask(&mut self, reload: Reload) {
        let repeats = self.waiting.iter().any(|one| !one.is_awaited());
        if reload.is_awaited() || !repeats {
            self.waiting.push_back(reload);
        }
        self.begin();
    }

    /// Whether none is under way or waits.
    pub(super) fn is_idle(&self) -> bool {
        self.loading.is_none() && self.waiting.is_empty()
    }

    fn begin(&mut self) {
        if self.loading.is_some() {
            return;
        }
        if let Some(reload) = self.waiting.pop_front() {
            let (path, given) = (self.path.clone(), self.given);
            let discovery = self.discovery.clone();
            let loading = tokio::spawn(load(path, given, discovery));
            self.loading = Some((reload, loading));
        }
    }

    /// Wait for the next config that was read; for ever, if none is.
    pub(super) async fn loaded(&mut self) -> (Reload, Result<Box<Config>, NotReloaded>) {
        let Some((_, loading)) = &mut self.loading else {
            return pending().await;
        };
        let loaded = match loading.await {
            Ok(loaded) => loaded
                .map(Box::new)
                .map_err(|report| NotReloaded::Config(report.render(false))),
            Err(error) => Err(NotReloaded::Failed(error.to_string())),
        };
        let Some((reload, _)) = self.loading.take() else {
            return pending().await;
        };
        self.begin();
        (reload, loaded)
    }
}

/// Read a config, and ask where its servers are.
async fn load(path: PathBuf, given: Option<Duration>, discovery: Discovery) -> Loaded {
    let load = move || config::load_within(&path, given);
    let loaded = tokio::task::spawn_blocking(load).await;
    let config = loaded.unwrap_or_else(|error| resume_unwind(error.into_panic()))?;
    discovery.look(&config).await;
    Ok(config)
}

/// What has to be done for a config, and nothing of it done.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) setup: Setup,
    /// Servers that the config has no more.
    pub(super) servers: Vec<Arc<Berth>>,
    pub(super) diff: Diff,
    /// Who decides who may ask.
    pub(super) doorman: Doorman,
    /// Listeners to be bound, with their sites.
    added: Vec<(Listener, Vec<Site>)>,
    /// Listeners that go on with other sites.
    pub(super) changed: Vec<(MemberId, Listener, Vec<Site>)>,
    /// Listeners to be drained.
    pub(super) removed: Vec<MemberId>,
}

impl Planned {
    /// Build what the config asks for beside what runs.
    pub(super) fn of(
        config: Config,
        running: &Setup,
        posts: &[Post],
        group: &Group,
    ) -> Result<Self, NotReloaded> {
        let diff = Diff::between(&running.config, &config);
        if !diff.refused.is_empty() {
            return Err(NotReloaded::Fixed(diff.refused.join("; ")));
        }
        let failed = |error: crate::proxy::Error| NotReloaded::Failed(error.to_string());
        let config = Arc::new(config);
        let setup = running.next(Arc::clone(&config)).map_err(failed)?;
        let mut planned = Self {
            servers: running.berths_not_in(&setup),
            setup,
            diff,
            doorman: Doorman::of(&config.admin).map_err(failed)?,
            added: Vec::new(),
            changed: Vec::new(),
            removed: Vec::new(),
        };
        let serving = |name: &str| {
            let mut posts = posts.iter().rev();
            posts.find(|post| **post.scope.listener() == *name && !post.leaves(group))
        };
        for listener in &config.listeners {
            let post = serving(&listener.name);
            let change = planned.change_of(&listener.name);
            match (change, post) {
                (Some(Change::Added | Change::Replaced), post) => {
                    let sites = planned.setup.sites(listener, None).map_err(failed)?;
                    planned.added.push((listener.clone(), sites));
                    planned.removed.extend(post.map(|post| post.id));
                }
                (None, Some(_)) if planned.setup.serves_alike(running, listener) => {}
                (change, Some(post)) => {
                    let known = keep_tls(change.as_ref(), post);
                    let sites = planned.setup.sites(listener, known).map_err(failed)?;
                    planned.changed.push((post.id, listener.clone(), sites));
                }
                // It was drained, and nobody says that it is to come back.
                (_, None) => {}
            }
        }
        for (name, change) in &planned.diff.listeners {
            if *change == Change::Removed {
                planned.removed.extend(serving(name).map(|post| post.id));
            }
        }
        Ok(planned)
    }

    fn change_of(&self, name: &str) -> Option<Change> {
        let mut changes = self.diff.listeners.iter();
        let found = changes.find(|(changed, _)| **changed == *name);
        found.map(|(_, change)| change.clone())
    }

    /// Bind what is added. Addresses that others of ours have come last: a
    /// client that connects to one of those is accepted by it, so that from
    /// then on nothing may fail.
    pub(super) fn bind(
        &mut self,
        posts: &[Post],
    ) -> Result<Vec<(Listener, Bound, Vec<Site>)>, NotReloaded> {
        let mut added = std::mem::take(&mut self.added);
        let taken = |listener: &Listener| posts.iter().any(|post| post.is_at(listener.listen));
        added.sort_by_key(|(listener, _)| taken(listener));
        let workers = self.setup.workers;
        let bind = |(listener, sites): (Listener, Vec<Site>)| {
            let bound = listener::bind(&listener, workers);
            let bound = bound.map_err(|error| NotReloaded::Failed(error.to_string()))?;
            Ok((listener, bound, sites))
        };
        added.into_iter().map(bind).collect()
    }

    /// What is done by it, in words.
    pub(super) fn told(&self, applied: bool, posts: &[Post], registry: &Registry) -> Reloaded {
        let touched: Vec<_> = self
            .changed
            .iter()
            .map(|(id, ..)| id)
            .chain(&self.removed)
            .collect();
        let of = |ids: &dyn Fn(&MemberId) -> bool| {
            let posts = posts.iter().filter(|post| ids(&post.id));
            posts
                .map(|post| Arc::clone(&post.scope))
                .collect::<Vec<_>>()
        };
        let kept = of(&|id| !touched.contains(&id));
        let drained = of(&|id| self.removed.contains(id));
        let count = |scopes: &[Arc<_>]| {
            let records = registry.records();
            let there = records.iter().filter(|record| record.is_of(scopes));
            there.count() as u64
        };
        let mut changes: Vec<_> = self.diff.to_string().lines().map(str::to_owned).collect();
        if !drained.is_empty() {
            changes.push(format!("drains {} connections", count(&drained)));
        }
        changes.extend(self.told_of_servers());
        Reloaded {
            applied: applied && !self.diff.is_empty(),
            changes,
            untouched: count(&kept),
            drains: drained
                .iter()
                .map(|scope| scope.listener().to_string())
                .collect(),
            servers: self.servers.iter().map(|one| name_of(one)).collect(),
        }
    }

    fn told_of_servers(&self) -> Option<String> {
        let in_flight: u64 = self.servers.iter().map(|one| one.in_flight()).sum();
        match self.servers.len() {
            0 => None,
            1 => Some(format!("drains 1 server ({in_flight} in flight)")),
            many => Some(format!("drains {many} servers ({in_flight} in flight)")),
        }
    }
}

/// A server, as it is told of.
pub(super) fn name_of(berth: &Berth) -> ServerName {
    ServerName {
        upstream: berth.upstream().to_string(),
        server: berth.server().to_string(),
    }
}

/// TLS settings that hold on: clients have tickets of theirs.
fn keep_tls(change: Option<&Change>, post: &Post) -> Option<Arc<rustls::ServerConfig>> {
    if let Some(Change::Changed(settings)) = change
        && settings.contains(&"tls")
    {
        return None;
    }
    post.site()?.tls().cloned()
}
