//! Servers that were found, as the conductor puts them in force: by the steps of a
//! reload whose config has other servers and nothing else.
//!
//! Invariant: while a drain or a handover is under way nothing changes; what was
//! found in that time is taken up if it is taken back. A server that is gone is
//! drained before anything else happens, and one that is back before it was gone
//! is taken up with what is in flight on it.
//!
//! Deliberately absent: asking (see `process::discover`).

use super::Conductor;
use crate::clock;
use crate::config::Config;
use crate::control::NotReloaded;
use crate::drain::{MemberId, Phase, Timestamp, Trigger};
use crate::process::discover::{Discovery, Moved};
use crate::process::reload::Reloads;
use crate::process::setup::Setup;
use crate::proxy;
use crate::proxy::request::Site;
use std::sync::Arc;
use std::time::Duration;

/// When what could not be put in force is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How long a change waits for the verdicts on the servers of the last one.
const VERDICTS: Duration = Duration::from_secs(5);

/// How often it is looked whether they are there.
const LOOK: Duration = Duration::from_millis(50);

/// What was found, and what of it is in force.
#[derive(Debug, Default)]
pub(super) struct Finds {
    pub(super) discovery: Discovery,
    /// Whether there is something that is not.
    pub(super) news: bool,
    /// When something was put in force last.
    supplied: Option<Timestamp>,
}

impl Conductor {
    /// Have servers from here, too.
    pub(in crate::process) fn discovering(mut self, discovery: Discovery) -> Self {
        let sources = discovery.status(&self.setup.config);
        self.admin.show(self.setup.upstreams(), sources);
        self.reloads = Reloads::of(&self.setup.config, &discovery);
        self.finds.discovery = discovery;
        // Some may have been found since the setup was built.
        self.finds.news = true;
        self
    }

    /// Put in force what was found, if there is anything and it may be.
    pub(super) fn take_up_found(&mut self) {
        let calm = self.group.phase() == Phase::Active && self.group.started().is_none();
        if !self.finds.news || !calm || self.succession.in_the_way().is_some() {
            return;
        }
        let mut config = Config::clone(&self.setup.config);
        let moved = self.finds.discovery.fill(&mut config);
        self.finds.news = false;
        if moved.is_empty() {
            return;
        }
        if self.cuts_checks_short(&moved) {
            return self.finds.discovery.again_in(LOOK);
        }
        self.finds.supplied = Some(clock::now());
        if let Err(error) = self.supply(config) {
            tracing::error!(
                event = "discovery", %error,
                "the servers that were found are not used yet"
            );
            return self.finds.discovery.again_in(AGAIN);
        }
        // A weight that changed moves nobody.
        let moved = moved.iter().filter(|one| one.is_news());
        moved.clone().for_each(told);
        self.admin.tell_found(
            moved.map(|one| (&*one.upstream, one.found.as_slice(), one.gone.as_slice())),
        );
        self.publish();
    }

    /// Whether health checks would be begun anew that have not come to a verdict. If
    /// answers changed all the time, none would ever be found down.
    fn cuts_checks_short(&self, moved: &[Moved]) -> bool {
        let lately = |at| clock::now().saturating_since(at) < VERDICTS;
        let busy = |one: &Moved| !self.setup.is_checked(&one.upstream);
        self.finds.supplied.is_some_and(lately) && moved.iter().any(busy)
    }

    /// Serve by this config, which has other servers and nothing else.
    fn supply(&mut self, config: Config) -> proxy::Result<()> {
        let next = self.setup.next(Arc::new(config))?;
        let sites = self.sites_of(&next)?;
        // From here on nothing fails.
        self.docks.forget_the_gone();
        for (id, sites) in sites {
            if let Some(post) = self.posts.iter().find(|post| post.id == id) {
                post.serve(sites);
            }
        }
        let gone = self.setup.berths_not_in(&next);
        self.supply_by(next);
        self.welcome_back(false);
        self.drain_removed(gone, Trigger::Discovery);
        Ok(())
    }

    /// The sites of listeners that are served by other upstreams than now.
    fn sites_of(&self, next: &Setup) -> proxy::Result<Vec<(MemberId, Vec<Site>)>> {
        let mut sites = Vec::new();
        for listener in &next.config.listeners {
            if next.serves_alike(&self.setup, listener) {
                continue;
            }
            let mut posts = self.posts.iter().rev();
            let post = posts.find(|post| {
                **post.scope.listener() == *listener.name && !post.leaves(&self.group)
            });
            if let Some(post) = post {
                let known = post.site().and_then(|site| site.tls().cloned());
                sites.push((post.id, next.sites(listener, known)?));
            }
        }
        Ok(sites)
    }

    /// Refuse a reload that would leave an upstream without any server that has
    /// some now, because nobody knows yet where the new ones are.
    pub(super) fn refuse_to_empty(&self, config: &Config) -> Result<(), NotReloaded> {
        for upstream in &config.upstreams {
            let mut running = self.setup.config.upstreams.iter();
            let emptied = running.any(|one| {
                one.name == upstream.name
                    && one.sources != upstream.sources
                    && !one.servers.is_empty()
            });
            if !emptied || !upstream.servers.is_empty() {
                continue;
            }
            let sources = self.finds.discovery.status(config).into_iter();
            let own = sources.filter(|source| source.upstream == upstream.name);
            let why = own.map(|source| {
                let why = source.state().why;
                let why = why.as_deref().unwrap_or("no answer yet").to_owned();
                format!("{}: {why}", source.source)
            });
            let why = why.collect::<Vec<_>>().join("; ");
            let says = format!("upstream {} would have no server: {why}", upstream.name);
            return Err(NotReloaded::Failed(says));
        }
        Ok(())
    }
}

fn told(moved: &Moved) {
    let upstream = &*moved.upstream;
    for server in &moved.found {
        tracing::info!(event = "server_found", upstream, server = &**server);
    }
    for server in &moved.gone {
        tracing::info!(event = "server_gone", upstream, server = &**server);
    }
}
