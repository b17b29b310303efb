//! `ebbtide handover`: a new program in the place of the running one.
//!
//! With `--exec` the successor is a child of this command, in a process group
//! of its own, so that it outlives it. The command ends when the successor
//! serves, or has given up.
//!
//! Invariant: whatever goes wrong, somebody serves: the successor takes over
//! whole or not at all, and the exit code says which.
//!
//! Deliberately absent: taking over. The two processes do that by themselves.

use super::args::{Handover, Remote};
use super::client::{Patience, ask};
use super::output::{self, Done};
use crate::admin::view::Status;
use crate::clock;
use anyhow::{Context, bail};
use http::Method;
use serde_json::json;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often it is looked whether the successor serves.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long it may take; the running process gives up long before.
const LIMIT: Duration = Duration::from_secs(600);

pub(super) fn handover(what: &Handover) -> anyhow::Result<Done> {
    match &what.exec {
        Some(program) => start(what, program),
        None => give_the_word(&what.remote),
    }
}

fn give_the_word(remote: &Remote) -> anyhow::Result<Done> {
    let body = ask(remote, Method::POST, "/v1/handover", Patience::Short)?;
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    told(remote, &answer, || {
        format!("process {} has the word to take over", answer["successor"])
    })
}

fn start(what: &Handover, program: &Path) -> anyhow::Result<Done> {
    let remote = &what.remote;
    let before = status(remote)?;
    let Some(socket) = before.handover else {
        bail!(
            "process {} cannot be asked for its sockets; set `socket` in `[handover]` and start it anew",
            before.pid
        );
    };
    let config = what.config.as_deref().unwrap_or(Path::new(&before.config));
    let mut successor = Command::new(program)
        .arg("run")
        .arg(format!("--takeover={socket}"))
        .arg(config)
        .stdin(Stdio::null())
        // Who reads the answer of this command waits for its end, not for the
        // successor's.
        .stdout(io::stderr().as_fd().try_clone_to_owned()?)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let pid = successor.id();
    output::remark(&format!(
        "process {pid} gets ready to take over from {}",
        before.pid
    ));
    wait(remote, &mut successor, before.pid)?;
    let answer = json!({ "predecessor": before.pid, "successor": pid });
    told(remote, &answer, || {
        format!("process {pid} serves; {} drains", before.pid)
    })
}

/// Wait until the successor serves.
fn wait(remote: &Remote, successor: &mut Child, before: u32) -> anyhow::Result<()> {
    let begun = clock::now();
    loop {
        if let Some(ended) = successor.try_wait()? {
            bail!(
                "the successor ended ({ended}) without having taken over; process {before} goes on"
            );
        }
        // For an instant there may be nobody who answers.
        if let Ok(now) = status(remote)
            && (now.pid == successor.id() || now.successor == Some(successor.id()))
        {
            return Ok(());
        }
        if clock::now().saturating_since(begun) > LIMIT {
            bail!(
                "the successor, process {}, neither serves nor ends",
                successor.id()
            );
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn status(remote: &Remote) -> anyhow::Result<Status> {
    let body = ask(remote, Method::GET, "/v1/status", Patience::Short)?;
    serde_json::from_slice(&body)
        .context("the answer is not what this version expects; is the proxy of another one?")
}

fn told(
    remote: &Remote,
    answer: &serde_json::Value,
    text: impl Fn() -> String,
) -> anyhow::Result<Done> {
    let told = if remote.json {
        serde_json::to_string(answer)?
    } else {
        text()
    };
    Ok(Done::with(told))
}
