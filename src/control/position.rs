//! Where the process and its listeners stand: what readers are shown.
//!
//! Invariant: a [`Status`] is of one instant; it is replaced as a whole.
//!
//! Deliberately absent: connections. Those are in the live table.

use super::server::ServerName;
use super::{Predecessor, ServerStatus};
use crate::drain::{
    CUT_LIMIT, Machine, Phase, Plan, REFUSE_LIMIT, Receipt, Stage, StageSpan, Timestamp, Trigger,
};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How far something is on its way: the process, or one of its listeners.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Position {
    /// The lifecycle position.
    pub phase: Phase,
    /// The stage of the drain under way.
    pub stage: Option<Stage>,
    /// Readiness: whether new traffic should be sent here.
    pub ready: bool,
    /// Who began the drain under way.
    pub trigger: Option<Trigger>,
    /// When the drain under way began.
    pub started: Option<Timestamp>,
    /// When listeners began to refuse.
    pub refused: Option<Timestamp>,
    /// When nothing may be left, whatever peers do.
    pub latest: Option<Timestamp>,
    /// The timeline of the drain under way, or of the next one.
    pub plan: Plan,
    /// The stages that the drain has reached.
    pub stages: Vec<StageSpan>,
    /// The id of the drain's trace, if traces are sent.
    pub trace: Option<Arc<str>>,
}

impl Position {
    /// The position of what has just begun.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            phase: Phase::Idle,
            stage: None,
            ready: false,
            trigger: None,
            started: None,
            refused: None,
            latest: None,
            plan,
            stages: Vec::new(),
            trace: None,
        }
    }

    /// Where this machine stands.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        Self {
            phase: machine.phase(),
            stage: machine.stage(),
            ready: machine.phase() == Phase::Active && machine.started().is_none(),
            trigger: machine.trigger(),
            started: machine.started(),
            refused: machine.orders().refuse_at,
            latest: machine.latest(),
            plan: *machine.plan(),
            stages: machine.timeline().to_vec(),
            trace: None,
        }
    }

    /// The same in a drain with this trace.
    #[must_use]
    pub fn traced(self, trace: Option<&Arc<str>>) -> Self {
        Self {
            trace: trace.cloned(),
            ..self
        }
    }

    /// Whether a drain is under way, announce included.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.started.is_some() && self.phase != Phase::Terminated
    }

    /// When the stage that this listener of a `process` is in is to be over,
    /// by the plan that is followed; `None` unless it is being drained. One
    /// that waits for others has as long as the process.
    #[must_use]
    pub fn stage_ends(&self, process: &Self) -> Option<Timestamp> {
        let stage = self.stage.filter(|_| self.draining())?;
        let mut spans = self.stages.iter().rev();
        let last = spans.find(|span| span.stage == stage);
        let began = last.map(|span| span.began).or(self.started)?;
        let waits = self.refused.is_none() && process.refused.is_some() && process.draining();
        // Of several protocols the first to be told begins the next stage.
        let deadline = self.refused.unwrap_or(began) + self.plan.shortest_finish();
        match stage {
            Stage::Announce if waits => process.latest,
            Stage::Announce => Some(began + self.plan.announce),
            Stage::Refuse => Some(began + REFUSE_LIMIT),
            Stage::Retire => Some(began + self.plan.spread),
            Stage::Finish => Some(deadline),
            Stage::Farewell => Some(deadline + self.plan.farewell),
            Stage::Cut => Some(self.latest.unwrap_or(began + CUT_LIMIT)),
        }
    }

    /// How long the drain under way may take from its beginning to its end,
    /// by its plan, with what was given on top and the time that cutting
    /// takes; `None` if none has begun.
    #[must_use]
    pub fn planned(&self) -> Option<Duration> {
        Some(self.latest?.saturating_since(self.started?))
    }
}

/// One listener: where it is bound, and how far it is.
#[derive(Clone, PartialEq, Debug)]
pub struct ListenerStatus {
    /// Its name in the config.
    pub name: Arc<str>,
    /// The address that it is bound to.
    pub address: SocketAddr,
    /// How far it is.
    pub position: Position,
    /// What its own drain did, once that is over.
    pub receipt: Option<Arc<Receipt>>,
}

/// Where the process and its listeners stand, at one instant.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// The process.
    pub process: Position,
    /// How long a drain of the process takes at most, from its beginning.
    pub longest: Duration,
    /// The listeners, in the order of the config.
    pub listeners: Vec<ListenerStatus>,
    /// The file of the config in force.
    pub config: PathBuf,
    /// Where a successor asks, if anywhere.
    pub door: Option<PathBuf>,
    /// Who took over, if anybody did.
    pub successor: Option<u32>,
    /// Who went before and still has work in flight, the last one first.
    pub predecessors: Vec<Predecessor>,
    /// The servers that are drained or being drained.
    pub servers: Vec<ServerStatus>,
}

impl Status {
    /// The status of a process that has just begun.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            process: Position::new(plan),
            longest: plan.announce + plan.longest_finish() + plan.farewell,
            listeners: Vec::new(),
            config: PathBuf::new(),
            door: None,
            successor: None,
            predecessors: Vec::new(),
            servers: Vec::new(),
        }
    }

    /// The listener of this name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&ListenerStatus> {
        let mut named = self.listeners.iter().filter(|one| &*one.name == name);
        named.next_back()
    }

    /// The server of this name, if it is drained or being drained. One that
    /// configs have comes before one that they had.
    #[must_use]
    pub fn server(&self, name: &ServerName) -> Option<&ServerStatus> {
        let named = self.servers.iter().filter(|one| one.name == *name);
        // Of several that were removed, the last.
        named.max_by_key(|one| !one.removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::{Event, Group, Whom};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_secs(seconds))
    }

    fn process(group: &Group) -> Position {
        Position {
            phase: group.phase(),
            stage: group.stage(),
            started: group.started(),
            refused: group.refused(),
            latest: group.latest(),
            ..Position::new(group.followed())
        }
    }

    #[test]
    fn each_stage_ends_when_the_plan_says() {
        let mut machine = Machine::new(Plan::default());
        machine.handle(Event::Reached(Phase::Active), at(1));
        let ends = |machine: &Machine| {
            let own = Position::of(machine);
            own.stage_ends(&own).map(Timestamp::since_start)
        };
        assert_eq!(ends(&machine), None, "nothing is drained");
        machine.handle(Event::Drain(Trigger::Sigterm), at(100));
        let seconds = Duration::from_secs;
        // The defaults: announce 5, spread 2, finish 10 or 20, farewell 2.
        for (stage, event, now, end) in [
            (Stage::Announce, Event::Elapsed, 100, seconds(105)),
            (
                Stage::Refuse,
                Event::Elapsed,
                105,
                seconds(105) + REFUSE_LIMIT,
            ),
            (Stage::Retire, Event::Refused, 105, seconds(107)),
            (Stage::Finish, Event::Elapsed, 107, seconds(115)),
            (Stage::Farewell, Event::Elapsed, 115, seconds(117)),
            (Stage::Cut, Event::Elapsed, 117, seconds(127) + CUT_LIMIT),
        ] {
            machine.handle(event, at(now));
            assert_eq!(machine.stage(), Some(stage));
            assert_eq!(ends(&machine), Some(end), "{stage:?}");
        }
        let planned = Position::of(&machine).planned();
        assert_eq!(planned, Some(seconds(27) + CUT_LIMIT));
        machine.handle(Event::Quiescent, at(127));
        assert_eq!(ends(&machine), None, "it is over");
    }

    #[test]
    fn one_that_waits_for_others_has_as_long_as_the_process() {
        let mut group = Group::new(Plan::default());
        group.add("grpc".into(), Vec::new());
        let web = group.add("web".into(), vec!["grpc".into()]);
        group.handle(Whom::Process, Event::Reached(Phase::Active), at(1));
        group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), at(100));
        let ends = |group: &Group| {
            let web = group.member(web).expect("there").machine();
            Position::of(web).stage_ends(&process(group))
        };
        assert_eq!(ends(&group), Some(at(105)), "all announce");
        group.handle(Whom::Process, Event::Elapsed, at(106));
        assert_eq!(ends(&group), group.latest(), "its turn may come late");
        let both = Duration::from_secs(5 + 2 * 22) + CUT_LIMIT * 2;
        assert_eq!(process(&group).planned(), Some(both));
    }
}
