//! Stage hooks: beside the drain, never in its way.

use super::{held, let_go, plan, web};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use http::Method;
use serde_json::Value;
use std::path::Path;
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

/// The hooks of a receipt: what started each, and how it ended.
fn ends(receipt: &Value) -> Vec<(String, String)> {
    let hooks = receipt["hooks"].as_array().expect("hooks").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    hooks
        .map(|hook| (text(&hook["on"]), text(&hook["end"])))
        .collect()
}

fn pair(on: &str, end: &str) -> (String, String) {
    (on.to_owned(), end.to_owned())
}

fn written(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("it was written");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A program that writes what it is told to a file.
fn writes(path: &Path) -> String {
    format!("exec = [\"sh\", \"-c\", \"cat > {}\"]", path.display())
}

#[tokio::test]
async fn the_receipt_tells_of_every_hook_also_of_those_that_outlast_the_drain() {
    let server = Server::http1().await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    // It outlasts the drain: it waits for its end.
    let waits = format!(
        "exec = [\"sh\", \"-c\", \"until [ -s {} ]; do sleep 0.01; done\"]",
        path("terminated").display()
    );
    let hooks = [
        hook("announce", &waits, "20s"),
        hook("refuse", "exec = [\"false\"]", "20s"),
        hook("terminated", &writes(&path("terminated")), "20s"),
    ];
    let plan = plan("0s").replace("[drain]", "[drain]\nreceipt = \"receipt.json\"");
    let mut proxy = Proxy::start(&web(&server, &(hooks.concat() + &plan))).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    let kept = written(&proxy.path("receipt.json"));
    assert_eq!(
        ends(&kept),
        [
            pair("announce", "done"),
            pair("refuse", "failed"),
            pair("terminated", "done")
        ]
    );
    let failed = &kept["hooks"][1];
    assert_eq!(failed["error"], "the program ended with exit status: 1");
    // The hook at the end was told the receipt as it was then.
    let told = written(&path("terminated"));
    assert_eq!(told["event"], "terminated");
    assert_eq!(told["receipt"]["trigger"], "sigterm");
    assert_eq!(ends(&told["receipt"])[0], pair("announce", "running"));
}

#[tokio::test]
async fn a_server_is_told_what_has_happened() {
    let (server, registry) = (Server::http1().await, Server::http1().await);
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("program");
    let url = format!("http://{}/echo", registry.address);
    let request = format!("http = {{ url = \"{url}\", headers = {{ X-Token = \"t\" }} }}");
    let hooks = [
        hook("announce", &request, "20s"),
        hook("announce", &writes(&program), "20s"),
    ];
    let proxy = Proxy::start(&web(&server, &(hooks.concat() + &plan("60s")))).await;
    let client = held(&proxy, &server).await;
    proxy.signal(Signal::TERM);
    proxy
        .until("both hooks", |log| said(log, "hook done") == 2)
        .await;
    let head = registry.desk.seen().heads[0].to_ascii_lowercase();
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("x-token: t"), "{head}");
    let told = written(&program);
    assert_eq!(told["event"], "announce");
    assert_eq!(
        (&told["phase"], &told["trigger"]),
        (&"active".into(), &"sigterm".into())
    );
    assert_eq!(told["in_flight"], 1);
    let address = proxy.address("web").to_string();
    assert_eq!(told["listeners"][0]["address"], address);
    let metrics = proxy.get("/metrics").await;
    let line = "ebbtide_hooks_total{on=\"announce\",result=\"done\"} 2";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    let_go(client, &server).await;
    assert_eq!(proxy.ask(Method::DELETE, "/v1/drain", "").await.status, 200);
}

#[tokio::test]
async fn a_reload_runs_hooks_whatever_became_of_it() {
    let server = Server::http1().await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("told");
    let text = web(
        &server,
        &(hook("reload", &writes(&path), "20s") + &plan("0s")),
    );
    let proxy = Proxy::start(&text).await;
    for (text, result) in [
        (text.replace("routes", "idle = \"9s\"\nroutes"), "applied"),
        ("nonsense".to_owned(), "invalid"),
    ] {
        let before = said(&proxy.log(), "hook done");
        proxy.write_config(&text);
        proxy.signal(Signal::HUP);
        proxy
            .until("the hook", |log| said(log, "hook done") > before)
            .await;
        let told = written(&path);
        assert_eq!(told["event"], "reload");
        assert_eq!(told["reload"]["result"], result, "{told}");
        assert_ne!(told["reload"]["text"], "");
    }
}
