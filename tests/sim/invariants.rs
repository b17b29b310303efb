//! What must be true of every drain, whatever the seed brought.
//!
//! Judged from the plan's numbers and from the facts written down, not from
//! the orders: an order that is wrong must not excuse who obeyed it.

use crate::books::{Fate, Stay, While};
use crate::connection::ROUND_TRIP;
use crate::script::Kind;
use crate::world::{SLACK, World};
use ebbtide::drain::{CUT_LIMIT, Outcome, Phase, Protocol, REFUSE_LIMIT, Timestamp};

type Verdict = Result<(), String>;

/// Check all of it; the first violation in words.
pub(crate) fn check(world: &World) -> Verdict {
    terminates(world)?;
    balances(world)?;
    refuse_is_final(world)?;
    exits_early(world)?;
    let limits = Limits::of(world)?;
    for fate in &world.books.fates {
        if !world.script.clients[fate.client].wedged {
            limits.exchange(world, fate)?;
        }
    }
    for stay in &world.books.stays {
        if !world.script.clients[stay.client].wedged {
            limits.connection(world, stay)?;
        }
    }
    limits.retired_ones_get_no_more_work(world)
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn terminates(world: &World) -> Verdict {
    ensure(world.machine.phase() == Phase::Terminated, || {
        format!(
            "never terminates: {:?} at {:?}",
            world.machine.phase(),
            world.now
        )
    })?;
    let started = world.machine.started().ok_or("ended without a drain")?;
    let limit = started + world.script.plan.total() + CUT_LIMIT;
    let ended = world.machine.ended().ok_or("terminated at no time")?;
    ensure(ended <= limit, || {
        format!("ended at {ended:?}, past {limit:?}")
    })?;
    ensure(!world.ready, || "ready after the end".to_owned())
}

fn balances(world: &World) -> Verdict {
    for (protocol, ledger) in Protocol::ALL.into_iter().zip(&world.books.exchanges) {
        ensure(ledger.balanced(), || {
            format!("{protocol:?}: {ledger:?} does not balance")
        })?;
    }
    let connections = &world.books.connections;
    ensure(connections.balanced(), || {
        format!("connections: {connections:?} does not balance")
    })
}

/// After refuse nobody new is let in, and nobody in a queue is lost.
fn refuse_is_final(world: &World) -> Verdict {
    let refuse = world.orders.refuse_at.ok_or("ended without refuse")?;
    for index in &world.unaccepted {
        let client = &world.script.clients[*index];
        // What a stuck listener or an operator's cut costs is not a loss of
        // the drain's.
        let excused = world.script.listeners[client.listener].stuck || world.cut_now.is_some();
        ensure(excused, || {
            format!("client {index} was lost in an accept queue")
        })?;
    }
    for stay in &world.books.stays {
        let connects = world.script.clients[stay.client].connects;
        ensure(connects <= refuse + SLACK, || {
            format!("client {} connected after refuse: {stay:?}", stay.client)
        })?;
    }
    Ok(())
}

/// The process ends in the instant in which the last one leaves.
fn exits_early(world: &World) -> Verdict {
    let exited = world
        .books
        .stays
        .iter()
        .any(|stay| stay.doing == While::Exit);
    let ended = world.machine.ended().ok_or("terminated at no time")?;
    if exited || world.all_closed.is_none() {
        return Ok(());
    }
    ensure(ended == world.last_leave, || {
        format!(
            "the last one left at {:?}, the end came at {ended:?}",
            world.last_leave
        )
    })
}

/// The times that the plan sets, counted from when listeners refused.
struct Limits {
    refuse: Timestamp,
    retire: Timestamp,
    /// When an operator cut everything; never, if nobody did.
    operator: Timestamp,
}

impl Limits {
    fn of(world: &World) -> Result<Self, String> {
        let refuse = world.orders.refuse_at.ok_or("ended without refuse")?;
        let operator = world.cut_now.unwrap_or(Timestamp::MAX);
        let first = refuse + world.script.plan.shortest_finish();
        let closed = world.all_closed.unwrap_or(Timestamp::MAX);
        let retire = closed.min(refuse + REFUSE_LIMIT).min(first).min(operator);
        Ok(Self {
            refuse,
            retire,
            operator,
        })
    }

    /// Who ends before the deadline finishes; who leaves when told is
    /// farewelled; only the rest is cut.
    fn exchange(&self, world: &World, fate: &Fate) -> Verdict {
        let plan = &world.script.plan;
        let deadline = self.refuse + plan.finish_for(fate.protocol);
        let limit = deadline.min(self.operator);
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
        let last_cut = (deadline + plan.farewell).min(self.operator);
        if fate.ended > last_cut.max(fate.began) + SLACK {
            return fail("been cut");
        }
        if self.operator < Timestamp::MAX || fate.began > limit {
            return Ok(());
        }
        let stays = world.script.clients[fate.client].leaves;
        let leaves = stays.is_some_and(|after| after + SLACK < plan.farewell);
        let remains = stays.is_none_or(|after| after > plan.farewell + SLACK);
        match fate.outcome {
            Outcome::Cut(_) if leaves => fail("been farewelled"),
            Outcome::Farewelled(_) if remains => fail("been cut"),
            _ => Ok(()),
        }
    }

    /// Nobody is ended before their time, and nobody stays beyond it, however
    /// late they were accepted.
    fn connection(&self, world: &World, stay: &Stay) -> Verdict {
        let plan = &world.script.plan;
        let last = self.refuse + plan.longest_finish();
        let (earliest, latest) = match (stay.doing, stay.kind) {
            (While::HalfOpen, _) => {
                let until = (stay.accepted + plan.handshake).min(last).max(self.retire);
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
            (While::Answered | While::ClientLeft, _) => (Timestamp::ZERO, last + plan.farewell),
            (While::Cut | While::Exit, _) => {
                let cut = (last + plan.farewell).min(self.operator);
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

    /// Once every connection has been told to retire, each HTTP/1.1 one
    /// carries one request at most, and each HTTP/2 one none.
    fn retired_ones_get_no_more_work(&self, world: &World) -> Verdict {
        let told = self.retire + world.script.plan.spread;
        for (index, client) in world.script.clients.iter().enumerate() {
            let (after, allowed) = match client.kind {
                Kind::Http1 => (told, 1),
                Kind::Http2 => (told + ROUND_TRIP, 0),
                Kind::Tunnel(_) => continue,
            };
            let fates = world.books.fates.iter().filter(|fate| fate.client == index);
            let begun = fates.filter(|fate| fate.began > after + SLACK).count();
            ensure(begun <= allowed, || {
                format!("client {index} began {begun} exchanges after it was retired")
            })?;
        }
        Ok(())
    }
}
