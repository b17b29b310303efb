//! What came, one after the other.

use super::*;
use crate::cli::top::sample::{model, over, second, seen};

fn told(model: &Model) -> Vec<&str> {
    model.events.iter().map(|one| one.what.as_str()).collect()
}

#[test]
fn what_changes_is_told() {
    let mut model = model(false);
    let mut next = seen(true);
    let server = &mut next.status.upstreams[0].servers[1];
    (server.up, server.standing) = (true, "serving".to_owned());
    next.status.upstreams[1].servers[0].state = ServerState::Draining;
    next.status.successor = Some(4712);
    model.hear(News::Seen(Box::new(next)));
    let expected = [
        "server site/10.0.0.12:8080 is up",
        "server postgres/10.0.2.11:5432 is draining",
        "process 4712 took over",
        "finish began",
    ];
    assert_eq!(told(&model)[..4], expected);
    assert_eq!(model.events.len(), 7, "{:?}", model.events);
}

#[test]
fn a_drain_that_was_taken_back_is_told() {
    let mut model = model(true);
    model.hear(News::Seen(Box::new(seen(false))));
    assert_eq!(told(&model), ["the drain was taken back"]);
}

#[test]
fn the_last_state_stays_and_its_clock_stops_when_the_process_goes() {
    let mut model = model(true);
    let gone = || News::Lost {
        at: second(2),
        why: "no proxy answers".to_owned(),
    };
    model.hear(gone());
    model.hear(News::Lost {
        at: second(3),
        why: "later".to_owned(),
    });
    assert_eq!(told(&model), ["nobody answers any more"]);
    assert!(model.seen.progress.draining);
    assert_eq!(model.old(second(60)), Duration::from_secs(2));
    assert_eq!(
        model.lost.as_ref().map(|lost| lost.why.as_str()),
        Some("no proxy answers")
    );
}

#[test]
fn another_process_begins_anew() {
    let mut model = model(true);
    model.hear(over(0));
    assert!(model.is_over());
    let mut next = seen(false);
    next.status.instance = "other".to_owned();
    next.status.pid = 4712;
    model.hear(News::Seen(Box::new(next)));
    assert!(!model.is_over());
    assert_eq!(told(&model)[0], "process 4712 answers in the place of 4711");
}

#[test]
fn no_more_events_are_kept_than_some() {
    let mut model = model(false);
    for turn in 0..2 * KEPT {
        model.hear(News::Seen(Box::new(seen(turn % 2 == 0))));
    }
    assert_eq!(model.events.len(), KEPT);
}

#[test]
fn a_look_that_takes_long_is_said_to() {
    let mut model = model(true);
    assert_eq!(model.late(second(60)), None, "none is under way");
    model.hear(News::Looks { at: second(1) });
    assert_eq!(model.late(second(2)), None);
    assert_eq!(model.late(second(5)), Some(Duration::from_secs(4)));
    model.hear(News::Lost {
        at: second(5),
        why: "no proxy answers".to_owned(),
    });
    model.hear(News::Looks { at: second(6) });
    assert_eq!(model.late(second(9)), None, "it is lost, and that is said");
    model.hear(News::Seen(Box::new(seen(true))));
    assert_eq!(model.late(second(60)), None);
}

#[test]
fn an_answer_is_noted_and_kept() {
    let mut model = model(true);
    let answer = |answer: Result<&str, &str>| News::Answered {
        at: second(1),
        answer: answer.map(str::to_owned).map_err(str::to_owned),
    };
    model.hear(answer(Ok("30s more were given")));
    assert_eq!(model.note.as_deref(), Some("30s more were given"));
    model.hear(answer(Err("listeners refuse already")));
    assert_eq!(
        told(&model),
        ["not done: listeners refuse already", "30s more were given"]
    );
}

#[test]
fn how_things_stand_follows_from_what_was_seen() {
    assert_eq!(model(false).standing(), Standing::Calm);
    let mut model = model(true);
    assert_eq!(model.standing(), Standing::Draining);
    model.hear(News::Lost {
        at: second(2),
        why: "no proxy answers".to_owned(),
    });
    assert_eq!(model.standing(), Standing::Gone);
    model.hear(over(0));
    assert_eq!(model.standing(), Standing::Over);
}

#[test]
fn a_receipt_that_comes_twice_is_told_once() {
    let mut model = model(true);
    for _ in 0..2 {
        model.hear(over(0));
    }
    assert_eq!(model.events.len(), 1, "{:?}", model.events);
}

#[test]
fn the_receipt_of_a_process_that_handed_over_is_not_its_successors() {
    let mut model = model(true);
    let mut next = seen(false);
    next.status.instance = "other".to_owned();
    model.hear(News::Seen(Box::new(next)));
    model.hear(over(0));
    assert_eq!(model.standing(), Standing::Calm);
    assert!(told(&model)[0].starts_with("the process before has drained: Nothing lost"));
}
