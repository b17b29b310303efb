//! The drain of one server of an upstream.
//!
//! The same [`Machine`], with a plan in which little is left to do: a server
//! has no clients of its own that could be told to retire. From the moment in
//! which it refuses it gets no new exchange; those in flight have until their
//! protocol's deadline, then their farewell, then the cut. It can be taken back
//! at any moment. Where some have just been told to leave, it is taken back as
//! soon as they have: nobody who was told is told otherwise, and nobody who was
//! told is forgotten.
//!
//! Invariant: those of the machine; and once it is to return, it may do so
//! within `farewell` and what the machine allows those that are cut.
//!
//! Deliberately absent: exchanges, and the process. When that drains as well,
//! both sets of orders hold for an exchange, so that the earlier deadline wins
//! without either knowing of the other.

use super::event::{Action, Event, Trigger};
use super::machine::Machine;
use super::orders::Orders;
use super::phase::Phase;
use super::plan::{Finish, Plan};
use super::time::Timestamp;
use std::time::Duration;

/// One server's drain, from its begin until it is taken back.
#[derive(Clone, Debug)]
pub struct ServerDrain {
    machine: Machine,
    /// It is to be taken back as soon as it may.
    returns: bool,
}

impl ServerDrain {
    /// What of `plan` a server's drain follows; `finish`, if it is given, is
    /// the time that exchanges of every protocol have. A server announces
    /// nothing by itself, so it refuses at once; who removes it together with
    /// a listener that announces gives it that time (see [`Plan::announce`]).
    #[must_use]
    pub fn plan(plan: &Plan, finish: Option<Duration>) -> Plan {
        let all = |time| Finish {
            http: time,
            grpc: time,
            websocket: time,
            tcp: time,
        };
        Plan {
            announce: Duration::ZERO,
            spread: Duration::ZERO,
            handshake: Duration::ZERO,
            last_request: Duration::ZERO,
            finish: finish.map_or(plan.finish, all),
            ..*plan
        }
    }

    /// A drain that begins at `now`, by this plan.
    #[must_use]
    pub fn begin(plan: Plan, by: Trigger, now: Timestamp) -> Self {
        let mut drain = Self {
            machine: Machine::new(plan),
            returns: false,
        };
        drain.handle(Event::Reached(Phase::Active), now);
        drain.handle(Event::Drain(by), now);
        drain
    }

    /// Take in what happened at `now`: that time passed, or that nothing is in
    /// flight ([`Event::Quiescent`], while [`Self::awaits_quiescence`]).
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let mut actions = self.machine.handle(event, now);
        let orders = self.machine.orders();
        if orders.draining() && orders.retire_from.is_none() {
            // It has no queue that would have to be emptied.
            actions.extend(self.machine.handle(Event::Refused, now));
        }
        actions
    }

    /// When to call [`Self::handle`] at the latest; `None` once it is over.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.machine.next_deadline()
    }

    /// What every exchange on the server must obey now.
    #[must_use]
    pub const fn orders(&self) -> Orders {
        self.machine.orders()
    }

    /// How far it is.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Whether it is to be told when nothing is in flight.
    #[must_use]
    pub fn awaits_quiescence(&self) -> bool {
        self.machine.awaits_quiescence()
    }

    /// Whether nothing more will come of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.machine.phase() == Phase::Terminated
    }

    /// The server is to be given new exchanges again, or, with `false`, it is
    /// to stay out after all.
    pub const fn set_returns(&mut self, returns: bool) {
        self.returns = returns;
    }

    /// Whether it was asked back.
    #[must_use]
    pub const fn returns(&self) -> bool {
        self.returns
    }

    /// Whether it was asked back, and nobody is between the farewell and the
    /// cut: then this drain can be forgotten.
    #[must_use]
    pub fn may_return(&self) -> bool {
        let orders = self.machine.orders();
        self.returns && (self.is_over() || orders.farewell == orders.cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::{CUT_LIMIT, Protocol, Protocols, Stage};
    use proptest::prelude::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    fn begun(finish: u64) -> ServerDrain {
        let finish = Duration::from_millis(finish);
        let plan = ServerDrain::plan(&Plan::default(), Some(finish));
        ServerDrain::begin(plan, Trigger::Api, at(1_000))
    }

    #[test]
    fn it_refuses_at_once_and_gives_each_protocol_its_time() {
        let plan = ServerDrain::plan(&Plan::default(), None);
        let drain = ServerDrain::begin(plan, Trigger::Api, at(1_000));
        let orders = drain.orders();
        assert_eq!(orders.stage, Some(Stage::Finish));
        assert_eq!(orders.refuse_at, Some(at(1_000)));
        for protocol in Protocol::ALL {
            let finish = Plan::default().finish_for(protocol);
            assert_eq!(orders.deadline(protocol), Some(at(1_000) + finish));
        }
        assert_eq!(drain.next_deadline(), Some(at(11_000)), "WebSocket's");
        assert!(drain.awaits_quiescence());
    }

    #[test]
    fn an_operator_can_give_every_protocol_the_same_time() {
        let mut drain = begun(300);
        assert_eq!(drain.next_deadline(), Some(at(1_300)));
        drain.handle(Event::Elapsed, at(1_300));
        assert_eq!(drain.orders().farewell, Protocols::ALL);
        assert_eq!(drain.orders().cut, Protocols::EMPTY);
        drain.handle(Event::Elapsed, at(3_300));
        assert_eq!(drain.orders().cut, Protocols::ALL);
        assert!(!drain.is_over());
        drain.handle(Event::Elapsed, at(3_300) + CUT_LIMIT);
        assert!(drain.is_over());
        assert_eq!(drain.next_deadline(), None);
    }

    #[test]
    fn it_is_over_when_nothing_is_in_flight() {
        let mut drain = begun(300);
        let actions = drain.handle(Event::Quiescent, at(1_001));
        assert!(actions.contains(&Action::Terminate));
        assert!(drain.is_over());
        assert_eq!(drain.machine().ended(), Some(at(1_001)));
    }

    #[test]
    fn it_can_be_taken_back_at_once_but_for_the_time_of_a_farewell() {
        let mut drain = begun(300);
        assert!(!drain.may_return(), "nobody asked");
        drain.set_returns(true);
        assert!(drain.may_return());
        drain.handle(Event::Elapsed, at(1_300));
        assert!(!drain.may_return(), "some were told, and are awaited");
        drain.handle(Event::Elapsed, at(3_300));
        assert!(drain.may_return(), "they are cut");
        drain.set_returns(false);
        assert!(!drain.may_return());
    }

    #[test]
    fn one_that_goes_with_a_listener_announces_as_long() {
        let announce = Duration::from_millis(500);
        let plan = ServerDrain::plan(&Plan::default(), None);
        let plan = Plan { announce, ..plan };
        let mut drain = ServerDrain::begin(plan, Trigger::Reload, at(1_000));
        assert!(!drain.awaits_quiescence());
        assert_eq!(drain.next_deadline(), Some(at(1_500)));
        drain.handle(Event::Elapsed, at(1_500));
        assert_eq!(drain.orders().refuse_at, Some(at(1_500)));
        assert!(drain.awaits_quiescence());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is asked of it, and however late it is looked at: orders
        /// only grow, it ends by its last deadline, and who was told is cut
        /// before it may return.
        #[test]
        fn it_ends_in_time_and_forgets_nobody_who_was_told(
            finish in 0_u64..4_000,
            steps in prop::collection::vec((0_u64..1_500, 0_u8..4), 0..30),
        ) {
            let mut drain = begun(finish);
            let latest = drain.machine().latest().expect("a drain");
            let mut now = 1_000;
            let mut before = drain.orders();
            for (wait, what) in steps {
                now += wait;
                let event = if what == 0 { Event::Quiescent } else { Event::Elapsed };
                drain.handle(event, at(now));
                if what > 1 {
                    drain.set_returns(what == 2);
                }
                let orders = drain.orders();
                prop_assert_eq!(orders.farewell.bits() & before.farewell.bits(), before.farewell.bits());
                prop_assert_eq!(orders.cut.bits() & before.cut.bits(), before.cut.bits());
                if drain.may_return() && !drain.is_over() {
                    prop_assert_eq!(orders.farewell, orders.cut);
                }
                prop_assert!(drain.is_over() || at(now) < latest);
                before = orders;
            }
        }
    }
}
