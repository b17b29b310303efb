//! A successor that a command has the running process start.
//!
//! As its child the successor is where the process is: in the control group of
//! its service, with its environment, beyond the session of whoever typed the
//! command. Who may ask is whoever may ask for the sockets: the same user and
//! root, so nobody gains a right by it.
//!
//! Invariant: whoever asked hears of the end: that it serves, or that it ended.
//!
//! Deliberately absent: ending it. A successor that is not wanted is told so.

use super::channel::Channel;
use super::message::{FromPredecessor, FromSuccessor};
use crate::process::systemd;
use std::io;
use std::path::Path;
use std::process::Stdio;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Start a program that is to take over from this process.
pub(super) fn spawn(program: &Path, config: &Path, door: &Path) -> Result<Child, String> {
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg(format!("--takeover={}", door.display()))
        .arg(config)
        .stdin(Stdio::null())
        .process_group(0);
    for name in systemd::OF_THIS_PROCESS {
        command.env_remove(name);
    }
    let program = program.display();
    let successor = command.spawn();
    let successor = successor.map_err(|error| format!("cannot start {program}: {error}"))?;
    tracing::info!(event = "handover", pid = successor.id(), %program, "started, to take over");
    Ok(successor)
}

/// Tell whoever asked for it what becomes of it.
pub(super) async fn watch(
    mut successor: Child,
    mut serves: watch::Receiver<Option<u32>>,
    asked: &mut Channel,
) -> Result<(), String> {
    let pid = successor.id();
    let gone = |error: io::Error| format!("who asked is gone: {error}");
    if let Some(pid) = pid {
        asked
            .send(&FromPredecessor::Started { pid }, &[])
            .await
            .map_err(gone)?;
    }
    let took_over = async {
        let this = |one: &Option<u32>| one.is_some() && *one == pid;
        serves.wait_for(this).await.map(|_| ())
    };
    tokio::select! {
        biased;
        told = took_over => {
            told.map_err(|_| "the process is leaving".to_owned())?;
            asked.send(&FromPredecessor::Served, &[]).await.map_err(gone)
        }
        ended = successor.wait() => {
            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(format!("the successor ended ({how}) without having taken over; the log says why"))
        }
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
