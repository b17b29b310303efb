//! How far a group is: what the process is said to do, read off its listeners.
//!
//! Invariant: nothing here is stored twice. A stage of the process begins with
//! the first listener that begins it and ends with the last that ends it.
//!
//! Deliberately absent: any change.

use super::{Group, Member, MemberId};
use crate::drain::event::Trigger;
use crate::drain::machine::CUT_LIMIT;
use crate::drain::orders::Orders;
use crate::drain::phase::Phase;
use crate::drain::plan::Plan;
use crate::drain::receipt::Course;
use crate::drain::stage::{Stage, StageSpan};
use crate::drain::time::Timestamp;
use std::time::Duration;

impl Group {
    /// When nothing may be left, whatever peers do: listeners that wait for
    /// others included. `None` while nothing is drained.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        self.started.map(|started| started + self.longest())
    }

    /// How long a drain of the process takes at most, the one under way or the
    /// next one: listeners that wait for others included.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let plan = self.live().map(|member| *member.machine.plan());
        let work = plan
            .map(|plan| plan.longest_finish().saturating_add(plan.farewell))
            .max()
            .unwrap_or_default();
        // After a handover nobody waits for anybody.
        let turns = if self.hands_over() { 1 } else { self.turns() };
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        let turn = work.saturating_add(CUT_LIMIT);
        self.announce().saturating_add(turn.saturating_mul(turns))
    }

    /// Those whose drain is not over; all, once all are over.
    fn live(&self) -> impl Iterator<Item = &Member> {
        let over = self.members.iter().all(Member::is_over);
        self.members
            .iter()
            .filter(move |member| over || !member.is_over())
    }

    /// The lifecycle position of the process.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The furthest stage that a drain of the process has begun.
    #[must_use]
    pub const fn stage(&self) -> Option<Stage> {
        self.stage
    }

    /// The plan for a drain to come.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What started the drain of the process.
    #[must_use]
    pub const fn trigger(&self) -> Option<Trigger> {
        self.trigger
    }

    /// When the drain of the process began.
    #[must_use]
    pub const fn started(&self) -> Option<Timestamp> {
        self.started
    }

    /// When it was over.
    #[must_use]
    pub const fn ended(&self) -> Option<Timestamp> {
        self.ended
    }

    /// Whether a drain of the process has begun and has not passed refuse.
    #[must_use]
    pub fn cancel_allowed(&self) -> bool {
        self.phase == Phase::Active && self.started.is_some()
    }

    /// Whether new traffic should be sent to the process: it serves, is not
    /// about to leave, and has a listener of which that is true.
    #[must_use]
    pub fn ready(&self) -> bool {
        let serves = |member: &Member| member.machine.started().is_none();
        self.phase == Phase::Active && self.started.is_none() && self.members.iter().any(serves)
    }

    /// Every listener, in the order in which they were added.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One listener.
    #[must_use]
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The listener of this name that serves, or that was the last to.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Member> {
        let mut named = self.members.iter().filter(|member| &*member.name == name);
        named.next_back()
    }

    /// What every connection of a listener must obey now.
    #[must_use]
    pub fn orders(&self, id: MemberId) -> Option<Orders> {
        self.member(id).map(|member| member.machine.orders())
    }

    /// The plan with all that was given on top of it.
    #[must_use]
    pub fn followed(&self) -> Plan {
        let mut plan = self.plan;
        plan.announce = self.announce();
        let joined = self.live().filter(|member| !member.alone);
        let finishes = joined.map(|member| member.machine.plan().finish);
        if let Some(longest) = finishes.reduce(|longest, one| longest.longer(&one)) {
            plan.finish = longest;
        }
        plan
    }

    /// The course of the process's drain; `None` if none has begun.
    #[must_use]
    pub fn course(&self) -> Option<Course> {
        let extended = self.joined().map(|member| member.machine.extended());
        Some(Course {
            listener: None,
            server: None,
            trigger: self.trigger?,
            started: self.started?,
            ended: self.ended,
            plan: self.followed(),
            extended: extended.max().unwrap_or_default(),
            timeline: self.timeline(),
        })
    }

    /// When listeners began to refuse in a drain of the process.
    #[must_use]
    pub const fn refused(&self) -> Option<Timestamp> {
        self.refused
    }

    /// The stages of the process's drain: each from the first listener that
    /// began it to the last that ended it.
    #[must_use]
    pub fn timeline(&self) -> Vec<StageSpan> {
        let announced = self.started.filter(|_| !self.hands_over());
        let announce = announced.map(|began| StageSpan {
            stage: Stage::Announce,
            began,
            ended: self.refused.or(self.ended),
        });
        let later = Stage::ALL
            .into_iter()
            .filter(|stage| *stage > Stage::Announce)
            .filter_map(|stage| self.span(stage));
        announce.into_iter().chain(later).collect()
    }

    pub(super) fn span(&self, stage: Stage) -> Option<StageSpan> {
        let of = |member: &Member| {
            let mut spans = member.machine.timeline().iter();
            spans.find(|span| span.stage == stage).copied()
        };
        let joined = || self.joined().map(|member| (member, of(member)));
        let began = joined().filter_map(|(_, span)| Some(span?.began)).min()?;
        let lasts = joined().any(|(member, span)| match span {
            Some(span) => span.ended.is_none(),
            None => !member.is_over(),
        });
        let ended = joined().filter_map(|(_, span)| span?.ended).max();
        Some(StageSpan {
            stage,
            began,
            ended: ended.filter(|_| !lasts),
        })
    }

    /// How many listeners there are in the longest row of those that wait for
    /// each other.
    #[must_use]
    pub fn turns(&self) -> usize {
        let mut turns = vec![1_usize; self.members.len()];
        // A row is no longer than there are members; a circle goes no further.
        for _ in 0..self.members.len() {
            for index in 0..self.members.len() {
                let member = &self.members[index];
                let before = self.members.iter().zip(&turns);
                let longest = before
                    .filter(|(other, _)| {
                        other.id != member.id && member.after.contains(&other.name)
                    })
                    .map(|(_, turns)| *turns)
                    .max();
                let own = longest.map_or(1, |longest| longest + 1);
                turns[index] = own.min(self.members.len());
            }
        }
        turns.into_iter().max().unwrap_or(1)
    }
}
