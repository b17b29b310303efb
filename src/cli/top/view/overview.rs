//! The first page: sums of connections, servers, who holds the exit, events;
//! once the drain is over, its receipt and events.
//!
//! Invariant: a block that does not fit says how many of its lines are
//! missing. Absent: scrolling but of the receipt; the list of connections has it.

use super::super::keys::Ui;
use super::super::model::Model;
use super::ask::said;
use super::{Shown, protocol, put, styled, whole};
use crate::cli::list::contains;
use crate::cli::text::{Flush, columns, span, span_ms};
use crate::drain::forecast::Foreseen;
use crate::drain::{Receipt, Timestamp, Verdict};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use std::collections::BTreeMap;
use std::time::Duration;

/// From this width on servers stand beside the sums.
const WIDE: u16 = 76;
/// The most columns that the sums have there.
const SUMS: usize = 52;
/// The rows of events that are kept free for them.
const EVENTS: u16 = 4;

pub(super) fn draw(buffer: &mut Buffer, page: Rect, shown: &Shown<'_>) {
    let Shown {
        model,
        ui,
        now,
        theme,
    } = *shown;
    let header = theme.header();
    let events = styled(&events(model, now), header);
    if let Some(receipt) = &model.receipt {
        return over(buffer, page, account(receipt, page.width, ui.first), events);
    }
    let sums = sums(model);
    let longest = sums.lines().map(|line| line.chars().count()).max();
    let beside = u16::try_from(longest.unwrap_or_default().min(SUMS) + 2).unwrap_or(u16::MAX);
    let sums = styled(&sums, header);
    let servers = styled(&servers(model), header);
    let holders = styled(&holders(model, ui, now), header);
    let height = usize::from(page.height);
    let wide = page.width >= WIDE;
    let first = if wide {
        sums.len().max(servers.len())
    } else {
        sums.len() + servers.len()
    };
    let rest = height.saturating_sub(usize::from(EVENTS).min(events.len()));
    // Both want their lines and one between; the second gives way first.
    let first = first
        .min(rest / 2)
        .max(first.min(rest.saturating_sub(holders.len() + 1)));
    let second = holders.len().min(rest.saturating_sub(first + 1));
    let mut at = page;
    let mut block = |lines: Vec<Line<'static>>, rows: usize, x: u16, width: u16, moves: bool| {
        let rows = u16::try_from(rows).unwrap_or(u16::MAX);
        let area = Rect {
            x: at.x + x,
            width,
            height: rows.min(at.height),
            ..at
        };
        put(buffer, area, &fitted(lines, usize::from(area.height)));
        if moves {
            at.y = (at.y + area.height + 1).min(at.bottom());
            at.height = page.bottom() - at.y;
        }
    };
    if wide {
        block(sums, first, 0, beside - 1, false);
        block(servers, first, beside, page.width - beside, true);
    } else {
        let all: Vec<Line<'static>> = sums.into_iter().chain(servers).collect();
        block(all, first, 0, page.width, true);
    }
    block(holders, second, 0, page.width, true);
    let rows = usize::from(page.height);
    block(events, rows, 0, page.width, true);
}

/// The receipt, and events below it.
fn over(buffer: &mut Buffer, page: Rect, receipt: Vec<Line<'_>>, events: Vec<Line<'_>>) {
    let rows = rows_of_receipt(page.height);
    let above = Rect {
        height: rows,
        ..page
    };
    put(buffer, above, &fitted(receipt, usize::from(rows)));
    let below = Rect {
        y: page.y + rows + 1,
        height: page.height - rows - 1,
        ..page
    };
    put(buffer, below, &fitted(events, usize::from(below.height)));
}

/// The rows that a page of this height has for a receipt.
pub(super) const fn rows_of_receipt(page: u16) -> u16 {
    page.saturating_sub(EVENTS + 1)
}

/// The receipt from this line on.
fn account(receipt: &Receipt, width: u16, first: usize) -> Vec<Line<'static>> {
    let text = format!("{receipt:width$}", width = usize::from(width));
    let lines = text.lines().skip(first);
    lines.map(|line| Line::raw(line.to_owned())).collect()
}

/// As many lines as there is room for; the last says how many are missing.
fn fitted(mut lines: Vec<Line<'_>>, rows: usize) -> Vec<Line<'_>> {
    if lines.len() > rows && rows > 0 {
        let missing = lines.len() - rows + 1;
        lines.truncate(rows - 1);
        lines.push(Line::raw(format!("... and {missing} more")));
    }
    lines
}

/// Connections by listener, protocol and state.
fn sums(model: &Model) -> String {
    let mut counts: BTreeMap<(String, String), [u64; 4]> = BTreeMap::new();
    for one in &model.seen.connections.connections {
        let key = (one.listener.clone(), protocol(one.protocol));
        let state = match one.state.as_str() {
            "idle" => 1,
            "in_flight" => 2,
            "closing" => 3,
            _ => 0,
        };
        counts.entry(key).or_default()[state] += 1;
    }
    let header = ["LISTENER", "PROTOCOL", "half", "idle", "busy", "closing"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(counts.into_iter().map(|((listener, protocol), counts)| {
        let counts = counts.iter().map(u64::to_string);
        [listener, protocol].into_iter().chain(counts).collect()
    }));
    let (left, right) = (Flush::Left, Flush::Right);
    columns(&[left, left, right, right, right, right], &rows)
}

fn servers(model: &Model) -> String {
    let header = ["STATE", "busy", "SERVER"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for upstream in &model.seen.status.upstreams {
        rows.extend(upstream.servers.iter().map(|server| {
            let name = format!("{} {}", upstream.name, server.name);
            vec![said(server).to_owned(), server.in_flight.to_string(), name]
        }));
    }
    columns(&[Flush::Left, Flush::Right], &rows)
}

/// What is in flight, the oldest first.
fn holders(model: &Model, ui: &Ui, now: Timestamp) -> String {
    let holds = match (model.is_over(), model.seen.progress.draining) {
        (true, _) => "LAST HELD THE EXIT",
        (false, true) => "HOLDS THE EXIT",
        (false, false) => "WOULD HOLD THE EXIT",
    };
    let mut all: Vec<&Foreseen> = model.seen.forecast.exchanges.iter().collect();
    all.retain(|one| {
        let (protocol, doing) = (one.protocol.as_str(), one.doing.meaning());
        contains([&one.listener, &one.peer, protocol, doing], &ui.filter)
    });
    all.sort_by(|one, other| other.age_ms.total_cmp(&one.age_ms));
    if all.is_empty() {
        return format!("{holds}: nobody\n");
    }
    let header = [holds, "LISTENER", "AGE", "DOES", "ENDS"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let old = model.old(now);
    rows.extend(all.into_iter().map(|one| {
        vec![
            one.peer.clone(),
            one.listener.clone(),
            span(millis(one.age_ms) + old),
            format!("{} {}", one.protocol.as_str(), one.doing.meaning()),
            end(one, old),
        ]
    }));
    columns(&[Flush::Left, Flush::Left, Flush::Right], &rows)
}

/// How it is foreseen to end.
fn end(one: &Foreseen, old: Duration) -> String {
    let left = |ms: f64| span(whole(millis(ms).saturating_sub(old)));
    match (one.verdict, one.ends_in_ms) {
        (Verdict::Finish, Some(ends)) if millis(ends) <= old => "any moment".to_owned(),
        (Verdict::Finish, Some(ends)) => format!("in about {}", left(ends)),
        (Verdict::Finish, None) => "in time".to_owned(),
        (Verdict::Farewell, _) => format!("told in {}", left(one.deadline_ms)),
        (Verdict::Cut, _) => format!("cut after {}", left(one.deadline_ms)),
        (Verdict::Unknown, _) => format!("? at most {}", left(one.deadline_ms)),
    }
}

fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}

fn events(model: &Model, now: Timestamp) -> String {
    let mut rows = vec![vec!["AGO".to_owned(), "EVENT".to_owned()]];
    if model.events.is_empty() {
        rows.push(vec!["-".to_owned(), "none since top looks on".to_owned()]);
    }
    rows.extend(model.events.iter().map(|one| {
        let ago = now.saturating_since(one.at).as_secs() * 1_000;
        let ago = span_ms(ago).replace("0ms", "0s");
        vec![ago, one.what.clone()]
    }));
    columns(&[Flush::Right, Flush::Left], &rows)
}
