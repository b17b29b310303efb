//! The only driver of the drain machines.
//!
//! Signals, commands, the clock and the registry become events; the actions
//! of the process's and its listeners' machines become orders, log lines,
//! hooks and, in the end, the exit. One task does it, one event at a time, so
//! that of two triggers at one moment one is first and the other finds it done.
//!
//! Invariant: a listener's gates are shut before its orders to refuse are
//! published, and orders are published before anybody is told that they hold.

mod account;
mod found;
mod handover;
mod occasion;
mod reload;
mod servers;
mod service;
mod traced;

use super::Error;
use super::books::Opening;
use super::discover::Discovery;
use super::foresight::Foresights;
use super::handover::{Ask, Claim, Door, News, absolute};
use super::hooks::Hooks;
use super::keeper::Keeper;
use super::post::Post;
use super::reload::Reloads;
use super::setup::Setup;
use super::signal::{Streams, Wish};
use super::systemd::Systemd;
use super::watch::Watch;
use super::worker::Workers;
use crate::admin::{Admin, AdminHold, AdminListener};
use crate::clock;
use crate::config::{Config, Occasion};
use crate::control::{Asked, Inbox, NotReloaded, Position, Refusal, Reload, Request, Status};
use crate::drain::{
    Action, Event, Group, MemberId, Phase, Receipt, Stage, Timestamp, Trigger, Whom,
};
use crate::proxy::listener::Port;
use found::Finds;
use handover::Succession;
use servers::Docks;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub(super) struct Conductor {
    group: Group,
    posts: Vec<Post>,
    docks: Docks,
    setup: Setup,
    finds: Finds,
    workers: Option<Workers>,
    reloads: Reloads,
    watch: Watch,
    inbox: Inbox,
    admin: Arc<Admin>,
    signals: Option<Streams>,
    /// Where the admin interface gets its sockets; it ends without.
    desk: Option<mpsc::Sender<AdminListener>>,
    succession: Succession,
    hooks: Hooks,
    interrupted: bool,
    /// Whether an operator asked to cut at once.
    cut: bool,
    opening: Option<Opening>,
    foresights: Foresights,
    keeper: Keeper,
    /// What the drain did, once it is over.
    receipt: Option<Arc<Receipt>>,
    systemd: Systemd,
}

/// What woke the conductor.
enum Woken {
    Wish(Wish),
    Asked(Request),
    /// Files of the config have changed.
    Changed,
    /// Servers were found, or are not any more.
    Found,
    Loaded(Reload, Result<Box<Config>, NotReloaded>),
    Event(Whom, Event),
    Successor(Ask),
    Predecessor(News),
    /// Something left; somebody's machine may have to be told.
    Released,
    /// There is something to tell the service manager.
    Due,
}

impl Conductor {
    pub(super) fn new(
        group: Group,
        posts: Vec<Post>,
        setup: Setup,
        inbox: Inbox,
        admin: &Arc<Admin>,
        signals: Option<Streams>,
        desk: mpsc::Sender<AdminListener>,
    ) -> Self {
        admin.runs_by(&setup.config);
        Self {
            group,
            posts,
            docks: Docks::default(),
            finds: Finds::default(),
            workers: None,
            reloads: Reloads::of(&setup.config, &Discovery::default()),
            watch: Watch::of(&setup.config),
            inbox,
            admin: Arc::clone(admin),
            signals,
            desk: Some(desk),
            succession: Succession::new(None, None),
            hooks: Hooks::new(&setup.config.hooks, &admin.metrics),
            receipt: None,
            keeper: Keeper::new(setup.config.receipt.clone()),
            setup,
            interrupted: false,
            cut: false,
            opening: None,
            foresights: Foresights::default(),
            systemd: Systemd::default(),
        }
    }

    /// Be reached by these from now on.
    pub(super) fn reached_by(mut self, door: Option<Door>, admin: Option<AdminHold>) -> Self {
        self.succession = Succession::new(door, admin);
        self
    }

    /// A service of this manager.
    pub(super) fn managed_by(mut self, systemd: Systemd) -> Self {
        self.systemd = systemd;
        self
    }

    /// Start the workers and conduct until the drain is over. With a claim,
    /// only when the predecessor gives the word.
    ///
    /// # Errors
    /// When the workers cannot be started, or there is no word.
    pub(super) async fn run(
        mut self,
        shares: Vec<Vec<Port>>,
        admin: AdminListener,
        mut claim: Option<Claim>,
    ) -> Result<(), Error> {
        self.step(Whom::Process, Event::Reached(Phase::Ready));
        self.pending_signals().await;
        if self.group.phase() == Phase::Terminated {
            // A signal during start-up: nothing was accepted, nothing to do.
            return Ok(());
        }
        if let Some(claim) = &mut claim
            && !self.prove(claim).await?
        {
            return Ok(());
        }
        admin.own();
        self.succession.own();
        if let Some(desk) = &self.desk {
            // The interface waits for nothing else.
            let _ = desk.send(admin).await;
        }
        self.setup.send_traces();
        let workers = Workers::start(self.setup.workers)?;
        for share in shares {
            workers.open(share);
        }
        self.setup.tend(&workers);
        self.workers = Some(workers);
        self.setup.watch_health();
        self.step(Whom::Process, Event::Reached(Phase::Active));
        if let Some(claim) = claim {
            self.succeed(claim).await;
        }
        self.serves();
        self.conduct().await;
        Ok(())
    }

    async fn conduct(&mut self) {
        self.take_up_found();
        while self.group.phase() != Phase::Terminated {
            match self.woken().await {
                Woken::Wish(wish) => self.wish(wish),
                Woken::Asked(Request::Command(asked)) => self.asked(asked),
                Woken::Asked(Request::Reload(reload)) => self.reload(reload),
                Woken::Asked(Request::Handover(answer)) => {
                    // Who asked may have left.
                    let _ = answer.send(self.hand_over());
                }
                Woken::Asked(Request::Server(asked)) => self.server_asked(asked),
                Woken::Changed => self.reload(Reload::by_signal()),
                Woken::Found => self.finds.news = true,
                Woken::Loaded(reload, config) => self.loaded(reload, config),
                Woken::Successor(ask) => self.ask(ask).await,
                Woken::Predecessor(news) => self.heard(news),
                Woken::Event(whom, event) => self.step(whom, event),
                Woken::Released => self.released(),
                Woken::Due => self.beat(),
            }
            self.take_up_found();
            self.tend_servers();
        }
        self.setup.close();
        let mut systemd = std::mem::take(&mut self.systemd);
        tokio::select! {
            () = self.afterwards() => {}
            () = systemd.beat_on() => {}
        }
        if let Some(workers) = self.workers.take() {
            workers.stop();
        }
    }

    /// Hooks end in their own time, the last scrape comes in its own, and so do
    /// connections to servers close, unless the operator has none: who asked for
    /// the cut, or interrupts again now, waits for nobody.
    async fn afterwards(&mut self) {
        let linger = self.admin.linger(self.setup.config.admin.linger);
        let closed = self.setup.closed(self.waits_until());
        let (hooks, receipt, inbox) = (&mut self.hooks, &mut self.receipt, &self.inbox);
        let mut amended = false;
        let last = async {
            hooks.finish().await;
            amended = occasion::amend(receipt, hooks, inbox);
        };
        let rest = async { tokio::join!(last, linger, closed) };
        tokio::select! {
            biased;
            () = interrupts(&mut self.signals, self.interrupted), if !self.cut => {}
            _ = rest, if !self.cut => {}
            else => {}
        }
        self.hooks.abandon();
        amended |= occasion::amend(&mut self.receipt, &self.hooks, &self.inbox);
        self.keeper.finish().await;
        if let Some(receipt) = self.receipt.as_ref().filter(|_| amended) {
            self.keeper.keep(receipt);
            self.keeper.finish().await;
        }
        self.last_spans().await;
    }

    async fn pending_signals(&mut self) {
        let Some(signals) = &mut self.signals else {
            return;
        };
        let now = tokio::time::timeout(Duration::ZERO, signals.next());
        if let Ok(wish) = now.await {
            self.wish(wish);
        }
    }

    async fn woken(&mut self) -> Woken {
        let deadlines = [self.group.next_deadline(), self.docks.next_deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        let (group, posts, docks) = (&self.group, &self.posts, &self.docks);
        let news = || {
            let mut news = posts.iter().map(|post| post.news(group));
            news.any(|event| event.is_some()) || docks.have_news(posts, group)
        };
        tokio::select! {
            biased;
            wish = next(&mut self.signals) => Woken::Wish(wish),
            Some(asked) = self.inbox.recv() => Woken::Asked(asked),
            () = self.watch.changed() => Woken::Changed,
            () = self.finds.discovery.changed() => Woken::Found,
            (reload, config) = self.reloads.loaded() => Woken::Loaded(reload, config),
            news = self.succession.news() => match news {
                Ok(ask) => Woken::Successor(ask),
                Err(news) => Woken::Predecessor(news),
            },
            () = self.systemd.due() => Woken::Due,
            () = self.admin.registry.until(news) => Woken::Released,
            () = until(deadline) => Woken::Event(Whom::Process, Event::Elapsed),
        }
    }

    fn released(&mut self) {
        for index in 0..self.posts.len() {
            if let Some(event) = self.posts[index].news(&self.group) {
                self.posts[index].told(event);
                let whom = Whom::Listener(self.posts[index].id);
                self.step(whom, event);
            }
        }
    }

    fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Terminate => self.step(Whom::Process, Event::Drain(Trigger::Sigterm)),
            Wish::Interrupt if self.interrupted => self.step(Whom::Process, Event::CutNow),
            Wish::Interrupt => {
                self.interrupted = true;
                self.step(Whom::Process, Event::Drain(Trigger::Sigint));
            }
            Wish::Dump => self.admin.dump(),
            Wish::Reload => self.reload(Reload::by_signal()),
            Wish::Handover => self.hand_over_by_signal(),
            Wish::Reopen => drop(tokio::spawn(service::reopen_logs())),
        }
    }

    fn asked(&mut self, asked: Asked) {
        let whom = match &asked.command.listener {
            None => Some(Whom::Process),
            Some(name) => self.group.named(name).map(|one| Whom::Listener(one.id())),
        };
        let Some(whom) = whom else {
            return asked.answer(Err(Refusal::NoListener));
        };
        let event = asked.command.event();
        let answer = self.group.answer(whom, event, clock::now());
        self.step(whom, event);
        let verdict = asked.command.verdict(answer);
        if let (Event::Extend(by), Ok(())) = (event, verdict) {
            let listener = asked.command.listener.as_deref();
            tracing::info!(event = "extended", listener, by_ms = millis(by));
            self.admin.tell_extended(listener, by);
        }
        asked.answer(verdict);
    }

    /// Tell a machine, publish orders, carry out actions.
    fn step(&mut self, whom: Whom, event: Event) {
        if self.succession.holds_back(whom, event) {
            return;
        }
        self.cut |= (whom, event) == (Whom::Process, Event::CutNow);
        let fresh = self.group.started().is_none();
        let latest = self.group.latest();
        let actions = self.group.handle(whom, event, clock::now());
        if fresh && self.group.started().is_some() {
            self.begun();
        }
        if latest > self.group.latest() {
            let latest = self.group.latest();
            let left = latest.map(|at| millis(at.saturating_since(clock::now())));
            tracing::info!(
                event = "hurried",
                left_ms = left,
                "nobody waits any longer than that"
            );
        }
        for (whom, action) in &actions {
            if let (Whom::Listener(id), Action::Refuse) = (whom, action) {
                self.shut(*id);
            }
        }
        self.publish_orders();
        self.publish();
        for (whom, action) in actions {
            match whom {
                Whom::Process => self.act(action),
                Whom::Listener(id) => self.act_for(id, action),
            }
        }
        self.foresights.take(&self.admin);
        self.stands();
    }

    fn publish(&self) {
        let group = &self.group;
        let process = Position {
            phase: group.phase(),
            stage: group.stage(),
            ready: group.ready(),
            trigger: group.trigger(),
            started: group.started(),
            refused: group.refused(),
            latest: group.latest(),
            plan: group.followed(),
            stages: group.timeline(),
            trace: group
                .started()
                .and_then(|_| self.opening.as_ref()?.trace().cloned()),
        };
        let listeners = self.posts.iter().filter_map(|post| post.status(group));
        self.inbox.publish(Status {
            process,
            longest: group.longest(),
            listeners: listeners.collect(),
            config: absolute(&self.setup.config.source),
            door: self.succession.place(),
            successor: self.succession.successor(),
            predecessors: self.succession.predecessors.clone(),
            servers: self.docks.status(),
        });
        self.admin.tell();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::EnterPhase(phase) => {
                tracing::info!(
                    event = "phase",
                    phase = phase.as_str(),
                    trace = self.trace()
                );
            }
            Action::EnterStage(stage) => self.enter(stage),
            Action::RestoreReadiness => {
                // The next SIGINT is the first of its drain.
                self.interrupted = false;
                self.taken_back();
                self.hooks.drain_cancelled();
                self.occasion(Occasion::Cancelled, None, None);
            }
            Action::Terminate => self.terminated(),
            // Done by the status, which is published; the rest is for listeners.
            _ => {}
        }
    }

    /// What concerns one listener; its stages are the process's too unless it
    /// is drained alone.
    fn act_for(&mut self, id: MemberId, action: Action) {
        let Some(member) = self.group.member(id) else {
            return;
        };
        let listener = &**member.name();
        let trace = self.trace_of(id);
        match action {
            Action::EnterStage(stage) if member.alone() => {
                tracing::info!(event = "stage", stage = stage.as_str(), listener, trace);
            }
            Action::RestoreReadiness if member.alone() => {
                tracing::info!(event = "drain_cancelled", listener, "ready again");
            }
            Action::Farewell(protocol) => {
                let protocol = protocol.as_str();
                tracing::info!(event = "deadline", protocol, listener, trace);
            }
            Action::Cut(protocol) => {
                let protocol = protocol.as_str();
                tracing::info!(event = "cut", protocol, listener, trace);
            }
            Action::Terminate if member.alone() => self.listener_terminated(id),
            // Orders have it, or the process says it for all.
            _ => {}
        }
    }

    fn enter(&mut self, stage: Stage) {
        tracing::info!(
            event = "stage",
            stage = stage.as_str(),
            connections = self.admin.registry.open(),
            trace = self.trace(),
        );
        self.occasion(Occasion::Stage(stage), None, None);
    }
}

async fn next(signals: &mut Option<Streams>) -> Wish {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

/// Wait for the interrupt that is the second one of a drain.
async fn interrupts(signals: &mut Option<Streams>, mut interrupted: bool) {
    loop {
        let wish = next(signals).await;
        if wish == Wish::Interrupt && std::mem::replace(&mut interrupted, true) {
            return;
        }
    }
}

/// Wait for a signal that ends a process which does not serve yet.
pub(super) async fn ending(signals: &mut Option<Streams>) -> Wish {
    loop {
        let wish = next(signals).await;
        if matches!(wish, Wish::Terminate | Wish::Interrupt) {
            return wish;
        }
    }
}

async fn until(deadline: Option<Timestamp>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(clock::instant(at)).await,
        None => std::future::pending().await,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
