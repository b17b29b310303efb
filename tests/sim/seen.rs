//! What a simulation of drains must bring about, or it proves nothing: each
//! thing is counted over all seeds.

use crate::books::{Fate, While};
use crate::judge::Judge;
use crate::script::{Kind, Pace};
use crate::world::{SLACK, World};
use ebbtide::drain::{Action, CutReason, Event, Hopeless, Outcome, Timestamp};
use std::collections::BTreeMap;

/// How often each thing was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<&'static str, usize>);

impl Seen {
    fn note(&mut self, what: &'static str, count: usize) {
        *self.0.entry(what).or_default() += count;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            self.note(what, *count);
        }
    }

    /// What was seen less often than that.
    pub(crate) fn rarer_than(&self, limit: usize) -> Vec<(&'static str, usize)> {
        let all = self.0.iter().map(|(what, count)| (*what, *count));
        all.filter(|(_, count)| *count < limit).collect()
    }

    pub(crate) fn add(&mut self, world: &World, judge: &Judge<'_>) {
        self.add_exchanges(world, judge);
        self.add_connections(world, judge);
        self.add_listeners(world, judge);
        self.add_wishes(world);
    }

    fn add_exchanges(&mut self, world: &World, judge: &Judge<'_>) {
        let count = |wanted: &dyn Fn(&Fate) -> bool| {
            let fates = world.books.fates.iter();
            fates.filter(|fate| wanted(fate)).count()
        };
        let course = |fate: &Fate| &judge.listeners[fate.listener];
        let pace = |fate: &Fate| world.script.clients[fate.client].pace;
        let farewelled = |fate: &Fate| matches!(fate.outcome, Outcome::Farewelled(_));
        let finished = |fate: &Fate| fate.outcome == Outcome::Finished;
        let cut = |fate: &Fate, reason| fate.outcome == Outcome::Cut(reason);
        self.note("finished", count(&finished));
        self.note("farewelled", count(&farewelled));
        let by_plan = |fate: &Fate| cut(fate, CutReason::Farewell);
        self.note("cut by the plan", count(&by_plan));
        let by_operator = |fate: &Fate| cut(fate, CutReason::Operator);
        self.note("cut by an operator", count(&by_operator));
        let late = |fate: &Fate| Some(fate.began) > course(fate).retire(Timestamp::MAX);
        self.note("late requests", count(&late));
        let raced =
            |fate: &Fate| pace(fate) == Pace::Racing && Some(fate.began) > course(fate).refuse;
        self.note("raced a deadline", count(&raced));
        let saved = |fate: &Fate| {
            let planned = course(fate).refuse;
            let planned = planned.map(|at| at + course(fate).plan.finish_for(fate.protocol));
            finished(fate) && Some(fate.ended) > planned
        };
        self.note("saved by more time", count(&saved));
        let hopeless = |fate: &Fate| {
            let deadline = course(fate).deadline(fate.protocol, Timestamp::MAX);
            farewelled(fate) && Some(fate.ended) < deadline
        };
        let ends = world.script.plan.hopeless == Hopeless::End;
        self.note("hopeless", if ends { count(&hopeless) } else { 0 });
        let less = |fate: &Fate| {
            fate.promised
                .is_some_and(|promised| fate.own > Some(promised))
        };
        self.note("promised less", count(&less));
    }

    fn add_connections(&mut self, world: &World, judge: &Judge<'_>) {
        let stays = &world.books.stays;
        let doing = |doing: While| stays.iter().filter(|stay| stay.doing == doing).count();
        self.note("half-open ones ended", doing(While::HalfOpen));
        self.note("idle ones ended", doing(While::Idle));
        let apart = stays.iter().filter(|stay| {
            let course = &judge.listeners[stay.listener];
            let window = stay.last_activity + course.plan.last_request;
            let told = course.retire(Timestamp::MAX).max(Some(window));
            let alone = stay.doing == While::Idle && stay.kind == Kind::Http1;
            alone && told.is_some_and(|told| stay.ended > told + SLACK)
        });
        self.note("retired later than others", apart.count());
        self.note("open at the exit", usize::from(doing(While::Exit) > 0));
        self.note(
            "accepted late",
            stays.iter().filter(|stay| stay.late).count(),
        );
        let dripping = stays.iter().filter(|stay| {
            let pace = world.script.clients[stay.client].pace;
            stay.doing == While::HalfOpen && matches!(pace, Pace::Dripping(_))
        });
        self.note("drips ended", dripping.count());
        let deaf = stays.iter().filter(|stay| {
            let client = &world.script.clients[stay.client];
            stay.doing == While::Cut && client.leaves.is_none() && stay.kind == Kind::Http2
        });
        self.note("cut for not reading", deaf.count());
        self.note("refused", world.refused.len());
        self.note("let in of a flood", world.flooded);
        let waiting = stays.iter().filter(|stay| {
            let (process, own) = (judge.process.refuse, judge.listeners[stay.listener].refuse);
            Some(stay.accepted) > process && Some(stay.accepted) < own
        });
        self.note("accepted while others drain", waiting.count());
    }

    fn add_listeners(&mut self, world: &World, judge: &Judge<'_>) {
        for course in &judge.listeners {
            let alone = course.alone && course.started < judge.process.started;
            let before = course.ended < judge.process.started;
            self.note("drained alone", usize::from(alone && before));
            self.note("overtaken by the process", usize::from(alone && !before));
            self.note("waited for others", usize::from(course.waits));
            let waited = course.refuse > judge.process.refuse && course.waits;
            self.note("refused after others", usize::from(waited));
            let by_time = course.ended > course.all_cut(Timestamp::MAX);
            self.note("ended by its time", usize::from(by_time));
            self.note("ended early", usize::from(!by_time));
            self.note("stuck", usize::from(course.closed.is_none()));
        }
        let waits = judge.listeners.iter().any(|course| course.waits);
        self.note("in a circle", usize::from(world.script.circular && waits));
    }

    fn add_wishes(&mut self, world: &World) {
        use crate::history::What::{Asked, Did};
        use ebbtide::drain::Answer::Accepted;
        let names = |one: bool, event: Event, good: bool| match (one, event, good) {
            (false, Event::Drain(_), false) => Some("asked twice"),
            (false, Event::Cancel, false) => Some("cancelled too late"),
            (true, Event::Cancel, false) => Some("a listener cancelled in vain"),
            (false, Event::Extend(_), true) => Some("extended"),
            (true, Event::Extend(_), true) => Some("a listener extended"),
            (_, Event::Extend(_), false) => Some("extended too late"),
            (false, Event::CutNow, true) => Some("cut at once"),
            (true, Event::CutNow, true) => Some("a listener cut at once"),
            _ => None,
        };
        for deed in &world.history {
            match deed.what {
                Asked(whom, event, answer) => {
                    if let Some(what) = names(whom.is_some(), event, answer == Accepted) {
                        self.note(what, 1);
                    }
                }
                Did(None, Action::RestoreReadiness) => self.note("taken back", 1),
                Did(Some(_), Action::RestoreReadiness) => self.note("a listener taken back", 1),
                _ => {}
            }
        }
    }
}
