//! Receipts as people and programs read them.

use super::super::{CutReason, Doing, Event, Farewell, Machine, Outcome, Parting, Phase, Watch};
use super::*;
use crate::drain::HookEnd;

fn millis(count: u64) -> Timestamp {
    Timestamp::from_start(Duration::from_millis(count))
}

/// A drain that began 60 s after the process did.
fn machine(until: u64) -> Machine {
    let mut machine = Machine::new(Plan::default());
    machine.handle(Event::Reached(Phase::Active), millis(5));
    machine.handle(Event::Drain(Trigger::Sigterm), millis(60_000));
    machine.handle(Event::Elapsed, millis(65_000));
    machine.handle(Event::Refused, millis(65_004));
    machine.handle(Event::Elapsed, millis(until));
    machine
}

fn ledger(opened: u64, finished: u64, farewelled: u64, cut: u64) -> Ledger {
    Ledger {
        opened,
        finished,
        farewelled,
        cut,
    }
}

fn told(connection: u64, protocol: Protocol, outcome: Outcome, at: u64) -> Told {
    let tunnel = protocol == Protocol::WebSocket;
    Told::from(Parting {
        connection,
        listener: "web",
        peer: ([192, 0, 2, 7], 50_000).into(),
        protocol,
        server: None,
        route: tunnel.then_some("web/1"),
        doing: if tunnel {
            Doing::Tunnel
        } else {
            Doing::Blocked
        },
        outcome,
        age: Duration::from_millis(1_250),
        at: millis(at),
    })
}

fn accounts() -> Accounts {
    let mut accounts = Accounts {
        connections: ledger(40, 38, 2, 0),
        ..Accounts::default()
    };
    accounts.requests[Protocol::Http1 as usize] = ledger(120, 120, 0, 0);
    accounts.requests[Protocol::Grpc as usize] = ledger(9, 8, 1, 0);
    accounts.requests[Protocol::WebSocket as usize] = ledger(1, 0, 1, 0);
    let websocket = Outcome::Farewelled(Farewell::WebSocketClose);
    let grpc = Outcome::Farewelled(Farewell::GrpcTrailers);
    accounts.told = vec![
        told(
            3,
            Protocol::Http1,
            Outcome::Cut(CutReason::Farewell),
            59_000,
        ),
        told(4, Protocol::WebSocket, websocket, 75_010),
        told(12, Protocol::Grpc, grpc, 85_001),
    ];
    let mut foretold = Foretold::new(Stage::Announce, millis(60_000), Duration::from_secs(24));
    foretold.protocols.insert(
        Protocol::Grpc,
        Compared {
            finish: 2,
            finish_came_true: 1,
            told: 1,
            told_came_true: 1,
            unknown: 4,
            unknown_finished: 4,
        },
    );
    let refuse = Foretold::new(Stage::Refuse, millis(65_000), Duration::from_secs(20));
    accounts.foretold = vec![foretold, refuse];
    let mut watch = Watch::default();
    watch.arrived([192, 0, 2, 1].into(), millis(64_500));
    accounts.compliance = watch.compliance(millis(60_000), Some(millis(65_000)));
    accounts
}

fn receipt(machine: &Machine, accounts: Accounts) -> Receipt {
    let unix = Duration::from_millis(1_700_000_000_123);
    let course = machine.course(None).expect("a drain has begun");
    Receipt::of(course, unix, millis(85_020), accounts)
}

fn finished() -> Machine {
    let mut machine = machine(85_000);
    machine.handle(Event::Quiescent, millis(85_020));
    machine
}

const TABLE: &str = "\
Drain receipt: started by SIGTERM, took 25.020 s

Stage        began      took  what happened
announce   0.000 s   5.000 s  not ready any more, still serving everybody
refuse     5.000 s   0.004 s  accept queues emptied and served, listeners closed
retire     5.004 s   2.000 s  connections told to take no more requests
finish     7.004 s  17.996 s  work in flight ran on
farewell  15.000 s  10.020 s  work past its deadline ended in its own protocol
cut       17.000 s   8.020 s  nothing was left to cut

Work         opened  finished  farewelled  cut
http1           120       120           0    0
grpc              9         8           1    0
websocket         1         0           1    0
connections      40        38           2    0

Forecast at  work  finish  did  be told  were  unknown  finished
announce     grpc       2    1        1     1        4         4

      At  listener  client           protocol   route      age  doing               why                  outcome     what the client saw
15.010 s  web       192.0.2.7:50000  websocket  web/1  1.250 s  open tunnel         deadline passed      farewelled  WebSocket Close 1001 (going away)
25.001 s  web       192.0.2.7:50000  grpc       -      1.250 s  client not reading  client did not read  farewelled  gRPC UNAVAILABLE, in the stream's trailers

Foretold to take 24.000 s at announce, 25.000 s at refuse.
announce was too short: connections still came after readiness had failed, 1 from 192.0.2.1; announce = \"6s\" would have been long enough for these.
Nothing lost: 128 finished, 2 told in their own protocol.
";

#[test]
fn the_table_says_it_all_to_a_newcomer() {
    let table = receipt(&finished(), accounts()).to_string();
    assert_eq!(table, TABLE, "\n{table}");
}

#[test]
fn programs_read_what_was_written() {
    let receipt = receipt(&finished(), accounts());
    let text = serde_json::to_string(&receipt).expect("plain data");
    assert_eq!(
        serde_json::from_str::<Receipt>(&text).expect("own text"),
        receipt
    );
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["trigger"], "sigterm");
    assert_eq!(value["started_unix_ms"], 1_700_000_000_123_u64);
    assert_eq!(value["duration_ms"], 25_020.0);
    assert_eq!(value["stages"][1]["stage"], "refuse");
    assert_eq!(value["requests"]["grpc"]["farewelled"], 1);
    assert!(value["requests"].get("tcp").is_none());
    assert_eq!(value["told"][1]["outcome"], "farewelled");
    assert_eq!(value["told"][1]["what"], "grpc_trailers");
    assert_eq!(value["told"][1]["protocol"], "grpc");
    assert_eq!(value["told"][0]["route"], "web/1");
    assert_eq!(value["told"][0]["doing"], "tunnel");
    assert_eq!(value["told"][1]["why"], "client_not_reading");
    assert_eq!(value["foretold"][1]["at_ms"], 5_000.0);
    assert_eq!(value["foretold"][1]["duration_ms"], 25_000.0);
    assert_eq!(value["foretold"][0]["protocols"]["grpc"]["unknown"], 4);
    assert_eq!(value["compliance"]["suggested_announce_ms"], 6_000.0);
    assert_eq!(value["plan"]["finish"]["websocket_ms"], 10_000);
}

#[test]
fn what_was_cut_is_lost_and_said_first() {
    let mut accounts = accounts();
    accounts.requests[Protocol::Http1 as usize] = ledger(120, 117, 0, 3);
    accounts.connections = ledger(40, 35, 2, 3);
    accounts.told_omitted = 3;
    let receipt = receipt(&finished(), accounts);
    assert!(receipt.cut_anything());
    assert_eq!(
        receipt.verdict(),
        "Lost 3: cut, still there when their time was over. 125 finished, 2 told in their own protocol."
    );
    let table = receipt.to_string();
    assert!(table.contains("... and 3 more\n"));
    assert!(table.contains("what had not left was closed by force"));
}

#[test]
fn a_connection_cut_without_work_loses_nothing_but_is_told() {
    let mut accounts = accounts();
    accounts.connections = ledger(40, 37, 2, 1);
    let receipt = receipt(&finished(), accounts);
    assert!(receipt.cut_anything() && receipt.lost == 0);
    assert_eq!(
        receipt.verdict(),
        "Nothing lost: 128 finished, 2 told in their own protocol; 1 connection without work cut."
    );
}

#[test]
fn a_filter_that_was_not_taken_is_said_and_only_then() {
    let receipt = |accept_filter| {
        receipt(
            &finished(),
            Accounts {
                accept_filter,
                ..accounts()
            },
        )
    };
    let said = |filter| receipt(filter).to_string().contains("accept filter");
    assert!(said(Some(AcceptFilter::Unavailable)));
    assert!(!said(Some(AcceptFilter::Attached)));
    assert!(!said(None));
    let written = serde_json::to_value(receipt(Some(AcceptFilter::Attached)));
    assert_eq!(written.expect("plain data")["accept_filter"], "attached");
}

#[test]
fn what_is_open_at_the_end_was_cut() {
    let mut accounts = accounts();
    accounts.requests[Protocol::Tcp as usize] = ledger(2, 1, 0, 0);
    accounts.connections = ledger(40, 37, 2, 0);
    let receipt = receipt(&finished(), accounts);
    assert_eq!(receipt.requests[&Protocol::Tcp], ledger(2, 1, 0, 1));
    assert!(receipt.exchanges().balanced() && receipt.connections.balanced());
    assert_eq!((receipt.lost, receipt.connections.cut), (1, 1));
}

#[test]
fn a_receipt_can_be_had_while_draining() {
    let mut accounts = accounts();
    accounts.requests[Protocol::Tcp as usize] = ledger(2, 0, 0, 0);
    let receipt = receipt(&machine(66_000), accounts);
    assert!(!receipt.complete);
    assert!((receipt.duration_ms - 25_020.0).abs() < 1e-9);
    assert!((receipt.stages[2].ended_ms - 25_020.0).abs() < 1e-9);
    assert_eq!(
        receipt.verdict(),
        "Still draining: 128 finished, 2 told in their own protocol, 2 in flight."
    );
}

#[test]
fn without_a_drain_there_is_none() {
    assert_eq!(Machine::new(Plan::default()).course(None), None);
}

#[test]
fn hooks_are_told_with_what_became_of_them() {
    let after = Duration::from_millis(5);
    let mut done = HookRan::begins("announce", "PUT http://127.0.0.1:8500/".into(), after);
    done.ends(Duration::from_millis(12), HookEnd::Done, None);
    let mut failed = HookRan::begins("refuse", "exec false".into(), after);
    let error = Some("the program ended with exit status: 1".to_owned());
    failed.ends(Duration::from_millis(2), HookEnd::Failed, error);
    let running = HookRan::begins("cut", "write /run/cut".into(), after);
    let course = machine(92_000).course(None).expect("a drain");
    let accounts = Accounts {
        hooks: vec![done, failed, running],
        ..accounts()
    };
    let receipt = Receipt::of(course, Duration::ZERO, millis(92_000), accounts);
    let table = "\
Hook        began     took  result                                         does
announce  0.005 s  0.012 s  done                                           PUT http://127.0.0.1:8500/
refuse    0.005 s  0.002 s  failed: the program ended with exit status: 1  exec false
cut       0.005 s        -  running                                        write /run/cut
";
    let shown = receipt.to_string();
    assert!(shown.contains(table), "{shown}");
    let text = serde_json::to_string(&receipt).expect("plain data");
    assert_eq!(
        serde_json::from_str::<Receipt>(&text).expect("own text"),
        receipt
    );
}
