//! The shell around the group, with a virtual clock: listeners, timers that
//! fire late, wake-ups that arrive late, and the queue of what happens next.
//!
//! It does what the real shell (`process/conductor.rs`) does and no more: turn
//! happenings into events, shut gates, publish orders, wake connections, say
//! when all is quiet.

use crate::books::Books;
use crate::connection::{Connection, reason_of};
use crate::history::{Deed, What};
use crate::post::Post;
use crate::rng::Rng;
use crate::sabotage::Sabotage;
use crate::script::{Client, Party, Script, flooding};
use ebbtide::drain::{Action, Event, Group, Orders, Phase, Timestamp, Whom};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// Timers fire this much late at most.
pub(crate) const LATE_TIMER: Duration = Duration::from_millis(2);
/// New orders reach a connection after this time at most.
const LATE_WAKE: Duration = Duration::from_millis(3);
/// How late anything can come that hangs on a timer and a wake-up.
pub(crate) const SLACK: Duration = Duration::from_millis(6);

/// So often each listener may have news in one instant, far more than it has.
const ROUNDS: usize = 20;

#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
enum Happening {
    Timer,
    Wish(usize),
    Flood(usize),
    Connects(usize),
    Accepted(usize),
    Closed(usize),
    Wake(usize),
}

/// One simulated process and its surroundings.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) books: Books,
    pub(crate) group: Group,
    pub(crate) posts: Vec<Post>,
    pub(crate) now: Timestamp,
    pub(crate) history: Vec<Deed>,
    /// Clients that came when their listener took nobody any more.
    pub(crate) refused: Vec<usize>,
    /// How many of a flood were let in.
    pub(crate) flooded: usize,
    /// Clients whose connection was in an accept queue that was discarded, or
    /// that the process did not live to accept.
    pub(crate) unaccepted: Vec<usize>,
    /// What the shell found to be untrue.
    pub(crate) untrue: Vec<String>,
    rng: Rng,
    sabotage: Sabotage,
    queue: BinaryHeap<Reverse<(Timestamp, u64, Happening)>>,
    sequence: u64,
    connections: Vec<Option<Connection>>,
    /// The deadline that a timer is set for.
    armed: Option<Timestamp>,
    exited: bool,
    trace: Option<Vec<String>>,
}

impl World {
    /// Live through all that `seed` determines, up to the end of the process.
    pub(crate) fn run(seed: u64, sabotage: Sabotage, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let script = Script::new(&mut rng);
        let mut group = Group::new(script.plan);
        let posts = posts(&script, &mut group, sabotage);
        let mut world = Self {
            books: Books::new(posts.len()),
            group,
            posts,
            now: Timestamp::ZERO,
            history: Vec::new(),
            refused: Vec::new(),
            flooded: 0,
            unaccepted: Vec::new(),
            untrue: Vec::new(),
            rng,
            sabotage,
            queue: BinaryHeap::new(),
            sequence: 0,
            connections: script.clients.iter().map(|_| None).collect(),
            armed: None,
            exited: false,
            trace: traced.then(Vec::new),
            script,
        };
        world.begin();
        // A process that never ends is for the invariants to report.
        let mut budget = 1_000_000;
        while !world.exited && budget > 0 {
            budget -= 1;
            let Some(Reverse((at, _, happening))) = world.queue.pop() else {
                break;
            };
            world.now = at;
            world.happen(&happening);
            world.tell_news();
        }
        world
    }

    /// What happened, if it was to be written down.
    pub(crate) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    fn begin(&mut self) {
        for phase in [Phase::Validating, Phase::Ready, Phase::Active] {
            self.step(None, Event::Reached(phase));
        }
        for index in 0..self.script.wishes.len() {
            self.enqueue(self.script.wishes[index].at, Happening::Wish(index));
        }
        for index in 0..self.script.clients.len() {
            let at = self.script.clients[index].connects;
            self.enqueue(at, Happening::Connects(index));
        }
        for index in 0..self.script.floods.len() {
            self.enqueue(self.script.floods[index].begins, Happening::Flood(index));
        }
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Timer => {
                self.armed = None;
                self.step(None, Event::Elapsed);
            }
            Happening::Wish(index) => self.ask(index),
            Happening::Flood(index) => self.flood(index),
            Happening::Connects(index) => self.connects(index),
            Happening::Accepted(index) => self.accepted(index),
            Happening::Closed(index) => self.closed(index),
            Happening::Wake(index) => self.wake(index),
        }
    }

    fn ask(&mut self, index: usize) {
        let wish = self.script.wishes[index].clone();
        let answer = self
            .group
            .answer(self.whom(wish.whom), wish.event, self.now);
        self.write(What::Asked(wish.whom, wish.event, answer));
        self.step(wish.whom, wish.event);
        let late = wish.event == Event::Cancel;
        if late && self.sabotage == Sabotage::RefuseIsTakenBack {
            for post in &mut self.posts {
                post.shut = false;
            }
        }
    }

    fn whom(&self, party: Party) -> Whom {
        party.map_or(Whom::Process, |index| Whom::Listener(self.posts[index].id))
    }

    fn party(&self, whom: Whom) -> Party {
        match whom {
            Whom::Process => None,
            Whom::Listener(id) => self.posts.iter().position(|post| post.id == id),
        }
    }

    /// Tell the group, shut gates, publish orders, carry out actions.
    fn step(&mut self, party: Party, event: Event) {
        let actions = self.group.handle(self.whom(party), event, self.now);
        if event != Event::Elapsed || !actions.is_empty() {
            self.note(&(party, event, &actions));
        }
        for (whom, action) in &actions {
            if let (Some(index), Action::Refuse) = (self.party(*whom), action) {
                self.shut(index);
            }
        }
        self.publish(event);
        for (whom, action) in actions {
            let party = self.party(whom);
            self.write(What::Did(party, action));
            self.carry_out(party, action);
        }
        let (ready, latest) = (self.group.ready(), self.group.latest());
        self.write(What::Stands { ready, latest });
        if let Some(due) = self.group.next_deadline()
            && self.armed != Some(due)
        {
            self.armed = Some(due);
            let at = due.max(self.now) + self.rng.up_to(LATE_TIMER);
            self.enqueue(at, Happening::Timer);
        }
    }

    fn shut(&mut self, index: usize) {
        let all = self.sabotage == Sabotage::AllGatesAreShut;
        for other in 0..self.posts.len() {
            if other == index || all {
                self.posts[other].shut = true;
                self.close_if_empty(other);
            }
        }
    }

    fn publish(&mut self, event: Event) {
        let extends = matches!(event, Event::Extend(_));
        if extends && self.sabotage == Sabotage::ExtensionsAreNotPublished {
            return;
        }
        let first = self.posts[0].id;
        let astray = self.sabotage == Sabotage::OrdersGoToAnother;
        for index in 0..self.posts.len() {
            let counted = self.books.accounts[index];
            let post = &mut self.posts[index];
            let from = if astray && index == 1 { first } else { post.id };
            if post.publish(&self.group, from, counted) {
                self.wake_all(index);
            }
        }
    }

    fn wake_all(&mut self, listener: usize) {
        for index in 0..self.connections.len() {
            if self.connections[index].is_some() && self.script.clients[index].listener == listener
            {
                let at = self.now + self.rng.up_to(LATE_WAKE);
                self.enqueue(at, Happening::Wake(index));
            }
        }
    }

    fn carry_out(&mut self, party: Party, action: Action) {
        let early = self.sabotage == Sabotage::TheFirstEndIsTheLast;
        match (party, action) {
            (Some(index), Action::RestoreReadiness) => {
                let calm = Orders::carry_on(self.script.plan);
                if self.group.orders(self.posts[index].id) != Some(calm) {
                    let what =
                        format!("a drain of listener {index} that was taken back left traces");
                    self.untrue.push(what);
                }
            }
            (party, Action::Terminate) if party.is_none() || early => self.exit(),
            // The orders say it to the connections; the rest is for people.
            _ => {}
        }
    }

    fn flood(&mut self, index: usize) {
        let flood = self.script.floods[index].clone();
        if !self.posts[flood.listener].shut {
            self.flooded += 1;
            let at = self.now + self.rng.up_to(flood.every);
            self.enqueue(at, Happening::Flood(index));
        }
        let client = flooding(&mut self.rng, flood.listener, self.now);
        self.arrives(client);
    }

    fn arrives(&mut self, client: Client) {
        self.script.clients.push(client);
        self.connections.push(None);
        self.connects(self.connections.len() - 1);
    }

    fn connects(&mut self, index: usize) {
        let listener = self.script.clients[index].listener;
        if self.posts[listener].shut {
            self.refused.push(index);
            return;
        }
        self.posts[listener].queued += 1;
        let at = self.now + self.rng.up_to(self.script.listeners[listener].queues);
        self.enqueue(at, Happening::Accepted(index));
    }

    fn accepted(&mut self, index: usize) {
        let client = self.script.clients[index].clone();
        let listener = client.listener;
        let post = &mut self.posts[listener];
        post.queued -= 1;
        if post.shut && self.sabotage == Sabotage::QueuesAreDropped {
            self.unaccepted.push(index);
        } else {
            post.open += 1;
            let late = post.orders.draining();
            let connection = Connection::new(index, client, self.now, late, self.sabotage);
            self.connections[index] = Some(connection);
            self.books.arrive(listener);
            self.wake(index);
        }
        if self.posts[listener].shut {
            self.close_if_empty(listener);
        }
    }

    fn close_if_empty(&mut self, listener: usize) {
        let stuck = self.script.listeners[listener].stuck;
        if self.posts[listener].queued == 0 && !stuck {
            let at = self.now + self.rng.millis(3);
            self.enqueue(at, Happening::Closed(listener));
        }
    }

    fn closed(&mut self, listener: usize) {
        if self.posts[listener].closed.is_none() {
            self.posts[listener].closed = Some(self.now);
            self.write(What::Closed(listener));
        }
    }

    fn wake(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        let listener = self.script.clients[index].listener;
        let orders = self.posts[listener].orders;
        let next = connection.wake(self.now, orders, &mut self.books);
        if connection.ended() {
            self.connections[index] = None;
            self.posts[listener].open -= 1;
            let stay = self.books.stays.last().cloned();
            self.note(&stay);
        } else if let Some(at) = next.and_then(|next| connection.arm(self.now, next)) {
            self.enqueue(at, Happening::Wake(index));
        }
    }

    fn tell_news(&mut self) {
        let mut again = true;
        let mut rounds = 0;
        while again && !self.exited {
            again = false;
            rounds += 1;
            if rounds > ROUNDS {
                self.untrue.push("news are told for ever".to_owned());
                return self.exit();
            }
            for index in 0..self.posts.len() {
                if let Some(event) = self.posts[index].news(&self.group, self.sabotage) {
                    again = true;
                    self.posts[index].told(event);
                    self.tell(index, event);
                }
            }
        }
    }

    fn tell(&mut self, index: usize, event: Event) {
        let all = self.sabotage == Sabotage::QuietIsToldToAll && event == Event::Quiescent;
        for other in 0..self.posts.len() {
            if other == index || all {
                self.step(Some(other), event);
            }
        }
    }

    fn exit(&mut self) {
        self.exited = true;
        for index in 0..self.connections.len() {
            if let Some(mut connection) = self.connections[index].take() {
                let post = &self.posts[self.script.clients[index].listener];
                connection.exit(self.now, reason_of(&post.orders), &mut self.books);
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

    fn write(&mut self, what: What) {
        self.history.push(Deed { at: self.now, what });
    }

    fn note(&mut self, what: &dyn Debug) {
        if let Some(trace) = &mut self.trace {
            let millis = self.now.since_start().as_secs_f64() * 1e3;
            trace.push(format!("{millis:>10.3} ms  {what:?}"));
        }
    }
}

/// Take every listener into the group.
fn posts(script: &Script, group: &mut Group, sabotage: Sabotage) -> Vec<Post> {
    let name = |index: &usize| Arc::from(index.to_string());
    let listeners = script.listeners.iter().enumerate();
    let posts = listeners.map(|(index, listener)| {
        let mut after: Vec<_> = listener.after.iter().map(name).collect();
        if sabotage == Sabotage::NobodyWaits {
            after.clear();
        }
        let id = group.add(name(&index), after);
        Post::new(id, Orders::carry_on(script.plan))
    });
    posts.collect()
}
