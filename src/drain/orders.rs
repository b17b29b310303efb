//! What every connection must obey now.
//!
//! Orders are a value, not a message: whoever reads them, however late, knows
//! all that was ordered so far. That is how a connection which is accepted in
//! the middle of a drain passes every stage already passed, and why no
//! connection can miss an order between being accepted and being listed.
//!
//! Invariant: during one drain orders only grow. A point in time that was set
//! stays, a protocol past its deadline stays past it. Deadlines that are ahead
//! can move: later if somebody gives more time, and nearer if somebody wants
//! a process gone that has handed over.
//!
//! Deliberately absent: the connection. It asks "until when?" and ends itself.

use super::plan::Plan;
use super::policy::Hopeless;
use super::protocol::{Protocol, Protocols};
use super::stage::Stage;
use super::time::{Timestamp, micros};
use std::time::Duration;

/// The orders in force. The default is: carry on.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Orders {
    /// The furthest stage begun; none while nothing is being drained.
    pub stage: Option<Stage>,
    /// The plan that is followed, or would be.
    pub plan: Plan,
    /// When listeners began to refuse; finish times count from here.
    pub refuse_at: Option<Timestamp>,
    /// Whether a successor goes on with the listening sockets: they are let go
    /// of as they are, nobody is kept out and no queue is emptied.
    pub handed_over: bool,
    /// When the first connection was told to retire.
    pub retire_from: Option<Timestamp>,
    /// The protocols whose deadline has come.
    pub farewell: Protocols,
    /// The protocols of which nothing may be left. Whatever is here is in
    /// `farewell` too.
    pub cut: Protocols,
    /// Whether an operator asked for the cut, rather than the plan.
    pub cut_by_operator: bool,
}

impl Orders {
    /// Orders to carry on, with the plan for a drain to come.
    #[must_use]
    pub fn carry_on(plan: Plan) -> Self {
        Self {
            plan,
            ..Self::default()
        }
    }

    /// Whether refuse has passed: the drain cannot be cancelled any more.
    #[must_use]
    pub const fn draining(&self) -> bool {
        self.refuse_at.is_some()
    }

    /// When the connection with this id is told to take no more requests.
    ///
    /// Uniform over `spread` and the same each time it is asked, so that
    /// clients do not all come back to the successor in one instant. `None`
    /// until connections retire.
    #[must_use]
    pub fn retire_at(&self, id: u64) -> Option<Timestamp> {
        self.retire_from
            .map(|from| from + jitter(self.plan.spread, id))
    }

    /// When a half-open connection that was accepted then must end: `handshake`
    /// after its accept, but not before connections retire, and not after the
    /// last deadline. `None` until connections retire.
    #[must_use]
    pub fn half_open_until(&self, accepted: Timestamp) -> Option<Timestamp> {
        let from = self.retire_from?;
        if self.cut_by_operator {
            return Some(from);
        }
        let last = self.refuse_at.unwrap_or(from) + self.plan.longest_finish();
        Some((accepted + self.plan.handshake).min(last).max(from))
    }

    /// When an idle HTTP/1.1 connection may close: at its time to retire, but
    /// not before `last_request` has passed since it last did anything. `None`
    /// until connections retire.
    #[must_use]
    pub fn idle_until(&self, id: u64, last_activity: Timestamp) -> Option<Timestamp> {
        let retire = self.retire_at(id)?;
        Some(retire.max(last_activity + self.plan.last_request))
    }

    /// When work in flight of this protocol is ended. `None` until refuse.
    #[must_use]
    pub fn deadline(&self, protocol: Protocol) -> Option<Timestamp> {
        self.refuse_at
            .map(|refuse| refuse + self.plan.finish_for(protocol))
    }

    /// A deadline of its own beyond which a request of this protocol is ended
    /// at once: nobody can await it. `None` where such work may prove that it
    /// needs less.
    #[must_use]
    pub fn hopeless_beyond(&self, protocol: Protocol) -> Option<Timestamp> {
        self.deadline(protocol)
            .filter(|_| self.plan.hopeless == Hopeless::End)
    }

    /// When what is left of this protocol is cut. `None` until refuse.
    #[must_use]
    pub fn cut_at(&self, protocol: Protocol) -> Option<Timestamp> {
        self.deadline(protocol)
            .map(|deadline| deadline + self.plan.farewell)
    }

    /// How far the drain is for one protocol. Each has its own deadline, so
    /// [`Orders::stage`] runs ahead of those that have more time.
    #[must_use]
    pub fn stage_of(&self, protocol: Protocol) -> Option<Stage> {
        if self.cut.contains(protocol) {
            Some(Stage::Cut)
        } else if self.farewell.contains(protocol) {
            Some(Stage::Farewell)
        } else {
            self.stage.map(|stage| stage.min(Stage::Finish))
        }
    }
}

/// A part of `spread`, uniform over ids and fixed for each.
fn jitter(spread: Duration, id: u64) -> Duration {
    let fraction = u128::from(scramble(id) >> 32);
    let part = (u128::from(micros(spread)) * fraction) >> 32;
    // A part of a number of 64 bits fits into 64 bits.
    Duration::from_micros(u64::try_from(part).unwrap_or(u64::MAX))
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood: "Fast splittable
/// pseudorandom number generators", 2014): neighbouring ids come out far apart.
const fn scramble(id: u64) -> u64 {
    let mut mixed = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    fn retiring() -> Orders {
        Orders {
            stage: Some(Stage::Retire),
            refuse_at: Some(at(10_000)),
            retire_from: Some(at(10_100)),
            ..Orders::default()
        }
    }

    #[test]
    fn nothing_is_ordered_before_its_stage() {
        let calm = Orders::default();
        assert!(!calm.draining());
        assert_eq!(calm.retire_at(1), None);
        assert_eq!(calm.half_open_until(at(1)), None);
        assert_eq!(calm.idle_until(1, at(1)), None);
        assert_eq!(calm.deadline(Protocol::Grpc), None);
        assert_eq!(calm.stage_of(Protocol::Tcp), None);
        let refusing = Orders {
            retire_from: None,
            ..retiring()
        };
        assert!(refusing.draining());
        assert_eq!(refusing.retire_at(1), None);
        assert_eq!(refusing.deadline(Protocol::WebSocket), Some(at(20_000)));
        assert_eq!(refusing.cut_at(Protocol::WebSocket), Some(at(22_000)));
    }

    #[test]
    fn connections_retire_evenly_over_the_spread() {
        let orders = retiring();
        let mut tenths = [0_u32; 10];
        for id in 0..10_000 {
            let retire = orders.retire_at(id).expect("retiring");
            assert_eq!(orders.retire_at(id), Some(retire), "fixed for each id");
            let waits = retire.saturating_since(at(10_100));
            assert!(waits < orders.plan.spread);
            tenths[usize::try_from(waits.as_millis() / 200).expect("small")] += 1;
        }
        for count in tenths {
            assert!((900..1_100).contains(&count), "{tenths:?}");
        }
    }

    #[test]
    fn without_spread_all_retire_at_once() {
        let mut orders = retiring();
        orders.plan.spread = Duration::ZERO;
        assert_eq!(orders.retire_at(77), Some(at(10_100)));
        orders.plan.spread = Duration::MAX;
        assert!(orders.retire_at(77).is_some(), "no overflow");
    }

    #[test]
    fn half_open_time_counts_from_the_accept() {
        let mut orders = retiring();
        assert_eq!(orders.half_open_until(at(1)), Some(at(10_100)));
        assert_eq!(orders.half_open_until(at(9_000)), Some(at(11_000)));
        assert_eq!(orders.half_open_until(at(10_050)), Some(at(12_050)));
        orders.plan.handshake = Duration::from_secs(3_600);
        assert_eq!(orders.half_open_until(at(10_050)), Some(at(30_000)));
        orders.cut_by_operator = true;
        assert_eq!(orders.half_open_until(at(10_050)), Some(at(10_100)));
    }

    #[test]
    fn an_idle_connection_that_answered_lately_waits() {
        let mut orders = retiring();
        orders.plan.spread = Duration::ZERO;
        assert_eq!(orders.idle_until(1, at(0)), Some(at(10_100)));
        assert_eq!(orders.idle_until(1, at(10_000)), Some(at(11_000)));
    }

    #[test]
    fn work_is_hopeless_where_the_operator_says_so() {
        let mut orders = retiring();
        assert_eq!(orders.hopeless_beyond(Protocol::Grpc), None);
        orders.plan.hopeless = Hopeless::End;
        let deadline = orders.deadline(Protocol::Grpc);
        assert_eq!(orders.hopeless_beyond(Protocol::Grpc), deadline);
        orders.refuse_at = None;
        assert_eq!(orders.hopeless_beyond(Protocol::Grpc), None);
    }

    #[test]
    fn a_protocol_with_more_time_is_not_carried_along() {
        let orders = Orders {
            stage: Some(Stage::Cut),
            farewell: Protocols::EMPTY
                .with(Protocol::WebSocket)
                .with(Protocol::Tcp),
            cut: Protocols::EMPTY.with(Protocol::WebSocket),
            ..retiring()
        };
        assert_eq!(orders.stage_of(Protocol::WebSocket), Some(Stage::Cut));
        assert_eq!(orders.stage_of(Protocol::Tcp), Some(Stage::Farewell));
        assert_eq!(orders.stage_of(Protocol::Grpc), Some(Stage::Finish));
    }
}
