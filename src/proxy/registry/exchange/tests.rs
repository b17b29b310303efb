//! Slots: taken, read, marked and given back.

use super::*;
use crate::drain::Doing;
use crate::drain::Orders;
use crate::proxy::registry::Registry;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_start(Duration::from_millis(millis))
}

fn record() -> Record {
    let scope = Registry::new().scope("web".into(), Orders::default());
    Record::new(1, scope, ([127, 0, 0, 1], 9).into())
}

fn begin(record: &Record, protocol: Protocol, began: Timestamp) -> Place {
    record.begin(protocol, began)
}

#[test]
fn each_exchange_has_a_place_and_places_are_used_again() {
    let record = record();
    let places: Vec<Place> = (0..50)
        .map(|index| begin(&record, Protocol::Http2, at(index)))
        .collect();
    let distinct: HashSet<u32> = places.iter().map(|place| place.0).collect();
    assert_eq!(distinct, (0..50).collect());
    let seen = record.exchanges(at(100));
    let began: Vec<Timestamp> = seen.iter().map(|seen| seen.began).collect();
    assert_eq!(began, (0..50).map(at).collect::<Vec<_>>());
    for place in [places[0], places[7], places[40]] {
        assert!(record.end(Protocol::Http2, place).none());
    }
    assert_eq!(record.exchanges(at(100)).len(), 47);
    let again: HashSet<u32> = (0..3)
        .map(|_| begin(&record, Protocol::Grpc, at(60)).0)
        .collect();
    assert_eq!(again, HashSet::from([0, 7, 40]));
}

#[test]
fn what_is_noted_is_seen_and_nothing_of_its_predecessor() {
    let record = record();
    let place = begin(&record, Protocol::Grpc, at(1_000));
    record.slots.slot(place, |slot| {
        slot.route(4);
        slot.gives_up(at(9_000));
        slot.length(Some(1_000));
        slot.enter(Doing::Sending);
        slot.sent(100, || at(2_000));
        slot.sent(300, || at(3_000));
        slot.sent(700, || at(4_000));
    });
    let seen = record.exchanges(at(5_000))[0];
    assert_eq!((seen.protocol, seen.route), (Protocol::Grpc, Some(4)));
    assert_eq!((seen.began, seen.gives_up), (at(1_000), Some(at(9_000))));
    assert_eq!((seen.length, seen.sent), (Some(1_000), 700));
    // The first piece may have waited for the server; the rate counts after.
    assert_eq!(seen.noted, Some((at(3_000), 300)));
    assert_eq!(seen.doing, Doing::Sending);
    record.end(Protocol::Grpc, place);
    assert!(record.exchanges(at(5_000)).is_empty());
    begin(&record, Protocol::Http2, at(6_000));
    let seen = record.exchanges(at(6_000))[0];
    assert_eq!((seen.route, seen.gives_up, seen.length), (None, None, None));
    assert_eq!((seen.sent, seen.noted), (0, None));
    assert_eq!(seen.doing, Doing::Awaiting);
}

#[test]
fn a_client_is_blocked_when_it_took_nothing_for_a_while() {
    let record = record();
    let place = begin(&record, Protocol::Http2, at(0));
    let doing = |now| record.exchanges(now)[0].doing;
    record
        .slots
        .slot(place, |slot| slot.stuck(true, || at(1_000)));
    assert_eq!(doing(at(60_000)), Doing::Awaiting, "nothing is sent");
    record.slots.slot(place, |slot| slot.enter(Doing::Sending));
    assert_eq!(doing(at(1_999)), Doing::Sending);
    assert_eq!(doing(at(2_000)), Doing::Blocked);
    record
        .slots
        .slot(place, |slot| slot.stuck(true, || at(5_000)));
    assert_eq!(doing(at(5_000)), Doing::Blocked, "since the first time");
    record
        .slots
        .slot(place, |slot| slot.stuck(false, || at(5_000)));
    assert_eq!(doing(at(60_000)), Doing::Sending);
}

#[test]
fn a_mark_is_counted_once_and_only_on_its_own_exchange() {
    let record = record();
    let place = begin(&record, Protocol::Http1, at(0));
    let seen = record.exchanges(at(1))[0];
    assert!(record.mark(&seen, Round::Announce, Verdict::Unknown));
    assert!(record.mark(&seen, Round::Refuse, Verdict::Finish));
    assert!(record.mark(&seen, Round::Refuse, Verdict::Cut), "anew");
    let marks = record.end(Protocol::Http1, place);
    assert_eq!(marks.of(Round::Announce), Some(Verdict::Unknown));
    assert_eq!(marks.of(Round::Refuse), Some(Verdict::Cut));
    let place = begin(&record, Protocol::Http1, at(2));
    assert!(!record.mark(&seen, Round::Refuse, Verdict::Finish), "gone");
    assert!(record.end(Protocol::Http1, place).none());
    let place = begin(&record, Protocol::Http1, at(3));
    let seen = record.exchanges(at(3))[0];
    assert!(record.mark(&seen, Round::Announce, Verdict::Finish));
    record.unmark();
    assert!(record.end(Protocol::Http1, place).none());
}

#[test]
fn a_reader_never_sees_half_an_exchange() {
    // Every field says when it began: a mixture would disagree with itself.
    let record = Arc::new(record());
    let writer = std::thread::spawn({
        let record = Arc::clone(&record);
        move || {
            for round in 1..20_000_u64 {
                let place = begin(&record, Protocol::Http1, at(round));
                record.slots.slot(place, |slot| {
                    slot.gives_up(at(round));
                    slot.length(Some(round));
                });
                record.end(Protocol::Http1, place);
            }
        }
    });
    while !writer.is_finished() {
        for seen in record.exchanges(at(0)) {
            let own = seen.gives_up.is_none_or(|at| at == seen.began);
            let length = seen.length.is_none_or(|length| at(length) == seen.began);
            assert!(own && length, "{seen:?}");
        }
    }
    writer.join().expect("no panic");
}
