//! Drains of servers, as the conductor does them: by API and by reload.
//!
//! Invariant: a server's gate is shut, and idle connections to it are let go
//! of, before anybody is told that its drain has begun: who was told so sees
//! no new exchange on it.
//!
//! Deliberately absent: the process's own drain. It runs beside these, and each
//! exchange obeys whichever comes first.

use super::Conductor;
use crate::control::{ServerAsked, ServerName, ServerRefusal, ServerStatus, ServerWish};
use crate::drain::{Group, Plan, ServerDrain, Timestamp, Trigger};
use crate::process::dock::Dock;
use crate::process::post::Post;
use crate::proxy::registry::Berth;
use std::sync::Arc;
use std::time::Duration;

/// The servers that are drained or being drained.
#[derive(Debug, Default)]
pub(super) struct Docks(Vec<Dock>);

impl Docks {
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(Dock::next_deadline).min()
    }

    pub(super) fn have_news(&self, posts: &[Post], group: &Group) -> bool {
        let mut docks = self.0.iter();
        docks.any(|dock| dock.has_news(is_held(dock, posts, group)))
    }

    pub(super) fn status(&self) -> Vec<ServerStatus> {
        self.0.iter().map(Dock::status).collect()
    }

    fn of(&mut self, berth: &Arc<Berth>) -> Option<&mut Dock> {
        let mut docks = self.0.iter_mut();
        docks.find(|dock| Arc::ptr_eq(&dock.berth, berth))
    }

    /// Those that stay out until they are taken back: upstream, server.
    pub(super) fn drained(&self) -> Vec<(String, String)> {
        let stay = self.0.iter().filter(|dock| dock.stays_out());
        let name = |dock: &Dock| {
            let berth = &dock.berth;
            (berth.upstream().to_string(), berth.server().to_string())
        };
        stay.map(name).collect()
    }

    /// Forget what a reload took away and nobody can be sent to.
    pub(super) fn forget_the_gone(&mut self) {
        self.0.retain(|dock| !dock.is_gone());
    }
}

/// Whether a listener that is leaving as well may still send something to a
/// server that a reload took away.
fn is_held(dock: &Dock, posts: &[Post], group: &Group) -> bool {
    dock.removed && leads_to(posts, group, &dock.berth)
}

fn leads_to(posts: &[Post], group: &Group, berth: &Arc<Berth>) -> bool {
    let mut left = posts.iter().filter(|post| !post.is_over(group));
    left.any(|post| post.site().is_some_and(|site| site.leads_to(berth)))
}

impl Conductor {
    pub(super) fn server_asked(&mut self, asked: ServerAsked) {
        let done = match asked.wish {
            ServerWish::Drain { finish } => self.drain_server(&asked.name, finish),
            ServerWish::TakeBack => self.take_back(&asked.name),
        };
        if done.is_ok() {
            self.tend_servers();
            self.publish();
        }
        asked.answer(done);
    }

    /// Servers that were drained where this process takes over; those that the
    /// config does not have need nothing.
    pub(super) fn keep_drained(&mut self, drained: Vec<(String, String)>) {
        for (upstream, server) in drained {
            let name = ServerName { upstream, server };
            let _ = self.drain_server(&name, None);
        }
        self.tend_servers();
    }

    fn drain_server(
        &mut self,
        name: &ServerName,
        finish: Option<Duration>,
    ) -> Result<(), ServerRefusal> {
        let berth = self.berth(name)?;
        if let Some(dock) = self.docks.of(&berth) {
            if finish.is_some() && finish != dock.finish {
                return Err(ServerRefusal::OtherTime);
            }
            dock.set_returns(false);
            return Ok(());
        }
        berth.shut();
        self.setup.let_go_of_drained();
        let plan = ServerDrain::plan(self.group.plan(), finish);
        let mut dock = Dock::new(&berth, plan, Trigger::Api, self.setup.recording());
        dock.finish = finish;
        self.docks.0.push(dock);
        Ok(())
    }

    fn take_back(&mut self, name: &ServerName) -> Result<(), ServerRefusal> {
        let berth = self.berth(name)?;
        if let Some(dock) = self.docks.of(&berth) {
            dock.set_returns(true);
        }
        Ok(())
    }

    /// The berth of a server that the config has.
    fn berth(&self, name: &ServerName) -> Result<Arc<Berth>, ServerRefusal> {
        let upstreams = self.setup.upstreams();
        let Some(upstream) = upstreams.iter().find(|one| **one.name() == *name.upstream) else {
            let known: Vec<_> = upstreams.iter().map(|one| &**one.name()).collect();
            let (wanted, known) = (&name.upstream, known.join(", "));
            let unknown = format!("there is no upstream {wanted:?}; there are: {known}");
            return Err(ServerRefusal::Unknown(unknown));
        };
        if let Some(berth) = upstream.berth(&name.server) {
            return Ok(Arc::clone(berth));
        }
        let removed = |dock: &Dock| dock.removed && **dock.berth.name() == *name.to_string();
        if self.docks.0.iter().any(removed) {
            return Err(ServerRefusal::Removed);
        }
        let servers = upstream.servers();
        let known: Vec<_> = servers.iter().map(|one| &*one.name).collect();
        let unknown = format!(
            "upstream {} has no server {:?}; it has: {}",
            name.upstream,
            name.server,
            known.join(", ")
        );
        Err(ServerRefusal::Unknown(unknown))
    }

    /// Carry out what is due in drains of servers.
    pub(super) fn tend_servers(&mut self) {
        let registry = &self.admin.registry;
        let mut news = false;
        for dock in &mut self.docks.0 {
            let held = is_held(dock, &self.posts, &self.group);
            news |= dock.tend(held, registry);
        }
        let before = self.docks.0.len();
        self.docks.0.retain(|dock| {
            let returns = dock.may_return();
            if returns {
                dock.open(registry);
            }
            !returns
        });
        if news || self.docks.0.len() < before {
            self.publish();
        }
    }

    /// Servers that were taken away and are back before they were gone: their drains
    /// are taken back, unless an operator asked for one and `for_good` is not said.
    pub(super) fn welcome_back(&mut self, for_good: bool) {
        let there = self.setup.berths();
        for dock in self.docks.0.iter_mut().filter(|dock| dock.removed) {
            if there.iter().any(|berth| Arc::ptr_eq(berth, &dock.berth)) {
                dock.is_back(for_good);
            }
        }
        self.tend_servers();
    }

    /// These are in no config any more: they are drained like any other, by the plan
    /// of now. One that goes with a listener that leads to it announces with
    /// that listener, so that their deadlines are the same.
    pub(super) fn drain_removed(&mut self, gone: Vec<Arc<Berth>>, by: Trigger) {
        for berth in gone {
            if let Some(dock) = self.docks.of(&berth) {
                // It stays out, and goes on as it began.
                dock.set_returns(false);
                dock.removed = true;
                continue;
            }
            berth.leave();
            let plan = ServerDrain::plan(self.group.plan(), None);
            let announce = if leads_to(&self.posts, &self.group, &berth) {
                self.group.plan().announce
            } else {
                Duration::ZERO
            };
            let plan = Plan { announce, ..plan };
            let dock = Dock::new(&berth, plan, by, self.setup.recording());
            self.docks.0.push(dock);
        }
        self.tend_servers();
    }
}
