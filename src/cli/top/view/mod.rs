//! The screen: what is known, as text in a rectangle.
//!
//! From above: who it is, how far its drain is, when what comes, what is
//! foreseen; then a page; last the keys, or what came of the last one.
//!
//! Invariant: pure: the same model, screen and time give the same picture.
//! Without colours nothing is lost but colour, and a line that is longer than
//! the screen is wide says so: it ends in an ellipsis, which is all that is not
//! ASCII.
//!
//! Deliberately absent: borders. A screen of 24 rows has none to give away.

mod ask;
mod overview;
mod table;
mod theme;
mod timeline;

pub(super) use theme::Theme;

use super::keys::{About, Choice, Mode, Page, Ui};
use super::model::{Model, Standing};
use crate::cli::list;
use crate::cli::remote::in_flight_text;
use crate::cli::text::{many, span, span_ms};
use crate::drain::{Phase, Protocol, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use std::time::Duration;

/// On less than this only the state of the drain is shown.
const SMALLEST: (u16, u16) = (60, 16);

/// The rows that stand above a page, and below it.
const ABOVE: u16 = 7;
const BELOW: u16 = 1;

/// What there is to draw.
#[derive(Copy, Clone)]
pub(super) struct Shown<'a> {
    pub(super) model: &'a Model,
    pub(super) ui: &'a Ui,
    pub(super) now: Timestamp,
    pub(super) theme: Theme,
}

/// What keys are about while this is shown.
pub(super) fn about<'a>(
    area: Rect,
    model: &Model,
    ui: &Ui,
    standing: Standing,
    servers: &'a [Choice],
) -> About<'a> {
    let all = &model.seen.connections.connections;
    let page = area.height.saturating_sub(ABOVE + BELOW);
    let (rows, length) = match (ui.page, &model.receipt) {
        (Page::Connections, _) => {
            let listed = list::listed(all, ui.sort, &ui.filter);
            (page.saturating_sub(1), listed.len())
        }
        (Page::Overview, Some(receipt)) => {
            let text = format!("{receipt:width$}", width = usize::from(area.width));
            (overview::rows_of_receipt(page), text.lines().count())
        }
        (Page::Overview, None) => (page, 0),
    };
    About {
        rows: usize::from(rows),
        length,
        standing,
        servers,
    }
}

/// Draw all of it.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, shown: &Shown<'_>) {
    let Shown {
        model,
        ui,
        now,
        theme,
    } = *shown;
    let last = row(area, area.height.saturating_sub(1));
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        put(buffer, area, &tiny(model, now, area));
        if area.height > 0 {
            clear(buffer, last);
            put(buffer, last, &[Line::raw(ask::below_briefly(model, ui))]);
        }
        return;
    }
    let width = usize::from(area.width);
    buffer.set_style(row(area, 0), Theme::title());
    let mut above = vec![Line::styled(title(model, ui, width), Theme::title())];
    above.push(Line::styled(state(model, now), theme.state(model)));
    above.extend(timeline::lines(model, now, width, theme));
    above.push(Line::raw(foreseen(model)));
    put(buffer, area, &above);
    let page = Rect {
        y: area.y + ABOVE,
        height: area.height - ABOVE - BELOW,
        ..area
    };
    match (&ui.mode, ui.page) {
        (Mode::Help, _) => put(buffer, page, &ask::help(theme)),
        (Mode::Confirm(wish), _) => put(buffer, page, &ask::question(model, wish, now, theme)),
        (Mode::Server(at), _) => put(buffer, page, &ask::servers(model, *at, page, theme)),
        (_, Page::Overview) => overview::draw(buffer, page, shown),
        (_, Page::Connections) => put(buffer, page, &table::lines(model, ui, page, theme)),
    }
    let below = Line::styled(ask::below(model, ui), theme.header());
    put(buffer, last, &[below]);
}

fn row(area: Rect, at: u16) -> Rect {
    Rect {
        y: area.y + at,
        height: area.height.min(1),
        ..area
    }
}

fn clear(buffer: &mut Buffer, area: Rect) {
    let blank = " ".repeat(usize::from(area.width));
    buffer.set_string(area.x, area.y, blank, Style::new());
}

/// These lines from the top of the area, as many as there is room for.
fn put(buffer: &mut Buffer, area: Rect, lines: &[Line<'_>]) {
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        buffer.set_line(area.x, y, line, area.width);
        if line.width() > usize::from(area.width) && area.width > 0 {
            let end = area.right() - 1;
            buffer.set_string(end, y, "\u{2026}", Style::new());
        }
    }
}

fn word(model: &Model) -> String {
    let (status, progress) = (&model.seen.status, &model.seen.progress);
    let stage = match &progress.deadlines {
        Some(deadlines) => {
            let last = |furthest| deadlines.stage_of_the_last(furthest, &progress.in_flight);
            status.stage.map(last)
        }
        None => status.stage,
    };
    match (&model.lost, model.is_over(), stage) {
        (Some(_), true, _) => "DRAINED, GONE".to_owned(),
        (Some(_), false, _) => "GONE, LAST STATE".to_owned(),
        (None, true, _) => "DRAINED".to_owned(),
        (None, false, Some(stage)) => format!("DRAINING {}", stage.as_str()),
        (None, false, None) => status.phase.as_str().to_uppercase(),
    }
}

fn title(model: &Model, ui: &Ui, width: usize) -> String {
    let status = &model.seen.status;
    let left = format!(
        " ebbtide {}  {}  process {}, up {}",
        status.version,
        model.address,
        status.pid,
        span_ms(status.uptime_ms)
    );
    let paused = if ui.paused { "PAUSED  " } else { "" };
    let right = format!("  {paused}{} ", word(model));
    // The word is what matters: a long address gives way to it.
    let room = width.saturating_sub(right.len());
    let left: String = left.chars().take(room).collect();
    format!("{left:<room$}{right}")
}

fn state(model: &Model, now: Timestamp) -> String {
    let (status, progress) = (&model.seen.status, &model.seen.progress);
    if let Some(receipt) = &model.receipt {
        let took = span(Duration::from_secs_f64(receipt.duration_ms / 1e3));
        return format!("drained in {took}. {}", receipt.verdict());
    }
    let connections = usize::try_from(status.connections).unwrap_or(usize::MAX);
    let carries = format!(
        "{}; in flight: {}",
        many(connections, "connection"),
        in_flight_text(&status.in_flight)
    );
    if let Some(lost) = &model.lost {
        let ago = span(whole(now.saturating_since(lost.since)));
        let why = &lost.why;
        return format!("nobody answers for {ago}; the last state: {carries} ({why})");
    }
    let late = match model.late(now) {
        Some(late) => format!("no answer for {}; last: ", span(whole(late))),
        None => String::new(),
    };
    if let (true, Some(trigger)) = (progress.draining, progress.trigger) {
        return format!("{late}drained by {}; {carries}", trigger.meaning());
    }
    let ready = match (status.ready, status.phase) {
        (true, _) => "ready",
        (false, Phase::Terminated) => "drained",
        (false, _) => "not ready",
    };
    let alone = status.listeners.iter().filter_map(|listener| {
        let stage = listener.stage?.as_str();
        Some(format!("; listener {} drains: {stage}", listener.name))
    });
    format!("{late}{ready}; {carries}{}", alone.collect::<String>())
}

fn foreseen(model: &Model) -> String {
    if model.is_over() {
        return String::new();
    }
    let forecast = &model.seen.forecast;
    let all = &forecast.all;
    let who = if forecast.draining {
        "from here"
    } else {
        "a drain now"
    };
    let time = |millis: f64| span(Duration::from_secs_f64(millis.max(0.0) / 1e3));
    format!(
        "{who}: {} finish, {} told, {} cut, {} unknown; over in {}, at most {}",
        all.finish,
        all.farewell,
        all.cut,
        all.unknown,
        time(forecast.duration_ms),
        time(forecast.at_most_ms)
    )
}

fn tiny(model: &Model, now: Timestamp, area: Rect) -> Vec<Line<'static>> {
    let status = &model.seen.status;
    let (width, height) = SMALLEST;
    let small = format!(
        "{}x{} is too small, {width}x{height} needed",
        area.width, area.height
    );
    let lines = [
        format!("process {} {}", status.pid, word(model)),
        format!("in flight: {}", in_flight_text(&status.in_flight)),
        timeline::over_in(model, now),
        small,
    ];
    lines
        .into_iter()
        .filter(|line| !line.is_empty())
        .map(Line::raw)
        .collect()
}

/// A protocol, or a dash while it is not known.
fn protocol(known: Option<Protocol>) -> String {
    known.map_or("-", Protocol::as_str).to_owned()
}

/// To the second, from one on.
const fn whole(time: Duration) -> Duration {
    match time.as_secs() {
        0 => time,
        seconds => Duration::from_secs(seconds),
    }
}

/// The lines of a table: the first as a header, the rest as they are.
fn styled(text: &str, header: Style) -> Vec<Line<'static>> {
    let lines = text.lines().enumerate().map(|(at, line)| {
        let style = if at == 0 { header } else { Style::new() };
        Line::styled(line.to_owned(), style)
    });
    lines.collect()
}

#[cfg(test)]
mod tests;
