//! The timeline of the drain: the stages side by side, `now` moving through
//! them, and the clocks of what comes.
//!
//! Invariant: a stage that has a length has room for its name, where the
//! screen has; now stands in the stage that its time is in. Absent: refuse and
//! cut, which are moments.

use super::super::model::Model;
use super::theme::Theme;
use crate::cli::text::{span, span_ms};
use crate::drain::{Protocol, Stage, Timestamp};
use ratatui::text::{Line, Span};
use std::fmt::Write as _;
use std::time::Duration;

/// A part of the timeline: from when to when, in milliseconds since the drain
/// began.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Part {
    name: &'static str,
    from: f64,
    to: f64,
}

impl Part {
    /// Its name and how long it takes at most, or as much as there is room for.
    fn said(&self, room: usize) -> String {
        let takes = Duration::try_from_secs_f64((self.to - self.from) / 1e3);
        let full = format!("{} {}", self.name, span(takes.unwrap_or_default()));
        // A blank keeps it from the next one.
        if full.len() < room {
            return full;
        }
        self.name.chars().take(room).collect()
    }
}

/// The bar, its names, and the clocks.
pub(super) fn lines(
    model: &Model,
    now: Timestamp,
    width: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let parts = parts(model);
    let widths = widths(&parts, width.saturating_sub(1));
    let at = place(&parts, &widths, elapsed(model, now));
    let (mut bar, mut names) = (String::new(), String::new());
    for (part, width) in parts.iter().zip(&widths) {
        bar.push('|');
        bar.push_str(&"-".repeat(width.saturating_sub(1)));
        let name = part.said(width.saturating_sub(1));
        // A string takes all.
        let _ = write!(names, " {name:<room$}", room = width.saturating_sub(1));
    }
    bar.push('|');
    let bar = match at {
        None => Line::raw(bar),
        Some(at) => {
            let passed = bar[..at].replace('-', "=");
            let rest = bar[at..].get(1..).unwrap_or_default().to_owned();
            Line::from(vec![
                Span::styled(format!("{passed}>"), theme.passed()),
                Span::raw(rest),
            ])
        }
    };
    vec![bar, Line::raw(names), Line::raw(clocks(model, now))]
}

/// Since the drain began.
fn elapsed(model: &Model, now: Timestamp) -> Option<f64> {
    if let Some(receipt) = &model.receipt {
        return Some(receipt.duration_ms);
    }
    let progress = &model.seen.progress;
    let began = progress.elapsed_ms.filter(|_| progress.draining)?;
    Some(began + model.old(now).as_secs_f64() * 1e3)
}

fn parts(model: &Model) -> Vec<Part> {
    let progress = &model.seen.progress;
    let plan = &progress.plan;
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let mut refuse = millis(plan.announce);
    let mut told = refuse + millis(plan.longest_finish());
    if let (Some(deadlines), Some(elapsed)) = (&progress.deadlines, progress.elapsed_ms) {
        let refused = progress
            .stages
            .iter()
            .find(|one| one.stage == Stage::Refuse);
        refuse = match refused {
            Some(refused) => refused.began_ms,
            None => elapsed + whole(deadlines.refuse_in_ms),
        };
        let last = deadlines.farewell_in_ms.values().max().copied();
        let last = last
            .filter(|left| *left > 0)
            .map(|left| elapsed + whole(left));
        told = last.unwrap_or(refuse + millis(plan.longest_finish()));
    }
    let retired = (refuse + millis(plan.spread)).min(told);
    let parts = [
        ("announce", 0.0, refuse),
        ("retire", refuse, retired),
        ("finish", retired, told),
        ("farewell", told, told + millis(plan.farewell)),
    ];
    let parts = parts.map(|(name, from, to)| Part { name, from, to });
    parts
        .into_iter()
        .filter(|part| part.to > part.from)
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a drain are few"
)]
const fn whole(millis: u64) -> f64 {
    millis as f64
}

/// Columns of each: its name and a blank on either side, the rest by time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "shares of a screen's width, which are small and no less than 0"
)]
fn widths(parts: &[Part], width: usize) -> Vec<usize> {
    let least: Vec<usize> = parts.iter().map(|part| part.name.len() + 2).collect();
    let spare = width.saturating_sub(least.iter().sum());
    let total: f64 = parts.iter().map(|part| part.to - part.from).sum();
    let mut widths = Vec::new();
    let (mut time, mut given) = (0.0, 0);
    for (part, least) in parts.iter().zip(least) {
        time += part.to - part.from;
        let until = (spare as f64 * time / total) as usize;
        widths.push(least + until - given);
        given = until;
    }
    widths
}

/// The column of now.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "shares of a screen's width, which are small and no less than 0"
)]
fn place(parts: &[Part], widths: &[usize], elapsed: Option<f64>) -> Option<usize> {
    let elapsed = elapsed?;
    let mut column = 0;
    for (part, width) in parts.iter().zip(widths) {
        if elapsed < part.to {
            let share = ((elapsed - part.from) / (part.to - part.from)).max(0.0);
            return Some(column + (share * *width as f64) as usize);
        }
        column += width;
    }
    Some(column)
}

/// What comes when.
fn clocks(model: &Model, now: Timestamp) -> String {
    let progress = &model.seen.progress;
    let Some(deadlines) = progress.deadlines.as_ref().filter(|_| !model.is_over()) else {
        let plan = &progress.plan;
        return format!(
            "plan: announce {}, finish up to {}, farewell {}, within {}",
            span(plan.announce),
            span(plan.longest_finish()),
            span(plan.farewell),
            span(plan.grace)
        );
    };
    let old = u64::try_from(model.old(now).as_millis()).unwrap_or(u64::MAX);
    let left = |millis: u64| seconds(millis.saturating_sub(old));
    if progress.stages.iter().all(|one| one.stage < Stage::Refuse) {
        let refuse = left(deadlines.refuse_in_ms);
        return format!(
            "refuse in {refuse}; {}; c: take it back",
            over_in(model, now)
        );
    }
    let of = |protocol| {
        deadlines
            .farewell_in_ms
            .get(&protocol)
            .copied()
            .unwrap_or_default()
    };
    let told = [
        ("http", Protocol::Http1),
        ("grpc", Protocol::Grpc),
        ("ws", Protocol::WebSocket),
        ("tcp", Protocol::Tcp),
    ];
    let told = told.map(|(name, protocol)| format!("{name} {}", left(of(protocol))));
    format!("{}; told in: {}", over_in(model, now), told.join(", "))
}

/// When the drain is over at the latest.
pub(super) fn over_in(model: &Model, now: Timestamp) -> String {
    let deadlines = model.seen.progress.deadlines.as_ref();
    match deadlines.filter(|_| !model.is_over()) {
        None => String::new(),
        Some(deadlines) => {
            let old = u64::try_from(model.old(now).as_millis()).unwrap_or(u64::MAX);
            format!(
                "over in {} at most",
                seconds(deadlines.cut_in_ms.saturating_sub(old))
            )
        }
    }
}

/// Whole seconds, the last of which has begun: a clock that runs down.
fn seconds(millis: u64) -> String {
    span_ms(millis.div_ceil(1_000) * 1_000).replace("0ms", "0s")
}
