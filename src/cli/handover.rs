//! `ebbtide handover`: a new program in the place of the running one.
//!
//! With `--exec` the running process starts the successor, as a child of its
//! own: in the control group of its service, and not in the login of whoever
//! typed the command. The command ends when the successor serves, or has given
//! up.
//!
//! Invariant: whatever goes wrong, somebody serves: the successor takes over
//! whole or not at all, and the exit code says which.
//!
//! Deliberately absent: taking over. The two processes do that by themselves.

use super::args::{Handover, Remote};
use super::client::{Patience, ask};
use super::output::{self, Done};
use crate::admin::view::Status;
use crate::process;
use anyhow::{Context, anyhow, bail};
use http::Method;
use serde_json::{Value, json};
use std::path::{Path, absolute};

pub(super) fn handover(what: &Handover) -> anyhow::Result<Done> {
    match &what.exec {
        Some(program) => start(what, program),
        None => give_the_word(&what.remote),
    }
}

fn give_the_word(remote: &Remote) -> anyhow::Result<Done> {
    let body = ask(remote, Method::POST, "/v1/handover", Patience::Short)?;
    let answer: Value = serde_json::from_slice(&body)?;
    let text = format!("process {} has the word to take over", answer["successor"]);
    told(remote, &answer, text)
}

fn start(what: &Handover, program: &Path) -> anyhow::Result<Done> {
    let remote = &what.remote;
    let body = ask(remote, Method::GET, "/v1/status", Patience::Short)?;
    let running: Status = serde_json::from_slice(&body)
        .context("the answer is not what this version expects; is the proxy of another one?")?;
    let before = running.pid;
    let Some(door) = running.handover else {
        bail!(
            "process {before} cannot be asked for its sockets; set `socket` in `[handover]` \
             and start it anew"
        );
    };
    // The running process may stand in another directory.
    let program = absolute(program)?;
    let config = what.config.as_deref().unwrap_or(Path::new(&running.config));
    let started = |pid| {
        output::remark(&format!(
            "process {pid} gets ready to take over from {before}"
        ));
    };
    let taken = process::start_successor(Path::new(&door), &program, &absolute(config)?, started)?;
    let pid = taken.map_err(|reason| anyhow!("{reason}; process {before} goes on"))?;
    let answer = json!({ "predecessor": before, "successor": pid });
    told(
        remote,
        &answer,
        format!("process {pid} serves; {before} drains"),
    )
}

fn told(remote: &Remote, answer: &Value, text: String) -> anyhow::Result<Done> {
    let json = || serde_json::to_string(answer);
    Ok(Done::with(if remote.json { json()? } else { text }))
}
