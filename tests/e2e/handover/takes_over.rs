//! What a handover is to clients, to the operator, and to who went before.

use super::{House, ends, house};
use crate::drain::scene::ended;
use crate::support::clients::{Http1, Raw, WebSocket};
use crate::support::proxy::{Proxy, Signal};
use crate::support::within;
use http::Method;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

#[tokio::test]
async fn a_successor_serves_on_the_same_sockets() {
    let mut house = house().await;
    let socket = std::fs::metadata(house.proxy.path("handover.sock")).expect("there");
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let before = house.proxy.json("/v1/status").await;
    assert!(
        before["handover"]
            .as_str()
            .expect("a path")
            .ends_with("handover.sock")
    );
    let mut old = house.next(1).await;
    // With nothing in flight it is over at once.
    ended(&mut old).await;
    let stages = old.log();
    let stages = stages.iter().filter(|line| line["event"] == "stage");
    let stages: Vec<_> = stages.map(|line| line["stage"].clone()).collect();
    assert_eq!(stages, ["retire"], "nothing is announced or refused");
    let now = house.proxy.json("/v1/status").await;
    assert_ne!(now["pid"], before["pid"]);
    assert_eq!(now["ready"], true);
    let mut client = Http1::connect(house.proxy.address("web")).await;
    assert_eq!(client.get("/").await.expect("an answer").text(), "ok");
    drop(client);
    ends(house.proxy).await;
}

#[tokio::test]
async fn what_is_in_flight_stays_and_is_seen_from_the_successor() {
    let mut house = house().await;
    let mut websocket = WebSocket::connect(house.proxy.address("chat"), "/chat").await;
    websocket.echo("before").await.expect("an echo");
    let mut tunnel = Raw::connect(house.proxy.address("tcp")).await;
    tunnel.send("one\n").await.expect("sent");
    assert_eq!(tunnel.read_until("\n").await.expect("a line"), "one\n");
    let mut held = Http1::connect(house.proxy.address("web")).await;
    let held = tokio::spawn(async move { held.get("/hold").await });
    house
        .servers
        .http
        .desk
        .until("the request", |seen| {
            seen.heads.iter().any(|head| head.starts_with("GET /hold"))
        })
        .await;

    let mut old = house.next(1).await;
    websocket.echo("after").await.expect("an echo");
    tunnel.send("two\n").await.expect("sent");
    assert_eq!(tunnel.read_until("\n").await.expect("a line"), "two\n");
    house.servers.http.desk.release();
    let answer = within("the answer", held).await.expect("no panic");
    assert_eq!(answer.expect("an answer").text(), "held");
    let status = house.proxy.until_status(|status| {
        let in_flight = &status["predecessors"][0]["in_flight"];
        in_flight["websocket"] == 1 && in_flight["tcp"] == 1 && in_flight["http1"] == 0
    });
    let seen = &status.await["predecessors"][0];
    assert_eq!(seen["pid"], old.pid());
    assert_eq!(seen["phase"], "draining");
    assert!(seen["latest_in_ms"].as_u64().expect("a number") > 3_500_000);
    let admin = seen["admin"].as_str().expect("an address").to_owned();
    let of_old = Proxy::json_at(&admin, "/v1/status").await;
    assert_eq!(
        (of_old["pid"].as_u64(), of_old["successor"].as_u64()),
        (Some(old.pid().into()), Some(house.proxy.pid().into()))
    );

    // Who wants it gone has the times of the plan; a second SIGINT cuts.
    old.signal(Signal::INT);
    old.until_event("hurried", |_| true).await;
    old.signal(Signal::INT);
    assert_eq!(old.exit().await.code(), Some(0));
    house
        .proxy
        .until_log("the end", |line| line["message"] == "a predecessor is gone")
        .await;
    let now = house.proxy.json("/v1/status").await;
    assert_eq!(now["predecessors"], serde_json::json!([]));
    ends(house.proxy).await;
}

#[tokio::test]
async fn one_on_standby_waits_for_the_word() {
    let mut house = house().await;
    let nobody = house.proxy.ask(Method::POST, "/v1/handover", "").await;
    assert_eq!(nobody.status, 409, "{}", nobody.text());
    house.proxy.signal(Signal::QUIT);
    house
        .proxy
        .until_log("a refusal", |line| {
            line["message"].to_string().contains("no successor waits")
        })
        .await;
    for (round, by_signal) in [(1, true), (2, false)] {
        let name = format!("ebbtide-{round}.toml");
        let mut next = house.proxy.successor(&house.config, &name, &["--standby"]);
        next.until_log("ready", |line| {
            line["message"] == "ready; waiting for the word"
        })
        .await;
        let refused = house.proxy.ask(Method::POST, "/v1/reload", "").await;
        assert_eq!(refused.status, 409, "{}", refused.text());
        assert!(
            refused.text().contains(&next.pid().to_string()),
            "{}",
            refused.text()
        );
        let mut client = Http1::connect(house.proxy.address("web")).await;
        client.get("/").await.expect("the old one serves");
        drop(client);
        if by_signal {
            house.proxy.signal(Signal::QUIT);
        } else {
            let told = house.proxy.ask(Method::POST, "/v1/handover", "").await;
            assert_eq!(told.status, 200, "{}", told.text());
        }
        next.took_over(&house.config).await;
        let mut old = std::mem::replace(&mut house.proxy, next);
        ended(&mut old).await;
    }
    ends(house.proxy).await;
}

/// Run `ebbtide handover` with these arguments.
async fn command(house: &House, arguments: &[&str]) -> Output {
    let done = tokio::process::Command::new(env!("CARGO_BIN_EXE_ebbtide"))
        .args(["handover", "--json", "--admin"])
        .arg(house.proxy.admin().to_string())
        .args(arguments)
        .output();
    within("the command", done).await.expect("run")
}

#[tokio::test]
async fn one_command_does_all_of_it() {
    let mut house = house().await;
    let done = command(&house, &["--exec", env!("CARGO_BIN_EXE_ebbtide")]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let told: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(told["predecessor"], house.proxy.pid());
    let successor = told["successor"].clone();
    house
        .proxy
        .until_status(|status| status["pid"] == successor)
        .await;
    // It is the child of a process that is gone: by its id.
    let successor = i32::try_from(successor.as_u64().expect("an id")).expect("small");
    let successor = rustix::process::Pid::from_raw(successor).expect("an id");
    rustix::process::kill_process(successor, Signal::TERM).expect("it is there");
    assert_eq!(house.proxy.exit().await.code(), Some(0));
    let over = house.proxy.log();
    let over = over
        .iter()
        .filter(|line| line["event"] == "SHUTDOWN_COMPLETED");
    assert_eq!(over.count(), 2, "both log to one place");
}

#[tokio::test]
async fn a_command_says_why_nobody_took_over() {
    let house = house().await;
    let wrong = house.proxy.path("wrong.toml");
    std::fs::write(&wrong, "[listener.web]\nlisten = 1\n").expect("written");
    let wrong = wrong.to_str().expect("plain");
    let binary = env!("CARGO_BIN_EXE_ebbtide");
    for (arguments, why) in [
        (vec![], "no successor waits"),
        (vec!["--exec", "/nonexistent"], "cannot start /nonexistent"),
        (
            vec!["--exec", binary, wrong],
            "ended without having taken over",
        ),
    ] {
        let done = command(&house, &arguments).await;
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(said.contains(why), "{said}");
    }
    ends(house.proxy).await;
}

#[tokio::test]
async fn without_anybody_to_take_over_from_it_begins_afresh() {
    let house = house().await;
    let config = house.config.replace("handover.sock", "nobody.sock");
    let mut fresh = house.proxy.successor(&config, "fresh.toml", &[]);
    fresh.serving(&config).await;
    fresh
        .until_log("a warning", |line| {
            line["message"].to_string().contains("beginning afresh")
        })
        .await;
    ends(fresh).await;
    ends(house.proxy).await;
}
