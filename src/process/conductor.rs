//! The only driver of the drain machine.
//!
//! Signals, commands, the clock and the registry become events; the machine's
//! actions become orders, log lines, hooks and, in the end, the exit. One task
//! does it, one event at a time, so that of two triggers at one moment one is
//! first and the other finds it done.
//!
//! Invariant: the gates are shut before the orders to refuse are published,
//! and orders are published before anybody is told that they hold.

use super::hooks::Hooks;
use super::signal::{Streams, Wish};
use super::worker::{Running, Workers};
use crate::admin::Admin;
use crate::clock;
use crate::config::Config;
use crate::control::{Asked, Inbox, Status};
use crate::drain::{
    Accounts, Action, Event, Machine, Outcome, Phase, Protocol, Receipt, Stage, Timestamp, Trigger,
};
use crate::proxy::listener::Gates;
use crate::proxy::registry::{Registry, Sums};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Conductor {
    machine: Machine,
    inbox: Inbox,
    admin: Arc<Admin>,
    gates: Option<Gates>,
    signals: Option<Streams>,
    hooks: Hooks,
    interrupted: bool,
    refused: bool,
    before: Sums,
    started_unix: Duration,
}

/// What woke the conductor.
enum Woken {
    Wish(Wish),
    Asked(Asked),
    Event(Event),
}

impl Conductor {
    pub(super) fn new(
        machine: Machine,
        inbox: Inbox,
        admin: &Arc<Admin>,
        gates: Gates,
        config: &Config,
        signals: Option<Streams>,
    ) -> Self {
        Self {
            machine,
            inbox,
            admin: Arc::clone(admin),
            gates: Some(gates),
            signals,
            hooks: Hooks::new(&config.hooks),
            interrupted: false,
            refused: false,
            before: Sums::default(),
            started_unix: Duration::ZERO,
        }
    }

    /// Start the workers and conduct until the drain is over.
    pub(super) async fn run(mut self, workers: Workers) {
        self.step(Event::Reached(Phase::Ready));
        self.pending_signals().await;
        if self.machine.phase() == Phase::Terminated {
            // A signal during start-up: nothing was accepted, nothing to do.
            return;
        }
        match workers.start() {
            Ok(running) => self.conduct(running).await,
            Err(error) => tracing::error!(%error, "cannot start the workers"),
        }
    }

    async fn conduct(&mut self, running: Running) {
        self.step(Event::Reached(Phase::Active));
        while self.machine.phase() != Phase::Terminated {
            match self.woken().await {
                Woken::Wish(wish) => self.wish(wish),
                Woken::Asked(asked) => self.asked(asked),
                Woken::Event(event) => self.step(event),
            }
        }
        running.stop();
        self.hooks.finish().await;
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
        let deadline = self.machine.next_deadline();
        let refusing = self.machine.orders().draining() && !self.refused;
        let registry = &self.admin.registry;
        tokio::select! {
            biased;
            wish = next(&mut self.signals) => Woken::Wish(wish),
            Some(asked) = self.inbox.recv() => Woken::Asked(asked),
            () = registry.refused(), if refusing => {
                self.refused = true;
                Woken::Event(Event::Refused)
            }
            () = registry.quiet(), if self.machine.awaits_quiescence() => {
                Woken::Event(Event::Quiescent)
            }
            () = until(deadline) => Woken::Event(Event::Elapsed),
        }
    }

    fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Terminate => self.step(Event::Drain(Trigger::Sigterm)),
            Wish::Interrupt if self.interrupted => self.step(Event::CutNow),
            Wish::Interrupt => {
                self.interrupted = true;
                self.step(Event::Drain(Trigger::Sigint));
            }
            Wish::Dump => dump(&self.admin.registry),
            Wish::Reload if self.machine.started().is_some() => {
                tracing::warn!(
                    event = "reload",
                    result = "refused",
                    "draining: a reload is refused"
                );
            }
            Wish::Reload => {
                tracing::warn!(
                    event = "reload",
                    result = "refused",
                    "not yet: this version reads its config at start only"
                );
            }
            Wish::Reopen | Wish::Handover => {
                tracing::warn!(wish = ?wish, "not yet: this version does not act on this signal");
            }
        }
    }

    fn asked(&mut self, asked: Asked) {
        let event = asked.command.event();
        let verdict = self.machine.answer(event, clock::now());
        self.step(event);
        let verdict = asked.command.verdict(verdict);
        asked.answer(verdict);
    }

    /// Tell the machine, publish its orders, carry out its actions.
    fn step(&mut self, event: Event) {
        let fresh = self.machine.started().is_none();
        let actions = self.machine.handle(event, clock::now());
        if fresh && self.machine.started().is_some() {
            self.begun();
        }
        if actions.contains(&Action::Refuse)
            && let Some(gates) = self.gates.take()
        {
            gates.shut();
        }
        let orders = self.machine.orders();
        if self.admin.registry.scope().orders() != orders {
            self.admin.registry.publish(orders);
        }
        self.publish();
        for action in actions {
            self.act(action);
        }
    }

    fn begun(&mut self) {
        self.before = self.admin.registry.sums();
        self.started_unix = clock::unix();
        self.admin.metrics.shutdown_started(self.started_unix);
        let registry = &self.admin.registry;
        let in_flight: u32 = registry.records().iter().map(|one| one.in_flight()).sum();
        tracing::info!(
            event = "shutdown_start",
            trigger = self.machine.trigger().map(Trigger::as_str),
            grace_period_ms = millis(self.machine.plan().grace),
            active_requests = in_flight,
            pending_tasks = registry.open(),
        );
    }

    fn publish(&self) {
        let machine = &self.machine;
        let stage = machine.stage();
        let mut status = Status::clone(&self.admin.control.status());
        status.phase = machine.phase();
        status.stage = stage;
        status.ready = machine.phase() == Phase::Active && stage.is_none();
        status.trigger = machine.trigger();
        status.started = machine.started();
        status.plan = *machine.plan();
        status.stages = machine.timeline().to_vec();
        self.inbox.publish(status);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::EnterPhase(phase) => tracing::info!(event = "phase", phase = phase.as_str()),
            Action::EnterStage(stage) => self.enter(stage),
            Action::RestoreReadiness => {
                self.admin.metrics.shutdown_cancelled();
                tracing::info!(event = "drain_cancelled", "ready again");
            }
            Action::Farewell(protocol) => {
                tracing::info!(event = "deadline", protocol = protocol.as_str());
            }
            Action::Cut(protocol) => tracing::info!(event = "cut", protocol = protocol.as_str()),
            Action::Terminate => self.terminated(),
            // Done by the status and the orders, which are published.
            Action::FailReadiness | Action::Refuse | Action::Retire => {}
        }
    }

    fn enter(&mut self, stage: Stage) {
        tracing::info!(
            event = "stage",
            stage = stage.as_str(),
            connections = self.admin.registry.open()
        );
        self.hooks.run(stage);
    }

    fn terminated(&mut self) {
        let Some(receipt) = self.receipt() else {
            return;
        };
        let took = Duration::from_secs_f64(receipt.duration_ms.max(0.0) / 1000.0);
        self.admin.metrics.shutdown_took(took);
        let exchanges = receipt.exchanges();
        tracing::info!(
            event = "SHUTDOWN_COMPLETED",
            duration_ms = millis(took),
            connections = receipt.connections.opened,
            opened = exchanges.opened,
            finished = exchanges.finished,
            farewelled = exchanges.farewelled,
            cut = exchanges.cut,
            lost = receipt.lost,
            "{}",
            receipt.verdict(),
        );
        self.inbox.publish_receipt(Arc::new(receipt));
    }

    fn receipt(&self) -> Option<Receipt> {
        let registry = &self.admin.registry;
        let now = registry.sums();
        let (mut told, told_omitted) = registry.told();
        told.retain(|one| one.outcome != Outcome::Finished);
        let accounts = Accounts {
            connections: now.connections.since(&self.before.connections),
            requests: std::array::from_fn(|index| {
                now.exchanges[index].since(&self.before.exchanges[index])
            }),
            told,
            told_omitted,
        };
        Receipt::of(&self.machine, self.started_unix, clock::now(), accounts)
    }
}

async fn next(signals: &mut Option<Streams>) -> Wish {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Timestamp>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(clock::instant(at)).await,
        None => std::future::pending().await,
    }
}

/// Every connection, to the log: who holds the exit.
fn dump(registry: &Registry) {
    let now = clock::now();
    for record in registry.records() {
        tracing::info!(
            event = "connection",
            id = record.id,
            listener = %record.listener,
            peer = %record.peer,
            protocol = record.protocol().map(Protocol::as_str),
            state = record.state().as_str(),
            in_flight = record.in_flight(),
            age_ms = millis(now.saturating_since(record.accepted)),
            since_ms = millis(now.saturating_since(record.since())),
        );
    }
    tracing::info!(event = "dump", connections = registry.open());
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
