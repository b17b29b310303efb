//! A signal while the process starts is not lost, and ends it cleanly.

use super::web;
use crate::support::proxy::Signal;
use crate::support::servers::Server;
use crate::support::{LIMIT, within};
use rustix::process::{Pid, kill_process};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Instants at which a signal is sent.
const INSTANTS: u32 = 200;
/// Processes that start at once.
const AT_ONCE: usize = 8;

/// A process that may not have come far yet.
struct Starting {
    child: Child,
    id: Pid,
}

impl Starting {
    fn new(config: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_ebbtide"))
            .arg("run")
            .arg(config)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run the binary");
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Self {
            child,
            id: id.expect("an id"),
        }
    }

    /// The signals that it has handlers for, as a set of bits (proc(5)).
    fn caught(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id.as_raw_nonzero());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        caught.map_or(0, |set| u64::from_str_radix(set.trim(), 16).expect("a set"))
    }

    fn catches(&self, signal: Signal) -> bool {
        self.caught() >> (signal.as_raw() - 1) & 1 == 1
    }

    /// Its exit, and what it logged.
    async fn end(mut self) -> (ExitStatus, String) {
        let mut log = Vec::new();
        let mut stderr = self.child.stderr.take().expect("its standard error");
        let read = timeout(LIMIT, stderr.read_to_end(&mut log)).await;
        let log = String::from_utf8_lossy(&log).into_owned();
        assert!(read.is_ok_and(|read| read.is_ok()), "it goes on: {log}");
        let status = within("its exit", self.child.wait()).await.expect("wait");
        (status, log)
    }

    /// Wait until it says that it accepts.
    async fn until_active(&mut self) {
        let mut log = Vec::new();
        let stderr = self.child.stderr.as_mut().expect("its standard error");
        let active = async {
            while !String::from_utf8_lossy(&log).contains("\"active\"") {
                assert_ne!(stderr.read_buf(&mut log).await.expect("text"), 0);
            }
        };
        within("the phase", active).await;
    }
}

fn write_config(server: &Server, directory: &Path) -> std::path::PathBuf {
    let more = "[admin]\nlisten = \"127.0.0.1:0\"\n[process]\nworkers = 1\n\
                logs = { format = \"json\" }\n[drain]\nannounce = \"0s\"\n";
    let path = directory.join("ebbtide.toml");
    std::fs::write(&path, web(server, more)).expect("write the config");
    path
}

/// Send SIGTERM `after` its start; whether it had handlers by then.
async fn signalled(config: &Path, after: Duration) -> bool {
    let starting = Starting::new(config);
    tokio::time::sleep(after).await;
    // Looked at first: what is caught now is caught when the signal comes.
    let catches = starting.catches(Signal::TERM);
    kill_process(starting.id, Signal::TERM).expect("signal it");
    let (status, log) = starting.end().await;
    let clean = status.code() == Some(0);
    let before = !catches && status.signal() == Some(Signal::TERM.as_raw());
    assert!(
        clean || before,
        "{after:?}, caught: {catches}: {status}\n{log}"
    );
    catches
}

#[tokio::test]
async fn sigterm_at_any_instant_of_the_start_is_a_clean_exit() {
    let server = Server::http1().await;
    let directory = tempfile::tempdir().expect("a directory");
    let config = write_config(&server, directory.path());
    let began = Instant::now();
    let mut measured = Starting::new(&config);
    measured.until_active().await;
    let took = began.elapsed();
    kill_process(measured.id, Signal::TERM).expect("signal it");
    assert_eq!(measured.end().await.0.code(), Some(0));

    // Evenly over the start, out of order, and a little beyond its end.
    let mut caught = 0;
    let mut running = JoinSet::new();
    for instant in 0..INSTANTS {
        if running.len() == AT_ONCE {
            caught += u32::from(running.join_next().await.expect("some").expect("clean"));
        }
        let part = (instant * 77) % INSTANTS;
        let (config, after) = (config.clone(), took * part / (INSTANTS - 20));
        running.spawn(async move { signalled(&config, after).await });
    }
    while let Some(one) = running.join_next().await {
        caught += u32::from(one.expect("clean"));
    }
    // Only what the system does before the program begins has no handlers.
    assert!(caught > INSTANTS / 4, "{caught} of {INSTANTS}");
}

#[tokio::test]
async fn handlers_are_there_before_the_config_is_read() {
    let server = Server::http1().await;
    let directory = tempfile::tempdir().expect("a directory");
    let config = write_config(&server, directory.path());
    let text = std::fs::read_to_string(&config).expect("just written");
    // A pipe that nobody writes to: whoever reads it waits.
    let pipe = directory.path().join("pipe.toml");
    let made = Command::new("mkfifo").arg(&pipe).status().await;
    assert!(made.expect("mkfifo(1)").success());
    let starting = Starting::new(&pipe);
    let writer = tokio::net::unix::pipe::OpenOptions::new();
    let opened = async {
        // ENXIO until the process has opened its end.
        loop {
            match writer.open_sender(&pipe) {
                Ok(sender) => return sender,
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    let mut sender = within("it to read its config", opened).await;
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
    ] {
        assert!(starting.catches(signal), "{signal:?}");
    }
    kill_process(starting.id, Signal::TERM).expect("signal it");
    tokio::io::AsyncWriteExt::write_all(&mut sender, text.as_bytes())
        .await
        .expect("read");
    drop(sender);
    let (status, log) = starting.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    // It was asked to end before it accepted anything, and never did.
    assert!(log.contains("\"terminated\""), "{log}");
    assert!(!log.contains("\"active\""), "{log}");
}
