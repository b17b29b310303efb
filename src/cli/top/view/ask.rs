//! What the operator is asked, and told about keys.
//!
//! Invariant: a question says what is about to happen, to whom and until when,
//! before anything of it has happened. Absent: what a key does (see `keys`).

use super::super::keys::{Mode, Page, Ui, Wish};
use super::super::model::Model;
use super::theme::Theme;
use crate::admin::view::{Server, ServerState};
use crate::cli::args::ServerName;
use crate::cli::text::{Flush, columns, many, span};
use crate::config;
use crate::drain::Timestamp;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use std::time::Duration;

/// The answers to a question.
const ANSWERS: &str = "y: yes, do it   any other key: no";

/// The question, and what follows from `y`.
pub(super) fn question(
    model: &Model,
    wish: &Wish,
    now: Timestamp,
    theme: Theme,
) -> Vec<Line<'static>> {
    let at = &model.address;
    let (what, follows) = match wish {
        Wish::Drain => ("Drain it, and end it?", drain(model)),
        Wish::Cancel => ("Take its drain back?", cancel(model)),
        Wish::Extend(by) => ("Give its drain more time?", extend(model, by, now)),
        Wish::DrainServer(name) => ("Drain this server?", drain_server(model, name)),
        Wish::TakeBackServer(name) => ("Take this server back?", take_back(name)),
    };
    let pid = model.seen.status.pid;
    let mut lines = vec![
        Line::styled(format!("process {pid} at {at}: {what}"), theme.header()),
        Line::default(),
    ];
    lines.extend(follows.into_iter().map(Line::raw));
    lines.push(Line::default());
    lines.push(Line::styled(ANSWERS, theme.header()));
    lines
}

fn drain(model: &Model) -> Vec<String> {
    let plan = &model.seen.progress.plan;
    let finish = plan.announce + plan.longest_finish();
    let row = |when: String, what: &str| vec![when, what.to_owned()];
    let after = |time: Duration| {
        if time.is_zero() {
            "at once".to_owned()
        } else {
            format!("in {}", span(time))
        }
    };
    let mut rows = vec![row(
        "at once".to_owned(),
        "readiness fails: new work is sent elsewhere",
    )];
    let refuse = if plan.announce.is_zero() {
        "listeners close, for good"
    } else {
        "listeners close, for good; until then c takes the drain back"
    };
    rows.push(row(after(plan.announce), refuse));
    rows.push(row(
        after(finish),
        "what is still in flight is told to leave, each in its protocol",
    ));
    rows.push(row(
        after(finish + plan.farewell),
        "what has not left is cut; the process exits",
    ));
    let mut lines: Vec<String> = columns(&[], &rows).lines().map(str::to_owned).collect();
    lines.push(String::new());
    let forecast = &model.seen.forecast;
    let all = &forecast.all;
    let takes = Duration::from_secs_f64(forecast.duration_ms.max(0.0) / 1e3);
    lines.push(format!(
        "It exits as soon as nothing is left: foreseen after {}.",
        span(takes)
    ));
    lines.push(format!(
        "Of {} in flight: {} finish, {} told to leave, {} cut, {} unknown.",
        all.in_flight, all.finish, all.farewell, all.cut, all.unknown
    ));
    lines
}

fn cancel(model: &Model) -> Vec<String> {
    let deadlines = model.seen.progress.deadlines.as_ref();
    let left = deadlines.map_or(0, |deadlines| deadlines.refuse_in_ms);
    let until = match left {
        0 => "Its listeners have begun to refuse: it is too late, and will be refused.".to_owned(),
        left => format!(
            "Possible for {} more, until its listeners refuse.",
            span(Duration::from_millis(left))
        ),
    };
    vec![
        "It is ready again, and serves on. Nobody was told anything yet.".to_owned(),
        until,
    ]
}

fn extend(model: &Model, by: &str, now: Timestamp) -> Vec<String> {
    let more = config::duration(by).unwrap_or_default();
    let deadlines = model.seen.progress.deadlines.as_ref();
    let cut = Duration::from_millis(deadlines.map_or(0, |deadlines| deadlines.cut_in_ms));
    let left = cut.saturating_sub(model.old(now));
    vec![
        format!(
            "Every deadline that is still ahead moves by {}: over in {} at most, not {}.",
            span(more),
            span(left + more),
            span(left)
        ),
        "Nobody who was told to leave is told otherwise. The orchestrator is not asked:".to_owned(),
        "its SIGKILL comes when it comes.".to_owned(),
    ]
}

/// A server, and whether another one of its upstream takes work.
fn find<'a>(model: &'a Model, name: &ServerName) -> Option<(&'a Server, bool)> {
    let mut upstreams = model.seen.status.upstreams.iter();
    let servers = &upstreams.find(|one| one.name == name.upstream)?.servers;
    let server = servers.iter().find(|one| one.name == name.server)?;
    let takes_work = |one: &Server| one.up && one.state == ServerState::Serving;
    let mut others = servers.iter().filter(|one| one.name != name.server);
    Some((server, others.any(takes_work)))
}

fn drain_server(model: &Model, name: &ServerName) -> Vec<String> {
    let plan = &model.seen.progress.plan;
    let (in_flight, others) = match find(model, name) {
        Some((server, others)) => (server.in_flight, others),
        None => (0, true),
    };
    let in_flight = many(usize::try_from(in_flight).unwrap_or(usize::MAX), "exchange");
    let mut lines = vec![
        format!("{} of upstream {}", name.server, name.upstream),
        "It gets no new work from now on.".to_owned(),
        format!(
            "In flight on it: {in_flight}, with up to {} to finish,",
            span(plan.longest_finish())
        ),
        "then told to leave. It stays out until it is taken back (s again).".to_owned(),
    ];
    if !others {
        lines.push(format!(
            "NO OTHER SERVER OF {} SERVES: its requests would get 503.",
            name.upstream
        ));
    }
    lines
}

fn take_back(name: &ServerName) -> Vec<String> {
    vec![
        format!("{} of upstream {}", name.server, name.upstream),
        "It gets new work again, as soon as its health check says that it is up.".to_owned(),
    ]
}

/// The servers, one of which is chosen.
pub(super) fn servers(
    model: &Model,
    chosen: usize,
    page: Rect,
    theme: Theme,
) -> Vec<Line<'static>> {
    let choices = model.choices();
    let mut rows = vec![
        ["  SERVER TO DRAIN, OR TO TAKE BACK", "STATE", "IN FLIGHT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(choices.iter().enumerate().map(|(at, choice)| {
        let mark = if at == chosen { '>' } else { ' ' };
        let (state, in_flight) = match find(model, &choice.name) {
            Some((server, _)) => (said(server), server.in_flight.to_string()),
            None => ("-", "-".to_owned()),
        };
        vec![
            format!("{mark} {}", choice.name),
            state.to_owned(),
            in_flight,
        ]
    }));
    let text = columns(&[Flush::Left, Flush::Left, Flush::Right], &rows);
    let room = usize::from(page.height).saturating_sub(1);
    let first = (chosen + 1).saturating_sub(room);
    let header = text.lines().take(1);
    let rest = text.lines().enumerate().skip(1 + first).take(room);
    let header = header.map(|line| Line::styled(line.to_owned(), theme.header()));
    let rest = rest.map(|(at, line)| {
        let style = if at == chosen + 1 {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        Line::styled(line.to_owned(), style)
    });
    header.chain(rest).collect()
}

/// How a server stands, in a word.
pub(super) fn said(server: &Server) -> &str {
    match server.said() {
        "down" => "DOWN",
        other => other,
    }
}

/// What stands in the last line.
pub(super) fn below(model: &Model, ui: &Ui) -> String {
    if let Some(wrong) = &ui.wrong {
        return format!("no: {wrong}");
    }
    let usual = match (&ui.mode, ui.page) {
        (Mode::Confirm(_), _) => return ANSWERS.to_owned(),
        (Mode::Server(_), _) => return "arrows: choose   Enter: go on   Esc: back".to_owned(),
        (Mode::Extend(text), _) => {
            return format!("More time: {text}_   Enter: go on   Esc: back");
        }
        (Mode::Filter, _) => {
            return format!("Only with: {}_   Enter: keep   Esc: show all", ui.filter);
        }
        (Mode::Help, _) => return "any key: back".to_owned(),
        (Mode::Look, Page::Overview) if model.receipt.is_some() => {
            "? help  q quit  Tab list  arrows: read on"
        }
        (Mode::Look, Page::Overview) => {
            "? help  q quit  Tab list  / filter  d drain  e extend  c cancel  s server"
        }
        (Mode::Look, Page::Connections) => {
            "? help  q quit  Tab back  / filter  sort: a b o l t n  p pause  arrows"
        }
    };
    match &model.note {
        Some(note) => note.clone(),
        None if ui.filter.is_empty() => usual.to_owned(),
        None => format!("ONLY WITH \"{}\" (Esc: all)  {usual}", ui.filter),
    }
}

/// The same where there is little room.
pub(super) fn below_briefly(model: &Model, ui: &Ui) -> String {
    let what = match &ui.mode {
        Mode::Confirm(Wish::Drain) => "drain it",
        Mode::Confirm(Wish::Cancel) => "take the drain back",
        Mode::Confirm(Wish::Extend(_)) => "give more time",
        Mode::Confirm(Wish::DrainServer(name)) => return format!("drain {name}? y/n"),
        Mode::Confirm(Wish::TakeBackServer(name)) => return format!("take back {name}? y/n"),
        Mode::Server(at) => {
            let choices = model.choices();
            let name = choices.get(*at).map(|one| one.name.to_string());
            return format!("{}? Enter, or arrows", name.unwrap_or_default());
        }
        Mode::Look if ui.wrong.is_none() && model.note.is_none() => {
            return "d drain  e extend  c cancel  q quit".to_owned();
        }
        _ => return below(model, ui),
    };
    format!("{what}? y/n")
}

pub(super) fn help(theme: Theme) -> Vec<Line<'static>> {
    let keys = [
        ("Tab", "sums, or every connection; arrows scroll"),
        ("a b o", "sort connections by age, bytes, protocol"),
        (
            "l t n",
            "... by listener, state, requests; again: turn about",
        ),
        ("/", "show only what has this in it; Esc: show all"),
        ("p", "hold the picture, or go on"),
        ("d e c", "drain; give a drain more time; take it back"),
        ("s", "drain one server of an upstream, or take it back"),
        ("q", "leave; the proxy goes on. Also Ctrl-C"),
    ];
    let words = [
        ("half", "half-open: accepted, no request yet"),
        ("busy", "with a request, stream or tunnel in flight"),
        (
            "told",
            "ended in its own protocol, so that its client tries elsewhere",
        ),
        ("cut", "ended by force: what it had in flight is lost"),
    ];
    let row = |(word, means): (&str, &str)| Line::raw(format!("{word:<8}{means}"));
    let mut lines = vec![Line::styled(
        "KEYS    d e c s are asked for again",
        theme.header(),
    )];
    lines.extend(keys.map(row));
    lines.push(Line::default());
    lines.push(Line::styled("WORDS", theme.header()));
    lines.extend(words.map(row));
    lines
}
