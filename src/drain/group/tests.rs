//! Drains that wait for each other, drains alone, and the process over them.

use super::*;
use crate::drain::machine::CUT_LIMIT;
use crate::drain::{Finish, Protocol};
use proptest::prelude::*;
use std::time::Duration;

fn seconds(count: u64) -> Timestamp {
    Timestamp::from_start(Duration::from_secs(count))
}

/// A serving process with these listeners; each after the names beside it.
fn serving(listeners: &[(&str, &[&str])]) -> (Group, Vec<MemberId>) {
    let mut group = Group::new(Plan::default());
    let ids = listeners.iter().map(|(name, after)| {
        let after = after.iter().map(|name| Arc::from(*name)).collect();
        group.add(Arc::from(*name), after)
    });
    let ids = ids.collect();
    group.handle(Whom::Process, Event::Reached(Phase::Active), seconds(1));
    (group, ids)
}

fn stages_of(actions: &[(Whom, Action)], whom: Whom) -> Vec<Stage> {
    let stages = actions.iter().filter_map(|(who, action)| match action {
        Action::EnterStage(stage) if *who == whom => Some(*stage),
        _ => None,
    });
    stages.collect()
}

fn leave(group: &mut Group, id: MemberId, now: Timestamp) -> Vec<(Whom, Action)> {
    let whom = Whom::Listener(id);
    let mut actions = group.handle(whom, Event::Refused, now);
    actions.extend(group.handle(whom, Event::Quiescent, now));
    actions
}

#[test]
fn a_process_drains_every_listener_at_once() {
    let (mut group, ids) = serving(&[("web", &[]), ("db", &[])]);
    assert!(group.ready());
    let began = group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), seconds(100));
    assert_eq!(stages_of(&began, Whom::Process), [Stage::Announce]);
    assert!(!group.ready());
    assert_eq!(group.next_deadline(), Some(seconds(105)));
    let refused = group.handle(Whom::Process, Event::Elapsed, seconds(105));
    assert_eq!(group.phase(), Phase::Draining);
    for id in &ids {
        assert!(refused.contains(&(Whom::Listener(*id), Action::Refuse)));
    }
    leave(&mut group, ids[0], seconds(106));
    assert_eq!(group.phase(), Phase::Draining, "one is still there");
    let last = leave(&mut group, ids[1], seconds(107));
    assert!(last.contains(&(Whom::Process, Action::Terminate)));
    assert_eq!(group.ended(), Some(seconds(107)));
}

#[test]
fn what_a_drain_takes_at_most_is_known_before_it_begins() {
    let (mut group, _) = serving(&[("web", &[]), ("db", &["web"])]);
    let plan = Plan::default();
    let turn = plan.longest_finish() + plan.farewell + CUT_LIMIT;
    assert_eq!(group.longest(), plan.announce + turn * 2);
    let longest = group.longest();
    group.handle(Whom::Process, Event::Drain(Trigger::Api), seconds(100));
    assert_eq!(group.latest(), Some(seconds(100) + longest));
}

#[test]
fn a_handover_concerns_every_listener_at_once_and_announces_nothing() {
    let (mut group, ids) = serving(&[("web", &[]), ("db", &["web"])]);
    let drain = Event::Drain(Trigger::Handover);
    let actions = group.handle(Whom::Process, drain, seconds(100));
    assert_eq!(group.phase(), Phase::Draining);
    assert_eq!(stages_of(&actions, Whom::Process), []);
    assert!(!actions.contains(&(Whom::Process, Action::FailReadiness)));
    for id in &ids {
        assert!(actions.contains(&(Whom::Listener(*id), Action::Refuse)));
        group.handle(Whom::Listener(*id), Event::Refused, seconds(100));
    }
    let stages: Vec<_> = group.timeline().iter().map(|span| span.stage).collect();
    assert_eq!(stages, [Stage::Retire]);
    assert_eq!(group.followed(), Plan::default().after_handover());
    let patience = Plan::default().handover_finish + Plan::default().farewell;
    assert_eq!(group.latest(), Some(seconds(100) + patience + CUT_LIMIT));
    let first = group.handle(Whom::Listener(ids[0]), Event::Quiescent, seconds(150));
    assert!(first.contains(&(Whom::Listener(ids[0]), Action::Terminate)));
    group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), seconds(200));
    assert_eq!(group.trigger(), Some(Trigger::Handover));
    assert_eq!(
        group.latest(),
        Some(seconds(222) + CUT_LIMIT),
        "of who is left"
    );
    let hurried = group
        .orders(ids[1])
        .and_then(|orders| orders.deadline(Protocol::Grpc));
    assert_eq!(hurried, Some(seconds(220)));
    let last = leave(&mut group, ids[1], seconds(202));
    assert!(last.contains(&(Whom::Process, Action::Terminate)));
}

#[test]
fn a_listener_waits_for_those_it_comes_after() {
    let (mut group, ids) = serving(&[("web", &["grpc"]), ("grpc", &[])]);
    group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), seconds(100));
    let refused = group.handle(Whom::Process, Event::Elapsed, seconds(105));
    let web = Whom::Listener(ids[0]);
    assert!(!refused.contains(&(web, Action::Refuse)));
    assert!(!group.orders(ids[0]).expect("a member").draining());
    let gone = leave(&mut group, ids[1], seconds(110));
    assert!(gone.contains(&(web, Action::Refuse)), "{gone:?}");
    let orders = group.orders(ids[0]).expect("a member");
    assert_eq!(
        orders.refuse_at,
        Some(seconds(110)),
        "its time counts from here"
    );
    leave(&mut group, ids[0], seconds(111));
    assert_eq!(group.phase(), Phase::Terminated);
    let stages = group.timeline();
    let refuse = stages.iter().find(|span| span.stage == Stage::Refuse);
    let refuse = refuse.expect("refused");
    assert_eq!(
        (refuse.began, refuse.ended),
        (seconds(105), Some(seconds(111)))
    );
}

#[test]
fn listeners_that_wait_for_each_other_do_not_wait_for_ever() {
    let (mut group, ids) = serving(&[("a", &["b"]), ("b", &["a"])]);
    group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), seconds(100));
    group.handle(Whom::Process, Event::Elapsed, seconds(105));
    for id in ids {
        assert!(group.orders(id).expect("a member").draining());
    }
}

#[test]
fn one_listener_is_drained_alone_and_taken_back() {
    let (mut group, ids) = serving(&[("web", &[]), ("db", &[])]);
    let db = Whom::Listener(ids[1]);
    let drain = Event::Drain(Trigger::Api);
    let began = group.handle(db, drain, seconds(10));
    assert_eq!(stages_of(&began, db), [Stage::Announce]);
    assert_eq!(stages_of(&began, Whom::Process), []);
    assert!(group.ready(), "the process goes on");
    assert_eq!(group.answer(db, drain, seconds(11)), Answer::Already);
    assert_eq!(
        group.answer(db, Event::Cancel, seconds(11)),
        Answer::Accepted
    );
    group.handle(db, Event::Cancel, seconds(11));
    assert_eq!(
        group.answer(db, Event::Cancel, seconds(12)),
        Answer::NotDraining
    );
    group.handle(db, drain, seconds(20));
    group.handle(Whom::Process, Event::Elapsed, seconds(25));
    assert_eq!(
        group.answer(db, Event::Cancel, seconds(25)),
        Answer::TooLate
    );
    leave(&mut group, ids[1], seconds(26));
    assert_eq!(group.phase(), Phase::Active);
    assert!(group.member(ids[1]).expect("a member").is_over());
}

#[test]
fn a_drain_of_the_process_overtakes_that_of_a_listener() {
    let (mut group, ids) = serving(&[("web", &[]), ("db", &[])]);
    let db = Whom::Listener(ids[1]);
    group.handle(db, Event::Drain(Trigger::Api), seconds(10));
    group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), seconds(12));
    let answer = group.answer(db, Event::Cancel, seconds(13));
    assert_eq!(answer, Answer::OfProcess);
    group.handle(db, Event::Cancel, seconds(13));
    assert!(
        group
            .member(ids[1])
            .expect("a member")
            .machine()
            .started()
            .is_some()
    );
    group.handle(Whom::Process, Event::Cancel, seconds(14));
    assert!(group.ready());
    group.handle(Whom::Process, Event::Elapsed, seconds(15));
    let orders = |id| group.orders(id).expect("a member");
    assert!(
        orders(ids[1]).draining(),
        "its own drain was not taken back"
    );
    assert!(!orders(ids[0]).draining());
}

#[test]
fn a_listener_that_was_cut_is_not_taken_back_with_the_process() {
    let (mut group, ids) = serving(&[("web", &[]), ("db", &[])]);
    let drain = Event::Drain(Trigger::Sigterm);
    group.handle(Whom::Process, drain, seconds(10));
    group.handle(Whom::Listener(ids[1]), Event::CutNow, seconds(11));
    group.handle(Whom::Process, Event::Cancel, seconds(12));
    assert!(group.ready(), "the other one serves");
    let db = group.member(ids[1]).expect("a member");
    assert!(db.alone() && db.machine().started().is_some());
    // What it did is none of a later drain of the process.
    group.handle(Whom::Process, drain, seconds(20));
    let refused = group.handle(Whom::Process, Event::Elapsed, seconds(25));
    assert_eq!(stages_of(&refused, Whom::Process), [Stage::Refuse]);
}

#[test]
fn a_cut_ends_the_announcement_even_with_nobody_left() {
    let (mut group, ids) = serving(&[("web", &[])]);
    group.handle(Whom::Listener(ids[0]), Event::CutNow, seconds(5));
    leave(&mut group, ids[0], seconds(5));
    group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), seconds(10));
    let answer = group.answer(Whom::Process, Event::CutNow, seconds(11));
    assert_eq!(answer, Answer::Accepted);
    group.handle(Whom::Process, Event::CutNow, seconds(11));
    assert_eq!(group.phase(), Phase::Terminated);
}

#[test]
fn without_a_listener_left_a_process_still_announces() {
    let (mut group, ids) = serving(&[("web", &[])]);
    group.handle(Whom::Listener(ids[0]), Event::CutNow, seconds(5));
    leave(&mut group, ids[0], seconds(5));
    assert!(!group.ready(), "nothing is served");
    group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), seconds(10));
    assert_eq!(group.phase(), Phase::Active);
    group.handle(Whom::Process, Event::Elapsed, seconds(15));
    assert_eq!(group.phase(), Phase::Terminated);
}

#[test]
fn more_time_is_for_those_whose_deadline_is_ahead() {
    let (mut group, ids) = serving(&[("web", &[])]);
    let more = Event::Extend(Duration::from_secs(30));
    let ask = |group: &Group, second| group.answer(Whom::Process, more, seconds(second));
    assert_eq!(ask(&group, 50), Answer::NotDraining);
    group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), seconds(100));
    group.handle(Whom::Process, Event::Elapsed, seconds(105));
    group.handle(Whom::Listener(ids[0]), Event::Refused, seconds(105));
    // WebSockets were told at 115 s.
    group.handle(Whom::Process, more, seconds(116));
    let orders = group.orders(ids[0]).expect("a member");
    assert_eq!(orders.deadline(Protocol::WebSocket), Some(seconds(115)));
    assert_eq!(orders.deadline(Protocol::Http1), Some(seconds(155)));
    assert_eq!(ask(&group, 154), Answer::Accepted);
    assert_eq!(ask(&group, 155), Answer::TooLate);
    let member = group.member(ids[0]).expect("a member");
    assert_eq!(member.machine().extended(), Duration::from_secs(30));
}

#[test]
fn a_signal_before_anything_was_accepted_ends_it_at_once() {
    let mut group = Group::new(Plan::default());
    group.add("web".into(), Vec::new());
    group.handle(Whom::Process, Event::Reached(Phase::Ready), seconds(1));
    group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), seconds(1));
    assert_eq!(group.phase(), Phase::Terminated);
}

fn span() -> impl Strategy<Value = Duration> {
    (0_u64..4_000).prop_map(Duration::from_millis)
}

prop_compose! {
    fn plan()(
        (announce, spread, http, grpc) in (span(), span(), span(), span()),
        (websocket, tcp, farewell) in (span(), span(), span()),
    ) -> Plan {
        let finish = Finish { http, grpc, websocket, tcp };
        Plan { announce, spread, finish, farewell, ..Plan::default() }
    }
}

#[derive(Clone, Copy, Debug)]
struct Move {
    wait: u64,
    whom: Option<usize>,
    event: Event,
}

fn step() -> impl Strategy<Value = Move> {
    let event = prop_oneof![
        1 => Just(Event::Drain(Trigger::Api)),
        1 => Just(Event::Cancel),
        1 => Just(Event::Extend(Duration::from_millis(700))),
        1 => Just(Event::CutNow),
        3 => Just(Event::Refused),
        3 => Just(Event::Quiescent),
        6 => Just(Event::Elapsed),
    ];
    (0_u64..2_500, prop::option::weighted(0.8, 0_usize..4), event)
        .prop_map(|(wait, whom, event)| Move { wait, whom, event })
}

/// Four listeners, any of which may wait for any other.
fn waits() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(0_usize..4, 0..3), 4)
}

fn build(plan: Plan, waits: &[Vec<usize>]) -> Group {
    let mut group = Group::new(plan);
    let name = |index: usize| Arc::from(index.to_string());
    for (index, after) in waits.iter().enumerate() {
        group.add(
            name(index),
            after.iter().map(|other| name(*other)).collect(),
        );
    }
    group.handle(
        Whom::Process,
        Event::Reached(Phase::Active),
        Timestamp::ZERO,
    );
    group
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_action_comes_once_and_phases_go_forward(
        plan in plan(), waits in waits(), story in prop::collection::vec(step(), 0..40),
    ) {
        let mut group = build(plan, &waits);
        let mut now = 0;
        let mut done: Vec<(Whom, Action)> = Vec::new();
        for Move { wait, whom, event } in story {
            now += wait;
            let whom = whom.map_or(Whom::Process, |index| Whom::Listener(group.members()[index].id()));
            let before = group.phase();
            let at = Timestamp::from_start(Duration::from_millis(now));
            for (whom, action) in group.handle(whom, event, at) {
                prop_assert!(!done.contains(&(whom, action)), "{whom:?} {action:?} twice");
                done.push((whom, action));
                if action == Action::RestoreReadiness {
                    done.retain(|(who, action)| *who != whom || matches!(action, Action::EnterPhase(_)));
                }
            }
            prop_assert!(group.phase() >= before);
        }
    }

    #[test]
    fn nobody_refuses_before_those_it_waits_for_are_gone(
        plan in plan(), story in prop::collection::vec(step(), 0..40),
    ) {
        let mut group = build(plan, &[vec![], vec![0], vec![1], vec![0]]);
        group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), Timestamp::ZERO);
        let mut now = 0;
        for Move { wait, whom, event } in story {
            if !matches!(event, Event::Refused | Event::Quiescent | Event::Elapsed) {
                continue;
            }
            now += wait;
            let whom = whom.map_or(Whom::Process, |index| Whom::Listener(group.members()[index].id()));
            group.handle(whom, event, Timestamp::from_start(Duration::from_millis(now)));
            for (waits, before) in [(1, 0), (2, 1), (3, 0)] {
                let members = group.members();
                let draining = members[waits].machine().orders().draining();
                prop_assert!(!draining || members[before].is_over(), "{waits} before {before}");
            }
        }
    }

    #[test]
    fn the_process_ends_in_time_whatever_peers_do(plan in plan(), waits in waits()) {
        let mut group = build(plan, &waits);
        group.handle(Whom::Process, Event::Drain(Trigger::Sigterm), Timestamp::ZERO);
        let latest = group.latest().expect("draining");
        let mut steps = 0;
        while let Some(due) = group.next_deadline() {
            group.handle(Whom::Process, Event::Elapsed, due);
            steps += 1;
            prop_assert!(steps < 500);
        }
        prop_assert_eq!(group.phase(), Phase::Terminated);
        let ended = group.ended().expect("ended");
        prop_assert!(ended <= latest, "{:?} after {:?}", ended, latest);
    }
}
