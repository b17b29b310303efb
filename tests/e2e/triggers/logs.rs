//! The log: a file that is moved away, a disk that is full, a pipe that nobody
//! reads, a level that is changed. Traffic never notices.

use super::web;
use crate::support::clients::Http1;
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::sleep;

/// How long to wait between two looks at what publishes nothing.
const LOOK: Duration = Duration::from_millis(5);

/// A proxy whose log is not on a standard error that is read.
struct Logging {
    child: Child,
    directory: TempDir,
    web: SocketAddr,
}

impl Logging {
    /// Run it, with these settings of `logs`, until it is ready.
    async fn start(server: &Server, logs: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let child = run(server, &directory, logs);
        let mut proxy = Self {
            child,
            directory,
            web: ([0, 0, 0, 0], 0).into(),
        };
        let ready = async {
            while UnixStream::connect(proxy.path("admin")).await.is_err()
                || proxy.ask(Method::GET, "/readyz", "").await.0 != 200
            {
                sleep(LOOK).await;
            }
        };
        within("readiness", ready).await;
        let (_, status) = proxy.ask(Method::GET, "/v1/status", "").await;
        let address = status["listeners"][0]["address"].as_str();
        proxy.web = address.expect("there").parse().expect("an address");
        proxy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it has exited");
        let id = Pid::from_raw(id.try_into().expect("an id")).expect("an id");
        kill_process(id, signal).expect("signal it");
    }

    /// Wait until a file has a line like this.
    async fn until(&self, name: &str, matches: impl Fn(&Value) -> bool) {
        let there = async {
            let line = |text: &str| serde_json::from_str(text).is_ok_and(|line| matches(&line));
            while !self.read(name).lines().any(line) {
                sleep(LOOK).await;
            }
        };
        within(name, there).await;
    }

    /// Ask the admin interface; the status, and the answer if it is JSON.
    async fn ask(&self, method: Method, path: &str, body: &'static str) -> (u16, Value) {
        let wire = UnixStream::connect(self.path("admin")).await;
        let mut client = Http1::over(Box::new(wire.expect("it listens"))).await;
        let request = Request::builder().method(method).uri(path);
        let body = Full::new(Bytes::from_static(body.as_bytes())).boxed_unsync();
        let request = request.header("host", "admin").body(body).expect("good");
        let response = client.send(request).await.expect("an answer");
        let reply = Http1::whole(response).await.expect("a body");
        let value = serde_json::from_slice(&reply.body).unwrap_or_default();
        (reply.status.as_u16(), value)
    }

    async fn lost(&self) -> u64 {
        let (_, log) = self.ask(Method::GET, "/v1/logs", "").await;
        log["lost"].as_u64().expect("a number")
    }

    async fn end(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        within("its exit", self.child.wait()).await.expect("wait")
    }
}

fn run(server: &Server, directory: &TempDir, logs: &str) -> Child {
    let more = format!(
        "[admin]\nlisten = \"unix:admin\"\n[process]\nworkers = 2\n\
         logs = {{ format = \"json\", {logs} }}\n[drain]\nannounce = \"0s\"\n"
    );
    let config = directory.path().join("ebbtide.toml");
    fs::write(&config, web(server, &more)).expect("write the config");
    Command::new(env!("CARGO_BIN_EXE_ebbtide"))
        .arg("run")
        .arg(config)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("run the binary")
}

/// A target of some length that is not that of another request.
fn target(number: usize, length: usize) -> String {
    format!("/{number}/{}", "x".repeat(length))
}

#[tokio::test]
async fn a_file_that_is_moved_away_under_load_loses_no_line() {
    const ROUNDS: usize = 6;
    const EACH: usize = 50;
    let server = Server::http1().await;
    let mut proxy = Logging::start(&server, "file = \"log\", access = true").await;
    let web = proxy.web;
    let (done, mut progress) = watch::channel(0);
    let load = tokio::spawn(async move {
        let mut client = Http1::connect(web).await;
        for number in 0..ROUNDS * EACH {
            client.get(&target(number, 0)).await.expect("a reply");
            done.send_replace(number + 1);
        }
    });
    for round in 1..ROUNDS {
        let reached = progress.wait_for(|done| *done >= round * EACH);
        let reached = within("the load", reached).await.map(|_| ());
        reached.expect("no panic");
        fs::rename(proxy.path("log"), proxy.path(&format!("log.{round}"))).expect("moved");
        if round % 2 == 0 {
            proxy.signal(Signal::USR2);
        } else {
            let (status, log) = proxy.ask(Method::POST, "/v1/logs/reopen", "").await;
            assert_eq!(status, 200, "{log}");
            assert!(
                log["file"]
                    .as_str()
                    .is_some_and(|path| path.ends_with("/log"))
            );
        }
        let reopened = |line: &Value| line["event"] == "logs_reopened";
        proxy.until("log", reopened).await;
    }
    load.await.expect("no panic");
    assert_eq!(proxy.end().await.code(), Some(0));
    let mut seen = HashMap::<String, usize>::new();
    let old = (1..ROUNDS).map(|round| format!("log.{round}"));
    for name in old.chain(["log".to_owned()]) {
        for line in proxy.read(&name).lines() {
            let line: Value = serde_json::from_str(line).expect("whole lines");
            if line["event"] == "access" {
                *seen.entry(line["path"].to_string()).or_default() += 1;
            }
        }
    }
    assert_eq!(seen.len(), ROUNDS * EACH);
    assert!(seen.values().all(|times| *times == 1));
    // The last line is there too.
    assert!(proxy.read("log").contains("SHUTDOWN_COMPLETED"));
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_said_before_anything_is_accepted() {
    let server = Server::http1().await;
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = directory.path().join("gone/log");
    std::os::unix::fs::symlink(nowhere, directory.path().join("log")).expect("linked");
    let mut child = run(&server, &directory, "file = \"log\"");
    let status = within("its exit", child.wait()).await.expect("wait");
    assert_eq!(status.code(), Some(1));
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("its standard error");
    stderr.read_to_string(&mut said).await.expect("text");
    for part in ["/log: No such file", "[process.logs]"] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_anew_leaves_the_old_one() {
    let server = Server::http1().await;
    let mut proxy = Logging::start(&server, "file = \"log\"").await;
    fs::rename(proxy.path("log"), proxy.path("log.1")).expect("moved");
    std::os::unix::fs::symlink(proxy.path("gone/log"), proxy.path("log")).expect("linked");
    proxy.signal(Signal::USR2);
    let failed = |line: &Value| line["event"] == "logs_reopened" && line["level"] == "ERROR";
    proxy.until("log.1", failed).await;
    let (status, problem) = proxy.ask(Method::POST, "/v1/logs/reopen", "").await;
    assert_eq!(status, 503);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("go on to the old file"), "{detail}");
    fs::remove_file(proxy.path("log")).expect("removed");
    proxy.signal(Signal::USR2);
    let opened = |line: &Value| line["event"] == "logs_reopened" && line["level"] == "INFO";
    proxy.until("log", opened).await;
    assert_eq!(proxy.lost().await, 0);
    assert_eq!(proxy.end().await.code(), Some(0));
    assert!(proxy.read("log").contains("SHUTDOWN_COMPLETED"));
}

#[tokio::test]
async fn a_full_disk_changes_nothing_but_the_counter() {
    let server = Server::http1().await;
    let mut proxy = Logging::start(&server, "file = \"/dev/full\", access = true").await;
    let mut client = Http1::connect(proxy.web).await;
    let before = proxy.lost().await;
    for number in 0..20 {
        let reply = client.get(&target(number, 0)).await.expect("a reply");
        assert_eq!(reply.text(), "ok");
    }
    drop(client);
    let counted = async {
        while proxy.lost().await < before + 20 {
            sleep(LOOK).await;
        }
    };
    within("the counter", counted).await;
    assert_eq!(proxy.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_stalls_nobody() {
    let server = Server::http1().await;
    let mut proxy = Logging::start(&server, "file = \"stderr\", access = true").await;
    let mut client = Http1::connect(proxy.web).await;
    // More than the pipe and the queue hold.
    for number in 0..1_000 {
        let reply = client.get(&target(number, 8_000)).await.expect("a reply");
        assert_eq!(reply.text(), "ok");
    }
    let lost = proxy.lost().await;
    assert!(lost > 0);
    let metrics = Http1::over(Box::new(
        UnixStream::connect(proxy.path("admin"))
            .await
            .expect("open"),
    ));
    let metrics = metrics.await.get("/metrics").await.expect("a scrape");
    let line = format!("ebbtide_log_lines_lost_total {lost}");
    assert!(metrics.text().lines().any(|one| one == line));
    drop(client);
    // Somebody reads again, and finds out what is missing.
    let stderr = proxy.child.stderr.take().expect("its standard error");
    let (note, mut log) = watch::channel(Vec::<Value>::new());
    let reader = tokio::spawn(async move {
        let mut lines = BufReader::new(stderr).lines();
        while let Some(line) = lines.next_line().await.expect("text") {
            let line = serde_json::from_str(&line).expect("whole lines");
            note.send_modify(|log| log.push(line));
        }
        note
    });
    let said = |line: &Value| line["event"] == "log_lines_lost";
    let told = log.wait_for(|log| log.iter().any(said));
    within("it is said", told)
        .await
        .map(|_| ())
        .expect("it reads");
    assert_eq!(proxy.end().await.code(), Some(0));
    let lines = within("the log's end", reader).await.expect("no panic");
    let lines = lines.borrow().clone();
    let access = lines.iter().filter(|line| line["event"] == "access");
    let told = lines.iter().filter(|line| said(line));
    let told: u64 = told
        .map(|line| line["lines"].as_u64().expect("a number"))
        .sum();
    assert_eq!(told, lost);
    assert_eq!(access.count() as u64, 1_000 - lost);
}

#[tokio::test]
async fn a_drain_ends_though_nobody_reads_the_log() {
    let server = Server::http1().await;
    let mut proxy = Logging::start(&server, "file = \"stderr\", access = true").await;
    let mut client = Http1::connect(proxy.web).await;
    for number in 0..50 {
        client.get(&target(number, 8_000)).await.expect("a reply");
    }
    drop(client);
    assert_eq!(proxy.end().await.code(), Some(0));
    assert!(proxy.child.stderr.is_some(), "open, and nobody reads");
}

#[tokio::test]
async fn a_level_holds_until_the_next_reload() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&web(&server, "[drain]\nannounce = \"0s\"\n")).await;
    let configured = "info,ebbtide=debug";
    let log = proxy.json("/v1/logs").await;
    let expected = json!({ "level": configured, "configured": configured, "file": null, "access": null, "lost": 0 });
    assert_eq!(log, expected);
    for (body, says) in [
        ("{\"level\":\"ebbtide=loud\"}", "`loud` is not a log level"),
        ("{\"level\":\"inof\"}", "did you mean `info`?"),
        ("{\"level\":5}", "{\"level\": \"info"),
        ("{\"levle\":\"info\"}", "unknown member \"levle\""),
        ("", "no JSON object"),
    ] {
        let reply = proxy.ask(Method::PUT, "/v1/logs", body).await;
        assert_eq!(reply.status, 400, "{body}");
        let problem: Value = serde_json::from_slice(&reply.body).expect("JSON");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(says), "{detail}");
    }
    assert_eq!(proxy.json("/v1/logs").await["level"], configured);
    let wanted = "{\"level\":\"warn,ebbtide::process=trace\"}";
    let reply = proxy.ask(Method::PUT, "/v1/logs", wanted).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let log = proxy.json("/v1/logs").await;
    assert_eq!(log["level"], "warn,ebbtide::process=trace");
    assert_eq!(log["configured"], configured);
    let told = |line: &Value| line["before"] == configured;
    proxy.until_event("log_level", told).await;
    // Only said what it would do: nothing is changed.
    let reply = proxy.ask(Method::POST, "/v1/reload?dry_run=true", "").await;
    assert_eq!(reply.status, 200);
    assert_ne!(proxy.json("/v1/logs").await["level"], configured);
    let reply = proxy.ask(Method::POST, "/v1/reload", "").await;
    assert_eq!(reply.status, 200, "nothing changed, and yet");
    assert_eq!(proxy.json("/v1/logs").await["level"], configured);
    proxy.signal(Signal::USR2);
    let stream = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|it| it.contains("stream"))
    };
    proxy.until_event("logs_reopened", stream).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}
