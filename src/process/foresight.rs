//! What was foreseen at the two moments that count: when the drain begins,
//! and when its listeners refuse and all deadlines stand fast.
//!
//! Invariant: taken after the orders of that moment are published, so that a
//! forecast over many connections delays nobody's orders.
//!
//! Deliberately absent: acting on it. A forecast is for people.

use crate::admin::Admin;
use crate::clock;
use crate::drain::{Foretold, Phase, Stage, Timestamp};
use crate::proxy::registry::{Registry, Round};

/// The forecasts of the drain under way.
#[derive(Debug, Default)]
pub(super) struct Foresights {
    /// When the drain began that they are of.
    started: Option<Timestamp>,
    announce: Option<Foretold>,
    refuse: Option<Foretold>,
}

impl Foresights {
    /// Take what is due where the process stands.
    pub(super) fn take(&mut self, admin: &Admin) {
        let process = admin.control.status().process.clone();
        if process.started != self.started {
            *self = Self {
                started: process.started,
                ..Self::default()
            };
        }
        let Some(started) = self.started else { return };
        let mut scopes = admin.registry.scopes().into_iter();
        // There is nothing to foresee where all is cut at once.
        let cut = scopes.any(|scope| scope.orders().cut_by_operator);
        if cut || process.phase == Phase::Terminated {
            return;
        }
        let planned = started + process.plan.announce;
        let at = |round, stage| {
            let now = clock::now();
            let refuse = process.refused.unwrap_or(planned);
            let foresight = admin.foresee_from(process.plan, refuse, now);
            admin.foretell(&foresight, round);
            Foretold::new(stage, now, foresight.predicted.lasts())
        };
        if self.announce.is_none() {
            self.announce = Some(at(Round::Announce, Stage::Announce));
        }
        if self.refuse.is_none() && process.refused.is_some() {
            self.refuse = Some(at(Round::Refuse, Stage::Refuse));
        }
    }

    /// All of them, with what came true so far.
    pub(super) fn compared(&self, registry: &Registry) -> Vec<Foretold> {
        let rounds = [
            (&self.announce, Round::Announce),
            (&self.refuse, Round::Refuse),
        ];
        let taken = rounds.into_iter().filter_map(|(foretold, round)| {
            let protocols = registry.compared(round);
            foretold.clone().map(|foretold| Foretold {
                protocols,
                ..foretold
            })
        });
        taken.collect()
    }
}
