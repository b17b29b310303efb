//! Whatever goes wrong with a successor, the running process goes on as if
//! nobody had come; and if that one dies, the successor is there.

use super::{House, ends, house};
use crate::support::clients::Http1;
use crate::support::load::Load;
use crate::support::proxy::{Proxy, Signal};
use crate::support::seen::Seen;
use crate::support::servers::Server;
use crate::support::within;
use http::Method;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

async fn still_serves(house: &House) {
    let mut client = Http1::connect(house.proxy.address("web")).await;
    client.get("/").await.expect("an answer");
    let status = house.proxy.json("/v1/status").await;
    assert_eq!(
        (status["ready"].as_bool(), status["successor"].as_u64()),
        (Some(true), None)
    );
}

async fn fails(mut successor: Proxy, why: &str) {
    let exit = successor.exit().await;
    assert_eq!(exit.code(), Some(1));
    let said = successor
        .log()
        .iter()
        .any(|line| line.to_string().contains(why));
    assert!(said, "{why}: {:#?}", successor.log());
}

#[tokio::test]
async fn one_that_does_not_get_ready_in_time_is_sent_away() {
    let mut house = house().await;
    house.config = house
        .config
        .replacen("socket =", "ready = \"300ms\"\nsocket =", 1);
    ends(house.proxy).await;
    house.proxy = Proxy::start(&house.config).await;
    // Nobody is at its server's address.
    let vacant = Server::http1().await;
    let address = vacant.address.to_string();
    drop(vacant);
    let config = house
        .config
        .replace(&house.servers.http.address.to_string(), &address);
    let successor = house.proxy.successor(&config, "next.toml", &[]);
    fails(successor, "not ready within 300ms").await;
    still_serves(&house).await;
    let old = house.next(1).await;
    drop(old);
    ends(house.proxy).await;
}

#[tokio::test]
async fn a_config_that_is_wrong_is_told_and_nobody_asks() {
    let house = house().await;
    let mut wrong = house
        .proxy
        .successor("[listener.web]\nlisten = 1\n", "wrong.toml", &[]);
    assert_eq!(wrong.exit().await.code(), Some(64));
    still_serves(&house).await;
    let taken = format!(
        "\n[listener.more]\nlisten = \"{}\"\nroutes = [{{ upstream = \"site\" }}]\n",
        house.servers.http.address
    );
    let clash = house
        .proxy
        .successor(&format!("{}{taken}", house.config), "clash.toml", &[]);
    fails(clash, "listener more: cannot listen").await;
    still_serves(&house).await;
    ends(house.proxy).await;
}

#[tokio::test]
async fn one_killed_at_any_instant_costs_nobody_anything() {
    const KILLS: u64 = 50;
    let house = house().await;
    let load = Load::retired();
    let tasks = load.everything(&house.proxy);
    let mut took_over = 0;
    for round in 0..KILLS {
        let mut successor = house
            .proxy
            .successor(&house.config, "killed.toml", &["--standby"]);
        // Over the whole of its start, and a little beyond: from asking to
        // being ready takes some tens of milliseconds.
        let ready = successor.until_log("ready", |line| {
            line["message"] == "ready; waiting for the word"
        });
        let instant = Duration::from_millis(round * 4);
        tokio::select! {
            _ = ready => took_over += 1,
            // The pace of the test, not a wait for anything.
            () = tokio::time::sleep(instant) => {}
        }
        successor.signal(Signal::KILL);
        successor.exit().await;
        assert!(Load::is_well(&tasks), "{round}");
    }
    assert!(took_over < KILLS, "some were killed on their way");
    load.stop(tasks).await;
    still_serves(&house).await;
    ends(house.proxy).await;
}

/// One that is only a conversation: it says what it should up to the word.
async fn with_the_word(house: &House) -> BufReader<UnixStream> {
    let socket = house.proxy.path("handover.sock");
    let stream = UnixStream::connect(socket).await.expect("somebody listens");
    let mut stream = BufReader::new(stream);
    let say = |text: &str| format!("{text}\n").into_bytes();
    let hello = say(r#"{"say":"hello","protocol":1,"pid":1,"version":"9","standby":false}"#);
    stream.write_all(&hello).await.expect("said");
    loop {
        let mut line = String::new();
        within("a message", stream.read_line(&mut line))
            .await
            .expect("heard");
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let answer = match said["say"].as_str().expect("a kind") {
            "sockets" => format!(
                r#"{{"say":"received","descriptors":{}}}"#,
                said["descriptors"]
            ),
            "offered" => {
                r#"{"say":"ready","listeners":["web"],"admin":true,"door":true}"#.to_owned()
            }
            "go" => return stream,
            _ => panic!("{line}"),
        };
        stream.write_all(&say(&answer)).await.expect("said");
    }
}

#[tokio::test]
async fn one_that_dies_with_the_word_gives_it_back() {
    let mut house = house().await;
    drop(with_the_word(&house).await);
    let rolled_back =
        |line: &serde_json::Value| line["message"] == "all stays as it was: the successor is gone";
    house.proxy.until_log("the rollback", rolled_back).await;
    still_serves(&house).await;
    let old = house.next(1).await;
    drop(old);
    ends(house.proxy).await;
}

#[tokio::test]
async fn a_drain_waits_while_a_successor_may_accept() {
    let mut house = house().await;
    let successor = with_the_word(&house).await;
    let asked = house.proxy.ask(Method::POST, "/v1/drain", "").await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    let status = house.proxy.json("/v1/status").await;
    assert_eq!(
        status["phase"], "active",
        "its filter would be on the sockets of both"
    );
    let mut client = Http1::connect(house.proxy.address("web")).await;
    client.get("/").await.expect("an answer");
    drop((client, successor));
    let sums = crate::drain::scene::ended(&mut house.proxy).await;
    assert_eq!(sums.cut, 0);
}

#[tokio::test]
async fn a_drain_that_waited_follows_the_handover() {
    let mut house = house().await;
    let mut held = Http1::connect(house.proxy.address("web")).await;
    let held = tokio::spawn(async move { held.get("/hold").await });
    let asked = |seen: &Seen| seen.heads.iter().any(|head| head.starts_with("GET /hold"));
    house.servers.http.desk.until("the request", asked).await;
    let mut successor = with_the_word(&house).await;
    house.proxy.signal(Signal::TERM);
    successor
        .write_all(b"{\"say\":\"serving\"}\n")
        .await
        .expect("said");
    house.proxy.until_event("hurried", |_| true).await;
    house.servers.http.desk.release();
    within("an answer", held)
        .await
        .expect("no panic")
        .expect("an answer");
    crate::drain::scene::ended(&mut house.proxy).await;
}

#[tokio::test]
async fn who_makes_no_sense_is_sent_away() {
    let house = house().await;
    let socket = house.proxy.path("handover.sock");
    for (said, why) in [
        ("noise", "cannot be understood"),
        (r#"{"say":"serving"}"#, "not asked for"),
        (
            r#"{"say":"hello","protocol":7,"pid":1,"version":"9","standby":false}"#,
            "version 7",
        ),
    ] {
        let mut stream = UnixStream::connect(&socket)
            .await
            .expect("somebody listens");
        stream
            .write_all(format!("{said}\n").as_bytes())
            .await
            .expect("said");
        let mut answer = String::new();
        within("an answer", stream.read_to_string(&mut answer))
            .await
            .expect("heard");
        assert!(answer.contains(why), "{said}: {answer}");
    }
    still_serves(&house).await;
    ends(house.proxy).await;
}

#[tokio::test]
async fn a_drain_sends_away_who_gets_ready() {
    let mut house = house().await;
    let successor = house
        .proxy
        .successor(&house.config, "next.toml", &["--standby"]);
    successor
        .until_log("ready", |line| {
            line["message"] == "ready; waiting for the word"
        })
        .await;
    house.proxy.signal(Signal::TERM);
    fails(successor, "the process is draining").await;
    crate::drain::scene::ended(&mut house.proxy).await;
}

#[tokio::test]
async fn a_signal_ends_one_that_waits() {
    let house = house().await;
    for signal in [Signal::TERM, Signal::INT] {
        let mut successor = house
            .proxy
            .successor(&house.config, "next.toml", &["--standby"]);
        successor
            .until_log("ready", |line| {
                line["message"] == "ready; waiting for the word"
            })
            .await;
        successor.signal(signal);
        assert_eq!(successor.exit().await.code(), Some(0));
        still_serves(&house).await;
    }
    ends(house.proxy).await;
}

#[tokio::test]
async fn a_second_successor_waits_for_the_first_to_be_gone() {
    let house = house().await;
    let first = house
        .proxy
        .successor(&house.config, "first.toml", &["--standby"]);
    first
        .until_log("ready", |line| {
            line["message"] == "ready; waiting for the word"
        })
        .await;
    let second = house.proxy.successor(&house.config, "second.toml", &[]);
    fails(second, &format!("a successor (process {})", first.pid())).await;
    ends(first).await;
    still_serves(&house).await;
    ends(house.proxy).await;
}

#[tokio::test]
async fn if_the_predecessor_dies_the_successor_takes_over() {
    let mut house = house().await;
    let mut successor = house
        .proxy
        .successor(&house.config, "next.toml", &["--standby"]);
    successor
        .until_log("ready", |line| {
            line["message"] == "ready; waiting for the word"
        })
        .await;
    house.proxy.signal(Signal::KILL);
    house.proxy.exit().await;
    successor.took_over(&house.config).await;
    let mut client = Http1::connect(house.proxy.address("web")).await;
    client.get("/").await.expect("an answer");
    drop(client);
    let reloaded = successor.ask(Method::POST, "/v1/reload", "").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    ends(successor).await;
}
