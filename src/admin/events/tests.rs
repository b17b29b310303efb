//! The ring, and who listens to it.

use super::*;
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// What is there now: the name, the number and the data of each event.
fn heard(listening: &mut Listening) -> Vec<(String, Option<u64>, Value)> {
    let mut events = Vec::new();
    while let Some(Some(bytes)) = listening.next().now_or_never() {
        events.push(parts(&bytes));
    }
    events
}

fn parts(bytes: &[u8]) -> (String, Option<u64>, Value) {
    let text = std::str::from_utf8(bytes).expect("text");
    let whole = text.strip_suffix("\n\n").expect("a whole event");
    let field = |name: &str| {
        let mut lines = whole.lines().filter_map(|line| line.strip_prefix(name));
        lines.next().map(str::to_owned)
    };
    let id = field("id: ").map(|id| {
        let (_, number) = id.rsplit_once('-').expect("of a process");
        number.parse().expect("a number")
    });
    let data = field("data: ").expect("data");
    let mut data: Value = serde_json::from_str(&data).expect("JSON");
    let at = data
        .as_object_mut()
        .and_then(|all| all.remove("at_unix_ms"));
    assert!(at.is_some_and(|at| at.is_u64()));
    (field("event: ").expect("a name"), id, data)
}

fn names(listening: &mut Listening) -> Vec<String> {
    heard(listening)
        .into_iter()
        .map(|(name, ..)| name)
        .collect()
}

fn listen(events: &Arc<Events>) -> Listening {
    Listening::to(events, None).expect("there is room")
}

#[tokio::test]
async fn news_are_numbered_and_begin_with_who_listens() {
    let events = Arc::new(Events::default());
    events.tell("early", &json!({}));
    let mut listening = listen(&events);
    assert_eq!(heard(&mut listening), []);
    events.tell("phase", &json!({ "phase": "active" }));
    events.tell("stage", &json!({ "stage": "announce" }));
    let expected = [
        ("phase".to_owned(), Some(1), json!({ "phase": "active" })),
        ("stage".to_owned(), Some(2), json!({ "stage": "announce" })),
    ];
    assert_eq!(heard(&mut listening), expected);
}

#[tokio::test]
async fn of_a_view_only_the_newest_is_sent() {
    let events = Arc::new(Events::default());
    events.show(View::Picture, &json!({ "before": true }));
    let mut listening = listen(&events);
    for count in 0..1_000 {
        events.show(View::Progress, &json!({ "count": count }));
    }
    events.tell("phase", &json!({}));
    let told = heard(&mut listening);
    assert_eq!(told[0].0, "phase", "news come first");
    let view = ("progress".to_owned(), None, json!({ "count": 999 }));
    assert_eq!(told[1..], [view]);
}

#[tokio::test]
async fn who_is_slow_loses_the_oldest_and_is_told_how_many() {
    let events = Arc::new(Events::default());
    let (mut slow, mut quick) = (listen(&events), listen(&events));
    let all = KEPT as u64 + 10;
    for count in 0..all {
        events.tell("stage", &json!({ "count": count }));
        assert_eq!(names(&mut quick), ["stage"]);
    }
    let told = heard(&mut slow);
    assert_eq!(told[0], ("lost".to_owned(), None, json!({ "count": 10 })));
    let numbers: Vec<_> = told[1..].iter().filter_map(|(_, id, _)| *id).collect();
    assert_eq!(numbers, (10..all).collect::<Vec<_>>());
    assert_eq!(events.told.lock().news.len(), KEPT);
}

#[tokio::test]
async fn who_has_missed_something_gets_a_snapshot_of_now() {
    let events = Arc::new(Events::default());
    let mut slow = listen(&events);
    let state = Arc::new(AtomicUsize::new(7));
    let seen = Arc::clone(&state);
    let begun = slow.begin_with(Box::new(move || {
        let state = seen.load(Relaxed);
        Some(written("snapshot", "", &json!({ "state": state })))
    }));
    assert!(begun);
    assert_eq!(names(&mut slow), ["snapshot"]);
    for _ in 0..=KEPT {
        events.tell("stage", &json!({}));
    }
    state.store(8, Relaxed);
    let told = heard(&mut slow);
    assert_eq!(told[0], ("lost".to_owned(), None, json!({ "count": 1 })));
    let snapshot = ("snapshot".to_owned(), None, json!({ "state": 8 }));
    assert_eq!(told[1], snapshot);
    assert_eq!(told.len(), 2 + KEPT, "what is kept follows");
    assert!(!listen(&events).begin_with(Box::new(|| None)));
}

#[tokio::test]
async fn who_comes_back_hears_what_was_missed() {
    let events = Arc::new(Events::default());
    for count in 0..3 {
        events.tell("stage", &json!({ "count": count }));
    }
    let back = |last: &str| Listening::to(&events, Some(last)).expect("there is room");
    let id = |number: u64| format!("{}-{number}", events.origin);
    assert_eq!(names(&mut back(&id(0))), ["stage", "stage"]);
    assert_eq!(names(&mut back(&id(2))), [""; 0]);
    for other in [&id(9), &id(u64::MAX), "7-0", "0", "", "x-y"] {
        assert_eq!(names(&mut back(other)), [""; 0], "{other}");
    }
    for _ in 0..KEPT {
        events.tell("phase", &json!({}));
    }
    let told = heard(&mut back(&id(0)));
    assert_eq!(told[0], ("lost".to_owned(), None, json!({ "count": 2 })));
    assert_eq!(told.len(), 1 + KEPT);
}

#[tokio::test]
async fn there_is_an_end_and_nothing_after_it() {
    let events = Arc::new(Events::default());
    let mut listening = listen(&events);
    events.tell("stage", &json!({}));
    events.show(View::Picture, &json!({}));
    events.end("terminated", &json!({}));
    events.tell("late", &json!({}));
    let mut told = Vec::new();
    while let Some(bytes) = listening.next().await {
        told.push(parts(&bytes).0);
    }
    assert_eq!(told, ["stage", "picture", "terminated"]);
    let mut late = listen(&events);
    assert_eq!(late.next().await, None);
}

#[tokio::test]
async fn places_are_few_and_given_back() {
    let events = Arc::new(Events::default());
    let mut all: Vec<_> = (0..LISTENING).map(|_| listen(&events)).collect();
    assert!(Listening::to(&events, None).is_none());
    all.pop();
    listen(&events);
    assert_eq!(events.listening.load(Relaxed), LISTENING - 1);
    all.clear();
    let silence = timeout(Duration::ZERO, async {
        events.heard().await;
        events.heard().await;
    });
    assert!(silence.await.is_err(), "nobody listens");
}

#[tokio::test]
async fn who_was_let_in_by_other_rules_has_to_ask_again() {
    let events = Arc::new(Events::default());
    let mut before = listen(&events);
    events.dismiss();
    let mut after = listen(&events);
    events.tell("stage", &json!({}));
    assert_eq!(before.next().await, None);
    assert_eq!(names(&mut after), ["stage"]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_a_comment() {
    let events = Arc::new(Events::default());
    let mut listening = listen(&events);
    assert_eq!(listening.next().await.as_deref(), Some(&b":\n\n"[..]));
}
