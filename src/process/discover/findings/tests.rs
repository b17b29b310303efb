//! Answers come, and servers with them; outages come, and nobody goes.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_start(seconds(second))
}

fn patience() -> Patience {
    Patience {
        least: seconds(1),
        longest: seconds(300),
        retry: seconds(1),
        hold: Duration::ZERO,
        empty: seconds(30),
    }
}

fn server(last: u8) -> Server {
    let address = (Ipv4Addr::new(10, 0, 0, last), 80).into();
    Server {
        name: format!("10.0.0.{last}:80").into(),
        address: ServerAddress::Inet(address),
        weight: 1,
        zone: None,
        found_by: None,
    }
}

fn found(lasts: &[u8], ttl: u64) -> Answer {
    partly(lasts, &[], ttl)
}

/// The part of an odd server is `odd`.
fn partly(lasts: &[u8], silent: &[&str], ttl: u64) -> Answer {
    let part = |last: &u8| Part::from(if last % 2 == 1 { "odd" } else { "even" });
    Answer::Found {
        servers: lasts
            .iter()
            .map(|last| (part(last), server(*last)))
            .collect(),
        silent: silent.iter().map(|part| Part::from(*part)).collect(),
        ttl: Some(seconds(ttl)),
    }
}

fn nothing() -> Answer {
    Answer::Nothing {
        why: "the name does not exist".into(),
        ttl: Some(seconds(5)),
    }
}

fn outage() -> Answer {
    Answer::Outage {
        why: "timed out".into(),
    }
}

fn lasts(findings: &Findings) -> Vec<u8> {
    let last = |server: &Server| match server.address {
        ServerAddress::Inet(std::net::SocketAddr::V4(address)) => address.ip().octets()[3],
        _ => 0,
    };
    findings.servers().map(last).collect()
}

fn pause(findings: &Findings, now: Timestamp) -> Duration {
    findings.next().saturating_since(now)
}

#[test]
fn servers_come_and_go_with_answers() {
    let mut findings = Findings::new(patience());
    assert_eq!(findings.next(), Timestamp::ZERO);
    let change = findings.take(found(&[2, 1], 30), at(1), 0);
    assert_eq!(change.found, ["10.0.0.2:80".into(), "10.0.0.1:80".into()]);
    assert_eq!(
        lasts(&findings),
        [1, 2],
        "in order, whatever that of the answer"
    );
    assert_eq!(pause(&findings, at(1)), seconds(30));
    assert!(findings.take(found(&[1, 2], 30), at(31), 0).is_none());
    let change = findings.take(found(&[2, 3], 30), at(61), 0);
    let (found, gone) = (change.found, change.gone);
    assert_eq!((&*found[0], &*gone[0]), ("10.0.0.3:80", "10.0.0.1:80"));
    assert_eq!(lasts(&findings), [2, 3]);
    assert_eq!(findings.answered(), Some(at(61)));
}

#[test]
fn an_outage_takes_nobody_away_however_long_it_lasts() {
    let mut findings = Findings::new(patience());
    findings.take(found(&[1, 2], 5), at(0), 0);
    let mut now = at(5);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert!(findings.take(outage(), now, 0).is_none());
        pauses.push(pause(&findings, now).as_secs());
        now = findings.next();
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(lasts(&findings), [1, 2]);
    assert_eq!(findings.answered(), Some(at(0)));
    assert_eq!(findings.why().map(|why| &**why), Some("timed out"));
    findings.take(found(&[1, 2], 5), now, 0);
    assert_eq!(findings.why(), None);
    findings.take(outage(), now, 0);
    assert_eq!(pause(&findings, now), seconds(1), "the row has ended");
}

#[test]
fn a_name_that_is_gone_has_to_be_gone_for_a_while() {
    let mut findings = Findings::new(patience());
    findings.take(found(&[1, 2], 5), at(0), 0);
    assert!(findings.take(nothing(), at(5), 0).is_none());
    assert!(findings.take(outage(), at(10), 0).is_none());
    assert!(findings.take(nothing(), at(34), 0).is_none());
    assert_eq!(pause(&findings, at(34)), seconds(1), "asked when it is due");
    let change = findings.take(nothing(), at(35), 0);
    assert_eq!(change.gone.len(), 2);
    assert_eq!(lasts(&findings), [0; 0]);
    assert_eq!(pause(&findings, at(35)), seconds(5));
}

#[test]
fn an_outage_proves_no_absence() {
    let mut findings = Findings::new(patience());
    findings.take(found(&[1], 5), at(0), 0);
    findings.take(nothing(), at(5), 0);
    for second in 6..100 {
        assert!(findings.take(outage(), at(second), 0).is_none());
    }
    assert_eq!(lasts(&findings), [1]);
    findings.take(found(&[1], 5), at(100), 0);
    assert!(
        findings.take(nothing(), at(105), 0).is_none(),
        "counted anew"
    );
}

#[test]
fn a_server_may_be_missing_for_the_time_that_is_given() {
    let hold = seconds(20);
    let mut findings = Findings::new(Patience { hold, ..patience() });
    findings.take(found(&[1, 2], 15), at(0), 0);
    assert!(findings.take(found(&[2], 15), at(15), 0).is_none());
    assert!(findings.take(found(&[2], 15), at(30), 0).is_none());
    assert_eq!(pause(&findings, at(30)), seconds(5), "asked when it is due");
    let change = findings.take(found(&[2], 15), at(35), 0);
    assert_eq!(change.gone, ["10.0.0.1:80".into()]);
    findings.take(found(&[1], 15), at(40), 0);
    findings.take(found(&[2], 15), at(50), 0);
    assert!(findings.take(found(&[1], 15), at(60), 0).is_none());
    assert_eq!(lasts(&findings), [1, 2], "both were seen lately");
}

#[test]
fn half_an_answer_takes_only_of_its_half() {
    let mut findings = Findings::new(patience());
    findings.take(found(&[1, 2, 3, 4], 5), at(0), 0);
    let change = findings.take(partly(&[1], &["even"], 5), at(5), 0);
    assert_eq!(change.gone, ["10.0.0.3:80".into()]);
    assert_eq!(lasts(&findings), [1, 2, 4]);
}

#[test]
fn times_to_live_are_bounded() {
    let mut findings = Findings::new(patience());
    for (ttl, seen) in [(0, 1), (1, 1), (7, 7), (300, 300), (86_400, 300)] {
        findings.take(found(&[1], ttl), at(9), 0);
        assert_eq!(pause(&findings, at(9)), seconds(seen));
    }
    findings.take(found(&[1], 100), at(9), 1000);
    assert_eq!(
        pause(&findings, at(9)),
        seconds(110),
        "with all of its jitter"
    );
    findings.take(found(&[1], 100), at(9), 500);
    assert_eq!(pause(&findings, at(9)), seconds(105));
}

#[test]
fn another_weight_is_a_change_and_nobody_goes() {
    let mut findings = Findings::new(patience());
    findings.take(found(&[1], 5), at(0), 0);
    let heavy = Server {
        weight: 7,
        ..server(1)
    };
    let answer = Answer::Found {
        servers: vec![("odd".into(), heavy)],
        silent: Vec::new(),
        ttl: None,
    };
    let change = findings.take(answer, at(5), 0);
    assert!(change.altered && change.found.is_empty() && change.gone.is_empty());
    assert_eq!(
        findings.servers().next().map(|server| server.weight),
        Some(7)
    );
}

#[test]
fn other_patience_forgets_nothing_and_asks_at_once() {
    let mut findings = Findings::new(patience());
    findings.take(found(&[1, 2], 300), at(0), 0);
    let again = findings.with(Patience {
        least: seconds(9),
        ..patience()
    });
    assert_eq!(lasts(&again), [1, 2]);
    assert_eq!(again.next(), Timestamp::ZERO);
}

#[derive(Clone, Debug)]
enum Said {
    Found(BTreeSet<u8>, u64),
    Nothing(Option<u64>),
    Outage,
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => (prop::collection::btree_set(0_u8..8, 1..6), 0_u64..400)
            .prop_map(|(set, ttl)| Said::Found(set, ttl)),
        2 => prop::option::of(0_u64..400).prop_map(Said::Nothing),
        2 => Just(Said::Outage),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is answered, and whenever: a server goes only if answers have been
    /// without it for `hold`, or empty for `empty`; who is named is there; and from
    /// one question to the next there is some time and not too much.
    #[test]
    fn nobody_goes_too_early_and_nobody_stays_too_long(
        hold in 0_u64..60,
        empty in 0_u64..60,
        steps in prop::collection::vec((said(), 0_u64..90, 0_u32..=1000), 1..60),
    ) {
        let (hold, empty) = (seconds(hold), seconds(empty));
        let mut findings = Findings::new(Patience { hold, empty, ..patience() });
        let mut now = at(0);
        let mut seen = [None::<Timestamp>; 8];
        let mut first_nothing = None;
        for (said, wait, chance) in steps {
            now = now + seconds(wait);
            let before = lasts(&findings);
            let (answer, named) = match &said {
                Said::Found(set, ttl) => {
                    let list: Vec<u8> = set.iter().copied().collect();
                    first_nothing = None;
                    (found(&list, *ttl), list)
                }
                Said::Nothing(ttl) => {
                    first_nothing.get_or_insert(now);
                    let ttl = ttl.map(seconds);
                    (Answer::Nothing { why: "none".into(), ttl }, Vec::new())
                }
                Said::Outage => (outage(), Vec::new()),
            };
            let change = findings.take(answer, now, chance);
            let after = lasts(&findings);
            for last in &named {
                seen[usize::from(*last)] = Some(now);
                prop_assert!(after.contains(last));
            }
            for last in &before {
                let since = seen[usize::from(*last)].expect("it was found");
                if !after.contains(last) {
                    match said {
                        Said::Found(..) => prop_assert!(now >= since + hold),
                        Said::Nothing(_) => {
                            prop_assert!(first_nothing.is_some_and(|first| now >= first + empty));
                        }
                        Said::Outage => prop_assert!(false, "an outage took somebody away"),
                    }
                } else if matches!(said, Said::Found(..)) && hold.is_zero() {
                    prop_assert!(named.contains(last));
                }
            }
            prop_assert_eq!(change.gone.len(), before.iter().filter(|last| !after.contains(last)).count());
            prop_assert_eq!(change.found.len(), after.iter().filter(|last| !before.contains(last)).count());
            let pause = findings.next().saturating_since(now);
            prop_assert!(pause >= seconds(1) && pause <= seconds(330), "{pause:?}");
        }
    }
}
