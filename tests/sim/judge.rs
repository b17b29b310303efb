//! Reads the history like an auditor: every wish has the effect and the answer
//! that it must have, every action comes once and in its time, and what the
//! process does is what its listeners do.

use crate::course::Course;
use crate::history::{Deed, What};
use crate::invariants::{Verdict, ensure};
use crate::script::Party;
use crate::world::{LATE_TIMER, World};
use ebbtide::drain::{Action, Answer, Event, Phase, Stage, Timestamp};

/// What the history says.
pub(crate) struct Judge<'a> {
    world: &'a World,
    pub(crate) listeners: Vec<Course>,
    /// The process: a course without deadlines of its own.
    pub(crate) process: Course,
    active: bool,
}

impl<'a> Judge<'a> {
    /// Read all of it; the first violation in words.
    pub(crate) fn read(world: &'a World) -> Result<Self, String> {
        let course = Course::new(world.script.plan);
        let mut judge = Self {
            world,
            listeners: vec![course.clone(); world.posts.len()],
            process: course,
            active: false,
        };
        for Deed { at, what } in &world.history {
            let read = match *what {
                What::Asked(whom, event, answer) => judge.asked(whom, event, answer, *at),
                What::Did(Some(index), action) => judge.did(index, action, *at),
                What::Did(None, action) => judge.process_did(action, *at),
                What::Closed(index) => {
                    judge.listeners[index].closed = Some(*at);
                    Ok(())
                }
                What::Stands { ready, .. } => judge.stands(ready),
            };
            let millis = at.since_start().as_secs_f64() * 1e3;
            read.map_err(|why| format!("at {millis} ms, {what:?}: {why}"))?;
        }
        Ok(judge)
    }

    /// Time has passed: what was due before `at` has been done by now.
    fn settle(&mut self, at: Timestamp) {
        let courses = self.listeners.iter_mut().filter(|course| !course.waits);
        for course in courses.chain([&mut self.process]) {
            if course.refuse.is_none() {
                course.refuse = course.announced().filter(|due| *due <= at);
            }
        }
    }

    fn asked(&mut self, whom: Party, event: Event, answer: Answer, at: Timestamp) -> Verdict {
        self.settle(at);
        let effect = match (whom, event) {
            (None, Event::Drain(_)) => self.drain(at),
            (None, Event::Cancel) => self.cancel(at),
            (None, Event::CutNow) => self.cut_now(at),
            (None, Event::Extend(by)) => {
                let begun = self.process.started.is_some();
                let all = 0..self.listeners.len();
                begun && all.filter(|one| self.extend(*one, by, at)).count() > 0
            }
            (Some(one), Event::Drain(_)) => self.drain_alone(one, at),
            (Some(one), Event::Cancel) => self.process.started.is_none() && self.take_back(one, at),
            (Some(one), Event::CutNow) => {
                self.drain_alone(one, at);
                self.cut(one, at)
            }
            (Some(one), Event::Extend(by)) => self.extend(one, by, at),
            _ => return Ok(()),
        };
        ensure(effect == (answer == Answer::Accepted), || {
            format!("has an effect: {effect}")
        })
    }

    /// Whether the process is there at `at`.
    fn lives(&self, at: Timestamp) -> bool {
        let any = self.listeners.iter().any(|course| course.lives(at));
        self.process.ended.is_none() && (any || self.process.refuse.is_none())
    }

    fn drain(&mut self, at: Timestamp) -> bool {
        let fresh = self.process.started.is_none() && self.process.ended.is_none();
        if fresh {
            self.process.started = Some(at);
            for one in 0..self.listeners.len() {
                let waits = self.predecessors(one).any(|other| other.lives(at));
                let course = &mut self.listeners[one];
                if course.started.is_none() {
                    course.started = Some(at);
                    course.waits = waits;
                }
            }
            self.settle(at);
        }
        fresh
    }

    fn drain_alone(&mut self, one: usize, at: Timestamp) -> bool {
        let course = &mut self.listeners[one];
        let fresh = course.started.is_none();
        if fresh {
            course.started = Some(at);
            course.alone = true;
        }
        fresh
    }

    fn take_back(&mut self, one: usize, at: Timestamp) -> bool {
        let course = &mut self.listeners[one];
        let possible = course.refuse.is_none() && course.announced().is_some_and(|due| at < due);
        if possible {
            course.take_back();
        }
        possible
    }

    fn cancel(&mut self, at: Timestamp) -> bool {
        let possible = self.process.started.is_some() && self.process.refuse.is_none();
        if possible {
            for one in 0..self.listeners.len() {
                if self.listeners[one].alone {
                    continue;
                }
                if !self.take_back(one, at) {
                    // Cut alone before: there is no way back for it.
                    self.listeners[one].alone = true;
                }
            }
            self.process.take_back();
        }
        possible
    }

    fn cut_now(&mut self, at: Timestamp) -> bool {
        let begun = self.process.started.is_none() && self.drain(at);
        if !self.lives(at) {
            return begun;
        }
        let refused = self.process.refuse.is_none();
        self.process.refuse.get_or_insert(at);
        self.process.operator.get_or_insert(at);
        let all = 0..self.listeners.len();
        let cut = all.filter(|one| self.cut(*one, at)).count() > 0;
        begun || refused || cut
    }

    fn cut(&mut self, one: usize, at: Timestamp) -> bool {
        let course = &mut self.listeners[one];
        let open = course.lives(at) && course.all_cut(at).is_none_or(|cut| at < cut);
        if open {
            course.refuse.get_or_insert(at);
            course.operator.get_or_insert(at);
        }
        open
    }

    fn extend(&mut self, one: usize, by: std::time::Duration, at: Timestamp) -> bool {
        let course = &mut self.listeners[one];
        let begun = course.started.is_some() && course.lives(at) && course.operator.is_none();
        let ahead = course.last_deadline(at).is_none_or(|last| at < last);
        if begun && ahead {
            course.give(at, by);
        }
        begun && ahead
    }

    fn predecessors(&self, one: usize) -> impl Iterator<Item = &Course> {
        let after = self.world.script.listeners[one].after.iter();
        after.map(|other| &self.listeners[*other])
    }

    /// When a listener that waits may refuse.
    fn turn(&self, one: usize, at: Timestamp) -> Result<Timestamp, String> {
        let course = &self.listeners[one];
        if let Some(operator) = course.operator {
            return Ok(operator);
        }
        let mut turn = self.process.refuse.ok_or("refuses before the process")?;
        if self.world.script.circular {
            // Who of them is first, is nobody's promise.
            return Ok(at);
        }
        for other in self.predecessors(one) {
            let gone = other.ended.ok_or("refuses before those it waits for")?;
            turn = turn.max(gone);
        }
        Ok(turn)
    }

    fn did(&mut self, one: usize, action: Action, at: Timestamp) -> Verdict {
        self.settle(at);
        if action == Action::EnterPhase(Phase::Draining) && self.listeners[one].waits {
            let turn = self.turn(one, at)?;
            in_time(at, turn)?;
            self.listeners[one].refuse = Some(at);
        }
        let course = &mut self.listeners[one];
        if action == Action::RestoreReadiness {
            return ensure(std::mem::take(&mut course.taken_back), || {
                "nobody took it back".to_owned()
            });
        }
        ensure(course.ended.is_none(), || "it was over before".to_owned())?;
        ensure(course.did(action).is_none(), || "a second time".to_owned())?;
        course.done.push((at, action));
        match action {
            Action::EnterPhase(Phase::Terminated) => Ok(()),
            Action::Terminate => self.ends(one, at),
            action => in_time(at, course.due(action, at).ok_or("too early")?),
        }
    }

    /// One listener is over: with the last one that left, or when its time was.
    fn ends(&mut self, one: usize, at: Timestamp) -> Verdict {
        let course = &mut self.listeners[one];
        course.ended = Some(at);
        let stays = self.world.books.stays.iter();
        let mut stays = stays.filter(|stay| stay.listener == one).peekable();
        let last = stays.clone().map(|stay| stay.ended).max();
        let closed = course.closed.filter(|_| stays.all(|stay| stay.ended <= at));
        if let Some(closed) = closed {
            let last = last.unwrap_or(closed).max(closed);
            // A cut by its last deadline may be the end of the last one.
            ensure(at == last, || format!("the last one left at {last:?}"))?;
        } else {
            in_time(at, course.latest(at).ok_or("ends without refuse")?)?;
        }
        for (protocol, action) in ebbtide::drain::Protocol::ALL
            .into_iter()
            .map(|protocol| (protocol, Action::Cut(protocol)))
        {
            let due = course.due(action, at).ok_or("ends without refuse")?;
            let done = course.did(action).is_some();
            ensure(done || at <= due + LATE_TIMER, || {
                format!("{protocol:?} was not cut at {due:?}")
            })?;
        }
        Ok(())
    }

    fn process_did(&mut self, action: Action, at: Timestamp) -> Verdict {
        self.settle(at);
        let process = &mut self.process;
        if action == Action::RestoreReadiness {
            return ensure(std::mem::take(&mut process.taken_back), || {
                "nobody took it back".to_owned()
            });
        }
        ensure(process.ended.is_none(), || "it was over before".to_owned())?;
        ensure(process.did(action).is_none(), || "a second time".to_owned())?;
        process.done.push((at, action));
        match action {
            Action::EnterPhase(phase) if phase < Phase::Draining => {
                self.active |= phase == Phase::Active;
                Ok(())
            }
            Action::EnterPhase(Phase::Terminated) => Ok(()),
            Action::EnterStage(stage) if stage > Stage::Refuse => {
                // A listener that was cut alone is ahead of the process.
                let first = self.first(stage).max(self.did_refuse());
                let begun = self.first(stage).is_some() && first == Some(at);
                ensure(begun, || format!("its first was at {first:?}"))
            }
            Action::Terminate => self.process_ends(at),
            action => in_time(at, process.due(action, at).ok_or("too early")?),
        }
    }

    fn did_refuse(&self) -> Option<Timestamp> {
        self.process.did(Action::EnterStage(Stage::Refuse))
    }

    /// When the first of those that drain with the process began a stage.
    fn first(&self, stage: Stage) -> Option<Timestamp> {
        let joined = self.listeners.iter().filter(|course| !course.alone);
        joined
            .filter_map(|course| course.did(Action::EnterStage(stage)))
            .min()
    }

    fn process_ends(&mut self, at: Timestamp) -> Verdict {
        let mut last = self.process.refuse.ok_or("ends without refuse")?;
        for (index, course) in self.listeners.iter().enumerate() {
            let ended = course.ended;
            last = last.max(ended.ok_or_else(|| format!("listener {index} is still there"))?);
        }
        in_time(at, last)?;
        let later = Stage::ALL
            .into_iter()
            .filter(|stage| *stage > Stage::Refuse);
        for stage in later {
            let Some(first) = self.first(stage) else {
                continue;
            };
            let further = |other: &Stage| self.first(*other).is_some_and(|at| at < first);
            let overtaken = Stage::ALL
                .iter()
                .any(|other| *other > stage && further(other));
            let entered = self.process.did(Action::EnterStage(stage)).is_some();
            ensure(entered || overtaken, || format!("{stage:?} was left out"))?;
        }
        self.process.ended = Some(at);
        Ok(())
    }

    fn stands(&self, ready: bool) -> Verdict {
        let silent = |course: &Course| course.taken_back;
        let untold = self.listeners.iter().chain([&self.process]).any(silent);
        ensure(!untold, || {
            "nobody was told that it was taken back".to_owned()
        })?;
        let serves = self.listeners.iter().any(|course| course.started.is_none());
        let expected = self.active && self.process.started.is_none() && serves;
        ensure(ready == expected, || format!("should be {expected}"))
    }
}

/// Timers may be late, nothing may be early.
fn in_time(at: Timestamp, due: Timestamp) -> Verdict {
    ensure((due..=due + LATE_TIMER).contains(&at), || {
        format!("was due at {due:?}")
    })
}
