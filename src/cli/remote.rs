//! Commands that ask a running proxy: `status`, `connections`, `drain`,
//! `forecast`, `receipt`, `reload`, `config`.
//!
//! Invariant: with `--json` the answer is printed as it came, one document;
//! without it, the same as text. The exit code is the same either way.
//!
//! Deliberately absent: polling. Who waits, waits in one request, and cannot
//! miss the end of a drain whose process is gone a moment later.

use super::args::{self, Drain, Reload, Remote};
use super::client::{Patience, ask, ask_with};
use super::output::Done;
use super::text::{self, Flush, bytes, columns, many, span_ms};
use super::{exit, output, server};
use crate::admin::view::{self, Connections, InForce, Progress, ServerState, Status};
use crate::control::{Predecessor, Reloaded};
use crate::drain::{Forecast, Phase, Plan, Protocol, Receipt};
use anyhow::Context;
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn status(remote: &Remote) -> anyhow::Result<Done> {
    let body = ask(remote, Method::GET, "/v1/status", Patience::Short)?;
    Ok(read(remote, &body, status_text)?.1)
}

pub(super) fn connections(remote: &Remote) -> anyhow::Result<Done> {
    let body = ask(remote, Method::GET, "/v1/connections", Patience::Short)?;
    Ok(read(remote, &body, connections_text)?.1)
}

pub(super) fn receipt(remote: &Remote) -> anyhow::Result<Done> {
    let body = ask(remote, Method::GET, "/v1/drain/receipt", Patience::Short)?;
    Ok(read(remote, &body, Receipt::to_string)?.1)
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
    Ok(read(remote, &body, Forecast::to_string)?.1)
}

pub(super) fn drain(what: &Drain) -> anyhow::Result<Done> {
    if let Some(name) = &what.server {
        return server::drain(what, name);
    }
    let remote = &what.remote;
    let listener = what.listener.as_ref();
    let of = listener.map_or_else(String::new, |name| format!("?listener={name}"));
    if what.wait {
        output::remark("draining; the receipt comes when it is over");
        let sign = if of.is_empty() { '?' } else { '&' };
        let path = format!("/v1/drain{of}{sign}wait=true");
        let body = ask(remote, Method::POST, &path, Patience::Endless)?;
        let (receipt, done) = read(remote, &body, Receipt::to_string)?;
        let code = if receipt.cut_anything() { exit::CUT } else { 0 };
        return Ok(Done { code, ..done });
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
    let value = serde_json::from_slice(body)
        .context("the answer is not what this version expects; is the proxy of another one?")?;
    let told = if remote.json {
        String::from_utf8_lossy(body).into_owned()
    } else {
        text(&value)
    };
    Ok((value, Done::with(told)))
}

fn status_text(status: &Status) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let stage = status.stage.map_or("", |stage| stage.as_str());
    let phase = [status.phase.as_str(), stage].join(" ");
    let ready = if status.ready { "ready" } else { "not ready" };
    let mut rows = vec![
        row("version", status.version.clone()),
        row(
            "process",
            format!("{}, up {}", status.pid, span_ms(status.uptime_ms)),
        ),
        row("phase", format!("{}, {ready}", phase.trim_end())),
        row("connections", status.connections.to_string()),
        row("in flight", in_flight_text(&status.in_flight)),
        row("drain plan", plan_text(&status.plan)),
    ];
    for listener in &status.listeners {
        let name = format!("listener {}", listener.name);
        let stage = listener
            .stage
            .map(|stage| format!(", stage {}", stage.as_str()));
        let phase = match listener.phase {
            Phase::Terminated => ", drained".to_owned(),
            _ => stage.unwrap_or_default(),
        };
        rows.push(row(&name, format!("{}{phase}", listener.address)));
    }
    for upstream in &status.upstreams {
        let servers = upstream.servers.iter().map(server_text);
        let name = format!("upstream {}", upstream.name);
        rows.push(row(&name, servers.collect::<Vec<_>>().join(", ")));
    }
    if let Some(successor) = status.successor {
        rows.push(row("successor", successor.to_string()));
    }
    for one in &status.predecessors {
        rows.push(row("predecessor", predecessor_text(one)));
    }
    columns(&[], &rows)
}

fn predecessor_text(one: &Predecessor) -> String {
    let Predecessor { pid, admin, .. } = one;
    let in_flight = in_flight_text(&one.in_flight);
    let gone = span_ms(one.latest_in_ms);
    let admin = admin
        .as_ref()
        .map_or_else(String::new, |at| format!("; {at}"));
    format!("{pid}, in flight: {in_flight}, gone in {gone} at the latest{admin}")
}

fn server_text(server: &view::Server) -> String {
    let verdict = if server.up { "up" } else { "down" };
    let drained = match server.state {
        ServerState::Serving => String::new(),
        state => format!(", {} ({} in flight)", state.as_str(), server.in_flight),
    };
    format!("{} {verdict}{drained}", server.name)
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

fn plan_text(plan: &Plan) -> String {
    format!(
        "announce {}, finish up to {}, farewell {}, within {}",
        text::span(plan.announce),
        text::span(plan.longest_finish()),
        text::span(plan.farewell),
        text::span(plan.grace),
    )
}

fn connections_text(view: &Connections) -> String {
    let header = [
        "ID",
        "LISTENER",
        "CLIENT",
        "PROTOCOL",
        "STATE",
        "FOR",
        "AGE",
        "REQUESTS",
        "RECEIVED",
        "SENT",
        "WAITS FOR",
    ];
    let flush = [
        Flush::Right,
        Flush::Left,
        Flush::Left,
        Flush::Left,
        Flush::Left,
        Flush::Right,
        Flush::Right,
        Flush::Right,
        Flush::Right,
        Flush::Right,
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(view.connections.iter().map(|one| {
        vec![
            one.id.to_string(),
            one.listener.clone(),
            one.peer.clone(),
            one.protocol.map_or("-", Protocol::as_str).to_owned(),
            one.state.clone(),
            span_ms(one.since_ms),
            span_ms(one.age_ms),
            one.requests.to_string(),
            bytes(one.received),
            bytes(one.sent),
            one.waits_for.clone(),
        ]
    }));
    let count = many(view.connections.len(), "connection");
    format!("{}{count}\n", columns(&flush, &rows))
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

#[cfg(test)]
mod tests;
