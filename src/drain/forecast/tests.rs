//! What is foreseen of which exchange, and what it adds up to.

use super::*;
use std::fmt::Write as _;

fn secs(count: f64) -> Duration {
    Duration::from_secs_f64(count)
}

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_start(secs(seconds))
}

/// Everything that an exchange has before anything is known of it.
fn exchange(protocol: Protocol, doing: Doing, age: f64) -> InFlight {
    let carrier = match protocol {
        Protocol::Grpc => Protocol::Http2,
        other => other,
    };
    InFlight {
        connection: 1,
        listener: "web".into(),
        peer: ([192, 0, 2, 7], 4_711).into(),
        protocol,
        carrier: Some(carrier),
        route: "web/0".into(),
        history: None,
        doing,
        deadline_in: None,
        age: secs(age),
        transfer: None,
        gives_up_in: None,
        silent_for: None,
    }
}

/// A plan that gives everything `finish` seconds from now.
fn horizon(finish: f64) -> Horizon {
    let finish = secs(finish);
    let mut plan = Plan {
        announce: Duration::ZERO,
        ..Plan::default()
    };
    (plan.finish.http, plan.finish.grpc) = (finish, finish);
    (plan.finish.websocket, plan.finish.tcp) = (finish, finish);
    Horizon::new(plan, at(1_000.0), at(1_000.0))
}

fn foresee(exchanges: Vec<InFlight>, histories: Vec<History>, finish: f64) -> Predicted {
    let snapshot = Snapshot {
        exchanges,
        histories,
        resting: Vec::new(),
    };
    predict(snapshot, horizon(finish))
}

fn one(exchange: InFlight, histories: Vec<History>, finish: f64) -> Prediction {
    let predicted = foresee(vec![exchange], histories, finish);
    *predicted.predictions().next().expect("one")
}

fn history(seconds: &[f64]) -> History {
    let mut history = History::default();
    for took in seconds {
        history.note(secs(*took));
    }
    history
}

/// Protocol, what it does, and: what a prediction rests on, the verdict, what
/// would be told.
const NO_HISTORY: &str = "\
http1     awaiting  unknown  unknown   unanswered
http1     sending   unknown  unknown   truncated
http1     events    endless  farewell  event_stream
http2     awaiting  unknown  unknown   unanswered
http2     sending   unknown  unknown   reset
http2     events    endless  farewell  event_stream
grpc      awaiting  unknown  unknown   grpc_trailers_only
grpc      sending   endless  farewell  grpc_trailers
grpc      blocked   endless  farewell  grpc_trailers
websocket awaiting  unknown  unknown   unanswered
websocket tunnel    endless  farewell  websocket_close
websocket blocked   endless  cut       websocket_close
tcp       tunnel    endless  farewell  half_close
";

#[test]
fn without_a_history_a_request_is_unknown_and_a_stream_is_endless() {
    let mut said = String::new();
    for line in NO_HISTORY.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let protocol = Protocol::ALL
            .into_iter()
            .find(|one| one.as_str() == words[0]);
        let doing = Doing::ALL.into_iter().find(|one| one.as_str() == words[1]);
        let (protocol, doing) = (protocol.expect(line), doing.expect(line));
        let prediction = one(exchange(protocol, doing, 2.0), Vec::new(), 30.0);
        let basis = serde_json::to_value(prediction.basis).expect("a plain enum");
        writeln!(
            said,
            "{:<9} {:<9} {:<8} {:<9} {}",
            protocol.as_str(),
            doing.as_str(),
            basis.as_str().expect("a word"),
            prediction.verdict.as_str(),
            prediction.told.as_str()
        )
        .expect("a string takes all");
        assert_eq!(prediction.ends_in, None);
        let unknown = prediction.basis == Basis::Unknown;
        assert_eq!(prediction.outlives.is_none(), unknown);
    }
    assert_eq!(said, NO_HISTORY, "\n{said}");
}

#[test]
fn history_counts_for_requests_and_for_tunnels() {
    for protocol in [Protocol::Http1, Protocol::WebSocket] {
        let mut short = exchange(protocol, Doing::Sending, 1.0);
        short.history = Some(0);
        let ended = history(&[4.0; 20]);
        let prediction = one(short.clone(), vec![ended.clone()], 30.0);
        assert_eq!(prediction.basis, Basis::History);
        assert_eq!(prediction.verdict, Verdict::Finish, "{prediction:?}");
        let ends_in = prediction.ends_in.expect("in sight");
        assert!((secs(2.0)..secs(4.5)).contains(&ends_in), "{ends_in:?}");
        let hurried = one(short.clone(), vec![ended.clone()], 1.0);
        assert_eq!(hurried.verdict, Verdict::Farewell, "{hurried:?}");
        // Older than any that was seen: the history has nothing to say.
        short.age = secs(60.0);
        let older = one(short, vec![ended], 30.0);
        assert_ne!(older.basis, Basis::History);
    }
}

#[test]
fn a_known_length_and_its_rate_outweigh_the_history() {
    let mut download = exchange(Protocol::Http2, Doing::Sending, 10.0);
    download.history = Some(0);
    download.transfer = Some(Transfer {
        left: 9_000,
        sent: 1_000,
        over: secs(10.0),
    });
    let histories = || vec![history(&[11.0; 50])];
    let prediction = one(download.clone(), histories(), 30.0);
    assert_eq!(prediction.basis, Basis::Length);
    assert_eq!(prediction.ends_in, Some(secs(90.0)));
    assert_eq!(prediction.verdict, Verdict::Farewell);
    assert_eq!(
        one(download.clone(), histories(), 200.0).outlives,
        Some(0.0)
    );
    // Nothing sent yet: there is no rate.
    download.transfer = Some(Transfer {
        left: 9_000,
        sent: 0,
        over: secs(10.0),
    });
    assert_eq!(one(download, histories(), 30.0).basis, Basis::History);
}

#[test]
fn a_grpc_timeout_bounds_the_call() {
    let mut call = exchange(Protocol::Grpc, Doing::Sending, 1.0);
    call.gives_up_in = Some(secs(5.0));
    let prediction = one(call.clone(), Vec::new(), 30.0);
    assert_eq!(prediction.basis, Basis::Timeout);
    assert_eq!(prediction.outlives, Some(0.0));
    assert_eq!(prediction.ends_in, Some(secs(5.0)));
    let later = one(call, Vec::new(), 2.0);
    assert_eq!(later.basis, Basis::Unknown, "it may end by itself before");
}

#[test]
fn the_deadline_counts_from_refuse_and_by_protocol() {
    let plan = Plan::default();
    let early = Horizon::new(plan, at(15.0), at(10.0));
    assert_eq!(early.left(Protocol::Http1), secs(25.0));
    assert_eq!(early.left(Protocol::WebSocket), secs(15.0));
    let mut own = exchange(Protocol::Http1, Doing::Awaiting, 1.0);
    own.deadline_in = Some(secs(3.0));
    assert_eq!(one(own, Vec::new(), 30.0).left, secs(3.0), "set already");
    let late = Horizon::new(plan, at(15.0), at(27.0));
    assert_eq!(late.left(Protocol::Grpc), secs(8.0));
    assert_eq!(late.left(Protocol::WebSocket), Duration::ZERO);
}

#[test]
fn many_unlikely_ones_make_some_certain() {
    // One in twenty outlives any deadline; 200 of them are in flight.
    let mut seen = vec![0.05; 950];
    seen.extend([3_600.0; 50]);
    let mut young = exchange(Protocol::Http1, Doing::Awaiting, 0.0);
    young.history = Some(0);
    // The young in flight are at risk too, but only at their age.
    let predicted = foresee(vec![young; 200], vec![history(&seen)], 30.0);
    let forecast = predicted.forecast(false);
    assert_eq!(forecast.all.finish, 200, "each by itself");
    let expected = forecast.all.expected;
    assert!((8.0..13.0).contains(&expected), "{expected}");
    // And so the drain lasts until the deadline.
    assert!(
        (forecast.duration_ms - 30_000.0).abs() < 50.0,
        "{forecast:?}"
    );
    assert!((forecast.at_most_ms - 32_000.0).abs() < 1e-6);
}

#[test]
fn a_drain_lasts_until_the_last_has_gone() {
    let idle = Resting {
        id: 3,
        accepted: at(0.0),
        since: at(999.5),
        retires: Retires::Silently,
    };
    let mut horizon = horizon(30.0);
    horizon.plan.spread = Duration::ZERO;
    let lasts = |exchanges, resting| {
        let histories = vec![history(&[4.0; 100])];
        let snapshot = Snapshot {
            exchanges,
            histories,
            resting,
        };
        predict(snapshot, horizon).lasts()
    };
    assert_eq!(lasts(Vec::new(), Vec::new()), EMPTYING);
    assert_eq!(lasts(Vec::new(), vec![idle]), secs(0.5));
    let told = Resting {
        retires: Retires::Told,
        ..idle
    };
    assert_eq!(lasts(Vec::new(), vec![told]), EMPTYING);
    let mut usual = exchange(Protocol::Http1, Doing::Awaiting, 1.0);
    usual.history = Some(0);
    let usual = lasts(vec![usual], vec![idle]);
    assert!((secs(2.0)..secs(5.0)).contains(&usual), "{usual:?}");
    let endless = exchange(Protocol::Tcp, Doing::Tunnel, 1.0);
    let endless = lasts(vec![endless], vec![idle]);
    assert!((secs(29.99)..=secs(30.0)).contains(&endless), "{endless:?}");
    let unknown = exchange(Protocol::Http1, Doing::Awaiting, 1.0);
    assert_eq!(lasts(vec![unknown], vec![idle]), secs(0.5));
}

/// Two of each end, the older last.
fn mixed() -> Vec<InFlight> {
    let mut all = Vec::new();
    for age in [61.0, 62.0] {
        all.push(exchange(Protocol::WebSocket, Doing::Tunnel, age));
        all.push(exchange(Protocol::Http1, Doing::Awaiting, age));
        let mut download = exchange(Protocol::Http1, Doing::Sending, age);
        download.transfer = Some(Transfer {
            left: 1,
            sent: 1_000,
            over: secs(1.0),
        });
        all.push(download);
    }
    all
}

#[test]
fn everything_is_in_one_sum_and_the_likeliest_stand_first() {
    let forecast = foresee(mixed(), Vec::new(), 30.0).forecast(false);
    let all = forecast.all;
    assert_eq!(
        (
            all.in_flight,
            all.finish,
            all.farewell,
            all.cut,
            all.unknown
        ),
        (6, 2, 2, 0, 2)
    );
    assert_eq!(forecast.protocols[&Protocol::Http1].in_flight, 4);
    let order: Vec<_> = forecast
        .exchanges
        .iter()
        .map(|one| (one.verdict, one.age_ms))
        .collect();
    assert_eq!(
        order,
        [
            (Verdict::Farewell, 62_000.0),
            (Verdict::Farewell, 61_000.0),
            (Verdict::Unknown, 62_000.0),
            (Verdict::Unknown, 61_000.0),
            (Verdict::Finish, 62_000.0),
            (Verdict::Finish, 61_000.0),
        ]
    );
}

#[test]
fn the_list_is_bounded_and_the_sums_are_not() {
    let many = vec![exchange(Protocol::Tcp, Doing::Tunnel, 1.0); 1_203];
    let forecast = foresee(many, Vec::new(), 30.0).forecast(false);
    assert_eq!(forecast.exchanges.len(), 1_000);
    assert_eq!(forecast.exchanges_omitted, 203);
    assert_eq!(forecast.all.farewell, 1_203);
    assert!(forecast.to_string().contains("... and 203 more\n"));
}

const TABLE: &str = "\
If it drained now, with finish 30s:
3 in flight: 1 would finish, 1 be told to leave, 0 be cut, 1 unknown; 1.0 expected not to finish
over in about 30.0 s, in 32.0 s at most

Listener  client          protocol   route  doing                   age  outlives  by                 would
web       192.0.2.7:4711  websocket  web/0  open tunnel          61.0 s     100 %  endless by nature  farewell: WebSocket Close 1001 (going away)
web       192.0.2.7:4711  http1      web/0  awaiting the server  61.0 s         ?  no history         unknown
";

#[test]
fn the_table_says_it_to_a_newcomer() {
    let mut three = mixed();
    three.truncate(3);
    let forecast = foresee(three, Vec::new(), 30.0).forecast(false);
    assert_eq!(forecast.to_string(), TABLE, "\n{forecast}");
    let text = serde_json::to_string(&forecast).expect("plain data");
    let read: Forecast = serde_json::from_str(&text).expect("own text");
    assert_eq!(read, forecast);
    let nothing = foresee(Vec::new(), Vec::new(), 30.0).forecast(true);
    assert!(
        nothing
            .to_string()
            .starts_with("The drain that is under way")
    );
    assert_eq!(nothing.to_string().lines().count(), 3);
}

#[test]
fn an_age_is_told_in_units_that_people_use() {
    for (seconds, said) in [
        (0.0, "0.0 s"),
        (61.04, "61.0 s"),
        (3_000.0, "50 min"),
        (7_300.0, "2 h"),
        (864_000.0, "10 d"),
    ] {
        assert_eq!(report::age(seconds), said);
    }
}
