//! When a connection must act next, and how: the decisions, without sockets.
//!
//! The loops ask [`http1`] or [`http2`] with a [`View`] of the connection and
//! the orders in force, arm one timer for the answer and carry it out. Limits
//! of everyday life (idle, head) and of a drain are one question here, so
//! that neither can be forgotten in a corner of a loop.
//!
//! Invariant: an exchange in flight is never ended from here, save by a cut;
//! its own task ends it, in its own protocol.

use super::rhythm::Rhythm;
use crate::config::Listener;
use crate::drain::{Orders, Protocol, Timestamp};
use crate::proxy::registry::{Record, State};
use std::time::Duration;

/// How long the answer to a retirement (the PING of RFC 9113, section 6.8) is
/// awaited from a client with nothing in flight.
pub(super) const GOAWAY_LIMIT: Duration = Duration::from_secs(1);

/// Requests that a client may take back at once, unless it lets more than half
/// of them be answered.
const TAKEN_BACK_MOST: u64 = 500;

/// What the loop is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum Act {
    /// Tell the client to send no more requests here.
    Retire,
    /// Close: nothing is in flight.
    Close,
    /// Answer 408 to a head that came too slowly, and close.
    TooSlow,
    /// The drain's word to a half-open connection, and close.
    Farewell,
    /// Close by force.
    Cut,
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) id: u64,
    pub(super) accepted: Timestamp,
    pub(super) state: State,
    pub(super) since: Timestamp,
    pub(super) requests: u64,
    /// In flight, or with bytes of an answer that the client has not taken.
    pub(super) busy: bool,
    /// Whether nothing on it may be left.
    pub(super) over: bool,
    /// When the client was told to send no more requests.
    pub(super) retired: Option<Timestamp>,
    /// When its client tends to come.
    pub(super) rhythm: Rhythm,
}

impl View {
    pub(super) fn of(record: &Record, streams: bool, retired: Option<Timestamp>) -> Self {
        Self {
            id: record.id,
            accepted: record.accepted,
            state: record.state(),
            since: record.since(),
            requests: record.requests(),
            busy: streams || record.blocked() || record.in_flight() > 0,
            over: record.is_over(),
            retired,
            rhythm: Rhythm::default(),
        }
    }
}

/// The earliest of what is due, and when.
pub(super) type Due = Option<(Timestamp, Act)>;

fn earlier(due: Due, at: Option<Timestamp>, act: Act) -> Due {
    match (due, at) {
        (Some((first, _)), Some(at)) if first <= at => due,
        (_, Some(at)) => Some((at, act)),
        (_, None) => due,
    }
}

fn earlier_of(one: Due, other: Due) -> Due {
    match other {
        Some((at, act)) => earlier(one, Some(at), act),
        None => one,
    }
}

/// A connection that cannot carry a request yet: before its first byte it is
/// merely idle; once it has begun to speak, it has `head_time` to finish.
pub(super) fn half_open(view: &View, limits: &Listener, orders: &Orders) -> Due {
    if view.over {
        return Some((Timestamp::ZERO, Act::Cut));
    }
    let limit = match view.state {
        State::Accepted => view.accepted + limits.idle,
        _ => view.since + limits.limits.head_time,
    };
    let due = Some((limit, Act::Close));
    earlier(due, orders.half_open_until(view.accepted), Act::Farewell)
}

/// When this connection is retired: by the drain, or by its age.
fn retirement(view: &View, limits: &Listener, orders: &Orders) -> Option<Timestamp> {
    let aged = (!limits.max_age.is_zero()).then(|| {
        // Up to a tenth later, or connections of one moment leave as one.
        let part = u32::try_from(view.id % 64).unwrap_or_default();
        view.accepted + limits.max_age + limits.max_age / 640 * part
    });
    match (orders.retire_at(view.id), aged) {
        (Some(drain), Some(aged)) => Some(drain.min(aged)),
        (drain, aged) => drain.or(aged),
    }
}

/// An HTTP/1 connection.
pub(super) fn http1(view: &View, limits: &Listener, orders: &Orders) -> Due {
    if view.over {
        return Some((Timestamp::ZERO, Act::Cut));
    }
    let mut due = None;
    if view.retired.is_none() {
        due = earlier(due, retirement(view, limits, orders), Act::Retire);
    }
    if view.busy {
        return due;
    }
    match view.state {
        State::Head => {
            // The first head counts from the accept, a later one from its
            // first byte: an old connection is not a slow one.
            let from = if view.requests == 0 {
                view.accepted
            } else {
                view.since
            };
            due = earlier(
                due,
                Some(view.since + limits.limits.head_time),
                Act::TooSlow,
            );
            earlier(due, orders.half_open_until(from), Act::Farewell)
        }
        state if state.half_open() => earlier_of(due, half_open(view, limits, orders)),
        _ => {
            due = earlier(due, Some(view.since + limits.idle), Act::Close);
            earlier(due, window(view, orders), Act::Close)
        }
    }
}

/// When a retired HTTP/1 connection that is idle has waited long enough for
/// its last request. A client is humoured within `finish`, not beyond it.
fn window(view: &View, orders: &Orders) -> Option<Timestamp> {
    let last_request = orders.plan.last_request;
    let least = view.retired?.max(view.since + last_request);
    let close = view.rhythm.clear_of_next(least, view.since, last_request);
    let finish = orders.deadline(Protocol::Http1).unwrap_or(Timestamp::MAX);
    Some(close.min(finish).max(least))
}

/// An HTTP/2 connection, after its preface.
pub(super) fn http2(view: &View, limits: &Listener, orders: &Orders) -> Due {
    if view.over {
        return Some((Timestamp::ZERO, Act::Cut));
    }
    let Some(retired) = view.retired else {
        let due = earlier(None, retirement(view, limits, orders), Act::Retire);
        if view.busy {
            return due;
        }
        return earlier(due, Some(view.since + limits.idle), Act::Retire);
    };
    if view.busy {
        return None;
    }
    Some((retired.max(view.since) + GOAWAY_LIMIT, Act::Close))
}

/// Whether a client takes back so many of its requests, and at once, that
/// serving it is nothing but cost (CVE-2023-44487). The engine sees those that
/// are taken back before they are accepted; these have reached a server.
pub(super) fn restless(record: &Record) -> bool {
    let taken_back = record.taken_back();
    taken_back >= TAKEN_BACK_MOST && taken_back > record.requests() / 2
}

/// One timer for whatever is due next; it is set again only to fire earlier,
/// so a busy connection that puts its deadline off does not touch the wheel.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    sleep: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
    armed: Timestamp,
}

impl Alarm {
    /// What is due now, if anything; otherwise the task is woken in time.
    pub(super) fn poll(&mut self, cx: &mut std::task::Context<'_>, due: Due) -> Option<Act> {
        use std::future::Future;
        let (at, act) = due?;
        if at == Timestamp::ZERO {
            return Some(act);
        }
        loop {
            let sleep = match &mut self.sleep {
                Some(sleep) if at >= self.armed => sleep,
                Some(sleep) => {
                    sleep.as_mut().reset(crate::clock::instant(at));
                    self.armed = at;
                    sleep
                }
                empty => {
                    self.armed = at;
                    empty.insert(Box::pin(tokio::time::sleep_until(crate::clock::instant(
                        at,
                    ))))
                }
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return None;
            }
            if crate::clock::now() >= at {
                // Set anew next time, whatever is due then.
                self.sleep = None;
                return Some(act);
            }
            sleep.as_mut().reset(crate::clock::instant(at));
            self.armed = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, Serves};
    use crate::drain::{Event, Machine, Phase, Plan, Trigger};
    use crate::proxy::registry::Registry;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(millis))
    }

    fn listener() -> Listener {
        Listener {
            name: "web".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            serves: Serves::Http { routes: Vec::new() },
            tls: None,
            idle: Duration::from_secs(60),
            limits: Limits::default(),
            max_age: Duration::ZERO,
            after: Vec::new(),
            proxy_protocol: false,
            grpc_health: false,
        }
    }

    fn view(state: State) -> View {
        View {
            id: 1,
            accepted: at(1_000),
            state,
            since: at(2_000),
            requests: 3,
            busy: false,
            over: false,
            retired: None,
            rhythm: Rhythm::default(),
        }
    }

    /// Orders of a drain that began at `start` without announce or spread.
    fn draining(start: Timestamp) -> (Machine, Orders) {
        let mut machine = Machine::new(Plan {
            announce: Duration::ZERO,
            spread: Duration::ZERO,
            ..Plan::default()
        });
        for phase in [Phase::Validating, Phase::Ready, Phase::Active] {
            machine.handle(Event::Reached(phase), at(0));
        }
        machine.handle(Event::Drain(Trigger::Sigterm), start);
        machine.handle(Event::Refused, start);
        let orders = machine.orders();
        (machine, orders)
    }

    fn calm() -> Orders {
        Machine::new(Plan::default()).orders()
    }

    #[test]
    fn idle_and_head_have_limits_of_their_own() {
        let limits = listener();
        let idle = http1(&view(State::Idle), &limits, &calm());
        assert_eq!(idle, Some((at(62_000), Act::Close)));
        let head = http1(&view(State::Head), &limits, &calm());
        assert_eq!(head, Some((at(12_000), Act::TooSlow)));
    }

    #[test]
    fn what_is_in_flight_is_left_alone() {
        let mut busy = view(State::InFlight);
        busy.busy = true;
        assert_eq!(http1(&busy, &listener(), &calm()), None);
        assert_eq!(http2(&busy, &listener(), &calm()), None);
        let (_, orders) = draining(at(5_000));
        let due = http1(&busy, &listener(), &orders);
        assert_eq!(
            due,
            Some((at(5_000), Act::Retire)),
            "but told to come no more"
        );
        busy.retired = Some(at(5_000));
        assert_eq!(http1(&busy, &listener(), &orders), None);
        assert_eq!(http2(&busy, &listener(), &orders), None);
    }

    #[test]
    fn one_that_answered_lately_gets_the_last_request_window() {
        let (_, orders) = draining(at(5_000));
        let mut late = view(State::Idle);
        late.retired = Some(at(5_000));
        late.since = at(4_900);
        assert_eq!(
            http1(&late, &listener(), &orders),
            Some((at(5_900), Act::Close))
        );
        late.since = at(1_000);
        assert_eq!(
            http1(&late, &listener(), &orders),
            Some((at(5_000), Act::Close))
        );
    }

    #[test]
    fn a_client_with_a_rhythm_is_awaited_within_finish() {
        let closed = |finish: u64| {
            let (_, mut orders) = draining(at(5_000));
            orders.plan.finish.http = Duration::from_millis(finish);
            let mut late = view(State::Idle);
            late.rhythm.note(State::Idle, at(1_000));
            late.rhythm.note(State::InFlight, at(2_000));
            late.retired = Some(at(5_000));
            late.since = at(5_000);
            http1(&late, &listener(), &orders)
        };
        assert_eq!(closed(20_000), Some((at(6_250), Act::Close)));
        assert_eq!(closed(1_100), Some((at(6_100), Act::Close)));
        assert_eq!(closed(900), Some((at(6_000), Act::Close)));
    }

    #[test]
    fn half_open_ones_count_from_their_accept() {
        let (_, orders) = draining(at(5_000));
        let mut young = view(State::TlsHandshake);
        young.accepted = at(4_500);
        young.since = at(4_500);
        assert_eq!(
            half_open(&young, &listener(), &orders),
            Some((at(6_500), Act::Farewell))
        );
        young.accepted = at(1_000);
        assert_eq!(
            half_open(&young, &listener(), &orders),
            Some((at(5_000), Act::Farewell))
        );
    }

    #[test]
    fn the_cut_spares_nobody() {
        let (_, orders) = draining(at(5_000));
        let mut busy = view(State::InFlight);
        busy.busy = true;
        busy.over = true;
        let cut = Some((Timestamp::ZERO, Act::Cut));
        assert_eq!(http1(&busy, &listener(), &orders), cut);
        assert_eq!(http2(&busy, &listener(), &orders), cut);
        assert_eq!(half_open(&busy, &listener(), &orders), cut);
    }

    #[test]
    fn one_that_takes_back_most_of_many_requests_is_restless() {
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        let guard = registry.enter(&scope, ([127, 0, 0, 1], 9).into());
        let ask = |times| (0..times).for_each(|_| drop(guard.begin(Protocol::Http2)));
        let take_back = |times| (0..times).for_each(|_| guard.take_back());
        ask(499);
        take_back(499);
        assert!(!restless(&guard), "few");
        ask(502);
        take_back(1);
        assert!(!restless(&guard), "not the half of them");
        take_back(1);
        assert!(restless(&guard));
    }

    #[test]
    fn a_retired_http2_connection_is_not_awaited_for_ever() {
        let (_, orders) = draining(at(5_000));
        let mut quiet = view(State::Idle);
        quiet.retired = Some(at(5_000));
        assert_eq!(
            http2(&quiet, &listener(), &orders),
            Some((at(6_000), Act::Close))
        );
    }
}
