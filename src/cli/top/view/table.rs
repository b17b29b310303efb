//! The second page: every connection.
//!
//! Invariant: the column that it is sorted by is marked. Absent: columns that
//! 80 characters have no room for; `ebbtide connections` has them all.

use super::super::keys::Ui;
use super::super::model::Model;
use super::theme::Theme;
use super::{protocol, styled};
use crate::cli::list::{self, By};
use crate::cli::text::{Flush, bytes, columns, span_ms};
use ratatui::layout::Rect;
use ratatui::text::Line;

/// The columns, and what sorts by them.
const COLUMNS: [(&str, Option<By>, Flush); 8] = [
    ("AGE", Some(By::Age), Flush::Right),
    ("BYTES", Some(By::Bytes), Flush::Right),
    ("REQS", Some(By::Requests), Flush::Right),
    ("PROTOCOL", Some(By::Protocol), Flush::Left),
    ("STATE", Some(By::State), Flush::Left),
    ("LISTENER", Some(By::Listener), Flush::Left),
    ("CLIENT", None, Flush::Left),
    ("WAITS FOR", None, Flush::Left),
];

pub(super) fn lines(model: &Model, ui: &Ui, page: Rect, theme: Theme) -> Vec<Line<'static>> {
    let listed = list::listed(&model.seen.connections.connections, ui.sort, &ui.filter);
    let mark = |(name, by, _): (&str, Option<By>, Flush)| match by == Some(ui.sort.by) {
        true if ui.sort.reverse => format!("{name}^"),
        true => format!("{name}v"),
        false => name.to_owned(),
    };
    let mut rows = vec![COLUMNS.map(mark).to_vec()];
    let room = usize::from(page.height).saturating_sub(1);
    // The list may have become shorter since it was scrolled.
    let first = ui.first.min(listed.len().saturating_sub(room));
    rows.extend(listed.iter().skip(first).take(room).map(|one| {
        vec![
            span_ms(one.age_ms),
            bytes(list::bytes(one)),
            one.requests.to_string(),
            protocol(one.protocol),
            one.state.clone(),
            one.listener.clone(),
            one.peer.clone(),
            one.waits_for.clone(),
        ]
    }));
    let flush = COLUMNS.map(|(.., flush)| flush);
    let mut lines = styled(&columns(&flush, &rows), theme.header());
    if listed.is_empty() {
        lines.push(Line::raw("no connections"));
    }
    lines
}
