//! What must be true of every drain, whatever the seed brought.
//!
//! Judged from the plan's numbers and from the facts written down, not from
//! the orders: an order that is wrong must not excuse who obeyed it.

use crate::books::{Fate, Stay, While};
use crate::connection::ROUND_TRIP;
use crate::course::Course;
use crate::history::What;
use crate::judge::Judge;
use crate::script::Kind;
use crate::world::{LATE_TIMER, SLACK, World};
use ebbtide::drain::{Hopeless, Ledger, Outcome, Phase, Protocol, Timestamp};
use std::time::Duration;

/// The grain of time.
const TICK: Duration = Duration::from_micros(1);

pub(crate) type Verdict = Result<(), String>;

pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Check all of it; the courses that the drains took, or the first violation
/// in words.
pub(crate) fn check(world: &World) -> Result<Judge<'_>, String> {
    if let Some(untrue) = world.untrue.first() {
        return Err(untrue.clone());
    }
    ensure(world.group.phase() == Phase::Terminated, || {
        format!("never terminates: {:?}", world.group.phase())
    })?;
    balances(world)?;
    let judge = Judge::read(world)?;
    views_agree(world, &judge)?;
    let limits = judge.listeners.iter().map(Limits::of);
    let limits = limits.collect::<Result<Vec<_>, _>>()?;
    refuse_is_final(world, &limits)?;
    for fate in &world.books.fates {
        if !world.script.clients[fate.client].wedged {
            limits[fate.listener].exchange(world, fate)?;
        }
    }
    for stay in &world.books.stays {
        if !world.script.clients[stay.client].wedged {
            limits[stay.listener].connection(stay)?;
        }
    }
    retired_ones_get_no_more_work(world, &limits)?;
    Ok(judge)
}

/// Nothing that was opened is missing: of each listener since its drain began,
/// of each ever, and in sum.
fn balances(world: &World) -> Verdict {
    let balanced = |whose: &str, ledger: &Ledger| {
        ensure(ledger.balanced(), || {
            format!("{whose}: {ledger:?} does not balance")
        })
    };
    let mut drained = 0;
    for (post, account) in world.posts.iter().zip(&world.books.accounts) {
        let since = account.since(&post.opening.unwrap_or_default());
        for account in [account, &since] {
            for (protocol, ledger) in Protocol::ALL.into_iter().zip(&account.exchanges) {
                balanced(protocol.as_str(), ledger)?;
            }
            balanced("connections", &account.connections)?;
        }
        drained += since.connections.opened;
    }
    let sums = world.books.sums();
    for ledger in sums.exchanges.iter().chain([&sums.connections]) {
        balanced("the process", ledger)?;
    }
    ensure(drained <= sums.connections.opened, || {
        "more was drained than was opened".to_owned()
    })
}

/// What the group says of itself is what it did.
fn views_agree(world: &World, judge: &Judge<'_>) -> Verdict {
    let process = &judge.process;
    let ended = process.ended.ok_or("terminated at no time")?;
    let mut stands = world.history.iter().filter_map(|deed| match deed.what {
        What::Stands { latest, .. } => latest,
        _ => None,
    });
    let latest = stands.next_back().ok_or("terminated without a limit")?;
    // Each turn may begin a late timer later.
    let late = LATE_TIMER * u32::try_from(world.group.turns()).unwrap_or(u32::MAX);
    ensure(ended <= latest + late, || {
        format!("ended at {ended:?}, the latest was {latest:?}")
    })?;
    for (member, course) in world.group.members().iter().zip(&judge.listeners) {
        let own = member.machine().course(None).ok_or("no course")?;
        for protocol in Protocol::ALL {
            let finish = course.plan.finish_for(protocol) + course.extended(protocol);
            ensure(own.plan.finish_for(protocol) == finish, || {
                format!("{}: {protocol:?} has not {finish:?}", member.name())
            })?;
        }
        ensure(own.started == course.started.unwrap_or_default(), || {
            format!("{} began another time", member.name())
        })?;
        ensure(member.alone() == course.alone, || {
            format!("{} is not alone: {}", member.name(), course.alone)
        })?;
    }
    let spans = world.group.timeline();
    ensure(
        spans.iter().all(|span| span.ended >= Some(span.began)),
        || format!("a stage without an end: {spans:?}"),
    )
}

/// After its refuse a listener lets nobody in, before it nobody is turned
/// away, and nobody in its queue is lost.
fn refuse_is_final(world: &World, limits: &[Limits<'_>]) -> Verdict {
    for index in &world.unaccepted {
        let listener = world.script.clients[*index].listener;
        // What a stuck listener or an operator's cut costs is not a loss of
        // the drain's.
        let cut = limits[listener].operator < Timestamp::MAX;
        ensure(world.script.listeners[listener].stuck || cut, || {
            format!("client {index} was lost in an accept queue")
        })?;
    }
    for stay in &world.books.stays {
        let connects = world.script.clients[stay.client].connects;
        ensure(connects <= limits[stay.listener].refuse + SLACK, || {
            format!("client {} connected after refuse: {stay:?}", stay.client)
        })?;
    }
    for index in &world.refused {
        let client = &world.script.clients[*index];
        ensure(client.connects >= limits[client.listener].refuse, || {
            format!("client {index} was turned away: {client:?}")
        })?;
    }
    Ok(())
}

/// The times that the plan sets one listener, counted from when it refused.
struct Limits<'a> {
    course: &'a Course,
    refuse: Timestamp,
    retire: Timestamp,
    last: Timestamp,
    /// When an operator cut everything; never, if nobody did.
    operator: Timestamp,
}

impl<'a> Limits<'a> {
    fn of(course: &'a Course) -> Result<Self, String> {
        let end = Timestamp::MAX;
        Ok(Self {
            course,
            refuse: course.refuse.ok_or("ended without refuse")?,
            retire: course.retire(end).ok_or("ended without retire")?,
            last: course.last_deadline(end).ok_or("ended without deadlines")?,
            operator: course.operator.unwrap_or(end),
        })
    }

    fn deadline(&self, protocol: Protocol, then: Timestamp) -> Timestamp {
        self.course.deadline(protocol, then).unwrap_or(then)
    }

    /// When an exchange gets its farewell: at its deadline, or, if nobody can
    /// await it and the operator wants that, as listeners refuse. `None` if
    /// more time came just then: either is right.
    fn farewell(&self, fate: &Fate) -> Option<Timestamp> {
        let deadline = self.deadline(fate.protocol, Timestamp::MAX);
        let known = self.refuse.max(fate.began);
        let ends = self.course.plan.hopeless == Hopeless::End && fate.promised.is_none();
        let beyond = |then| ends && fate.own > Some(self.deadline(fate.protocol, then));
        match (beyond(known), beyond(known + SLACK)) {
            (true, true) => Some(known),
            (false, _) => Some(deadline),
            (true, false) => None,
        }
    }

    /// Who ends before the deadline finishes; who leaves when told is
    /// farewelled; only the rest is cut.
    fn exchange(&self, world: &World, fate: &Fate) -> Verdict {
        self.promise(fate)?;
        let plan = &self.course.plan;
        let Some(farewell) = self.farewell(fate) else {
            return Ok(());
        };
        let limit = farewell.min(self.operator);
        let fail = |wanted: &str| Err(format!("{fate:?} should have {wanted}, limit {limit:?}"));
        if fate.natural_end < limit {
            let undisturbed = fate.outcome == Outcome::Finished && fate.ended == fate.natural_end;
            return if undisturbed {
                Ok(())
            } else {
                fail("finished")
            };
        }
        if fate.natural_end > limit + SLACK && fate.outcome == Outcome::Finished {
            return fail("been ended");
        }
        let last_cut = self.deadline(fate.protocol, Timestamp::MAX) + plan.farewell;
        let last_cut = last_cut.min(self.operator);
        if fate.ended > last_cut.max(fate.began) + SLACK {
            return fail("been cut");
        }
        if self.operator < Timestamp::MAX || fate.began > limit {
            return Ok(());
        }
        let has = last_cut.saturating_since(farewell);
        let stays = world.script.clients[fate.client].leaves;
        let leaves = stays.is_some_and(|after| after + SLACK < has);
        let remains = stays.is_none_or(|after| after > has + SLACK);
        match fate.outcome {
            Outcome::Cut(_) if leaves => fail("been farewelled"),
            Outcome::Farewelled(_) if remains => fail("been cut"),
            _ => Ok(()),
        }
    }

    /// A server is told of no more time than the drain has left, and of no
    /// less: with what was given on top until then.
    fn promise(&self, fate: &Fate) -> Verdict {
        let Some(promised) = fate.promised else {
            let early = fate.began <= self.refuse + LATE_TIMER;
            return ensure(early || fate.own.is_none(), || {
                format!("{fate:?} was promised more than there is")
            });
        };
        // At the instant of an extension either is right.
        let before = Timestamp::from_start(fate.began.since_start().saturating_sub(TICK));
        let left = [before, fate.began].map(|then| self.deadline(fate.protocol, then));
        let wanted = left.map(|left| fate.own.map_or(left, |own| own.min(left)));
        ensure(wanted.contains(&promised), || {
            format!("{fate:?} was promised something else than {wanted:?}")
        })
    }

    /// Nobody is ended before their time, and nobody stays beyond it, however
    /// late they were accepted.
    fn connection(&self, stay: &Stay) -> Verdict {
        let plan = &self.course.plan;
        let (earliest, latest) = match (stay.doing, stay.kind) {
            (While::HalfOpen, _) => {
                let until = (stay.accepted + plan.handshake).min(self.last);
                let until = until.max(self.retire);
                (until, until.max(stay.accepted))
            }
            (While::Idle, Kind::Http1) => {
                let window = stay.last_activity + plan.last_request;
                let retired = self.retire + plan.spread;
                (self.retire.max(window), retired.max(window))
            }
            (While::Idle, _) => {
                let retired = self.retire + plan.spread + ROUND_TRIP;
                (self.retire, retired.max(stay.last_activity))
            }
            (While::Answered | While::ClientLeft, _) => {
                (Timestamp::ZERO, self.last + plan.farewell)
            }
            (While::Cut | While::Exit, _) => {
                let cut = (self.last + plan.farewell).min(self.operator);
                (cut, cut.max(stay.accepted))
            }
        };
        let earliest = earliest.min(self.operator);
        ensure(stay.ended >= earliest, || {
            format!("{stay:?} ended before {earliest:?}")
        })?;
        ensure(stay.ended <= latest + SLACK, || {
            format!("{stay:?} stayed beyond {latest:?}")
        })
    }
}

/// Once every connection of a listener has been told to retire, each HTTP/1.1
/// one carries one request at most, and each HTTP/2 one none.
fn retired_ones_get_no_more_work(world: &World, limits: &[Limits<'_>]) -> Verdict {
    let mut begun = vec![0; world.script.clients.len()];
    for fate in &world.books.fates {
        let client = &world.script.clients[fate.client];
        let told = limits[fate.listener].retire + world.script.plan.spread;
        let (after, allowed) = match client.kind {
            Kind::Http1 => (told, 1),
            Kind::Http2 => (told + ROUND_TRIP, 0),
            Kind::Tunnel(_) => continue,
        };
        begun[fate.client] += usize::from(fate.began > after + SLACK);
        ensure(begun[fate.client] <= allowed, || {
            format!("client {} began {fate:?} after it was retired", fate.client)
        })?;
    }
    Ok(())
}
