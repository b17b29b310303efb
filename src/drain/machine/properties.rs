//! The machine's invariants, over any plan and any sequence of events.

use super::*;
use proptest::prelude::*;

/// Mostly short, so that stages meet and overtake each other.
fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        2 => Just(Duration::ZERO),
        8 => (0_u64..4_000).prop_map(Duration::from_millis),
        1 => (0_u64..100_000).prop_map(Duration::from_millis),
    ]
}

prop_compose! {
    fn plan()(
        (announce, spread, handshake) in (span(), span(), span()),
        (http, grpc, websocket, tcp) in (span(), span(), span(), span()),
        (last_request, farewell, handover_finish) in (span(), span(), span()),
    ) -> Plan {
        let finish = crate::drain::Finish { http, grpc, websocket, tcp };
        let grace = Duration::from_secs(30);
        Plan { grace, announce, spread, handshake, last_request, finish, farewell, handover_finish, ..Plan::default() }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => prop::sample::select(Phase::ALL.to_vec()).prop_map(Event::Reached),
        4 => prop::sample::select(Trigger::ALL.to_vec()).prop_map(Event::Drain),
        1 => Just(Event::Cancel),
        1 => Just(Event::Extend(Duration::from_millis(900))),
        1 => Just(Event::CutNow),
        2 => Just(Event::Refused),
        1 => Just(Event::Quiescent),
        6 => Just(Event::Elapsed),
    ]
}

/// Events, each some milliseconds after the one before. Most stories begin
/// with a process that serves, or few would get beyond start-up.
fn story() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let begin = prop_oneof![
        7 => Just(vec![(1, Event::Reached(Phase::Active))]),
        1 => Just(Vec::new()),
    ];
    let rest = prop::collection::vec((0_u64..3_000, event()), 0..40);
    (begin, rest).prop_map(|(begin, rest)| [begin, rest].concat())
}

fn millis(count: u64) -> Timestamp {
    Timestamp::from_start(Duration::from_millis(count))
}

fn active(plan: Plan) -> Machine {
    let mut machine = Machine::new(plan);
    machine.handle(Event::Reached(Phase::Active), millis(1));
    machine
}

/// Tell a story; see every step as (before, event, now, actions, after).
fn tell(
    plan: Plan,
    story: &[(u64, Event)],
    mut see: impl FnMut(&Machine, Event, Timestamp, &[Action], &Machine),
) -> (Machine, Timestamp) {
    let mut machine = Machine::new(plan);
    let mut now = 0;
    for (wait, event) in story {
        now += wait;
        let before = machine.clone();
        let actions = machine.handle(*event, millis(now));
        see(&before, *event, millis(now), &actions, &machine);
    }
    (machine, millis(now))
}

/// Where the plan puts an action, for drains that nobody cuts short: computed
/// from the plan's numbers alone.
fn place(plan: &Plan, action: Action) -> (Duration, u8, usize) {
    match action {
        Action::EnterStage(Stage::Announce) => (Duration::ZERO, 0, 0),
        Action::FailReadiness => (Duration::ZERO, 1, 0),
        Action::EnterPhase(Phase::Draining) => (Duration::ZERO, 2, 0),
        Action::EnterStage(Stage::Refuse) => (Duration::ZERO, 3, 0),
        Action::Refuse => (Duration::ZERO, 4, 0),
        Action::EnterStage(Stage::Retire) => (Duration::ZERO, 5, 0),
        Action::Retire => (Duration::ZERO, 6, 0),
        Action::EnterStage(Stage::Finish) => (Duration::ZERO, 7, 0),
        // The stage begins with the first protocol's deadline.
        Action::EnterStage(Stage::Farewell) => (plan.shortest_finish(), 8, 0),
        Action::Farewell(protocol) => (plan.finish_for(protocol), 9, protocol as usize),
        Action::EnterStage(Stage::Cut) => (plan.shortest_finish() + plan.farewell, 10, 0),
        Action::Cut(protocol) => {
            let due = plan.finish_for(protocol) + plan.farewell;
            (due, 11, protocol as usize)
        }
        Action::EnterPhase(_) | Action::Terminate | Action::RestoreReadiness => {
            (Duration::MAX, 12, 0)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn phases_never_step_back(plan in plan(), story in story()) {
        let mut seen = Phase::Idle;
        tell(plan, &story, |before, _, _, actions, after| {
            assert!(after.phase() >= before.phase());
            for action in actions {
                if let Action::EnterPhase(phase) = action {
                    assert!(*phase > seen, "{seen:?} -> {phase:?}");
                    seen = *phase;
                }
            }
            assert_eq!(after.phase(), seen, "every transition is an action");
        });
    }

    #[test]
    fn each_action_comes_once_per_drain(plan in plan(), story in story()) {
        let mut done: Vec<Action> = Vec::new();
        let mut terminated = false;
        tell(plan, &story, |_, _, _, actions, _| {
            for action in actions {
                assert!(!terminated, "{action:?} after the end");
                assert!(!done.contains(action), "{action:?} twice");
                done.push(*action);
                terminated = *action == Action::Terminate;
                if *action == Action::RestoreReadiness {
                    done.retain(|action| matches!(action, Action::EnterPhase(_)));
                }
            }
        });
    }

    #[test]
    fn actions_keep_the_order_of_the_plan(plan in plan(), waits in story()) {
        let mut machine = active(plan);
        let mut actions = machine.handle(Event::Drain(Trigger::Api), millis(2));
        let mut now = 2;
        for (wait, event) in waits {
            now += wait;
            let event = if event == Event::Refused { event } else { Event::Elapsed };
            actions.extend(machine.handle(event, millis(now)));
        }
        let places: Vec<_> = actions.iter().map(|action| place(&plan, *action)).collect();
        prop_assert!(places.is_sorted(), "{actions:?}");
    }

    #[test]
    fn quiescence_ends_a_drain_at_once(plan in plan(), story in story()) {
        tell(plan, &story, |before, event, now, actions, after| {
            let quiescent = event == Event::Quiescent && before.awaits_quiescence();
            if quiescent && before.next_deadline().is_none_or(|due| due > now) {
                assert_eq!(actions, [Action::EnterPhase(Phase::Terminated), Action::Terminate]);
                assert_eq!(after.ended(), Some(now.max(before.now)));
            }
        });
    }

    #[test]
    fn nothing_but_time_is_needed_to_terminate(plan in plan(), story in story(), trigger in 0_usize..3) {
        let (mut machine, mut now) = tell(plan, &story, |_, _, _, _, _| {});
        machine.handle(Event::Drain(Trigger::ALL[trigger]), now);
        let started = machine.started().expect("a drain runs or ran");
        let handed = machine.trigger().is_some_and(Trigger::hands_over);
        let followed = if handed { plan.after_handover() } else { plan };
        let limit = started + followed.total() + machine.extended() + CUT_LIMIT;
        let mut calls = 0;
        while let Some(due) = machine.next_deadline() {
            prop_assert!(due > now || calls == 0, "a timer that fires for nothing");
            prop_assert!(due <= limit, "{due:?} is past {limit:?}");
            now = now.max(due);
            machine.handle(Event::Elapsed, now);
            calls += 1;
            prop_assert!(calls < 20);
        }
        prop_assert_eq!(machine.phase(), Phase::Terminated);
        prop_assert!(machine.ended() <= Some(limit));
    }

    #[test]
    fn who_hurries_a_handover_waits_no_longer_than_the_plan_says(
        plan in plan(),
        waited in 0_u64..5_000,
    ) {
        let mut machine = active(plan);
        machine.handle(Event::Drain(Trigger::Handover), millis(2));
        machine.handle(Event::Refused, millis(2));
        let now = millis(2 + waited);
        machine.handle(Event::Drain(Trigger::Sigterm), now);
        machine.handle(Event::Drain(Trigger::Sigterm), now + plan.farewell);
        let wait = plan.longest_finish() + plan.farewell;
        let patience = millis(2) + plan.handover_finish + plan.farewell;
        prop_assert!(machine.latest() <= Some(patience.max(now).min(now + wait) + CUT_LIMIT));
        for protocol in Protocol::ALL {
            let deadline = machine.orders().deadline(protocol);
            prop_assert!(deadline <= Some(millis(2) + plan.handover_finish));
            let past = machine.orders().farewell.contains(protocol);
            prop_assert!(past || deadline <= Some(now + plan.finish_for(protocol)));
        }
    }

    #[test]
    fn a_drain_is_cancelled_before_refuse_or_never(plan in plan(), story in story()) {
        tell(plan, &story, |before, event, now, actions, after| {
            let cancelled = actions.contains(&Action::RestoreReadiness);
            if cancelled {
                let committed = before.started().map(|at| at + plan.announce);
                assert_eq!(event, Event::Cancel);
                assert!(before.phase() == Phase::Active && !before.orders().draining());
                assert!(committed.is_some_and(|at| now < at));
                assert_eq!((after.phase(), after.started()), (Phase::Active, None));
            }
            let accepted = event == Event::Cancel && before.answer(event, now) == Answer::Accepted;
            assert_eq!(cancelled, accepted, "the answer is kept");
        });
    }

    #[test]
    fn a_drain_is_answered_as_it_is_done(plan in plan(), story in story()) {
        tell(plan, &story, |before, event, now, _, after| {
            let (asked, begun, wanted) = match event {
                Event::Drain(_) => (true, before.started().is_none(), after.started().is_some()),
                Event::CutNow => {
                    let all = |machine: &Machine| machine.orders().cut == Protocols::ALL;
                    let ended = after.phase() == Phase::Terminated;
                    (true, !all(before), all(after) || ended)
                }
                _ => (false, false, false),
            };
            if asked && before.answer(event, now) == Answer::Accepted {
                assert!(begun && wanted, "{event:?} was accepted and not done");
            }
        });
    }

    #[test]
    fn one_late_call_does_what_many_punctual_ones_do(
        plan in plan(),
        until in 0_u64..120_000,
        refused in prop::option::of(0_u64..2_000),
    ) {
        let mut late = active(plan);
        let mut actions = late.handle(Event::Drain(Trigger::Sigterm), millis(2));
        if let Some(wait) = refused {
            // Both hear of it, else they do not live through the same drain.
            let closed = millis(2) + plan.announce + Duration::from_millis(wait);
            actions.extend(late.handle(Event::Refused, closed));
        }
        let mut punctual = late.clone();
        let until = late.now + Duration::from_millis(until);
        let mut punctual_actions = Vec::new();
        while let Some(due) = punctual.next_deadline().filter(|due| *due <= until) {
            punctual_actions.extend(punctual.handle(Event::Elapsed, due));
        }
        prop_assert_eq!(late.handle(Event::Elapsed, until), punctual_actions);
        prop_assert_eq!(late.orders(), punctual.orders());
        prop_assert_eq!(late.timeline(), punctual.timeline());
        prop_assert_eq!(late.ended(), punctual.ended());
        prop_assert!(!actions.is_empty());
    }

    #[test]
    fn orders_only_grow(plan in plan(), story in story()) {
        tell(plan, &story, |before, _, _, actions, after| {
            if actions.contains(&Action::RestoreReadiness) {
                return;
            }
            let (was, is) = (before.orders(), after.orders());
            assert!(is.stage >= was.stage);
            assert!(was.refuse_at.is_none() || is.refuse_at == was.refuse_at);
            assert!(was.retire_from.is_none() || is.retire_from == was.retire_from);
            assert!(was.farewell.is_subset_of(is.farewell));
            assert!(was.cut.is_subset_of(is.cut));
            assert!(is.cut.is_subset_of(is.farewell));
            assert!(is.cut_by_operator >= was.cut_by_operator);
        });
    }

    #[test]
    fn stages_follow_each_other_without_gaps_in_order(plan in plan(), story in story()) {
        let (machine, _) = tell(plan, &story, |_, _, _, _, _| {});
        let spans = machine.timeline();
        prop_assert!(spans.is_sorted_by_key(|span| (span.stage, span.began)));
        prop_assert_eq!(spans.last().map(|span| span.stage), machine.stage());
        for span in spans {
            prop_assert!(span.ended.is_none_or(|ended| ended >= span.began));
            prop_assert!(span.ended.is_some() || machine.phase() != Phase::Terminated);
        }
        for pair in spans.windows(2) {
            // The next one begins before this one is over, or as it ends.
            prop_assert!(pair[0].ended.is_none_or(|ended| ended >= pair[1].began));
        }
    }
}
