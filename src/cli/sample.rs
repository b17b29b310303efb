//! Answers of a proxy as tests want them: calm, and in the midst of a drain.

use crate::admin::view::{Deadlines, Listener, Progress, Server, ServerState, Status, Upstream};
use crate::drain::{
    Accounts, Course, Ledger, Phase, Plan, Protocol, Receipt, Stage, StageTimes, Timestamp, Trigger,
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
                servers: vec![
                    server("10.0.0.11:8080", true, 2),
                    server("10.0.0.12:8080", false, 0),
                ],
            },
            Upstream {
                name: "postgres".into(),
                servers: vec![server("10.0.2.11:5432", true, 1)],
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

/// The receipt of a drain that cut so many.
pub(super) fn receipt(cuts: u64) -> Receipt {
    let mut accounts = Accounts::default();
    accounts.requests[Protocol::Http1 as usize] = Ledger {
        opened: cuts,
        cut: cuts,
        ..Ledger::default()
    };
    let course = Course {
        listener: None,
        server: None,
        trigger: Trigger::Sigterm,
        started: Timestamp::ZERO,
        ended: Some(Timestamp::ZERO),
        plan: Plan::default(),
        extended: Duration::ZERO,
        timeline: Vec::new(),
    };
    Receipt::of(course, Duration::ZERO, Timestamp::ZERO, accounts)
}
