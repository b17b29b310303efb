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
mod discover;
mod dock;
mod embedded;
mod foresight;
mod handover;
mod hooks;
mod keeper;
mod memory;
mod post;
mod recording;
mod reload;
mod setup;
pub mod signal;
mod systemd;
mod watch;
mod worker;

pub use embedded::{Handle, start};

use crate::admin::{self, Admin, AdminListener, Doorman};
use crate::config::{AdminAddr, Config, HandoverSocket};
use crate::control::{self, Control, Inbox, Status};
use crate::drain::{Event, Group, Phase, Whom};
use crate::proxy::listener::{self, Bound, Port};
use crate::proxy::registry::Registry;
use crate::telemetry::metrics::Metrics;
use conductor::Conductor;
use discover::Discovery;
use handover::{Claim, Door, Inheritance};
use post::Post;
use setup::Setup;
use signal::{Signals, Streams};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use systemd::{Passed, Systemd};
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
    /// Sockets that were passed to the process are not what it needs.
    #[error("{0}")]
    Passed(String),
    /// The system refused what every process needs.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// The process that was to be taken over from goes on as it was.
    #[error("nothing was taken over: {0}")]
    Handover(String),
    /// Successors could not ask.
    #[error("handover: cannot listen on {path}: {cause}")]
    Door {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
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
    door: Option<Door>,
    setup: Setup,
    discovery: Discovery,
    systemd: Systemd,
    /// Each listener's ports, to be opened on the workers.
    shares: Vec<Vec<Port>>,
    /// To what a predecessor gave.
    claim: Option<Claim>,
}

/// Run a process with this config until it has drained.
///
/// # Errors
/// Any [`Error`]; nothing was accepted then.
pub fn run(config: Config, signals: Signals) -> Result<(), Error> {
    match Process::begin(config, signals, None)? {
        Some(process) => process.run(),
        // A signal during start-up: nothing was accepted, nothing to do.
        None => Ok(()),
    }
}

/// How a process takes over from a running one.
#[derive(Clone, Debug, Default)]
pub struct Takeover {
    /// The socket on which the running process is asked; the config's if left
    /// out.
    pub from: Option<PathBuf>,
    /// Whether to wait for the word, once ready.
    pub standby: bool,
}

/// Take over the sockets of the running process, and run with this config
/// until it has drained. If there is no process, begin afresh.
///
/// # Errors
/// Any [`Error`]; the running process goes on then, and nothing was accepted.
pub fn take_over(config: Config, takeover: Takeover, mut signals: Signals) -> Result<(), Error> {
    let Takeover { from, standby } = takeover;
    let nowhere = || {
        let text = "nobody knows where to ask; set `socket` in `[handover]`, or write \
                    --takeover=PATH";
        Error::Handover(text.to_owned())
    };
    let place = from
        .or_else(|| handover::place(&config))
        .ok_or_else(nowhere)?;
    let asked = signals.unless_ended(handover::ask(&place, standby));
    let Some(asked) = asked else {
        // A signal during start-up: nothing was accepted, nothing to do.
        return Ok(());
    };
    let inheritance = asked.map_err(Error::Handover)?;
    if inheritance.is_none() {
        let place = place.display();
        tracing::warn!(
            event = "handover",
            "nobody answers at {place}; beginning afresh"
        );
    }
    match Process::begin(config, signals, inheritance)? {
        Some(process) => process.run(),
        None => Ok(()),
    }
}

/// Have the process at the handover socket `door` start `program` on `config`,
/// both from the root, and wait until that has taken over; its process id, or
/// why it has not: all is as it was then. `started` hears the id as well, before.
///
/// # Errors
/// When the system has no room for a runtime.
pub fn start_successor(
    door: &Path,
    program: &Path,
    config: &Path,
    started: impl Fn(u32),
) -> io::Result<Result<u32, String>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(handover::have_started(door, program, config, started)))
}

impl Process {
    /// Bind every address, load everything and ask where servers are; nothing is
    /// accepted yet. `None` if a signal ended it before.
    ///
    /// # Errors
    /// Any [`Error`].
    fn begin(
        mut config: Config,
        mut signals: Signals,
        mut inheritance: Option<Inheritance>,
    ) -> Result<Option<Self>, Error> {
        let discovery = Discovery::default();
        if let Some(given) = &mut inheritance {
            discovery.begin_with(given.found());
        }
        let seeks = config.upstreams.iter().any(|one| !one.sources.is_empty());
        if seeks && signals.unless_ended(discovery.look(&config)).is_none() {
            return Ok(None);
        }
        discovery.fill(&mut config);
        let Signals { runtime, streams } = signals;
        let mut group = Group::new(config.plan);
        let validating = Event::Reached(Phase::Validating);
        group.handle(Whom::Process, validating, crate::clock::now());
        let registry = Registry::new();
        let metrics = Metrics::new();
        let count = worker::count(config.process.workers);
        let setup = Setup::new(Arc::new(config), &metrics, &registry, count)?;
        let (systemd, mut passed) = match &streams {
            Some(_) => Systemd::of_environment(&setup.config)?,
            // Inside of another program, systemd is that program's.
            None => Default::default(),
        };
        let mut sources = (inheritance, &mut passed);
        let (posts, shares) = posts(&setup, &registry, &mut group, &mut sources)?;
        let (mut inheritance, passed) = sources;
        let config = &setup.config;
        let mut status = Status::new(config.plan);
        status.listeners = posts
            .iter()
            .filter_map(|post| post.status(&group))
            .collect();
        let admin_listener = admin_listener(config, &mut inheritance, passed);
        let admin_listener = runtime.block_on(admin_listener)?;
        let admin_address = admin_listener.address()?;
        let door = runtime.block_on(async { door(config, &mut inheritance) })?;
        let (control, inbox) = control::channel(status);
        let doorman = Doorman::of(&config.admin)?;
        let admin = Admin::new(control, registry, setup.upstreams(), metrics, doorman);
        Ok(Some(Self {
            runtime,
            signals: streams,
            group,
            posts,
            inbox,
            admin,
            admin_listener,
            admin_address,
            door,
            setup,
            discovery,
            systemd,
            shares,
            claim: inheritance.map(Inheritance::rest),
        }))
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
            door,
            setup,
            discovery,
            systemd,
            shares,
            claim,
            ..
        } = self;
        let ran = runtime.block_on(async move {
            tokio::spawn(memory::watch(
                Arc::clone(&admin.registry),
                Arc::clone(&setup.memory),
            ));
            let (desk, listeners) = tokio::sync::mpsc::channel(1);
            let serving = tokio::spawn(Arc::clone(&admin).serve(listeners));
            let hold = door.as_ref().and_then(|_| admin_listener.hold().ok());
            let conductor = Conductor::new(group, posts, setup, inbox, &admin, signals, desk);
            let conductor = conductor.reached_by(door, hold).managed_by(systemd);
            let conductor = conductor.discovering(discovery);
            let ran = conductor.run(shares, admin_listener, claim).await;
            // It bounds itself: answers in flight, the receipt above all.
            let _ = serving.await;
            ran
        });
        tracing::debug!(event = "exit");
        ran
    }
}

/// The admin socket: the predecessor's if there is one, else systemd's, else a
/// new one.
async fn admin_listener(
    config: &Config,
    inheritance: &mut Option<Inheritance>,
    passed: &mut Passed,
) -> Result<AdminListener, Error> {
    let address = &config.admin.listen;
    if let Some(inheritance) = inheritance
        && let Some(inherited) = inheritance.admin(address)?
    {
        return Ok(inherited);
    }
    passed.bind_admin(address).await
}

/// Where successors will ask: as with the admin socket. Where nobody said
/// where, a place that cannot be had is no reason not to start.
fn door(config: &Config, inheritance: &mut Option<Inheritance>) -> Result<Option<Door>, Error> {
    let Some(path) = handover::place(config) else {
        return Ok(None);
    };
    let opened = match inheritance.as_mut().map(|given| given.door(&path)) {
        Some(Ok(Some(inherited))) => Ok(inherited),
        Some(Err(cause)) => Err(cause),
        Some(Ok(None)) | None => Door::open(&path),
    };
    match opened {
        Ok(door) => Ok(Some(door)),
        Err(cause) if config.handover.socket == HandoverSocket::Auto => {
            let place = path.display();
            tracing::warn!(event = "handover", error = %cause, "no successor can ask at {place}");
            Ok(None)
        }
        Err(cause) => Err(Error::Door { path, cause }),
    }
}

/// Bind every listener, or adopt what a predecessor or systemd gave, and take
/// it into the group of drains.
fn posts(
    setup: &Setup,
    registry: &Arc<Registry>,
    group: &mut Group,
    sources: &mut (Option<Inheritance>, &mut Passed),
) -> Result<(Vec<Post>, Vec<Vec<Port>>), Error> {
    let listeners = &setup.config.listeners;
    let (inheritance, passed) = sources;
    let bound = listeners.iter().map(|one| {
        let given = inheritance.as_mut().map(|given| given.listener(one));
        match given.filter(|given| !given.sockets.is_empty()) {
            Some(given) if given.lent => listener::borrow(one, given.sockets, setup.workers),
            Some(given) => listener::adopt(one, given.sockets, setup.workers),
            None => passed.bind(one, setup.workers),
        }
    });
    let bound = bound.collect::<Result<Vec<Bound>, _>>()?;
    let mut posts = Vec::new();
    let mut shares = Vec::new();
    for (listener, bound) in listeners.iter().zip(bound) {
        let sites = setup.sites(listener, None)?;
        let (post, own) = Post::new(listener, bound, sites, (registry, &setup.room), group);
        posts.push(post);
        shares.push(own);
    }
    Ok((posts, shares))
}
