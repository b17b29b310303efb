//! Signals (design: by priority; what repeats has one effect).

use super::{held, let_go, plan, times, web};
use crate::support::clients::{Http1, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use http::Method;
use serde_json::Value;

async fn stage(proxy: &Proxy, stage: &str) {
    proxy
        .until_event("stage", |line| line["stage"] == stage)
        .await;
}

/// The last line of the log that has this event.
fn last(log: &[Value], event: &str) -> Value {
    let mut lines = log.iter().filter(|line| line["event"] == event);
    lines.next_back().expect(event).clone()
}

#[tokio::test]
async fn sigterm_and_sigint_drain_and_say_who_began_it() {
    for (signal, trigger) in [(Signal::TERM, "sigterm"), (Signal::INT, "sigint")] {
        let server = Server::http1().await;
        let mut proxy = Proxy::start(&web(&server, &plan("0s"))).await;
        let client = held(&proxy, &server).await;
        proxy.signal(signal);
        stage(&proxy, "finish").await;
        assert_eq!(proxy.json("/v1/drain").await["trigger"], trigger);
        let_go(client, &server).await;
        assert_eq!(proxy.exit().await.code(), Some(0));
        let log = proxy.log();
        let began = last(&log, "shutdown_start");
        assert_eq!(began["trigger"], trigger);
        assert_eq!(began["active_requests"], 1);
        assert_eq!(began["grace_period_ms"], 600_000);
        assert_eq!(last(&log, "SHUTDOWN_COMPLETED")["finished"], 1);
    }
}

#[tokio::test]
async fn sigterm_repeated_has_one_effect() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&web(&server, &plan("0s"))).await;
    let client = held(&proxy, &server).await;
    for _ in 0..3 {
        for _ in 0..3 {
            proxy.signal(Signal::TERM);
        }
        stage(&proxy, "finish").await;
        assert_eq!(proxy.json("/v1/drain").await["stage"], "finish");
    }
    let_go(client, &server).await;
    assert_eq!(proxy.exit().await.code(), Some(0));
    let log = proxy.log();
    assert_eq!(times(&log, "shutdown_start"), 1);
    assert_eq!(times(&log, "SHUTDOWN_COMPLETED"), 1);
    assert_eq!(times(&log, "cut"), 0);
}

#[tokio::test]
async fn a_second_sigint_goes_straight_to_cut() {
    // Once while everything is still served, once past refuse.
    for (announce, reached) in [("60s", "announce"), ("0s", "finish")] {
        let (server, echo) = (Server::http1().await, Server::tcp().await);
        let tunnel = format!(
            "[listener.tcp]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"echo\"\n\
             [upstream.echo]\nservers = [\"{}\"]\n{}",
            echo.address,
            plan(announce)
        );
        let mut proxy = Proxy::start(&web(&server, &tunnel)).await;
        let client = held(&proxy, &server).await;
        let mut tunnel = Raw::connect(proxy.address("tcp")).await;
        tunnel.send("hello\n").await.expect("sent");
        tunnel.read_until("\n").await.expect("an echo");
        proxy.signal(Signal::INT);
        stage(&proxy, reached).await;
        proxy.signal(Signal::INT);
        // What can be told in an instant is; nobody is waited for.
        let (answer, _) = client.rest().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        tunnel.rest().await;
        // `run` did what it was told.
        assert_eq!(proxy.exit().await.code(), Some(0));
        let log = proxy.log();
        let sums = last(&log, "SHUTDOWN_COMPLETED");
        let sums = ["opened", "finished", "farewelled", "cut", "lost"].map(|sum| &sums[sum]);
        assert_eq!(sums, [2, 0, 1, 1, 1]);
        let stages = log.iter().filter(|line| line["event"] == "stage");
        let stages: Vec<&str> = stages
            .map(|line| line["stage"].as_str().expect("a name"))
            .collect();
        assert!(stages.starts_with(&["announce", "refuse", "retire"]));
        assert_eq!(stages.last(), Some(&"cut"));
    }
}

#[tokio::test]
async fn sigint_and_sigterm_are_one_drain_in_either_order() {
    for order in [[Signal::INT, Signal::TERM], [Signal::TERM, Signal::INT]] {
        let server = Server::http1().await;
        let mut proxy = Proxy::start(&web(&server, &plan("0s"))).await;
        let client = held(&proxy, &server).await;
        for signal in order {
            proxy.signal(signal);
            stage(&proxy, "finish").await;
        }
        // Answered, so whatever the signal did is done.
        assert_eq!(proxy.json("/v1/drain").await["stage"], "finish");
        let_go(client, &server).await;
        assert_eq!(proxy.exit().await.code(), Some(0));
        let log = proxy.log();
        assert_eq!(times(&log, "shutdown_start"), 1);
        assert_eq!(last(&log, "SHUTDOWN_COMPLETED")["cut"], 0);
    }
}

#[tokio::test]
async fn after_a_cancel_sigint_is_a_first_one_again() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&web(&server, &plan("60s"))).await;
    let client = held(&proxy, &server).await;
    for round in 1..=2 {
        proxy.signal(Signal::INT);
        let begun = |line: &Value| line["event"] == "shutdown_start";
        let begun = |log: &[Value]| log.iter().filter(|line| begun(line)).count() == round;
        proxy.until("the drain", begun).await;
        let taken_back = proxy.ask(Method::DELETE, "/v1/drain", "").await;
        assert_eq!(taken_back.status, 200, "{taken_back:?}");
    }
    assert_eq!(proxy.get("/readyz").await.status, 200);
    let_go(client, &server).await;
    proxy.signal(Signal::INT);
    proxy
        .until("the drain", |log| times(log, "shutdown_start") == 3)
        .await;
    proxy.signal(Signal::INT);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn sighup_reloads_and_is_refused_while_draining() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&web(&server, &plan("0s"))).await;
    let client = held(&proxy, &server).await;
    let says = |says: &'static str| {
        move |line: &Value| {
            let message = line["message"].as_str().unwrap_or_default();
            line["result"] == "refused" && message.contains(says)
        }
    };
    proxy.signal(Signal::HUP);
    let unchanged = |line: &Value| line["result"] == "unchanged";
    proxy.until_event("reload", unchanged).await;
    assert_eq!(proxy.get("/readyz").await.status, 200);
    assert_eq!(proxy.json("/v1/drain").await["draining"], false);
    proxy.signal(Signal::TERM);
    stage(&proxy, "finish").await;
    proxy.signal(Signal::HUP);
    proxy.until_event("reload", says("draining")).await;
    assert_eq!(proxy.json("/v1/drain").await["stage"], "finish");
    let_go(client, &server).await;
    assert_eq!(proxy.exit().await.code(), Some(0));
    assert_eq!(times(&proxy.log(), "shutdown_start"), 1);
}

#[tokio::test]
async fn sigusr1_writes_every_connection_to_the_log() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&web(&server, &plan("0s"))).await;
    let client = held(&proxy, &server).await;
    let mut idle = Http1::connect(proxy.address("web")).await;
    idle.get("/").await.expect("a reply");
    proxy.signal(Signal::USR1);
    let dump = proxy.until_event("dump", |_| true).await;
    assert_eq!(dump["connections"], 2);
    assert_eq!(dump["message"], "all 2 that are open");
    let log = proxy.log();
    let shown = log.iter().filter(|line| line["event"] == "connection");
    let mut shown: Vec<&str> = shown
        .map(|line| {
            assert_eq!(
                (&line["listener"], &line["protocol"]),
                (&"web".into(), &"http1".into())
            );
            line["state"].as_str().expect("a state")
        })
        .collect();
    shown.sort_unstable();
    assert_eq!(shown, ["idle", "in_flight"]);
    let of_listener = last(&log, "dump_listener");
    let sums = ["connections", "half_open", "in_flight"].map(|sum| &of_listener[sum]);
    assert_eq!(sums, [2, 0, 1]);
    let of_server = last(&log, "dump_server");
    assert_eq!(of_server["up"], true);
    assert_eq!(of_server["drained"], false);
    assert_eq!(of_server["message"], "up");
    assert_eq!(of_server["in_flight"], 1);
    assert_eq!(last(&log, "dump_drain")["phase"], "active");
    let first = log.iter().find(|line| line["event"] == "connection");
    let first = first.expect("who is in flight");
    assert_eq!(
        (&first["doing"], &first["route"]),
        (&"awaiting".into(), &"web/0".into())
    );
    // Past refuse it says who holds the exit.
    drop(idle);
    proxy.signal(Signal::TERM);
    stage(&proxy, "finish").await;
    proxy.signal(Signal::USR1);
    let holder = |line: &Value| line["state"] == "in_flight" && line["id"] == 1;
    proxy
        .until("the second dump", |log| times(log, "dump") == 2)
        .await;
    let log = proxy.log();
    assert_eq!(log.iter().filter(|line| holder(line)).count(), 2);
    let drain = last(&proxy.log(), "dump_drain");
    assert_eq!(
        (&drain["stage"], &drain["trigger"]),
        (&"finish".into(), &"sigterm".into())
    );
    assert!(
        drain["at_most_ms"]
            .as_u64()
            .is_some_and(|millis| millis > 60_000)
    );
    let_go(client, &server).await;
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn sigquit_does_not_end_the_process() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&web(&server, &plan("0s"))).await;
    proxy.signal(Signal::QUIT);
    proxy
        .until_event("handover", |line| line["level"] == "WARN")
        .await;
    assert_eq!(proxy.get("/readyz").await.status, 200);
    let mut client = Http1::connect(proxy.address("web")).await;
    assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
    drop(client);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}
