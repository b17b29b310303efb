//! Reloads, as the conductor does them: asked for, planned, put in force.
//!
//! Invariant: between the planning of a reload and its last change nothing
//! else happens: the conductor does one thing at a time.
//!
//! Deliberately absent: planning (see `process::reload`).

use super::Conductor;
use crate::config::{Config, Listener, Occasion};
use crate::control::{NotReloaded, Reload, Reloaded};
use crate::drain::{Event, Trigger, Whom};
use crate::process::hooks::Outcome;
use crate::process::keeper::Keeper;
use crate::process::post::Post;
use crate::process::reload::Planned;
use crate::process::setup::Setup;
use crate::process::watch::Watch;
use crate::proxy::listener::Bound;
use crate::proxy::request::Site;
use crate::telemetry::logs;
use std::sync::Arc;

impl Conductor {
    pub(super) fn reload(&mut self, reload: Reload) {
        if !reload.dry_run {
            self.systemd.reloading();
        }
        if self.group.started().is_some() {
            return self.reloaded(reload, Err(NotReloaded::Draining));
        }
        if let Some(reason) = self.succession.in_the_way() {
            return self.reloaded(reload, Err(NotReloaded::Handover(reason)));
        }
        self.reloads.ask(reload);
    }

    pub(super) fn loaded(&mut self, reload: Reload, config: Result<Box<Config>, NotReloaded>) {
        let done = config.and_then(|config| self.run_by(*config, reload.dry_run));
        // Whatever became of it, nobody asks for what is not in force.
        self.finds.discovery.keep_only(&self.setup.config);
        self.reloaded(reload, done);
    }

    /// Put a config in force, or say what that would do.
    fn run_by(&mut self, mut config: Config, dry_run: bool) -> Result<Reloaded, NotReloaded> {
        if self.group.started().is_some() {
            return Err(NotReloaded::Draining);
        }
        if let Some(reason) = self.succession.in_the_way() {
            return Err(NotReloaded::Handover(reason));
        }
        self.finds.discovery.fill(&mut config);
        self.refuse_to_empty(&config)?;
        let logs = config.process.logs.clone();
        let mut planned = Planned::of(config, &self.setup, &self.posts, &self.group)?;
        let told = planned.told(!dry_run, &self.posts, &self.admin.registry);
        if told.applied {
            let added = planned.bind(&self.posts)?;
            self.apply(planned, added);
        }
        if !dry_run && let Err(error) = logs::configure(&logs) {
            tracing::warn!(%error, "the log level stays as it was");
        }
        Ok(told)
    }

    /// From here on nothing fails.
    fn apply(&mut self, planned: Planned, added: Vec<(Listener, Bound, Vec<Site>)>) {
        let config = Arc::clone(&planned.setup.config);
        self.forget_the_gone();
        if config.process.traces != self.setup.config.process.traces {
            planned.setup.send_traces();
        }
        for (id, listener, sites) in planned.changed {
            self.group.set_after(id, listener.after);
            if let Some(post) = self.posts.iter().find(|post| post.id == id) {
                post.serve_by(sites, &listener.limits);
            }
        }
        // A drain under way follows the plan that it began with.
        let _kept = self.group.set_plan(config.plan);
        for (listener, bound, sites) in added {
            self.open(&listener, bound, sites);
        }
        self.hooks.replace(&config.hooks);
        self.watch = Watch::of(&config);
        self.keeper = Keeper::new(config.receipt.clone());
        self.admin.guarded_by(planned.doorman);
        self.admin.runs_by(&config);
        let gone = planned.servers;
        self.supply_by(planned.setup);
        for id in planned.removed {
            if let Some(post) = self.posts.iter_mut().find(|post| post.id == id) {
                post.removed = true;
            }
            self.step(Whom::Listener(id), Event::Drain(Trigger::Reload));
        }
        self.welcome_back(true);
        self.drain_removed(gone, Trigger::Reload);
        self.step(Whom::Process, Event::Elapsed);
    }

    /// Have servers from this setup, in place of the running one.
    pub(super) fn supply_by(&mut self, setup: Setup) {
        let sources = self.finds.discovery.status(&setup.config);
        self.admin.show(setup.upstreams(), sources);
        self.setup.close_all_but(&setup);
        self.setup = setup;
        self.setup.set_limits();
        self.setup.watch_health();
        if let Some(workers) = &self.workers {
            self.setup.tend(workers);
        }
    }

    /// Listeners that an earlier reload took away, and that are over.
    fn forget_the_gone(&mut self) {
        self.docks.forget_the_gone();
        let group = &mut self.group;
        self.posts.retain(|post| {
            let gone = post.removed && post.is_over(group);
            if gone {
                group.forget(post.id);
            }
            !gone
        });
    }

    fn open(&mut self, listener: &Listener, bound: Bound, sites: Vec<Site>) {
        let registry = &self.admin.registry;
        let address = bound.address;
        let (post, share) = Post::new(
            listener,
            bound,
            sites,
            (registry, &self.setup.room),
            &mut self.group,
        );
        tracing::info!(event = "listening", listener = %listener.name, %address);
        self.systemd.store(&listener.name, post.sockets());
        self.posts.push(post);
        if let Some(workers) = &self.workers {
            workers.open(share);
        }
    }

    fn reloaded(&mut self, reload: Reload, done: Result<Reloaded, NotReloaded>) {
        let result = match &done {
            Ok(told) if told.applied => "applied",
            Ok(_) if reload.dry_run => "dry_run",
            Ok(_) => "unchanged",
            Err(error) => error.as_str(),
        };
        let text = match &done {
            Ok(told) => {
                let changes = told.changes.join("; ");
                let untouched = told.untouched;
                tracing::info!(event = "reload", result, untouched, "{changes}");
                changes
            }
            Err(error) => {
                tracing::error!(event = "reload", result, "{error}");
                error.to_string()
            }
        };
        if !matches!(result, "dry_run" | "unchanged") {
            let outcome = Outcome {
                result,
                text: &text,
            };
            self.occasion(Occasion::Reload, Some(outcome), None);
        }
        self.admin.metrics.reloaded(result, !reload.dry_run);
        self.admin.tell_reload(result, &text);
        if self.reloads.is_idle() {
            let refused = done
                .as_ref()
                .err()
                .map(|error| format!("reload {result}: {error}"));
            self.systemd.reloaded(refused.as_deref());
        }
        reload.answer(done);
    }
}
