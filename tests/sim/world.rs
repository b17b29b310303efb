//! The shell around the machine, with a virtual clock: listeners, timers that
//! fire late, wake-ups that arrive late, and the queue of what happens next.
//!
//! It does what a real shell must do and no more: turn happenings into
//! events, publish orders, wake connections, say when all is quiet.

use crate::books::Books;
use crate::connection::{Connection, reason_of};
use crate::rng::Rng;
use crate::script::Script;
use ebbtide::drain::{Action, Event, Machine, Orders, Phase, Timestamp};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Debug;
use std::time::Duration;

/// Timers fire this much late at most.
const LATE_TIMER: Duration = Duration::from_millis(2);
/// New orders reach a connection after this time at most.
const LATE_WAKE: Duration = Duration::from_millis(3);
/// How late anything can come that hangs on a timer and a wake-up.
pub(crate) const SLACK: Duration = Duration::from_millis(6);

/// A fault put into the shell, for the invariants to find.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Sabotage {
    None,
    /// Connections accepted after refuse obey the first orders they read.
    LateOnesReadOrdersOnce,
    /// Idle HTTP/1.1 connections get no `last_request` window.
    IdleOnesCloseAtOnce,
    /// Cut exchanges do not get into the books.
    CutsAreNotCounted,
    /// Listeners close with connections in their accept queues.
    QueuesAreDropped,
    /// Nobody says when all is quiet.
    QuietIsNotNoticed,
    /// A cancel that comes too late opens the listeners again.
    RefuseIsTakenBack,
}

#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
enum Happening {
    Timer,
    Operator(usize),
    Connects(usize),
    Accepted(usize),
    Closed(usize),
    Wake(usize),
}

#[derive(Clone, Debug, Default)]
struct ListenerPosition {
    queued: usize,
    closed: bool,
}

/// One simulated process and its surroundings.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) books: Books,
    pub(crate) machine: Machine,
    pub(crate) now: Timestamp,
    /// What the orders were when the process ended.
    pub(crate) orders: Orders,
    /// When all listeners had closed.
    pub(crate) all_closed: Option<Timestamp>,
    pub(crate) refused_clients: usize,
    /// Clients whose connection was in an accept queue that was discarded, or
    /// that the process did not live to accept.
    pub(crate) unaccepted: Vec<usize>,
    pub(crate) ready: bool,
    pub(crate) cancelled: bool,
    pub(crate) cut_now: Option<Timestamp>,
    /// The last time that a connection ended or a listener closed.
    pub(crate) last_leave: Timestamp,
    rng: Rng,
    sabotage: Sabotage,
    queue: BinaryHeap<Reverse<(Timestamp, u64, Happening)>>,
    sequence: u64,
    listeners: Vec<ListenerPosition>,
    connections: Vec<Option<Connection>>,
    open: usize,
    refusing: bool,
    trace: Option<Vec<String>>,
}

impl World {
    /// Live through all that `seed` determines, up to the end of the process.
    pub(crate) fn run(seed: u64, sabotage: Sabotage, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let script = Script::new(&mut rng);
        let mut world = Self {
            books: Books::default(),
            machine: Machine::new(script.plan),
            now: Timestamp::ZERO,
            orders: Orders::carry_on(script.plan),
            all_closed: None,
            refused_clients: 0,
            unaccepted: Vec::new(),
            ready: false,
            cancelled: false,
            cut_now: None,
            last_leave: Timestamp::ZERO,
            rng,
            sabotage,
            queue: BinaryHeap::new(),
            sequence: 0,
            listeners: vec![ListenerPosition::default(); script.listeners.len()],
            connections: script.clients.iter().map(|_| None).collect(),
            open: 0,
            refusing: false,
            trace: traced.then(Vec::new),
            script,
        };
        world.begin();
        // A process that never ends is for the invariants to report.
        let mut budget = 1_000_000;
        while world.machine.phase() != Phase::Terminated && budget > 0 {
            budget -= 1;
            let Some(Reverse((at, _, happening))) = world.queue.pop() else {
                break;
            };
            world.now = at;
            world.happen(&happening);
            world.notice_quiet();
        }
        world
    }

    /// What happened, if it was to be written down.
    pub(crate) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    fn begin(&mut self) {
        for phase in [Phase::Validating, Phase::Ready, Phase::Active] {
            self.tell(Event::Reached(phase));
        }
        self.ready = true;
        for index in 0..self.script.operators.len() {
            self.enqueue(self.script.operators[index].0, Happening::Operator(index));
        }
        for index in 0..self.script.clients.len() {
            self.enqueue(
                self.script.clients[index].connects,
                Happening::Connects(index),
            );
        }
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Timer => self.tell(Event::Elapsed),
            Happening::Operator(index) => self.operate(index),
            Happening::Connects(index) => self.connects(index),
            Happening::Accepted(index) => self.accepted(index),
            Happening::Closed(index) => self.closed(index),
            Happening::Wake(index) => self.wake(index),
        }
    }

    fn operate(&mut self, index: usize) {
        let event = self.script.operators[index].1;
        self.tell(event);
        if event == Event::CutNow && self.machine.orders().cut_by_operator {
            self.cut_now.get_or_insert(self.now);
        }
        let late = event == Event::Cancel && self.refusing;
        if late && self.sabotage == Sabotage::RefuseIsTakenBack {
            self.refusing = false;
        }
    }

    fn tell(&mut self, event: Event) {
        let before = self.machine.orders();
        let actions = self.machine.handle(event, self.now);
        self.note(&(event, &actions));
        let orders = self.machine.orders();
        self.orders = orders;
        for action in actions {
            self.carry_out(action);
        }
        if orders != before {
            for index in 0..self.connections.len() {
                if self.connections[index].is_some() {
                    let at = self.now + self.rng.up_to(LATE_WAKE);
                    self.enqueue(at, Happening::Wake(index));
                }
            }
        }
        if let Some(due) = self.machine.next_deadline() {
            let at = due.max(self.now) + self.rng.up_to(LATE_TIMER);
            self.enqueue(at, Happening::Timer);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::FailReadiness => self.ready = false,
            Action::RestoreReadiness => {
                self.ready = true;
                self.cancelled = true;
            }
            Action::Refuse => {
                self.refusing = true;
                for index in 0..self.listeners.len() {
                    self.close_if_empty(index);
                }
            }
            Action::Terminate => self.exit(),
            // The orders say it to the connections; the rest is for people.
            Action::Retire
            | Action::Farewell(_)
            | Action::Cut(_)
            | Action::EnterPhase(_)
            | Action::EnterStage(_) => {}
        }
    }

    fn connects(&mut self, index: usize) {
        let listener = self.script.clients[index].listener;
        if self.refusing {
            self.refused_clients += 1;
            return;
        }
        self.listeners[listener].queued += 1;
        let at = self.now + self.rng.up_to(self.script.listeners[listener].queues);
        self.enqueue(at, Happening::Accepted(index));
    }

    fn accepted(&mut self, index: usize) {
        let client = self.script.clients[index].clone();
        let listener = client.listener;
        if self.refusing && self.sabotage == Sabotage::QueuesAreDropped {
            self.unaccepted.push(index);
        } else {
            let late = self.machine.phase() == Phase::Draining;
            let connection = Connection::new(index, client, self.now, late, self.sabotage);
            self.connections[index] = Some(connection);
            self.open += 1;
            self.books.connections.open_one();
            self.wake(index);
        }
        self.listeners[listener].queued -= 1;
        if self.refusing {
            self.close_if_empty(listener);
        }
    }

    fn close_if_empty(&mut self, listener: usize) {
        let stuck = self.script.listeners[listener].stuck;
        if self.listeners[listener].queued == 0 && !stuck {
            let at = self.now + self.rng.millis(3);
            self.enqueue(at, Happening::Closed(listener));
        }
    }

    fn closed(&mut self, listener: usize) {
        self.listeners[listener].closed = true;
        if self.all_closed.is_none() && self.listeners.iter().all(|one| one.closed) {
            self.all_closed = Some(self.now);
            self.last_leave = self.now;
            self.tell(Event::Refused);
        }
    }

    fn wake(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        let next = connection.wake(self.now, self.orders, &mut self.books);
        if connection.ended() {
            self.connections[index] = None;
            self.open -= 1;
            self.last_leave = self.now;
            let stay = self.books.stays.last().cloned();
            self.note(&stay);
        } else if let Some(at) = next {
            self.enqueue(at, Happening::Wake(index));
        }
    }

    fn notice_quiet(&mut self) {
        let quiet = self.all_closed.is_some() && self.open == 0;
        if quiet && self.machine.awaits_quiescence() && self.sabotage != Sabotage::QuietIsNotNoticed
        {
            self.tell(Event::Quiescent);
        }
    }

    fn exit(&mut self) {
        let reason = reason_of(&self.orders);
        for slot in &mut self.connections {
            if let Some(mut connection) = slot.take() {
                connection.exit(self.now, reason, &mut self.books);
                self.open -= 1;
            }
        }
        for Reverse((_, _, happening)) in self.queue.drain() {
            if let Happening::Accepted(index) = happening {
                self.unaccepted.push(index);
            }
        }
    }

    fn enqueue(&mut self, at: Timestamp, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, happening)));
    }

    fn note(&mut self, what: &dyn Debug) {
        if let Some(trace) = &mut self.trace {
            let millis = self.now.since_start().as_secs_f64() * 1e3;
            trace.push(format!("{millis:>10.3} ms  {what:?}"));
        }
    }
}
