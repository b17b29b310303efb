//! The machine as a table: every position times every event.

use super::*;
use Answer::{Accepted, Already, NotDraining, TooLate};
use std::fmt::Write as _;

fn seconds(count: u64) -> Timestamp {
    Timestamp::from_start(Duration::from_secs(count))
}

/// A machine that began to drain at 100 s: refuse at 105 s, WebSocket to
/// 115 s, all else to 125 s, cuts 2 s later.
fn draining() -> Machine {
    let mut machine = Machine::new(Plan::default());
    machine.handle(Event::Reached(Phase::Active), seconds(1));
    machine.handle(Event::Drain(Trigger::Sigterm), seconds(100));
    machine
}

fn refused() -> Machine {
    let mut machine = draining();
    machine.handle(Event::Elapsed, seconds(105));
    machine.handle(Event::Refused, seconds(105));
    machine
}

/// One whose sockets a successor has had since 100 s.
fn handed_over() -> Machine {
    let mut machine = Machine::new(Plan::default());
    machine.handle(Event::Reached(Phase::Active), seconds(1));
    machine.handle(Event::Drain(Trigger::Handover), seconds(100));
    machine
}

/// One that must wait for others.
fn held() -> Machine {
    let mut machine = Machine::new(Plan::default());
    machine.handle(Event::Reached(Phase::Active), seconds(1));
    machine.handle(Event::Hold, seconds(100));
    machine.handle(Event::Drain(Trigger::Sigterm), seconds(100));
    machine
}

fn positions() -> Vec<(&'static str, Machine, Timestamp)> {
    let reached = |phase| {
        let mut machine = Machine::new(Plan::default());
        machine.handle(Event::Reached(phase), seconds(1));
        (phase.as_str(), machine, seconds(2))
    };
    let at = |name, mut machine: Machine, second| {
        machine.handle(Event::Elapsed, seconds(second));
        (name, machine, seconds(second))
    };
    vec![
        ("idle", Machine::new(Plan::default()), seconds(2)),
        reached(Phase::Validating),
        reached(Phase::Ready),
        reached(Phase::Active),
        at("announce", draining(), 104),
        at("held", held(), 106),
        at("refuse", draining(), 105),
        at("retire", refused(), 106),
        at("finish", refused(), 107),
        at("farewell(websocket)", refused(), 115),
        at("cut(websocket)", refused(), 117),
        at("farewell", refused(), 126),
        at("cut", refused(), 127),
        at("terminated", refused(), 128),
        ("handed over", handed_over(), seconds(100)),
        at("handed over, retire", handed_over(), 101),
    ]
}

fn table() -> String {
    let events = [
        Event::Reached(Phase::Validating),
        Event::Reached(Phase::Ready),
        Event::Reached(Phase::Active),
        Event::Reached(Phase::Draining),
        Event::Reached(Phase::Terminated),
        Event::Drain(Trigger::Api),
        Event::Drain(Trigger::Handover),
        Event::Cancel,
        Event::Extend(Duration::from_secs(1)),
        Event::Hold,
        Event::Release,
        Event::CutNow,
        Event::Refused,
        Event::Quiescent,
        Event::Elapsed,
    ];
    let mut text = String::new();
    for (name, machine, now) in positions() {
        writeln!(text, "{name}").expect("a string");
        let mut line = |event: &dyn std::fmt::Debug, actions: Vec<Action>| {
            if !actions.is_empty() {
                writeln!(text, "  {event:?} -> {actions:?}").expect("a string");
            }
        };
        for event in events {
            line(&event, machine.clone().handle(event, now));
        }
        if let Some(due) = machine.next_deadline() {
            let name = format!("at {}s", due.since_start().as_secs_f64());
            line(
                &format_args!("{name}"),
                machine.clone().handle(Event::Elapsed, due),
            );
        }
    }
    text
}

/// What is not listed does nothing.
const TABLE: &str = "\
idle
  Reached(Validating) -> [EnterPhase(Validating)]
  Reached(Ready) -> [EnterPhase(Ready)]
  Reached(Active) -> [EnterPhase(Active)]
  Drain(Api) -> [EnterPhase(Terminated), Terminate]
  Drain(Handover) -> [EnterPhase(Terminated), Terminate]
  CutNow -> [EnterPhase(Terminated), Terminate]
validating
  Reached(Ready) -> [EnterPhase(Ready)]
  Reached(Active) -> [EnterPhase(Active)]
  Drain(Api) -> [EnterPhase(Terminated), Terminate]
  Drain(Handover) -> [EnterPhase(Terminated), Terminate]
  CutNow -> [EnterPhase(Terminated), Terminate]
ready
  Reached(Active) -> [EnterPhase(Active)]
  Drain(Api) -> [EnterPhase(Terminated), Terminate]
  Drain(Handover) -> [EnterPhase(Terminated), Terminate]
  CutNow -> [EnterPhase(Terminated), Terminate]
active
  Drain(Api) -> [EnterStage(Announce), FailReadiness]
  Drain(Handover) -> [EnterPhase(Draining), Refuse]
  CutNow -> [EnterStage(Announce), FailReadiness, EnterPhase(Draining), EnterStage(Refuse), Refuse, EnterStage(Retire), Retire, EnterStage(Cut), Cut(Http1), Cut(Http2), Cut(Grpc), Cut(WebSocket), Cut(Tcp)]
announce
  Cancel -> [RestoreReadiness]
  CutNow -> [EnterPhase(Draining), EnterStage(Refuse), Refuse, EnterStage(Retire), Retire, EnterStage(Cut), Cut(Http1), Cut(Http2), Cut(Grpc), Cut(WebSocket), Cut(Tcp)]
  at 105s -> [EnterPhase(Draining), EnterStage(Refuse), Refuse]
held
  Cancel -> [RestoreReadiness]
  Release -> [EnterPhase(Draining), EnterStage(Refuse), Refuse]
  CutNow -> [EnterPhase(Draining), EnterStage(Refuse), Refuse, EnterStage(Retire), Retire, EnterStage(Cut), Cut(Http1), Cut(Http2), Cut(Grpc), Cut(WebSocket), Cut(Tcp)]
refuse
  CutNow -> [EnterStage(Retire), Retire, EnterStage(Cut), Cut(Http1), Cut(Http2), Cut(Grpc), Cut(WebSocket), Cut(Tcp)]
  Refused -> [EnterStage(Retire), Retire]
  at 106s -> [EnterStage(Retire), Retire]
retire
  CutNow -> [EnterStage(Cut), Cut(Http1), Cut(Http2), Cut(Grpc), Cut(WebSocket), Cut(Tcp)]
  Quiescent -> [EnterPhase(Terminated), Terminate]
  at 107s -> [EnterStage(Finish)]
finish
  CutNow -> [EnterStage(Cut), Cut(Http1), Cut(Http2), Cut(Grpc), Cut(WebSocket), Cut(Tcp)]
  Quiescent -> [EnterPhase(Terminated), Terminate]
  at 115s -> [EnterStage(Farewell), Farewell(WebSocket)]
farewell(websocket)
  CutNow -> [EnterStage(Cut), Cut(Http1), Cut(Http2), Cut(Grpc), Cut(WebSocket), Cut(Tcp)]
  Quiescent -> [EnterPhase(Terminated), Terminate]
  at 117s -> [EnterStage(Cut), Cut(WebSocket)]
cut(websocket)
  CutNow -> [Cut(Http1), Cut(Http2), Cut(Grpc), Cut(Tcp)]
  Quiescent -> [EnterPhase(Terminated), Terminate]
  at 125s -> [Farewell(Http1), Farewell(Http2), Farewell(Grpc), Farewell(Tcp)]
farewell
  CutNow -> [Cut(Http1), Cut(Http2), Cut(Grpc), Cut(Tcp)]
  Quiescent -> [EnterPhase(Terminated), Terminate]
  at 127s -> [Cut(Http1), Cut(Http2), Cut(Grpc), Cut(Tcp)]
cut
  Quiescent -> [EnterPhase(Terminated), Terminate]
  at 127.5s -> [EnterPhase(Terminated), Terminate]
terminated
handed over
  CutNow -> [EnterStage(Retire), Retire, EnterStage(Cut), Cut(Http1), Cut(Http2), Cut(Grpc), Cut(WebSocket), Cut(Tcp)]
  Refused -> [EnterStage(Retire), Retire]
  at 101s -> [EnterStage(Retire), Retire]
handed over, retire
  CutNow -> [EnterStage(Cut), Cut(Http1), Cut(Http2), Cut(Grpc), Cut(WebSocket), Cut(Tcp)]
  Quiescent -> [EnterPhase(Terminated), Terminate]
  at 103s -> [EnterStage(Finish)]
";

#[test]
fn every_position_answers_every_event_as_listed() {
    let table = table();
    assert_eq!(table, TABLE, "\n{table}");
}

#[test]
fn after_a_handover_work_has_its_own_patience() {
    let machine = handed_over();
    let orders = machine.orders();
    assert!(orders.handed_over && orders.draining());
    assert_eq!(orders.stage, None, "nothing is announced or refused");
    for protocol in Protocol::ALL {
        assert_eq!(orders.deadline(protocol), Some(seconds(3_700)));
    }
    assert_eq!(machine.plan().announce, Duration::ZERO);
}

#[test]
fn who_asks_for_a_drain_after_a_handover_gets_the_plans_times_once() {
    let mut machine = handed_over();
    machine.handle(Event::Refused, seconds(100));
    machine.handle(Event::Drain(Trigger::Sigterm), seconds(200));
    let deadlines = |machine: &Machine| Protocol::ALL.map(|one| machine.orders().deadline(one));
    let hurried = deadlines(&machine);
    let late = Protocol::ALL.map(|one| Some(seconds(200) + Plan::default().finish_for(one)));
    assert_eq!(hurried, late);
    assert_eq!(machine.trigger(), Some(Trigger::Handover));
    machine.handle(Event::Extend(Duration::from_secs(9)), seconds(201));
    let extended = deadlines(&machine);
    machine.handle(Event::Drain(Trigger::Sigterm), seconds(202));
    assert_eq!(deadlines(&machine), extended, "a repeat has no effect");
}

#[test]
fn the_time_of_one_that_waited_counts_from_its_release() {
    let mut machine = held();
    machine.handle(Event::Release, seconds(140));
    assert_eq!(machine.orders().refuse_at, Some(seconds(140)));
    let mut early = held();
    early.handle(Event::Release, seconds(101));
    assert_eq!(early.next_deadline(), Some(seconds(105)), "announce lasts");
}

#[test]
fn an_extension_moves_what_is_ahead_and_is_gone_with_the_drain() {
    let mut machine = draining();
    machine.handle(Event::Extend(Duration::from_secs(10)), seconds(101));
    assert_eq!(machine.plan().finish.http, Duration::from_secs(30));
    machine.handle(Event::Cancel, seconds(102));
    assert_eq!(machine.orders(), Orders::carry_on(Plan::default()));
    assert_eq!(machine.extended(), Duration::ZERO);
}

#[test]
fn spans_tell_when_each_stage_was() {
    let mut machine = refused();
    machine.handle(Event::Elapsed, seconds(126));
    machine.handle(
        Event::Quiescent,
        Timestamp::from_start(Duration::from_millis(126_250)),
    );
    let spans: Vec<_> = machine
        .timeline()
        .iter()
        .map(|span| {
            let ended = span.ended.expect("terminated").since_start();
            (
                span.stage,
                span.began.since_start().as_secs(),
                ended.as_millis(),
            )
        })
        .collect();
    assert_eq!(
        spans,
        [
            (Stage::Announce, 100, 105_000),
            (Stage::Refuse, 105, 105_000),
            (Stage::Retire, 105, 107_000),
            // The WebSocket deadline came at 115 s, the last one at 125 s.
            (Stage::Finish, 107, 125_000),
            (Stage::Farewell, 115, 126_250),
            (Stage::Cut, 117, 126_250),
        ]
    );
    assert_eq!(
        machine.ended().map(|at| at.since_start().as_millis()),
        Some(126_250)
    );
}

#[test]
fn a_cut_at_once_ends_every_stage_at_once() {
    let mut machine = refused();
    machine.handle(Event::CutNow, seconds(106));
    let orders = machine.orders();
    assert!(orders.cut_by_operator);
    assert_eq!(
        (orders.farewell, orders.cut),
        (Protocols::ALL, Protocols::ALL)
    );
    assert_eq!(orders.half_open_until(seconds(105)), Some(seconds(105)));
    let (last, earlier) = machine.timeline().split_last().expect("stages");
    assert_eq!((last.stage, last.ended), (Stage::Cut, None));
    assert!(earlier.iter().all(|span| span.ended <= Some(seconds(106))));
    assert_eq!(machine.next_deadline(), Some(seconds(106) + CUT_LIMIT));
    assert_eq!(machine.handle(Event::CutNow, seconds(106)), []);
}

#[test]
fn without_announce_refuse_comes_in_the_same_call() {
    let mut machine = Machine::new(Plan {
        announce: Duration::ZERO,
        ..Plan::default()
    });
    machine.handle(Event::Reached(Phase::Active), seconds(1));
    assert_eq!(
        machine.handle(Event::Drain(Trigger::Sigterm), seconds(2)),
        [
            Action::EnterStage(Stage::Announce),
            Action::FailReadiness,
            Action::EnterPhase(Phase::Draining),
            Action::EnterStage(Stage::Refuse),
            Action::Refuse,
        ]
    );
    assert_eq!(machine.answer(Event::Cancel, seconds(2)), TooLate);
}

#[test]
fn a_cancelled_drain_leaves_no_trace_and_may_come_again() {
    let mut machine = draining();
    assert!(machine.cancel_allowed());
    machine.handle(Event::Cancel, seconds(101));
    assert_eq!(
        (machine.trigger(), machine.started(), machine.stage()),
        (None, None, None)
    );
    assert_eq!(machine.orders(), Orders::carry_on(Plan::default()));
    assert_eq!(
        (machine.timeline(), machine.next_deadline()),
        (&[][..], None)
    );
    assert_eq!(machine.handle(Event::Elapsed, seconds(900)), []);
    let again = machine.handle(Event::Drain(Trigger::Api), seconds(1_000));
    assert_eq!(
        again,
        [Action::EnterStage(Stage::Announce), Action::FailReadiness]
    );
    assert_eq!(machine.next_deadline(), Some(seconds(1_005)));
}

#[test]
fn a_request_is_answered_as_it_would_be_treated() {
    let ask = |machine: &Machine, second| {
        [Event::Drain(Trigger::Api), Event::Cancel, Event::CutNow]
            .map(|event| machine.answer(event, seconds(second)))
    };
    let mut active = Machine::new(Plan::default());
    active.handle(Event::Reached(Phase::Active), seconds(1));
    assert_eq!(ask(&active, 2), [Accepted, NotDraining, Accepted]);
    assert_eq!(ask(&draining(), 104), [Already, Accepted, Accepted]);
    // The timer for refuse is late, the commit is not.
    assert_eq!(ask(&draining(), 105), [Already, TooLate, Accepted]);
    assert_eq!(ask(&refused(), 127), [Already, TooLate, Already]);
    assert_eq!(ask(&refused(), 128), [TooLate, TooLate, TooLate]);
}

#[test]
fn a_plan_cannot_change_under_a_drain() {
    let other = Plan {
        announce: Duration::ZERO,
        ..Plan::default()
    };
    let mut machine = draining();
    assert!(!machine.set_plan(other));
    assert_eq!(machine.plan(), &Plan::default());
    machine.handle(Event::Cancel, seconds(101));
    assert!(machine.set_plan(other));
    assert_eq!(machine.orders().plan, other);
}

#[test]
fn listeners_that_never_close_do_not_hold_up_the_drain() {
    let mut machine = draining();
    machine.handle(Event::Elapsed, seconds(105));
    assert!(!machine.awaits_quiescence());
    assert_eq!(
        machine.handle(Event::Elapsed, seconds(105) + REFUSE_LIMIT),
        [Action::EnterStage(Stage::Retire), Action::Retire]
    );
    assert!(machine.awaits_quiescence());
    assert_eq!(machine.handle(Event::Refused, seconds(107)), []);
}

#[test]
fn a_clock_that_steps_back_changes_nothing() {
    let mut machine = refused();
    machine.handle(Event::Elapsed, seconds(110));
    assert_eq!(machine.handle(Event::Quiescent, seconds(3)).len(), 2);
    assert_eq!(machine.ended(), Some(seconds(110)));
}

#[test]
fn farewell_is_over_when_the_last_protocol_is_cut() {
    let mut machine = refused();
    machine.handle(Event::Elapsed, seconds(200));
    let end = |stage| {
        let span = machine.timeline().iter().find(|span| span.stage == stage);
        span.and_then(|span| span.ended)
    };
    assert_eq!(end(Stage::Farewell), Some(seconds(127)));
    assert_eq!(end(Stage::Cut), Some(seconds(127) + CUT_LIMIT));
}
