//! Answers of a proxy as tests want them: calm, and in the midst of a drain.

use crate::admin::view::{
    Connection, Connections, Deadlines, Listener, Progress, Server, ServerState, Status, Upstream,
};
use crate::drain::forecast::{Basis, Foreseen, Outlook};
use crate::drain::{
    Accounts, Course, Doing, Farewell, Forecast, Ledger, Phase, Plan, Protocol, Receipt, Stage,
    StageSpan, StageTimes, Timestamp, Trigger, Verdict,
};
use std::collections::BTreeMap;
use std::time::Duration;

fn in_flight() -> BTreeMap<Protocol, u64> {
    let none = Protocol::ALL.into_iter().map(|protocol| (protocol, 0));
    let mut counts: BTreeMap<Protocol, u64> = none.collect();
    counts.extend([(Protocol::Http1, 2), (Protocol::Grpc, 1)]);
    counts
}

/// A process of two listeners and two servers, one of them down.
pub(super) fn status(draining: bool) -> Status {
    let (phase, stage) = position(draining);
    let listener = |name: &str, port: u16| Listener {
        name: name.to_owned(),
        address: format!("0.0.0.0:{port}"),
        phase,
        stage,
        ready: !draining,
    };
    let server = |name: &str, up, in_flight| Server {
        name: name.to_owned(),
        up,
        draining: false,
        state: ServerState::Serving,
        in_flight,
        standing: if up { "serving" } else { "down" }.to_owned(),
        why: None,
        weight_milli: 1000,
    };
    Status {
        version: "1.2.3".into(),
        pid: 4711,
        instance: "00c0ffee00c0ffee".into(),
        uptime_ms: 192_000,
        phase,
        stage,
        ready: !draining,
        connections: 5,
        in_flight: in_flight(),
        listeners: vec![listener("web", 443), listener("db", 5432)],
        upstreams: vec![
            Upstream {
                name: "site".into(),
                in_flight: 2,
                queued: 3,
                limit: Some(2),
                refused: 41,
                servers: vec![
                    server("10.0.0.11:8080", true, 2),
                    server("10.0.0.12:8080", false, 0),
                ],
                sources: Vec::new(),
            },
            Upstream {
                name: "postgres".into(),
                in_flight: 1,
                queued: 0,
                limit: None,
                refused: 0,
                servers: vec![server("10.0.2.11:5432", true, 1)],
                sources: Vec::new(),
            },
        ],
        plan: Plan::default(),
        config: "/etc/ebbtide/ebbtide.toml".into(),
        trace: None,
        handover: None,
        successor: None,
        predecessors: Vec::new(),
    }
}

const fn position(draining: bool) -> (Phase, Option<Stage>) {
    if draining {
        (Phase::Draining, Some(Stage::Finish))
    } else {
        (Phase::Active, None)
    }
}

/// Nine seconds into its drain, or before any.
pub(super) fn progress(draining: bool) -> Progress {
    let (phase, stage) = position(draining);
    let times = |stage, began_ms, ended_ms| StageTimes {
        stage,
        began_ms,
        ended_ms,
    };
    let stages = vec![
        times(Stage::Announce, 0.0, 5_000.0),
        times(Stage::Refuse, 5_000.0, 5_030.0),
        times(Stage::Retire, 5_000.0, 7_000.0),
        times(Stage::Finish, 7_000.0, 9_000.0),
    ];
    let farewell = |protocol| match protocol {
        Protocol::WebSocket => 6_000,
        _ => 16_000,
    };
    let deadlines = Deadlines {
        refuse_in_ms: 0,
        farewell_in_ms: Protocol::ALL
            .into_iter()
            .map(|protocol| (protocol, farewell(protocol)))
            .collect(),
        cut_in_ms: 18_000,
    };
    Progress {
        listener: None,
        draining,
        phase,
        stage,
        ready: !draining,
        trigger: draining.then_some(Trigger::Sigterm),
        elapsed_ms: draining.then_some(9_000.0),
        stages: if draining { stages } else { Vec::new() },
        connections: 5,
        in_flight: in_flight(),
        deadlines: draining.then_some(deadlines),
        plan: Plan::default(),
        trace: None,
    }
}

/// Three with something in flight, one idle, one in its handshake.
pub(super) fn connections() -> Connections {
    let one = |id: u64, listener: &str, protocol, state: &str, age_ms, sent, waits_for: &str| {
        Connection {
            id,
            listener: listener.to_owned(),
            peer: format!("192.0.2.{id}:5000{id}"),
            balancer: None,
            protocol,
            state: state.to_owned(),
            since_ms: age_ms / 2,
            age_ms,
            requests: id,
            in_flight: u64::from(state == "in_flight"),
            received: 512,
            sent,
            waits_for: waits_for.to_owned(),
        }
    };
    let (http1, http2) = (Some(Protocol::Http1), Some(Protocol::Http2));
    Connections {
        connections: vec![
            one(
                1,
                "web",
                http2,
                "in_flight",
                65_000,
                1_048_576,
                "1 grpc in flight",
            ),
            one(
                2,
                "web",
                http1,
                "in_flight",
                9_500,
                2_048,
                "1 http1 in flight",
            ),
            one(
                3,
                "db",
                Some(Protocol::Tcp),
                "in_flight",
                3_000_000,
                73_400_320,
                "1 tcp in flight",
            ),
            one(4, "web", http1, "idle", 4_000, 900, "a request"),
            one(
                5,
                "web",
                None,
                "tls_handshake",
                250,
                0,
                "the client's part of the TLS handshake",
            ),
        ],
    }
}

/// What is foreseen of those in flight.
pub(super) fn forecast(draining: bool) -> Forecast {
    let one =
        |connection: u64, listener: &str, protocol, age_ms, ends_in_ms, verdict, told| Foreseen {
            connection,
            listener: listener.to_owned(),
            peer: format!("192.0.2.{connection}:5000{connection}"),
            protocol,
            route: "site".to_owned(),
            doing: match protocol {
                Protocol::Tcp => Doing::Tunnel,
                _ => Doing::Awaiting,
            },
            age_ms,
            deadline_ms: 16_000.0,
            ends_in_ms,
            outlives: Some(0.1),
            basis: Basis::History,
            verdict,
            told,
            silent_ms: None,
        };
    let told = Verdict::Farewell;
    Forecast {
        draining,
        plan: Plan::default(),
        all: Outlook {
            in_flight: 3,
            finish: 1,
            farewell: 1,
            cut: 0,
            unknown: 1,
            expected: 1.1,
        },
        protocols: BTreeMap::new(),
        duration_ms: 16_400.0,
        at_most_ms: 18_000.0,
        exchanges: vec![
            one(
                3,
                "db",
                Protocol::Tcp,
                3_000_000.0,
                None,
                told,
                Farewell::HalfClose,
            ),
            one(
                1,
                "web",
                Protocol::Grpc,
                60_000.0,
                None,
                Verdict::Unknown,
                Farewell::GrpcTrailers,
            ),
            one(
                2,
                "web",
                Protocol::Http1,
                1_500.0,
                Some(400.0),
                Verdict::Finish,
                Farewell::Unanswered,
            ),
        ],
        exchanges_omitted: 0,
    }
}

/// The receipt of a drain that cut so many, and took 9.4 s.
pub(super) fn receipt(cuts: u64) -> Receipt {
    let mut accounts = Accounts::default();
    accounts.requests[Protocol::Http1 as usize] = Ledger {
        opened: cuts + 7,
        finished: 7,
        cut: cuts,
        ..Ledger::default()
    };
    let at = |millis| Timestamp::from_start(Duration::from_millis(millis));
    let span = |stage, began, ended| StageSpan {
        stage,
        began: at(began),
        ended: Some(at(ended)),
    };
    let course = Course {
        listener: None,
        server: None,
        trigger: Trigger::Sigterm,
        started: Timestamp::ZERO,
        ended: Some(at(9_400)),
        plan: Plan::default(),
        extended: Duration::ZERO,
        timeline: vec![
            span(Stage::Announce, 0, 5_000),
            span(Stage::Refuse, 5_000, 5_030),
            span(Stage::Retire, 5_000, 7_000),
            span(Stage::Finish, 7_000, 9_400),
        ],
    };
    Receipt::of(course, Duration::ZERO, at(9_400), accounts)
}
