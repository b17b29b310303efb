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
mod foresight;
mod hooks;
mod keeper;
mod post;
mod reload;
mod setup;
pub mod signal;
mod worker;

pub use embedded::{Handle, start};

use crate::admin::{self, Admin, AdminListener};
use crate::config::{AdminAddr, Config};
use crate::control::{self, Control, Inbox, Status};
use crate::drain::{Event, Group, Phase, Whom};
use crate::proxy::listener::{self, Bound, Port};
use crate::proxy::registry::Registry;
use crate::telemetry::metrics::Metrics;
use conductor::Conductor;
use post::Post;
use setup::Setup;
use signal::{Signals, Streams};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::runtime::Runtime;

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
    setup: Setup,
    /// Each listener's ports, to be opened on the workers.
    shares: Vec<Vec<Port>>,
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
        let registry = Registry::new();
        let metrics = Metrics::new();
        let count = worker::count(config.process.workers);
        let setup = Setup::new(Arc::new(config), &metrics, count)?;
        let (posts, shares) = posts(&setup, &registry, &mut group)?;
        let config = &setup.config;
        let mut status = Status::new(config.plan);
        status.listeners = posts
            .iter()
            .filter_map(|post| post.status(&group))
            .collect();
        let admin_listener = runtime.block_on(AdminListener::bind(&config.admin.listen))?;
        let admin_address = admin_listener.address()?;
        let (control, inbox) = control::channel(status);
        let token = config.admin.token.clone();
        let admin = Admin::new(control, registry, setup.upstreams(), metrics, token);
        Ok(Self {
            runtime,
            signals: streams,
            group,
            posts,
            inbox,
            admin,
            admin_listener,
            admin_address,
            setup,
            shares,
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
            setup,
            shares,
            ..
        } = self;
        let ran = runtime.block_on(async move {
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let serving = tokio::spawn(Arc::clone(&admin).serve(admin_listener, async move {
                // Dropped is as good as told.
                let _ = stopped.await;
            }));
            let conductor = Conductor::new(group, posts, setup, inbox, &admin, signals);
            let ran = conductor.run(shares).await;
            drop(stop);
            // It bounds itself: answers in flight, the receipt above all.
            let _ = serving.await;
            ran
        });
        tracing::debug!(event = "exit");
        Ok(ran?)
    }
}

/// Bind every listener, and take it into the group of drains.
fn posts(
    setup: &Setup,
    registry: &Arc<Registry>,
    group: &mut Group,
) -> Result<(Vec<Post>, Vec<Vec<Port>>), Error> {
    let listeners = &setup.config.listeners;
    let bound = listeners
        .iter()
        .map(|one| listener::bind(one, setup.workers));
    let bound = bound.collect::<Result<Vec<Bound>, _>>()?;
    let mut posts = Vec::new();
    let mut shares = Vec::new();
    for (listener, bound) in listeners.iter().zip(bound) {
        let sites = setup.sites(listener, None)?;
        let (post, own) = Post::new(listener, bound, sites, registry, group);
        posts.push(post);
        shares.push(own);
    }
    Ok((posts, shares))
}
