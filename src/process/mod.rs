//! FLOOR 4: the process: what is started, in which order, and what ends it.
//!
//! The main thread has the conductor, the admin interface and the health
//! checks; each worker thread has a runtime of its own with a socket of every
//! listener and pools of its own. Nothing is shared between workers on the way
//! of the data but counters.
//!
//! Start-up goes Idle, Validating (everything bound and loaded, or nothing
//! started), Ready, Active. Invariant: signal handlers are installed before
//! any of it, so a signal at any moment has its effect.

mod books;
mod conductor;
mod embedded;
mod hooks;
mod post;
pub mod signal;
mod worker;

pub use embedded::{Handle, start};

use crate::admin::{self, Admin, AdminListener};
use crate::config::{AdminAddr, Config};
use crate::control::{self, Control, Inbox, Status};
use crate::drain::{Event, Group, Orders, Phase, Whom};
use crate::proxy::listener::{self, Bound, Gates};
use crate::proxy::registry::Registry;
use crate::proxy::upstream::Upstream;
use crate::telemetry::metrics::Metrics;
use conductor::Conductor;
use post::Post;
use signal::{Signals, Streams};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::runtime::Runtime;
use worker::Workers;

/// An error of the process floor. Each is fatal, and comes before anything
/// was accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A station of the proxy could not be set up.
    #[error(transparent)]
    Proxy(#[from] crate::proxy::Error),
    /// The admin interface could not be set up.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// The system refused what every process needs.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// The process ended without having drained.
    #[error("the process ended without a drain")]
    NoReceipt,
}

/// A process that is bound to its addresses and has not begun to accept.
#[derive(Debug)]
pub struct Process {
    runtime: Runtime,
    signals: Option<Streams>,
    group: Group,
    posts: Vec<Post>,
    inbox: Inbox,
    admin: Arc<Admin>,
    admin_listener: AdminListener,
    admin_address: AdminAddr,
    workers: Workers,
    config: Arc<Config>,
}

/// Run a process with this config until it has drained.
///
/// # Errors
/// Any [`Error`]; nothing was accepted then.
pub fn run(config: Config, signals: Signals) -> Result<(), Error> {
    Process::bind(config, signals)?.run()
}

impl Process {
    /// Bind every address and load everything; nothing is accepted yet.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn bind(config: Config, signals: Signals) -> Result<Self, Error> {
        let Signals { runtime, streams } = signals;
        let mut group = Group::new(config.plan);
        let validating = Event::Reached(Phase::Validating);
        group.handle(Whom::Process, validating, crate::clock::now());
        let config = Arc::new(config);
        let registry = Registry::new();
        let metrics = Metrics::new();
        let upstreams = config
            .upstreams
            .iter()
            .map(Upstream::new)
            .collect::<Result<Vec<_>, _>>()?;
        let count = worker::count(config.process.workers);
        let bound = config
            .listeners
            .iter()
            .map(|one| listener::bind(one, count))
            .collect::<Result<Vec<Bound>, _>>()?;
        let posts = posts(&config, &bound, &registry, &mut group)?;
        let scopes: Vec<_> = posts.iter().map(|post| Arc::clone(&post.scope)).collect();
        let mut status = Status::new(config.plan);
        status.listeners = posts
            .iter()
            .filter_map(|post| post.status(&group))
            .collect();
        let admin_listener = runtime.block_on(AdminListener::bind(&config.admin.listen))?;
        let admin_address = admin_listener.address()?;
        let workers = Workers::build(
            &config, &registry, &upstreams, &metrics, bound, &scopes, count,
        )?;
        let (control, inbox) = control::channel(status);
        let admin = Arc::new(Admin {
            control,
            registry,
            upstreams,
            metrics,
            token: config.admin.token.clone(),
        });
        Ok(Self {
            runtime,
            signals: streams,
            group,
            posts,
            inbox,
            admin,
            admin_listener,
            admin_address,
            workers,
            config,
        })
    }

    /// Every listener's name and bound address.
    #[must_use]
    pub fn listeners(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let status = self.admin.control.status();
        let listeners = status.listeners.iter();
        listeners
            .map(|one| (Arc::clone(&one.name), one.address))
            .collect()
    }

    /// Asks what the admin interface asks.
    #[must_use]
    pub fn control(&self) -> Control {
        self.admin.control.clone()
    }

    /// The address of the admin interface.
    #[must_use]
    pub fn admin_address(&self) -> &AdminAddr {
        &self.admin_address
    }

    /// Accept, serve and drain; returns when the drain is over.
    ///
    /// # Errors
    /// When the workers cannot be started.
    pub fn run(self) -> Result<(), Error> {
        for (name, address) in self.listeners() {
            tracing::info!(event = "listening", listener = %name, %address);
        }
        tracing::info!(event = "admin", address = %self.admin_address);
        let Self {
            runtime,
            signals,
            group,
            posts,
            inbox,
            admin,
            admin_listener,
            workers,
            config,
            ..
        } = self;
        let ran = runtime.block_on(async move {
            for upstream in &admin.upstreams {
                tokio::spawn(Arc::clone(upstream).watch_health());
            }
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let serving = tokio::spawn(Arc::clone(&admin).serve(admin_listener, async move {
                // Dropped is as good as told.
                let _ = stopped.await;
            }));
            let conductor = Conductor::new(group, posts, inbox, &admin, &config, signals);
            let ran = conductor.run(workers).await;
            drop(stop);
            // It bounds itself: answers in flight, the receipt above all.
            let _ = serving.await;
            ran
        });
        tracing::debug!(event = "exit");
        Ok(ran?)
    }
}

/// Take every listener into the group of drains.
fn posts(
    config: &Config,
    bound: &[Bound],
    registry: &Registry,
    group: &mut Group,
) -> io::Result<Vec<Post>> {
    let listeners = config.listeners.iter().zip(bound);
    let posts = listeners.map(|(listener, bound)| {
        let name = &listener.name;
        let id = group.add(Arc::clone(name), listener.after.clone());
        let orders = Orders::carry_on(config.plan);
        let scope = registry.scope(Arc::clone(name), orders);
        let gates = Gates::of(name, bound)?;
        Ok(Post::new(id, scope, bound.address, gates))
    });
    posts.collect()
}
