//! What systemd is told, and when.

use super::{plan, web};
use crate::support::clients::Raw;
use crate::support::manager::Manager;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use http::Method;

const ANY: &str = "127.0.0.1:0";

async fn start(manager: &Manager, text: &str) -> Proxy {
    let command = manager.command(&[]);
    Proxy::start_as(text, command).ready(text).await
}

/// A client whose request the server holds.
async fn held(proxy: &Proxy, server: &Server) -> Raw {
    let mut client = Raw::connect(proxy.address("web")).await;
    let request = "GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.send(request).await.expect("sent");
    let arrived = server.desk.until("the request", |seen| seen.requests == 1);
    arrived.await;
    client
}

/// Where the first line that begins so stands.
fn place(told: &[String], start: &str) -> usize {
    let place = told.iter().position(|line| line.starts_with(start));
    place.unwrap_or_else(|| panic!("{start} was not told: {told:?}"))
}

/// The times that were asked for, in seconds.
fn extensions(told: &[String]) -> Vec<u64> {
    let asked = told
        .iter()
        .filter_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC="));
    let seconds = asked.map(|time| time.parse::<u64>().expect("a number") / 1_000_000);
    seconds.collect()
}

#[tokio::test]
async fn a_service_is_ready_when_it_serves_and_stops_when_it_refuses() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let text = web(ANY, &server, &plan("0s"));
    let mut proxy = start(&manager, &text).await;
    manager.heard("READY=1").await;
    manager.heard("STATUS=active, 1 listener").await;
    let mut client = held(&proxy, &server).await;
    assert!(!manager.told().iter().any(|line| line == "STOPPING=1"));
    proxy.signal(Signal::TERM);
    manager.heard("STOPPING=1").await;
    let status = manager.heard("STATUS=draining (finish): ").await;
    assert!(
        status.starts_with("1 in flight, 1 connections, "),
        "{status}"
    );
    server.desk.release();
    client.read_until("held").await.expect("the whole answer");
    drop(client);
    assert_eq!(proxy.exit().await.code(), Some(0));
    manager.heard("STATUS=drained").await;
    let told = manager.told();
    assert!(place(&told, "READY=1") < place(&told, "STOPPING=1"));
    assert_eq!(told.iter().filter(|line| **line == "STOPPING=1").count(), 1);
}

#[tokio::test]
async fn time_is_asked_for_as_the_plan_needs_it() {
    let (manager, server) = (Manager::abstracted(), Server::http1().await);
    let mut proxy = start(&manager, &web(ANY, &server, &plan("0s"))).await;
    let client = held(&proxy, &server).await;
    proxy.signal(Signal::TERM);
    manager.heard("STATUS=draining (finish): ").await;
    // Finish and farewell have 60 s each; some more is for what comes behind.
    let [first] = extensions(&manager.told())[..] else {
        panic!("asked otherwise than once: {:?}", manager.told());
    };
    assert!((120..140).contains(&first), "{first} s");
    let extended = proxy.ask(Method::POST, "/v1/drain/extend", r#"{"by": "5m"}"#);
    assert_eq!(extended.await.status, 200);
    let twice = |told: &[String]| extensions(told).len() == 2;
    manager.until("another time", twice).await;
    let second = extensions(&manager.told())[1];
    assert!((400..440).contains(&second), "{second} s");
    server.desk.release();
    drop(client);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_drain_that_is_taken_back_was_no_stop() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let proxy = start(&manager, &web(ANY, &server, &plan("60s"))).await;
    assert_eq!(proxy.ask(Method::POST, "/v1/drain", "").await.status, 202);
    manager.heard("STATUS=draining (announce): ").await;
    assert_eq!(proxy.ask(Method::DELETE, "/v1/drain", "").await.status, 200);
    let back = |told: &[String]| {
        told.last()
            .is_some_and(|line| line == "STATUS=active, 1 listener")
    };
    manager.until("serving again", back).await;
    assert!(!manager.told().iter().any(|line| line == "STOPPING=1"));
}

#[tokio::test]
async fn a_reload_is_told_from_beginning_to_end_also_one_that_is_refused() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let text = web(ANY, &server, "");
    let proxy = start(&manager, &text).await;
    manager.heard("READY=1").await;
    proxy.write_config(&text.replace("routes", "idle = \"9s\"\nroutes"));
    proxy.signal(Signal::HUP);
    let count = |told: &[String], line: &str| told.iter().filter(|one| *one == line).count();
    let again = |told: &[String]| count(told, "READY=1") == 2;
    manager.until("readiness after the reload", again).await;
    let told = manager.told();
    let begun = place(&told, "RELOADING=1");
    let at = told[begun + 1]
        .strip_prefix("MONOTONIC_USEC=")
        .expect("the time");
    // The clock that systemd reads: since the machine's boot.
    let uptime = std::fs::read_to_string("/proc/uptime").expect("proc");
    let uptime: f64 = uptime
        .split(' ')
        .next()
        .and_then(|up| up.parse().ok())
        .expect("seconds");
    let seconds = at.parse::<f64>().expect("a number") / 1e6;
    assert!(
        seconds > 0.0 && seconds <= uptime + 1.0,
        "{seconds} of {uptime}"
    );
    proxy.write_config("[listener.web]\nlisten = 1\n");
    proxy.signal(Signal::HUP);
    let status = manager.heard("STATUS=reload invalid: ").await;
    assert!(!status.is_empty());
    let told = manager.told();
    assert_eq!(
        (count(&told, "RELOADING=1"), count(&told, "READY=1")),
        (2, 3)
    );
}

#[tokio::test]
async fn a_drain_by_reload_of_one_listener_is_no_stop_of_the_service() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let other = "[listener.other]\nlisten = \"127.0.0.1:0\"\nroutes = [{ upstream = \"site\" }]\n";
    let proxy = start(
        &manager,
        &web(ANY, &server, &(other.to_owned() + &plan("0s"))),
    )
    .await;
    proxy.write_config(&web(ANY, &server, &plan("0s")));
    proxy.signal(Signal::HUP);
    proxy.until_event("listener_drained", |_| true).await;
    let again = |told: &[String]| told.iter().filter(|one| *one == "READY=1").count() == 2;
    manager.until("readiness after the reload", again).await;
    assert!(!manager.told().iter().any(|line| line == "STOPPING=1"));
}

#[tokio::test]
async fn the_watchdog_is_fed_also_while_it_drains() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let text = web(ANY, &server, &plan("0s"));
    let command = manager.command(&[("WATCHDOG_USEC", "80000")]);
    let mut proxy = Proxy::start_as(&text, command).ready(&text).await;
    let fed = |told: &[String]| told.iter().filter(|line| *line == "WATCHDOG=1").count();
    manager.until("three times", |told| fed(told) >= 3).await;
    let client = held(&proxy, &server).await;
    proxy.signal(Signal::TERM);
    manager.heard("STOPPING=1").await;
    let before = fed(&manager.told());
    let more = |told: &[String]| fed(told) >= before + 3;
    manager.until("three times more", more).await;
    server.desk.release();
    drop(client);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_watchdog_of_another_process_is_not_fed() {
    let (manager, server) = (Manager::new(), Server::http1().await);
    let text = web(ANY, &server, &plan("0s"));
    let command = manager.command(&[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]);
    let mut proxy = Proxy::start_as(&text, command).ready(&text).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    manager.heard("STATUS=drained").await;
    assert!(!manager.told().iter().any(|line| line == "WATCHDOG=1"));
}

#[tokio::test]
async fn a_manager_that_is_not_there_is_no_reason_not_to_serve() {
    let server = Server::http1().await;
    let text = web(ANY, &server, "");
    let mut command = Proxy::command();
    command.env("NOTIFY_SOCKET", "/nowhere/at/all");
    let mut proxy = Proxy::start_as(&text, command).ready(&text).await;
    proxy.until_event("systemd", |_| true).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}
