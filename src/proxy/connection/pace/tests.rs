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
        max_age_grace: Duration::ZERO,
        keepalive: crate::config::Keepalive::default(),
        after: Vec::new(),
        proxy_protocol: crate::config::ProxyProtocol::Off,
        grpc_health: false,
        grpc_web: false,
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
        shed: None,
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
    assert_eq!(idle, Some((at(62_000), Act::Close(Some(Limit::Idle)))));
    let head = http1(&view(State::Head), &limits, &calm());
    assert_eq!(head, Some((at(12_000), Act::TooSlow)));
}

#[test]
fn so_many_requests_retire_a_connection_a_little_sooner_or_later() {
    let mut limits = listener();
    limits.limits.requests = 6_400;
    let retires = |id, requests| {
        let mut busy = view(State::InFlight);
        (busy.id, busy.requests, busy.busy) = (id, requests, true);
        let due = Some((Timestamp::ZERO, Act::Retire(Some(Limit::Requests))));
        let asked = [http1, http2].map(|ask| ask(&busy, &limits, &calm()));
        assert_eq!(asked[0], asked[1]);
        asked[0] == due
    };
    assert!(!retires(64, 6_399) && retires(64, 6_400));
    assert!(!retires(1, 6_409) && retires(1, 6_410));
    assert!(!retires(127, 7_029) && retires(127, 7_030));
    limits.limits.requests = 0;
    let mut many = view(State::InFlight);
    (many.requests, many.busy) = (u64::MAX, true);
    assert_eq!(http1(&many, &limits, &calm()), None);
}

#[test]
fn who_is_told_to_leave_does_so_only_while_it_is_half_open() {
    let told = |state, requests| {
        let mut told = view(state);
        (told.shed, told.requests) = (Some(Limit::Handshakes), requests);
        http1(&told, &listener(), &calm())
    };
    let now = Some((Timestamp::ZERO, Act::Close(Some(Limit::Handshakes))));
    for state in [State::Accepted, State::ProxyHeader, State::Head] {
        assert_eq!(told(state, 0), now, "{state:?}");
    }
    let idle = Some((at(62_000), Act::Close(Some(Limit::Idle))));
    assert_eq!(told(State::Idle, 1), idle);
    assert_eq!(told(State::Head, 1), Some((at(12_000), Act::TooSlow)));
    let mut half_open = view(State::TlsHandshake);
    half_open.shed = Some(Limit::Handshakes);
    assert_eq!(super::half_open(&half_open, &listener(), &calm()), now);
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
        Some((at(5_000), Act::Retire(None))),
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
        Some((at(5_900), Act::Close(None)))
    );
    late.since = at(1_000);
    assert_eq!(
        http1(&late, &listener(), &orders),
        Some((at(5_000), Act::Close(None)))
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
    assert_eq!(closed(20_000), Some((at(6_250), Act::Close(None))));
    assert_eq!(closed(1_100), Some((at(6_100), Act::Close(None))));
    assert_eq!(closed(900), Some((at(6_000), Act::Close(None))));
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
    assert!(!restless(&guard, 500), "few");
    ask(502);
    take_back(1);
    assert!(!restless(&guard, 500), "not the half of them");
    take_back(1);
    assert!(restless(&guard, 500));
}

#[test]
fn a_retired_http2_connection_is_not_awaited_for_ever() {
    let (_, orders) = draining(at(5_000));
    let mut quiet = view(State::Idle);
    quiet.retired = Some(at(5_000));
    assert_eq!(
        http2(&quiet, &listener(), &orders),
        Some((at(6_000), Act::Close(None)))
    );
}
