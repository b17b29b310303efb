//! What the plan's numbers say of one listener's drain, once it is known when
//! it began, what was given on top and who was cut. Nothing here asks the
//! group or the orders: an order that is wrong must not excuse who obeyed it.

use ebbtide::drain::{Action, CUT_LIMIT, Plan, Protocol, REFUSE_LIMIT, Stage, Timestamp};
use std::time::Duration;

/// The drain of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) plan: Plan,
    pub(crate) started: Option<Timestamp>,
    /// Its drain was asked for alone.
    pub(crate) alone: bool,
    /// Others are to be gone first.
    pub(crate) waits: bool,
    pub(crate) refuse: Option<Timestamp>,
    /// When an operator cut everything.
    pub(crate) operator: Option<Timestamp>,
    pub(crate) closed: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
    /// It was just taken back, and nobody was told so far.
    pub(crate) taken_back: bool,
    /// What was done for it, and when.
    pub(crate) done: Vec<(Timestamp, Action)>,
    /// When more time was asked for, and how much.
    given: Vec<(Timestamp, Duration)>,
}

impl Course {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            started: None,
            alone: false,
            waits: false,
            refuse: None,
            operator: None,
            closed: None,
            ended: None,
            taken_back: false,
            done: Vec::new(),
            given: Vec::new(),
        }
    }

    /// Nothing of it is left, but that somebody has to be told.
    pub(crate) fn take_back(&mut self) {
        *self = Self::new(self.plan);
        self.taken_back = true;
    }

    /// When a drain that waits for nobody refuses.
    pub(crate) fn announced(&self) -> Option<Timestamp> {
        self.started.map(|started| started + self.plan.announce)
    }

    pub(crate) fn give(&mut self, at: Timestamp, by: Duration) {
        if self.operator.is_none() {
            self.given.push((at, by));
        }
    }

    /// The deadline of a protocol, as it was known at `then`: more time is for
    /// those whose deadline was ahead as it was asked for.
    pub(crate) fn deadline(&self, protocol: Protocol, then: Timestamp) -> Option<Timestamp> {
        let mut deadline = self.refuse? + self.plan.finish_for(protocol);
        for (at, by) in &self.given {
            if *at <= then && *at < deadline {
                deadline = deadline + *by;
            }
        }
        Some(deadline)
    }

    /// All that was given to a protocol.
    pub(crate) fn extended(&self, protocol: Protocol) -> Duration {
        let planned = self.refuse.map(|at| at + self.plan.finish_for(protocol));
        let deadline = self.deadline(protocol, Timestamp::MAX);
        let extended = deadline.zip(planned);
        extended.map_or(Duration::ZERO, |(deadline, planned)| {
            deadline.saturating_since(planned)
        })
    }

    pub(crate) fn first_deadline(&self, then: Timestamp) -> Option<Timestamp> {
        let all = Protocol::ALL.into_iter();
        all.filter_map(|protocol| self.deadline(protocol, then))
            .min()
    }

    pub(crate) fn last_deadline(&self, then: Timestamp) -> Option<Timestamp> {
        let all = Protocol::ALL.into_iter();
        all.filter_map(|protocol| self.deadline(protocol, then))
            .max()
    }

    /// When everything that is left is cut.
    pub(crate) fn all_cut(&self, then: Timestamp) -> Option<Timestamp> {
        let planned = self.last_deadline(then)? + self.plan.farewell;
        Some(self.operator.map_or(planned, |at| planned.min(at)))
    }

    /// When it is over, whatever peers do.
    pub(crate) fn latest(&self, then: Timestamp) -> Option<Timestamp> {
        self.all_cut(then).map(|cut| cut + CUT_LIMIT)
    }

    /// Whether it is not over at `then`.
    pub(crate) fn lives(&self, then: Timestamp) -> bool {
        self.ended.is_none() && self.latest(then).is_none_or(|latest| then < latest)
    }

    pub(crate) fn retire(&self, then: Timestamp) -> Option<Timestamp> {
        let refuse = self.refuse?;
        let limit = self.first_deadline(then)?.min(refuse + REFUSE_LIMIT);
        let causes = [self.closed.map(|at| at.max(refuse)), self.operator];
        Some(causes.into_iter().flatten().fold(limit, Timestamp::min))
    }

    /// When an action is due. `None` for what no plan has a time for.
    pub(crate) fn due(&self, action: Action, now: Timestamp) -> Option<Timestamp> {
        let told = |at: Timestamp| self.operator.map_or(at, |cut| at.min(cut));
        match action {
            Action::EnterStage(Stage::Announce) | Action::FailReadiness => self.started,
            Action::EnterPhase(_) | Action::EnterStage(Stage::Refuse) | Action::Refuse => {
                self.refuse
            }
            Action::EnterStage(Stage::Retire) | Action::Retire => self.retire(now),
            Action::EnterStage(Stage::Finish) => {
                let spread = self.retire(now)? + self.plan.spread;
                Some(spread.min(self.first_deadline(now)?))
            }
            Action::EnterStage(Stage::Farewell) => self.first_deadline(now),
            Action::EnterStage(Stage::Cut) => {
                Some(told(self.first_deadline(now)? + self.plan.farewell))
            }
            Action::Farewell(protocol) => self.deadline(protocol, now),
            Action::Cut(protocol) => Some(told(self.deadline(protocol, now)? + self.plan.farewell)),
            Action::RestoreReadiness | Action::Terminate => None,
        }
    }

    /// When an action was done.
    pub(crate) fn did(&self, action: Action) -> Option<Timestamp> {
        let mut done = self.done.iter();
        done.find(|(_, done)| *done == action).map(|(at, _)| *at)
    }
}
