//! The machine that decides every step of a drain.
//!
//! Time and events come in ([`Machine::handle`]), actions go out, and
//! [`Machine::next_deadline`] says when to call again if nothing happens.
//! Process shutdown, a listener that a reload removes, a handover and the
//! drain of one server are all this machine with another shell around it.
//!
//! Invariants: phases never step back; each action comes out at most once per
//! drain, in the order of the plan, however late the calls come; once the
//! last deadline and [`CUT_LIMIT`] have passed the phase is Terminated,
//! whatever peers and shell did or failed to do (a drain that is *held* has no
//! deadline until it is released: see [`Group`](super::Group)). Every call first catches up
//! with all deadlines up to `now`, each at its planned time, so that a late
//! timer changes when things are said but not what is said.
//!
//! Refuse is the commit: before it the drain can be cancelled without a trace,
//! after it there is no way back.
//!
//! Deliberately absent: connections. The machine says which protocols are past
//! their deadline; each connection draws its own conclusion from [`Orders`].

use super::event::{Action, Answer, Event, Trigger};
use super::orders::Orders;
use super::phase::Phase;
use super::plan::Plan;
use super::protocol::{Protocol, Protocols};
use super::receipt::Course;
use super::stage::{Stage, StageSpan};
use super::time::Timestamp;
use std::time::Duration;

/// How long listeners have to empty their accept queues before connections
/// retire regardless.
pub const REFUSE_LIMIT: Duration = Duration::from_secs(1);

/// How long cut connections have to be gone before the machine terminates
/// regardless.
pub const CUT_LIMIT: Duration = Duration::from_millis(500);

/// One drain, from the lifecycle's begin to its end.
#[derive(Clone, Debug)]
pub struct Machine {
    phase: Phase,
    /// The plan as it was given; orders have it with extensions.
    plan: Plan,
    trigger: Option<Trigger>,
    /// Refuse must wait for others.
    held: bool,
    /// When it had to no more.
    released: Timestamp,
    extended: Duration,
    /// Whether a drain after a handover was asked for by somebody who waits.
    hurried: bool,
    /// The latest time ever handed in; time does not go back in here.
    now: Timestamp,
    started: Option<Timestamp>,
    all_cut: Option<Timestamp>,
    ended: Option<Timestamp>,
    orders: Orders,
    timeline: Vec<StageSpan>,
}

/// What the plan does next; the order is that of steps due at the same time.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
enum Step {
    Refuse,
    Retire,
    Finish,
    Farewell(Protocol),
    Cut(Protocol),
    Terminate,
}

impl Machine {
    /// A machine at [`Phase::Idle`] that will follow `plan`.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            phase: Phase::Idle,
            plan,
            trigger: None,
            held: false,
            released: Timestamp::ZERO,
            extended: Duration::ZERO,
            hurried: false,
            now: Timestamp::ZERO,
            started: None,
            all_cut: None,
            ended: None,
            orders: Orders::carry_on(plan),
            timeline: Vec::new(),
        }
    }

    /// Take in what happened at `now`, and return what is to be done, in this
    /// order. Events that make no sense where the machine stands do nothing.
    ///
    /// Whatever the actions are, [`Machine::orders`] and
    /// [`Machine::next_deadline`] may have changed and are to be read again;
    /// orders are to be published before the actions are carried out.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        self.now = self.now.max(now);
        self.catch_up(&mut actions);
        match event {
            Event::Reached(phase) => self.reached(phase, &mut actions),
            Event::Drain(trigger) => self.start(trigger, &mut actions),
            Event::Cancel => self.cancel(&mut actions),
            Event::Extend(by) => self.extend(by),
            Event::Hold => self.held = self.phase < Phase::Draining,
            Event::Release => self.release(),
            Event::CutNow => self.cut_now(&mut actions),
            Event::Refused => {
                if self.orders.draining() && self.orders.retire_from.is_none() {
                    self.retire(self.now, &mut actions);
                }
            }
            Event::Quiescent => {
                if self.awaits_quiescence() {
                    self.terminate(self.now, &mut actions);
                }
            }
            Event::Elapsed => {}
        }
        // A step may be due at once: announce = 0, or spread = 0.
        self.catch_up(&mut actions);
        actions
    }

    /// What to answer to whoever asks for this at `now`: whether
    /// [`Machine::handle`] would do it.
    #[must_use]
    pub fn answer(&self, event: Event, now: Timestamp) -> Answer {
        let mut then = self.clone();
        then.handle(Event::Elapsed, now);
        match event {
            Event::Drain(_) | Event::CutNow if then.phase == Phase::Terminated => Answer::TooLate,
            Event::Drain(_) if then.started.is_some() => Answer::Already,
            Event::Cancel if then.cancel_allowed() => Answer::Accepted,
            Event::Cancel if then.phase < Phase::Draining => Answer::NotDraining,
            Event::Extend(_) if then.extension_allowed() => Answer::Accepted,
            Event::Extend(_) if then.started.is_none() => Answer::NotDraining,
            Event::Cancel | Event::Extend(_) => Answer::TooLate,
            Event::CutNow if then.orders.cut == Protocols::ALL => Answer::Already,
            _ => Answer::Accepted,
        }
    }

    /// When to call [`Machine::handle`] with [`Event::Elapsed`] at the latest;
    /// `None` while nothing is planned.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.next_step().map(|(due, _)| due)
    }

    /// The lifecycle position.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The furthest stage begun; `None` if nothing is being drained.
    #[must_use]
    pub const fn stage(&self) -> Option<Stage> {
        self.orders.stage
    }

    /// What every connection must obey now.
    #[must_use]
    pub const fn orders(&self) -> Orders {
        self.orders
    }

    /// The plan that is followed, or would be.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.orders.plan
    }

    /// Follow another plan from now on. Refused, with `false`, once a drain
    /// has begun: its deadlines have been told to others.
    #[must_use]
    pub fn set_plan(&mut self, plan: Plan) -> bool {
        let free = self.started.is_none() && self.phase != Phase::Terminated;
        if free {
            self.plan = plan;
            self.orders.plan = plan;
        }
        free
    }

    /// When nothing may be left, whatever peers do; `None` while nothing is
    /// drained.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        let started = self.started?;
        let plan = &self.orders.plan;
        let refuse = self.orders.refuse_at.unwrap_or(started + plan.announce);
        Some(refuse + plan.longest_finish() + plan.farewell + CUT_LIMIT)
    }

    /// The time that was given to work in flight on top of the plan.
    #[must_use]
    pub const fn extended(&self) -> Duration {
        self.extended
    }

    /// Whether refuse waits for others.
    #[must_use]
    pub const fn held(&self) -> bool {
        self.held
    }

    /// Whether a drain has begun and some protocol's deadline is still ahead.
    fn extension_allowed(&self) -> bool {
        let live = self.started.is_some() && self.phase != Phase::Terminated;
        live && self.orders.farewell != Protocols::ALL
    }

    /// Whether a drain has begun and has not passed refuse.
    #[must_use]
    pub fn cancel_allowed(&self) -> bool {
        self.phase == Phase::Active && self.started.is_some()
    }

    /// Whether [`Event::Quiescent`] would end the drain. The shell watches for
    /// quiescence only while this holds: before connections retire, listeners
    /// still accept, and "nobody is here" may change its truth.
    #[must_use]
    pub fn awaits_quiescence(&self) -> bool {
        self.phase == Phase::Draining && self.orders.retire_from.is_some()
    }

    /// What started the drain; `None` if nothing did.
    #[must_use]
    pub const fn trigger(&self) -> Option<Trigger> {
        self.trigger
    }

    /// When the drain began.
    #[must_use]
    pub const fn started(&self) -> Option<Timestamp> {
        self.started
    }

    /// When the machine terminated.
    #[must_use]
    pub const fn ended(&self) -> Option<Timestamp> {
        self.ended
    }

    /// When each stage was, in the order of their beginnings.
    #[must_use]
    pub fn timeline(&self) -> &[StageSpan] {
        &self.timeline
    }

    /// The course of the drain, of this listener if named; `None` if none began.
    #[must_use]
    pub fn course(&self, listener: Option<&str>) -> Option<Course> {
        Some(Course {
            listener: listener.map(str::to_owned),
            server: None,
            trigger: self.trigger?,
            started: self.started?,
            ended: self.ended,
            plan: self.orders.plan,
            extended: self.extended,
            timeline: self.timeline.clone(),
        })
    }

    /// The earliest step that the plan has not taken yet. Only the next one
    /// counts: its doing may change the times of all later ones.
    fn next_step(&self) -> Option<(Timestamp, Step)> {
        let started = self.started?;
        if self.phase == Phase::Terminated {
            return None;
        }
        let orders = &self.orders;
        let plan = &orders.plan;
        let Some(refuse) = orders.refuse_at else {
            let due = (started + plan.announce).max(self.released);
            return (!self.held).then_some((due, Step::Refuse));
        };
        // No protocol is ended before it was told to retire, even by a plan
        // whose deadlines lie before the listeners' limit.
        let first_deadline = refuse + plan.shortest_finish();
        let Some(retire) = orders.retire_from else {
            return Some((first_deadline.min(refuse + REFUSE_LIMIT), Step::Retire));
        };
        if let Some(all_cut) = self.all_cut {
            return Some((all_cut + CUT_LIMIT, Step::Terminate));
        }
        if orders.stage < Some(Stage::Finish) {
            return Some((first_deadline.min(retire + plan.spread), Step::Finish));
        }
        let deadline = |protocol| refuse + plan.finish_for(protocol);
        let open = |told: Protocols| {
            let all = Protocol::ALL.into_iter();
            all.filter(move |protocol| !told.contains(*protocol))
        };
        let farewells = open(orders.farewell).map(|p| (deadline(p), Step::Farewell(p)));
        let cuts = open(orders.cut).map(|p| (deadline(p) + plan.farewell, Step::Cut(p)));
        farewells.chain(cuts).min()
    }

    fn catch_up(&mut self, actions: &mut Vec<Action>) {
        while let Some((due, step)) = self.next_step()
            && due <= self.now
        {
            match step {
                Step::Refuse => self.refuse(due, actions),
                Step::Retire => self.retire(due, actions),
                Step::Finish => self.enter_stage(Stage::Finish, due, actions),
                Step::Farewell(protocol) => self.farewell(protocol, due, actions),
                Step::Cut(protocol) => self.cut(protocol, due, actions),
                Step::Terminate => self.terminate(due, actions),
            }
        }
    }

    fn reached(&mut self, phase: Phase, actions: &mut Vec<Action>) {
        // What lies beyond Active is the machine's own to decide.
        if phase > self.phase && phase <= Phase::Active {
            self.enter_phase(phase, actions);
        }
    }

    fn start(&mut self, trigger: Trigger, actions: &mut Vec<Action>) {
        if self.phase == Phase::Terminated {
            return;
        }
        if self.started.is_some() {
            self.hurry(trigger);
            return;
        }
        self.trigger = Some(trigger);
        self.started = Some(self.now);
        if self.phase < Phase::Active {
            // Nothing was accepted, so nobody has to be told.
            self.terminate(self.now, actions);
            return;
        }
        if trigger.hands_over() {
            self.orders.plan = self.plan.after_handover();
            self.orders.handed_over = true;
            self.refuse(self.now, actions);
            return;
        }
        self.enter_stage(Stage::Announce, self.now, actions);
        actions.push(Action::FailReadiness);
    }

    /// Somebody wants the process gone that nobody waited for so far.
    fn hurry(&mut self, trigger: Trigger) {
        if let Some(refuse) = self.orders.refuse_at
            && self.orders.handed_over
            && !trigger.hands_over()
            && !std::mem::replace(&mut self.hurried, true)
        {
            let spent = self.now.saturating_since(refuse);
            let past = self.orders.farewell;
            let finish = &mut self.orders.plan.finish;
            finish.hurry(spent, &self.plan.finish, past);
        }
    }

    fn cancel(&mut self, actions: &mut Vec<Action>) {
        if !self.cancel_allowed() {
            return;
        }
        self.trigger = None;
        self.started = None;
        self.timeline.clear();
        self.extended = Duration::ZERO;
        self.held = false;
        self.orders = Orders::carry_on(self.plan);
        actions.push(Action::RestoreReadiness);
    }

    fn extend(&mut self, by: Duration) {
        if self.extension_allowed() {
            self.extended = self.extended.saturating_add(by);
            let past = self.orders.farewell;
            self.orders.plan.finish.extend(by, past);
        }
    }

    fn release(&mut self) {
        if self.held {
            self.held = false;
            self.released = self.now;
        }
    }

    fn cut_now(&mut self, actions: &mut Vec<Action>) {
        self.start(Trigger::Sigint, actions);
        if self.phase == Phase::Terminated || self.orders.cut == Protocols::ALL {
            return;
        }
        let now = self.now;
        self.held = false;
        if !self.orders.draining() {
            self.refuse(now, actions);
        }
        if self.orders.retire_from.is_none() {
            self.retire(now, actions);
        }
        for span in &mut self.timeline {
            span.ended.get_or_insert(now);
        }
        self.orders.cut_by_operator = true;
        for protocol in Protocol::ALL {
            if !self.orders.cut.contains(protocol) {
                self.cut(protocol, now, actions);
            }
        }
    }

    fn refuse(&mut self, at: Timestamp, actions: &mut Vec<Action>) {
        self.orders.refuse_at = Some(at);
        self.enter_phase(Phase::Draining, actions);
        if !self.orders.handed_over {
            self.close_stage(Stage::Announce, at);
            self.enter_stage(Stage::Refuse, at, actions);
        }
        actions.push(Action::Refuse);
    }

    fn retire(&mut self, at: Timestamp, actions: &mut Vec<Action>) {
        self.orders.retire_from = Some(at);
        self.close_stage(Stage::Refuse, at);
        self.enter_stage(Stage::Retire, at, actions);
        actions.push(Action::Retire);
    }

    fn farewell(&mut self, protocol: Protocol, at: Timestamp, actions: &mut Vec<Action>) {
        self.enter_stage(Stage::Farewell, at, actions);
        self.orders.farewell = self.orders.farewell.with(protocol);
        actions.push(Action::Farewell(protocol));
        if self.orders.farewell == Protocols::ALL {
            self.close_stage(Stage::Finish, at);
        }
    }

    fn cut(&mut self, protocol: Protocol, at: Timestamp, actions: &mut Vec<Action>) {
        self.enter_stage(Stage::Cut, at, actions);
        // Also past its deadline, so that whoever waits for that wakes up.
        self.orders.farewell = self.orders.farewell.with(protocol);
        self.orders.cut = self.orders.cut.with(protocol);
        actions.push(Action::Cut(protocol));
        if self.orders.cut == Protocols::ALL {
            self.close_stage(Stage::Farewell, at);
            self.all_cut = Some(at);
        }
    }

    fn terminate(&mut self, at: Timestamp, actions: &mut Vec<Action>) {
        self.ended = Some(at);
        for span in &mut self.timeline {
            span.ended.get_or_insert(at);
        }
        self.enter_phase(Phase::Terminated, actions);
        actions.push(Action::Terminate);
    }

    fn enter_phase(&mut self, phase: Phase, actions: &mut Vec<Action>) {
        self.phase = phase;
        actions.push(Action::EnterPhase(phase));
    }

    /// Begin a stage, unless it or a later one has begun.
    fn enter_stage(&mut self, stage: Stage, at: Timestamp, actions: &mut Vec<Action>) {
        if self.orders.stage >= Some(stage) {
            return;
        }
        if stage == Stage::Finish {
            self.close_stage(Stage::Retire, at);
        }
        self.orders.stage = Some(stage);
        self.timeline.push(StageSpan {
            stage,
            began: at,
            ended: None,
        });
        actions.push(Action::EnterStage(stage));
    }

    fn close_stage(&mut self, stage: Stage, at: Timestamp) {
        if let Some(span) = self.timeline.iter_mut().find(|span| span.stage == stage) {
            span.ended.get_or_insert(at);
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
