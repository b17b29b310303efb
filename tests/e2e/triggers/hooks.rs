//! Stage hooks: beside the drain, never in its way.

use super::{held, let_go, plan, web};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use http::Method;
use serde_json::Value;
use std::time::Duration;

/// A hook that does nothing for longer than any test waits.
const HANGS: &str = "exec = [\"sleep\", \"600\"]";

fn hook(on: &str, does: &str, timeout: &str) -> String {
    format!("[[hook]]\non = \"{on}\"\n{does}\ntimeout = \"{timeout}\"\n\n")
}

/// How many hooks the log says this of.
fn said(log: &[Value], what: &str) -> usize {
    let hooks = log.iter().filter(|line| line["event"] == "hook");
    let said = hooks.filter(|line| {
        line["message"]
            .as_str()
            .is_some_and(|m| m.starts_with(what))
    });
    said.count()
}

#[tokio::test]
async fn announcing_runs_hooks_of_every_kind_while_all_is_served() {
    let (server, registry) = (Server::http1().await, Server::http1().await);
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let request = format!(
        "http = {{ method = \"PUT\", url = \"http://{}/deregister/web\" }}",
        registry.address
    );
    let hooks = [
        hook(
            "announce",
            &format!("exec = [\"touch\", {:?}]", path("touched")),
            "10s",
        ),
        hook("announce", &request, "10s"),
        hook(
            "announce",
            &format!(
                "file = {{ path = {:?}, content = \"bye\" }}",
                path("written")
            ),
            "10s",
        ),
        hook(
            "finish",
            &format!("exec = [\"touch\", {:?}]", path("finish")),
            "10s",
        ),
    ];
    let proxy = Proxy::start(&web(&server, &(hooks.concat() + &plan("60s")))).await;
    proxy.signal(Signal::TERM);
    proxy
        .until("three hooks", |log| said(log, "hook done") == 3)
        .await;
    assert!(path("touched").exists());
    assert_eq!(
        std::fs::read_to_string(path("written")).expect("a file"),
        "bye"
    );
    let heads = registry.desk.seen().heads;
    assert!(heads[0].starts_with("PUT /deregister/web "), "{heads:?}");
    assert_eq!(proxy.get("/readyz").await.status, 503);
    let client = held(&proxy, &server).await;
    let_go(client, &server).await;
    assert!(!path("finish").exists(), "that stage has not come");
    let taken_back = proxy.ask(Method::DELETE, "/v1/drain", "").await;
    assert_eq!(taken_back.status, 200);
}

#[tokio::test]
async fn a_hook_past_its_time_is_ended_and_the_drain_goes_its_way() {
    let (server, registry) = (Server::http1().await, Server::http1().await);
    let directory = tempfile::tempdir().expect("a directory");
    let pid = directory.path().join("pid");
    // What it became is known by its process id.
    let program = format!(
        "exec = [\"sh\", \"-c\", \"echo $$ > {}; exec sleep 600\"]",
        pid.display()
    );
    let request = format!("http = {{ url = \"http://{}/hold\" }}", registry.address);
    let hooks = [
        hook("announce", &program, "1s"),
        hook("announce", &request, "1s"),
        hook("refuse", "exec = [\"false\"]", "10s"),
    ];
    let mut proxy = Proxy::start(&web(&server, &(hooks.concat() + &plan("0s")))).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    let log = proxy.log();
    assert_eq!(said(&log, "hook failed"), 3);
    let late = log
        .iter()
        .filter(|line| line["error"] == "its time was over");
    assert_eq!(late.count(), 2);
    // The drain did not wait; the exit did.
    let at = |wanted: &dyn Fn(&Value) -> bool| log.iter().position(wanted).expect("a line");
    let over = at(&|line| line["event"] == "SHUTDOWN_COMPLETED");
    assert!(over < at(&|line| line["error"] == "its time was over"));
    let pid = std::fs::read_to_string(pid).expect("it ran");
    let status = format!("/proc/{}/status", pid.trim());
    // Gone, or waiting for somebody to ask how it ended.
    let ended = async {
        while std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the program's end", ended).await;
}

#[tokio::test]
async fn who_interrupts_twice_waits_for_no_hook() {
    let server = Server::http1().await;
    let config = web(&server, &(hook("announce", HANGS, "10m") + &plan("0s")));
    let mut proxy = Proxy::start(&config).await;
    proxy.signal(Signal::INT);
    proxy.until_event("SHUTDOWN_COMPLETED", |_| true).await;
    assert!(!proxy.has_exited(), "the hook has its time");
    proxy.signal(Signal::INT);
    assert_eq!(proxy.exit().await.code(), Some(0));
    assert_eq!(said(&proxy.log(), "hooks abandoned"), 1);
}

#[tokio::test]
async fn who_cuts_waits_for_no_hook() {
    let server = Server::http1().await;
    let config = web(&server, &(hook("announce", HANGS, "10m") + &plan("0s")));
    let mut proxy = Proxy::start(&config).await;
    let client = held(&proxy, &server).await;
    proxy.signal(Signal::INT);
    let finish = |line: &Value| line["stage"] == "finish";
    proxy.until_event("stage", finish).await;
    proxy.signal(Signal::INT);
    assert_eq!(proxy.exit().await.code(), Some(0));
    assert_eq!(said(&proxy.log(), "hooks abandoned"), 1);
    drop(client);
}
