//! Commands that ask a running proxy: `status`, `connections`, `drain`,
//! `forecast`, `receipt`, `reload`, `config`.
//!
//! Invariant: with `--json` the answer is printed as it came, one document;
//! without it, the same as text (`show`), which fits the terminal if it goes to
//! one. The exit code is the same either way.
//!
//! Deliberately absent: waiting for a drain that it begins (see `wait`).

use super::args::{self, Drain, Reload, Remote};
use super::client::{Patience, ask, ask_with};
use super::output::Done;
use super::text::{self, many, span_ms};
use super::wait::{self, Look, Waited};
use super::{output, server};
use crate::admin::view::{InForce, Progress};
use crate::control::Reloaded;
use crate::drain::{Forecast, Protocol, Receipt};
use anyhow::Context;
use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;

const OTHER: &str = "the answer is not what this version expects; is the proxy of another one?";

pub(super) fn status(remote: &Remote) -> anyhow::Result<Done> {
    let body = ask(remote, Method::GET, "/v1/status", Patience::Short)?;
    Ok(read(remote, &body, |status| {
        show::status(status, output::width())
    })?
    .1)
}

pub(super) fn connections(what: &args::Connections) -> anyhow::Result<Done> {
    let remote = &what.remote;
    let body = ask(remote, Method::GET, "/v1/connections", Patience::Short)?;
    let body = choose::chosen(what, &body)?.map_or(body, Bytes::from);
    Ok(read(remote, &body, |all| show::connections(all, output::width()))?.1)
}

pub(super) fn receipt(what: &args::Receipt) -> anyhow::Result<Done> {
    let remote = &what.remote;
    let path = match &what.listener {
        Some(name) => format!("/v1/drain/receipt?listener={name}"),
        None => "/v1/drain/receipt".to_owned(),
    };
    let body = ask(remote, Method::GET, &path, Patience::Short)?;
    Ok(read(remote, &body, receipt_text)?.1)
}

/// A receipt that fits the terminal.
pub(super) fn receipt_text(receipt: &Receipt) -> String {
    text::fitted(receipt, output::width())
}

pub(super) fn config(remote: &Remote) -> anyhow::Result<Done> {
    let body = ask(remote, Method::GET, "/v1/config", Patience::Short)?;
    Ok(read(remote, &body, InForce::to_string)?.1)
}

pub(super) fn forecast(what: &args::Forecast) -> anyhow::Result<Done> {
    let remote = &what.remote;
    let path = match &what.finish {
        Some(finish) => format!("/v1/drain/forecast?finish={finish}"),
        None => "/v1/drain/forecast".to_owned(),
    };
    let body = ask(remote, Method::GET, &path, Patience::Short)?;
    Ok(read(remote, &body, |ahead: &Forecast| {
        text::fitted(ahead, output::width())
    })?
    .1)
}

pub(super) fn drain(what: &Drain) -> anyhow::Result<Done> {
    if let Some(name) = &what.server {
        return server::drain(what, name);
    }
    let remote = &what.remote;
    let listener = what.listener.as_ref();
    let of = listener.map_or_else(String::new, |name| format!("?listener={name}"));
    if what.wait {
        return wait::wait(remote, &waited(&of, listener));
    }
    let (method, path, content) = match &what.extend {
        Some(by) => (
            Method::POST,
            "/v1/drain/extend",
            json!({ "by": by }).to_string(),
        ),
        None if what.cancel => (Method::DELETE, "/v1/drain", String::new()),
        None => (Method::POST, "/v1/drain", String::new()),
    };
    let path = format!("{path}{of}");
    let body = ask_with(remote, method, &path, content, Patience::Short)?;
    Ok(read(remote, &body, progress_text)?.1)
}

/// The drain of the process, or of a listener.
fn waited(of: &str, listener: Option<&String>) -> Waited {
    let sign = if of.is_empty() { '?' } else { '&' };
    let name = listener.map_or_else(String::new, |name| format!(" --listener {name}"));
    Waited {
        path: format!("/v1/drain{of}{sign}wait=true"),
        content: String::new(),
        progress: format!("/v1/drain{of}"),
        look: Look::of_progress,
        foreseen: listener.is_none(),
        again: format!("ebbtide drain{name} --wait"),
    }
}

pub(super) fn reload(what: &Reload) -> anyhow::Result<Done> {
    let remote = &what.remote;
    let query = if what.dry_run { "?dry_run=true" } else { "" };
    let path = format!("/v1/reload{query}");
    // Reading a config may take as long as its names take to be resolved.
    let body = ask(remote, Method::POST, &path, Patience::Endless)?;
    let (reloaded, done) = read(remote, &body, reloaded_text)?;
    if what.wait {
        for listener in &reloaded.drains {
            output::remark(&format!("waiting for listener {listener} to drain"));
            let path = format!("/v1/drain?listener={listener}&wait=true");
            ask(remote, Method::GET, &path, Patience::Endless)?;
        }
        for one in &reloaded.servers {
            output::remark(&format!("waiting for server {one} to drain"));
            server::wait_for(remote, &one.upstream, &one.server)?;
        }
    }
    Ok(done)
}

fn reloaded_text(reloaded: &Reloaded) -> String {
    let changes = reloaded.changes.join("\n");
    let untouched = usize::try_from(reloaded.untouched).unwrap_or(usize::MAX);
    let kept = many(untouched, "connection");
    format!("{changes}\nkeeps {kept} untouched")
}

/// The answer as a value, and to be told: as it came, or as `text` has it.
pub(super) fn read<T: DeserializeOwned>(
    remote: &Remote,
    body: &[u8],
    text: impl Fn(&T) -> String,
) -> anyhow::Result<(T, Done)> {
    let value = serde_json::from_slice(body).context(OTHER)?;
    let told = if remote.json {
        String::from_utf8_lossy(body).into_owned()
    } else {
        text(&value)
    };
    Ok((value, Done::with(told)))
}

pub(super) fn in_flight_text(counts: &BTreeMap<Protocol, u64>) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(protocol, count)| format!("{count} {}", protocol.as_str()))
        .collect();
    if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(", ")
    }
}

fn progress_text(progress: &Progress) -> String {
    let Some(deadlines) = progress.deadlines.as_ref().filter(|_| progress.draining) else {
        return format!("no drain is under way; phase {}", progress.phase.as_str());
    };
    let stage = progress.stage.map_or("-", |stage| stage.as_str());
    let listener = progress.listener.as_ref();
    let whose = listener.map_or_else(String::new, |name| format!("listener {name} is "));
    let left = usize::try_from(progress.connections).unwrap_or(usize::MAX);
    let refuse = match deadlines.refuse_in_ms {
        0 => "listeners have begun to refuse".to_owned(),
        millis => format!("listeners refuse in {}", span_ms(millis)),
    };
    format!(
        "{whose}draining, stage {stage}; {refuse}\n{} left, in flight: {}\nover in {} at the latest",
        many(left, "connection"),
        in_flight_text(&progress.in_flight),
        span_ms(deadlines.cut_in_ms),
    )
}

mod choose;
mod show;
#[cfg(test)]
mod tests;
