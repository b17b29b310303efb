//! A successor that a command has the running process start.
//!
//! It is started where the process is: in the control group of its service, with
//! its environment, beyond the login of whoever typed the command. It is not
//! its child: systemd waits for the end of a main process only if that has become
//! a child of systemd itself before it is the main process. Who may ask is whoever
//! may ask for the sockets: the same user and root, so nobody gains a right.
//!
//! Invariant: whoever asked hears of the end: that it serves, or that it ended.
//!
//! Deliberately absent: ending it. A successor that is not wanted is told so.

use super::channel::Channel;
use super::message::{FromPredecessor, FromSuccessor};
use crate::process::systemd;
use rustix::process::{Pid, test_kill_process};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::watch;

/// Starts what its arguments say, tells the process id, and leaves it.
const ORPHAN: &str = r#""$0" "$@" >&2 & echo $!"#;

/// How often it is looked whether a successor is still there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Start a program that is to take over from this process; its process id.
pub(super) async fn spawn(program: &Path, config: &Path, door: &Path) -> Result<u32, String> {
    let name = program.display();
    if !program.is_file() {
        return Err(format!("cannot start {name}: there is no such file"));
    }
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", ORPHAN])
        .arg(program)
        .arg("run")
        .arg(format!("--takeover={}", door.display()))
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .process_group(0);
    for name in systemd::OF_THIS_PROCESS {
        command.env_remove(name);
    }
    let started = command.spawn().map(tokio::process::Child::wait_with_output);
    let told = match started {
        Ok(told) => told.await,
        Err(error) => Err(error),
    };
    let told = told.map_err(|error| format!("cannot start {name}: {error}"))?;
    let pid = String::from_utf8_lossy(&told.stdout).trim().parse().ok();
    let pid = pid.ok_or_else(|| format!("cannot start {name}: /bin/sh ended ({})", told.status))?;
    tracing::info!(event = "handover", pid, program = %name, "started, to take over");
    Ok(pid)
}

/// Tell whoever asked for it what becomes of it.
pub(super) async fn watch(
    pid: u32,
    mut serves: watch::Receiver<Option<u32>>,
    asked: &mut Channel,
) -> Result<(), String> {
    let gone = |error: io::Error| format!("who asked is gone: {error}");
    asked
        .send(&FromPredecessor::Started { pid }, &[])
        .await
        .map_err(gone)?;
    let took_over = async {
        let this = |one: &Option<u32>| *one == Some(pid);
        serves.wait_for(this).await.map(|_| ())
    };
    tokio::select! {
        biased;
        told = took_over => {
            told.map_err(|_| "the process is leaving".to_owned())?;
            asked.send(&FromPredecessor::Served, &[]).await.map_err(gone)
        }
        () = ended(pid) => {
            let what = "the successor ended without having taken over; the log says why";
            Err(what.to_owned())
        }
    }
}

/// Wait for the end of a process that is nobody's child here.
async fn ended(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    while pid.is_some_and(|pid| test_kill_process(pid).is_ok()) {
        // Only a parent is told.
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Have the process at `door` start a program that takes over from it, and wait
/// until that serves. `started` hears its process id.
///
/// # Errors
/// Why it does not: all is as it was then.
pub(in crate::process) async fn ask(
    door: &Path,
    program: &Path,
    config: &Path,
    started: impl Fn(u32),
) -> Result<u32, String> {
    let failed = |error: io::Error| format!("cannot ask at {}: {error}", door.display());
    let mut channel = Channel::new(UnixStream::connect(door).await.map_err(failed)?);
    let start = FromSuccessor::Start {
        program: program.to_owned(),
        config: config.to_owned(),
    };
    channel.send(&start, &[]).await.map_err(failed)?;
    let mut successor = None;
    loop {
        match (channel.receive().await.map_err(failed)?, successor) {
            (Some(FromPredecessor::Started { pid }), _) => {
                started(pid);
                successor = Some(pid);
            }
            (Some(FromPredecessor::Served), Some(pid)) => return Ok(pid),
            (Some(FromPredecessor::Refused { reason }), _) => return Err(reason),
            (Some(said), _) => return Err(format!("the running process said {said:?}")),
            (None, _) => return Err("the running process is gone".to_owned()),
        }
    }
}
