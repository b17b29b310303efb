//! The decisions, one by one and over anything that may happen.

use super::*;
use http::HeaderValue;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// A request with all it needs.
const ALL: Left = Left {
    used: 0,
    body: true,
    server: true,
    room: true,
    time: None,
};

fn rules<'a>(policy: &'a Retry, method: &Method) -> Rules<'a> {
    Rules::of(policy, 3, method)
}

fn judged(policy: &Retry, method: &Method, happened: Happened, left: Left) -> Verdict {
    rules(policy, method).judge(happened, &left, 1.0, || true)
}

fn answered(status: u16) -> Happened {
    let status = StatusCode::from_u16(status).expect("a status");
    Happened::Answered(status, None)
}

fn is_again(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Again(..))
}

#[test]
fn only_what_may_be_processed_twice_is_sent_again() {
    let policy = Retry::default();
    for happened in [Happened::BrokenOff, Happened::Late, answered(503)] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            assert!(is_again(judged(&policy, &method, happened, ALL)));
        }
        for method in [Method::POST, Method::PATCH] {
            let verdict = judged(&policy, &method, happened, ALL);
            assert_eq!(verdict, Verdict::Enough(Forgone::Method));
        }
    }
    let told = Retry {
        methods: vec![Method::POST],
        ..policy
    };
    assert!(is_again(judged(&told, &Method::POST, answered(503), ALL)));
    assert!(!is_again(judged(&told, &Method::PATCH, answered(503), ALL)));
}

#[test]
fn what_nobody_processed_is_sent_again_whatever_it_is_and_costs_nothing() {
    let policy = Retry::default();
    let judged = |method: Method, left: Left| {
        let rules = rules(&policy, &method);
        rules.judge(Happened::Unprocessed, &left, 1.0, || panic!("not asked"))
    };
    let at_once = Verdict::Again(Duration::ZERO, Retried::Unprocessed);
    assert_eq!(judged(Method::POST, ALL), at_once);
    let alone = Left {
        server: false,
        ..ALL
    };
    let paused = Verdict::Again(policy.backoff, Retried::Unprocessed);
    assert_eq!(judged(Method::POST, alone), paused, "the same server");
    let over = Left { used: 3, ..ALL };
    assert_eq!(judged(Method::POST, over), Verdict::Enough(Forgone::Tries));
    let full = Left { room: false, ..ALL };
    assert_eq!(judged(Method::POST, full), Verdict::Enough(Forgone::Room));
}

#[test]
fn an_answer_is_passed_on_unless_it_is_listed() {
    let policy = Retry::default();
    for status in [200, 404, 429, 500, 501] {
        let verdict = judged(&policy, &Method::GET, answered(status), ALL);
        assert_eq!(verdict, Verdict::Settled, "{status}");
    }
    for status in [0, 2, 4, 13] {
        let verdict = judged(&policy, &Method::GET, Happened::Grpc(status, None), ALL);
        assert_eq!(verdict, Verdict::Settled, "{status}");
    }
    assert!(is_again(judged(
        &policy,
        &Method::GET,
        Happened::Grpc(14, None),
        ALL
    )));
}

#[test]
fn pauses_double_up_to_the_longest() {
    let policy = Retry {
        backoff: Duration::from_millis(300),
        ..Retry::default()
    };
    let pause = |used, draw| {
        let rules = Rules::of(&policy, 100, &Method::GET);
        match rules.judge(answered(503), &Left { used, ..ALL }, draw, || true) {
            Verdict::Again(pause, _) => pause.as_millis(),
            other => panic!("{other:?}"),
        }
    };
    let longest: Vec<_> = (0..5).map(|used| pause(used, 1.0)).collect();
    assert_eq!(longest, [300, 600, 1000, 1000, 1000]);
    assert_eq!(pause(99, 1.0), 1000, "nothing overflows");
    assert_eq!(pause(1, 0.5), 300, "jittered");
    assert_eq!(pause(1, 0.0), 0);
}

#[test]
fn a_server_that_asks_for_a_pause_has_it_and_the_others_need_none() {
    let policy = Retry::default();
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let asks = |wait| Happened::Answered(unavailable, Some(wait));
    let judged = |happened, server, time| {
        let left = Left {
            server,
            time,
            ..ALL
        };
        rules(&policy, &Method::GET).judge(happened, &left, 0.0, || true)
    };
    let there = |seconds| asks(Wait::There(SECOND * seconds));
    let again = |pause| Verdict::Again(pause, Retried::Answer);
    let too_long = Verdict::Enough(Forgone::Time);
    assert_eq!(judged(there(60), true, None), again(Duration::ZERO));
    assert_eq!(judged(there(1), false, None), again(SECOND));
    assert_eq!(judged(there(2), false, None), too_long);
    let anywhere = |seconds| asks(Wait::Anywhere(SECOND * seconds));
    assert_eq!(judged(anywhere(1), true, None), again(SECOND));
    assert_eq!(judged(anywhere(2), true, None), too_long);
    assert_eq!(judged(anywhere(1), true, Some(SECOND)), too_long);
    assert_eq!(judged(anywhere(1), true, Some(SECOND * 2)), again(SECOND));
}

#[test]
fn waits_are_read() {
    // The example of RFC 9110, section 10.2.3, is a minute later than this.
    const NOW: Duration = Duration::from_secs(946_684_799 - 60);
    let read = |status: u16, name: &'static str, value: &str| {
        let status = StatusCode::from_u16(status).expect("a status");
        let value = HeaderValue::from_str(value).expect("a value");
        Wait::of(
            status,
            &HeaderMap::from_iter([(HeaderName::from_static(name), value)]),
            NOW,
        )
    };
    let there = |seconds| Some(Wait::There(Duration::from_secs(seconds)));
    let field = "retry-after";
    assert_eq!(read(503, field, "120"), there(120));
    assert_eq!(read(503, field, "0"), there(0));
    assert_eq!(read(503, field, "Fri, 31 Dec 1999 23:59:59 GMT"), there(60));
    assert_eq!(read(503, field, "Thu, 31 Dec 1998 23:59:59 GMT"), there(0));
    assert_eq!(read(503, field, &"9".repeat(40)), Some(Wait::There(NEVER)));
    for nothing in ["", "soon", "-1", "1.5"] {
        assert_eq!(read(503, field, nothing), None, "{nothing}");
    }
    assert_eq!(read(429, field, "1"), Some(Wait::Anywhere(SECOND)));
    let pushback = "grpc-retry-pushback-ms";
    assert_eq!(read(200, pushback, "1000"), Some(Wait::Anywhere(SECOND)));
    assert_eq!(read(200, pushback, "-1"), Some(Wait::Anywhere(NEVER)));
    assert_eq!(read(200, "x-other", "1"), None);
}

fn happenings() -> impl Strategy<Value = Happened> {
    let wait = prop::option::of((any::<bool>(), 0_u64..3000)).prop_map(|wait| {
        wait.map(|(there, millis)| {
            let millis = Duration::from_millis(millis);
            if there {
                Wait::There(millis)
            } else {
                Wait::Anywhere(millis)
            }
        })
    });
    prop_oneof![
        Just(Happened::Unprocessed),
        Just(Happened::BrokenOff),
        Just(Happened::Late),
        (200_u16..600, wait.clone()).prop_map(|(status, wait)| {
            Happened::Answered(StatusCode::from_u16(status).expect("a status"), wait)
        }),
        (0_u16..17, wait).prop_map(|(status, wait)| Happened::Grpc(status, wait)),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_a_retry_keeps_to_the_rules(
        happened in happenings(),
        used in 0_u32..6,
        body in any::<bool>(),
        server in any::<bool>(),
        time in prop::option::of(0_u64..3000),
        twice in any::<bool>(),
        draw in 0.0..=1.0_f64,
        budget in any::<bool>(),
    ) {
        let policy = Retry::default();
        let rules = Rules { policy: &policy, most: 3, twice, beside: false };
        let time = time.map(Duration::from_millis);
        let left = Left { used, body, server, time, ..ALL };
        let mut asked = false;
        let verdict = rules.judge(happened, &left, draw, || {
            asked = true;
            budget
        });
        let free = happened == Happened::Unprocessed;
        if let Verdict::Again(pause, _) = verdict {
            prop_assert!(used < 3 && body && (free || twice));
            prop_assert!(pause <= policy.longest);
            prop_assert!(time.is_none_or(|time| pause < time));
            prop_assert_eq!(asked, !free);
            prop_assert!(free || budget);
        } else {
            let refused = verdict == Verdict::Enough(Forgone::Budget);
            prop_assert_eq!(asked, refused, "what is not done is not paid for");
        }
    }
}

fn hedging(methods: Vec<Method>) -> Retry {
    Retry {
        hedge: SECOND,
        methods,
        ..Retry::default()
    }
}

#[test]
fn only_what_writes_nothing_is_hedged_and_calls_that_are_named() {
    let policy = hedging(vec![Method::POST]);
    let hedged = |policy: &Retry, method: Method, body: bool, grpc: bool| {
        let rules = rules(policy, &method).hedging(&method, body, grpc);
        rules.hedge(&ALL, || true) == Hedge::Send
    };
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        assert!(hedged(&policy, method.clone(), false, false));
        assert!(!hedged(&policy, method, true, false), "a body is unusual");
    }
    for method in [Method::PUT, Method::DELETE, Method::POST] {
        assert!(!hedged(&policy, method, false, false));
    }
    assert!(hedged(&policy, Method::POST, true, true));
    assert!(!hedged(&hedging(Vec::new()), Method::POST, true, true));
    let without = Retry {
        hedge: Duration::ZERO,
        ..policy
    };
    assert!(!hedged(&without, Method::GET, false, false));
}

#[test]
fn an_answer_that_would_be_tried_again_does_not_end_the_other_try() {
    let policy = hedging(Vec::new());
    let rules = rules(&policy, &Method::GET);
    assert!(rules.settles(answered(200)) && rules.settles(answered(404)));
    assert!(rules.settles(Happened::Grpc(0, None)));
    for happened in [answered(503), Happened::Grpc(14, None), Happened::BrokenOff] {
        assert!(!rules.settles(happened), "{happened:?}");
    }
}

proptest! {
    #[test]
    fn a_hedge_is_one_of_the_retries_and_paid_for_once(
        used in 0_u32..5,
        most in 0_u32..5,
        body in any::<bool>(),
        server in any::<bool>(),
        room in any::<bool>(),
        time in prop::option::of(0_u64..3),
        paid in any::<bool>(),
    ) {
        let policy = hedging(Vec::new());
        let rules = Rules::of(&policy, most, &Method::GET).hedging(&Method::GET, false, false);
        let time = time.map(Duration::from_secs);
        let left = Left { used, body, server, room, time };
        let mut asked = 0;
        let hedge = rules.hedge(&left, || {
            asked += 1;
            paid
        });
        let may = used < most && body && server && room && time != Some(Duration::ZERO);
        let expected = match (may, paid) {
            (false, _) => Hedge::Wait,
            (true, true) => Hedge::Send,
            (true, false) => Hedge::Forgone,
        };
        prop_assert_eq!(hedge, expected);
        prop_assert_eq!(asked, u32::from(may), "a budget pays for what happens");
    }
}
