//! Answers as tables.
//!
//! Invariant: on a terminal they fit its width, 80 columns at the least that
//! is reasonable; anywhere else nothing is shortened and nothing left out.
//! Absent: colour.

use super::in_flight_text;
use crate::admin::view::{Connections, Status, Upstream};
use crate::cli::text::{bytes, columns, many, span, span_ms};
use crate::control::Predecessor;
use crate::drain::{Give, Phase, Plan, Protocol, Side, Stage, Table};

pub(super) fn status(status: &Status, width: Option<usize>) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let ready = if status.ready { "ready" } else { "not ready" };
    let mut rows = vec![
        row("version", status.version.clone()),
        row(
            "process",
            format!("{}, up {}", status.pid, span_ms(status.uptime_ms)),
        ),
        row(
            "phase",
            format!("{}, {ready}", position(status.phase, status.stage)),
        ),
        row("connections", status.connections.to_string()),
        row("in flight", in_flight_text(&status.in_flight)),
        row("drain plan", plan(&status.plan)),
    ];
    if let Some(successor) = status.successor {
        rows.push(row("successor", successor.to_string()));
    }
    for one in &status.predecessors {
        rows.push(row("predecessor", predecessor(one)));
        if let Some(admin) = &one.admin {
            rows.push(row("", format!("answers on {admin}")));
        }
    }
    let mut parts = vec![columns(&[], &rows)];
    if !status.listeners.is_empty() {
        parts.push(listeners(status).within(width).to_string());
    }
    if !status.upstreams.is_empty() {
        parts.push(servers(status).within(width).to_string());
    }
    if status.upstreams.iter().any(is_limited) {
        parts.push(room(status).within(width).to_string());
    }
    if status.upstreams.iter().any(|one| !one.sources.is_empty()) {
        parts.push(sources(status).within(width).to_string());
    }
    parts.join("\n")
}

/// As in `active announce`.
fn position(phase: Phase, stage: Option<Stage>) -> String {
    let stage = stage.map_or("", Stage::as_str);
    format!("{} {stage}", phase.as_str()).trim_end().to_owned()
}

fn listeners(status: &Status) -> Table {
    let mut table = Table::new([
        ("LISTENER", Side::Left),
        ("ADDRESS", Side::Left),
        ("PHASE", Side::Left),
        ("READY", Side::Left),
    ])
    .gives("LISTENER", Give::Shortened(12))
    .gives("ADDRESS", Give::Shortened(21));
    for one in &status.listeners {
        let phase = match one.phase {
            Phase::Terminated => "drained".to_owned(),
            phase => position(phase, one.stage),
        };
        let ready = if one.ready { "yes" } else { "no" };
        table.row([
            one.name.clone(),
            one.address.clone(),
            phase,
            ready.to_owned(),
        ]);
    }
    table
}

fn servers(status: &Status) -> Table {
    let mut table = Table::new([
        ("UPSTREAM", Side::Left),
        ("SERVER", Side::Left),
        ("HEALTH", Side::Left),
        ("STATE", Side::Left),
        ("IN FLIGHT", Side::Right),
    ])
    .gives("UPSTREAM", Give::Shortened(12))
    .gives("SERVER", Give::Shortened(21));
    for upstream in &status.upstreams {
        for one in &upstream.servers {
            table.row([
                upstream.name.clone(),
                one.name.clone(),
                one.health().to_owned(),
                one.state.as_str().to_owned(),
                one.in_flight.to_string(),
            ]);
        }
    }
    table
}

/// Whether there is something to say of its room.
fn is_limited(upstream: &Upstream) -> bool {
    upstream.limit.is_some() || upstream.queued > 0 || upstream.refused > 0
}

/// The room at upstreams that have not as much as anybody wants.
fn room(status: &Status) -> Table {
    let mut table = Table::new([
        ("UPSTREAM", Side::Left),
        ("IN FLIGHT", Side::Right),
        ("OF", Side::Right),
        ("QUEUED", Side::Right),
        ("REFUSED", Side::Right),
    ])
    .gives("UPSTREAM", Give::Shortened(12));
    for one in status.upstreams.iter().filter(|one| is_limited(one)) {
        let limit = one.limit.map_or("any".to_owned(), |most| most.to_string());
        table.row([
            one.name.clone(),
            one.in_flight.to_string(),
            limit,
            one.queued.to_string(),
            one.refused.to_string(),
        ]);
    }
    table
}

/// What is asked for servers. Why there are none is the last to be read.
fn sources(status: &Status) -> Table {
    let mut table = Table::new([
        ("UPSTREAM", Side::Left),
        ("SOURCE", Side::Left),
        ("SERVERS", Side::Right),
        ("ANSWERED", Side::Right),
        ("LAST", Side::Left),
    ])
    .gives("UPSTREAM", Give::Shortened(12))
    .gives("SOURCE", Give::Shortened(21))
    .gives("LAST", Give::Shortened(12));
    for upstream in &status.upstreams {
        for one in &upstream.sources {
            let answered = one.answered_ms.map(span_ms);
            let answered = answered.map_or_else(|| "never".to_owned(), |time| time + " ago");
            let last = one.last.as_deref().unwrap_or("-");
            let why = one.why.as_deref();
            let last = why.map_or_else(|| last.to_owned(), |why| format!("{last}: {why}"));
            table.row([
                upstream.name.clone(),
                one.name.clone(),
                one.servers.to_string(),
                answered,
                last,
            ]);
        }
    }
    table
}

fn plan(plan: &Plan) -> String {
    format!(
        "announce {}, finish up to {}, farewell {}, within {}",
        span(plan.announce),
        span(plan.longest_finish()),
        span(plan.farewell),
        span(plan.grace),
    )
}

fn predecessor(one: &Predecessor) -> String {
    let in_flight = in_flight_text(&one.in_flight);
    let gone = span_ms(one.latest_in_ms);
    format!(
        "{}, in flight: {in_flight}, gone in {gone} at most",
        one.pid
    )
}

/// Every connection. What an operator looks for first is the last to give way:
/// who it is, how it stands, how old, and what it waits for.
pub(super) fn connections(view: &Connections, width: Option<usize>) -> String {
    let mut table = Table::new([
        ("ID", Side::Right),
        ("LISTENER", Side::Left),
        ("CLIENT", Side::Left),
        ("PROTOCOL", Side::Left),
        ("STATE", Side::Left),
        ("FOR", Side::Right),
        ("AGE", Side::Right),
        ("REQUESTS", Side::Right),
        ("RECEIVED", Side::Right),
        ("SENT", Side::Right),
        ("WAITS FOR", Side::Left),
    ])
    .gives("REQUESTS", Give::LeftOut(6))
    .gives("RECEIVED", Give::LeftOut(5))
    .gives("FOR", Give::LeftOut(4))
    .gives("SENT", Give::LeftOut(3))
    .gives("ID", Give::LeftOut(2))
    .gives("LISTENER", Give::LeftOut(1))
    .gives("CLIENT", Give::Shortened(21))
    .gives("WAITS FOR", Give::Shortened(12))
    .within(width);
    for one in &view.connections {
        table.row([
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
        ]);
    }
    let count = many(view.connections.len(), "connection");
    format!("{table}{count}\n")
}

#[cfg(test)]
mod tests;
