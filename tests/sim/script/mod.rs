//! What the world does to the proxy: a plan, listeners, clients, operators,
//! all drawn from one seed before the simulation begins.
//!
//! Clients behave, dawdle, race, ignore and attack ([`clients`]); operators
//! repeat themselves, change their minds and come too late ([`operators`]).

mod clients;
mod operators;

pub(crate) use clients::{Client, Flood, Kind, Pace, flooding};
pub(crate) use operators::{Party, Wish};

use crate::rng::Rng;
use ebbtide::drain::{Finish, Hopeless, Plan};
use std::time::Duration;

/// One listener.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// The longest that a connection waits in its accept queue.
    pub(crate) queues: Duration,
    /// It never says that it has closed.
    pub(crate) stuck: bool,
    /// The listeners that are to be gone before it refuses.
    pub(crate) after: Vec<usize>,
}

/// All that a seed determines.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) plan: Plan,
    pub(crate) listeners: Vec<Listener>,
    /// Whether listeners wait for each other in a circle.
    pub(crate) circular: bool,
    pub(crate) clients: Vec<Client>,
    pub(crate) floods: Vec<Flood>,
    pub(crate) wishes: Vec<Wish>,
}

impl Script {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let plan = plan(rng);
        let mut listeners: Vec<Listener> = (0..=rng.below(4)).map(|_| listener(rng)).collect();
        let circular = put_in_order(rng, &mut listeners);
        let starts = Duration::from_millis(500) + rng.millis(4_000);
        let (wishes, last) = operators::wishes(rng, starts, &plan, listeners.len());
        let mut until = last + plan.announce + Duration::from_millis(1_500);
        if listeners.iter().any(|listener| !listener.after.is_empty()) {
            until += plan.longest_finish();
        }
        let count = rng.below(50);
        let clients = (0..count)
            .map(|_| clients::client(rng, listeners.len(), until))
            .collect();
        let floods = clients::floods(rng, listeners.len(), until);
        Self {
            plan,
            listeners,
            circular,
            clients,
            floods,
            wishes,
        }
    }
}

/// A plan that its own check finds nothing wrong with.
fn plan(rng: &mut Rng) -> Plan {
    let mut finish = || Duration::from_millis(500) + rng.millis(8_000);
    let finish = Finish {
        http: finish(),
        grpc: finish(),
        websocket: finish(),
        tcp: finish(),
    };
    let last_request = rng.up_to(finish.http / 2);
    let spread = (finish.http.saturating_sub(last_request)).min(finish.grpc);
    let mut plan = Plan {
        finish,
        last_request,
        spread: if rng.percent(20) {
            Duration::ZERO
        } else {
            rng.up_to(spread)
        },
        announce: if rng.percent(30) {
            Duration::ZERO
        } else {
            rng.millis(3_000)
        },
        farewell: Duration::from_millis(20) + rng.millis(2_000),
        hopeless: if rng.percent(40) {
            Hopeless::End
        } else {
            Hopeless::default()
        },
        ..Plan::default()
    };
    plan.handshake = rng.up_to(plan.longest_finish());
    plan.grace = plan.total();
    assert_eq!(plan.check(), [], "the simulation draws plans that fit");
    plan
}

fn listener(rng: &mut Rng) -> Listener {
    let stuck = rng.percent(4);
    let queues = if stuck { 1_800 } else { 40 };
    Listener {
        queues: Duration::from_millis(queues),
        stuck,
        after: Vec::new(),
    }
}

/// Make listeners wait for others: not at all, in a row, in a tree, seldom in
/// a circle, which the check of a config refuses. Whether it is one.
fn put_in_order(rng: &mut Rng, listeners: &mut [Listener]) -> bool {
    // Who waits for whom must not depend on who was added first.
    let mut row: Vec<usize> = (0..listeners.len()).collect();
    for last in (1..row.len()).rev() {
        row.swap(last, rng.index(last + 1));
    }
    match rng.below(20) {
        0..=8 => {}
        9..=12 => {
            for pair in row.windows(2) {
                listeners[pair[1]].after.push(pair[0]);
            }
        }
        13..=18 => {
            for (place, waits) in row.iter().enumerate() {
                let before = row[..place].iter().copied();
                listeners[*waits].after = before.filter(|_| rng.percent(50)).collect();
            }
        }
        _ if row.len() > 1 => {
            for (place, waits) in row.iter().enumerate() {
                listeners[*waits].after.push(row[(place + 1) % row.len()]);
            }
            return true;
        }
        _ => {}
    }
    false
}
