//! A process and its listeners: several drains that are one.
//!
//! Each listener has a [`Machine`] of its own, since each can be drained
//! alone, taken back alone, or be made to wait for others (`after`). A drain
//! of the process drains every listener that is left; what the process is said
//! to do (phase, stage, timeline) is read off its listeners, so the two can
//! never disagree.
//!
//! Invariants: those of the machine, for the process and for each listener. In
//! a drain of the process a listener refuses only after all that it comes
//! *after* have terminated; the process terminates when its last listener has,
//! and by [`Group::latest`] whatever peers do.
//!
//! Deliberately absent: what a listener is, and servers. A server's drain has
//! a machine like these, but the process does not wait for it: see
//! [`ServerDrain`](super::ServerDrain).

mod member;
mod view;

pub use member::{Member, MemberId};

use super::event::{Action, Answer, Event, Trigger};
use super::machine::Machine;
use super::phase::Phase;
use super::plan::Plan;
use super::stage::Stage;
use super::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Whom an event or an action concerns.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Whom {
    /// The process, and with it every listener.
    Process,
    /// One listener.
    Listener(MemberId),
}

/// The drains of a process and its listeners.
#[derive(Clone, Debug)]
pub struct Group {
    phase: Phase,
    stage: Option<Stage>,
    plan: Plan,
    trigger: Option<Trigger>,
    started: Option<Timestamp>,
    refused: Option<Timestamp>,
    ended: Option<Timestamp>,
    now: Timestamp,
    next: u32,
    members: Vec<Member>,
}

/// What is to be done, and for whom.
type Actions = Vec<(Whom, Action)>;

impl Group {
    /// A process at [`Phase::Idle`] without listeners, that will follow `plan`.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            phase: Phase::Idle,
            stage: None,
            plan,
            trigger: None,
            started: None,
            refused: None,
            ended: None,
            now: Timestamp::ZERO,
            next: 0,
            members: Vec::new(),
        }
    }

    /// Take in a listener. In a drain of the process it refuses only when
    /// every listener that is named in `after` has terminated; names that
    /// nobody has are no hindrance.
    pub fn add(&mut self, name: Arc<str>, after: Vec<Arc<str>>) -> MemberId {
        let id = MemberId(self.next);
        self.next += 1;
        let mut machine = Machine::new(self.plan);
        if self.phase > Phase::Idle {
            machine.handle(Event::Reached(self.phase.min(Phase::Active)), self.now);
        }
        self.members.push(Member {
            id,
            name,
            after,
            machine,
            alone: false,
        });
        id
    }

    /// Take in what happened at `now`, and return what is to be done, in this
    /// order; see [`Machine::handle`]. [`Event::Refused`] and
    /// [`Event::Quiescent`] concern a listener, [`Event::Reached`] the process.
    pub fn handle(&mut self, whom: Whom, event: Event, now: Timestamp) -> Actions {
        let mut actions = Vec::new();
        self.now = self.now.max(now);
        self.catch_up(&mut actions);
        match whom {
            Whom::Process => self.process(event, &mut actions),
            Whom::Listener(id) => self.listener(id, event, &mut actions),
        }
        self.catch_up(&mut actions);
        actions
    }

    /// What to answer to whoever asks for this at `now`: whether
    /// [`Group::handle`] would do it.
    #[must_use]
    pub fn answer(&self, whom: Whom, event: Event, now: Timestamp) -> Answer {
        let mut then = self.clone();
        then.handle(Whom::Process, Event::Elapsed, now);
        match whom {
            Whom::Process => then.answer_process(event),
            Whom::Listener(id) => then
                .member(id)
                .map_or(Answer::TooLate, |member| match event {
                    Event::Cancel if then.started.is_some() => Answer::OfProcess,
                    event => member.machine.answer(event, now),
                }),
        }
    }

    fn answer_process(&self, event: Event) -> Answer {
        let live = || self.members.iter().filter(|member| !member.is_over());
        let over = self.phase == Phase::Terminated;
        match event {
            Event::Drain(_) | Event::CutNow if over => Answer::TooLate,
            Event::Drain(_) if self.started.is_some() => Answer::Already,
            Event::Cancel if self.cancel_allowed() => Answer::Accepted,
            Event::Cancel | Event::Extend(_) if self.started.is_none() => Answer::NotDraining,
            Event::Cancel => Answer::TooLate,
            Event::Extend(_) => {
                let mut answers = live().map(|member| member.machine.answer(event, self.now));
                if answers.any(|answer| answer == Answer::Accepted) {
                    Answer::Accepted
                } else {
                    Answer::TooLate
                }
            }
            // Before refuse it ends announce at least, even with nobody left.
            Event::CutNow if self.phase == Phase::Draining => {
                let mut answers = live().map(|member| member.machine.answer(event, self.now));
                if answers.all(|answer| answer == Answer::Already) {
                    Answer::Already
                } else {
                    Answer::Accepted
                }
            }
            _ => Answer::Accepted,
        }
    }

    /// When to call [`Group::handle`] with [`Event::Elapsed`] at the latest;
    /// `None` while nothing is planned.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let machines = self.members.iter().map(|member| &member.machine);
        machines
            .filter_map(Machine::next_deadline)
            .chain(self.refuse_due())
            .min()
    }

    /// Listeners that the drain of the process concerns.
    fn joined(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.alone)
    }

    fn refuse_due(&self) -> Option<Timestamp> {
        let waits = self.phase == Phase::Active;
        let started = self.started.filter(|_| waits)?;
        Some(started + self.announce())
    }

    /// How long the drain under way announces.
    fn announce(&self) -> Duration {
        if self.hands_over() {
            Duration::ZERO
        } else {
            self.plan.announce
        }
    }

    fn hands_over(&self) -> bool {
        self.trigger.is_some_and(Trigger::hands_over)
    }

    fn process(&mut self, event: Event, actions: &mut Actions) {
        match event {
            Event::Reached(phase) => self.reached(phase, actions),
            Event::Drain(trigger) => self.start(trigger, actions),
            Event::Cancel => self.cancel(actions),
            Event::CutNow => self.cut_now(actions),
            Event::Extend(_) if self.started.is_some() => self.tell_all(event, actions),
            _ => {}
        }
    }

    fn listener(&mut self, id: MemberId, event: Event, actions: &mut Actions) {
        let joined = self.started.is_some();
        let Some(member) = self.members.iter_mut().find(|member| member.id == id) else {
            return;
        };
        match event {
            // Whether it waits is decided here, and phases are the process's.
            Event::Hold | Event::Release | Event::Reached(_) => return,
            Event::Drain(_) | Event::CutNow if self.phase < Phase::Active => return,
            Event::Drain(_) | Event::CutNow if member.machine.started().is_none() => {
                member.alone = true;
            }
            Event::Cancel if joined => return,
            _ => {}
        }
        self.tell(id, event, actions);
        let taken_back = |member: &&mut Member| member.id == id && event == Event::Cancel;
        if let Some(member) = self.members.iter_mut().find(taken_back) {
            member.alone &= member.machine.started().is_some();
        }
    }

    fn tell(&mut self, id: MemberId, event: Event, actions: &mut Actions) {
        let now = self.now;
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            let done = member.machine.handle(event, now);
            let whom = Whom::Listener(id);
            actions.extend(done.into_iter().map(|action| (whom, action)));
        }
    }

    fn tell_all(&mut self, event: Event, actions: &mut Actions) {
        for index in 0..self.members.len() {
            self.tell(self.members[index].id, event, actions);
        }
    }

    fn reached(&mut self, phase: Phase, actions: &mut Actions) {
        if phase > self.phase && phase <= Phase::Active {
            self.enter_phase(phase, actions);
            // The process speaks for its listeners until they go their ways.
            self.tell_all(Event::Reached(phase), &mut Vec::new());
        }
    }

    fn start(&mut self, trigger: Trigger, actions: &mut Actions) {
        if self.phase == Phase::Terminated {
            return;
        }
        if self.started.is_some() {
            // What was handed over may be wanted gone.
            self.tell_all(Event::Drain(trigger), actions);
            return;
        }
        self.trigger = Some(trigger);
        self.started = Some(self.now);
        if self.phase < Phase::Active {
            self.terminate(self.now, actions);
            return;
        }
        if !trigger.hands_over() {
            self.enter_stage(Stage::Announce, actions);
            actions.push((Whom::Process, Action::FailReadiness));
            for id in self.waiting() {
                self.tell(id, Event::Hold, actions);
            }
        }
        self.tell_all(Event::Drain(trigger), actions);
    }

    /// Listeners that come after one that is still there.
    fn waiting(&self) -> Vec<MemberId> {
        let live = |name: &Arc<str>, but: MemberId| {
            let mut members = self.members.iter();
            members.any(|other| other.id != but && other.name == *name && !other.is_over())
        };
        self.members
            .iter()
            .filter(|member| !member.alone)
            .filter(|member| member.after.iter().any(|name| live(name, member.id)))
            .map(Member::id)
            .collect()
    }

    fn cancel(&mut self, actions: &mut Actions) {
        if !self.cancel_allowed() {
            return;
        }
        let joined: Vec<_> = self.joined().map(Member::id).collect();
        for id in joined {
            self.tell(id, Event::Cancel, actions);
        }
        // One that was cut meanwhile has no way back, and goes on alone.
        for member in &mut self.members {
            member.alone |= member.machine.started().is_some();
        }
        self.trigger = None;
        self.started = None;
        self.stage = None;
        actions.push((Whom::Process, Action::RestoreReadiness));
    }

    fn cut_now(&mut self, actions: &mut Actions) {
        self.start(Trigger::Sigint, actions);
        if self.phase == Phase::Terminated {
            return;
        }
        self.refuse(self.now, actions);
        self.tell_all(Event::CutNow, actions);
    }

    fn refuse(&mut self, at: Timestamp, actions: &mut Actions) {
        if self.phase == Phase::Active {
            self.refused = Some(at);
            self.enter_phase(Phase::Draining, actions);
            if !self.hands_over() {
                self.enter_stage(Stage::Refuse, actions);
            }
        }
    }

    fn catch_up(&mut self, actions: &mut Actions) {
        if let Some(due) = self.refuse_due()
            && due <= self.now
        {
            self.refuse(due, actions);
        }
        self.tell_all(Event::Elapsed, actions);
        if self.phase == Phase::Draining {
            self.release(actions);
            self.follow(actions);
        }
    }

    /// Let those go on whose turn it is. One that is over in the same instant
    /// gives way to the next.
    fn release(&mut self, actions: &mut Actions) {
        for _ in 0..self.members.len() {
            let waiting = self.waiting();
            let held = self.joined().filter(|member| member.machine.held());
            let held: Vec<_> = held.map(Member::id).collect();
            let free = held.iter().filter(|id| !waiting.contains(id));
            let mut free: Vec<_> = free.copied().collect();
            let left = self.members.iter().filter(|member| !member.is_over());
            if free.is_empty() && left.count() == held.len() {
                // They wait for each other; a check refuses that, but no
                // drain may hang on one.
                free = held;
            }
            if free.is_empty() {
                return;
            }
            for id in free {
                self.tell(id, Event::Release, actions);
            }
        }
    }

    /// The process is as far as its listeners are.
    fn follow(&mut self, actions: &mut Actions) {
        let furthest = self.joined().filter_map(|member| member.machine.stage());
        if let Some(furthest) = furthest.max() {
            for stage in Stage::ALL.into_iter().filter(|stage| *stage <= furthest) {
                // A stage that every listener left out was none of the process's.
                if self.span(stage).is_some() {
                    self.enter_stage(stage, actions);
                }
            }
        }
        if self.members.iter().all(Member::is_over) {
            let ends = self
                .members
                .iter()
                .filter_map(|member| member.machine.ended());
            let last = ends.max().max(self.refused).unwrap_or(self.now);
            self.terminate(last, actions);
        }
    }

    fn terminate(&mut self, at: Timestamp, actions: &mut Actions) {
        self.ended = Some(at);
        self.enter_phase(Phase::Terminated, actions);
        actions.push((Whom::Process, Action::Terminate));
    }

    fn enter_phase(&mut self, phase: Phase, actions: &mut Actions) {
        self.phase = phase;
        actions.push((Whom::Process, Action::EnterPhase(phase)));
    }

    fn enter_stage(&mut self, stage: Stage, actions: &mut Actions) {
        if self.stage < Some(stage) {
            self.stage = Some(stage);
            actions.push((Whom::Process, Action::EnterStage(stage)));
        }
    }

    /// Follow another plan from now on. Listeners that are being drained keep
    /// theirs; refused, with `false`, once the process is.
    #[must_use]
    pub fn set_plan(&mut self, plan: Plan) -> bool {
        let free = self.started.is_none() && self.phase != Phase::Terminated;
        if free {
            self.plan = plan;
            for member in &mut self.members {
                let _kept = member.machine.set_plan(plan);
            }
        }
        free
    }

    /// Let a listener come after others than before, in a drain to come.
    pub fn set_after(&mut self, id: MemberId, after: Vec<Arc<str>>) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.after = after;
        }
    }

    /// Forget listeners that a reload took away and that are over.
    pub fn forget(&mut self, id: MemberId) {
        self.members
            .retain(|member| member.id != id || !member.is_over());
    }
}

#[cfg(test)]
mod tests;
