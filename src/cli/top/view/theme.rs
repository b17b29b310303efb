//! What stands out, and how.
//!
//! Invariant: nothing is said by colour alone, so that a terminal without
//! (`NO_COLOR`, see no-color.org) shows as much. Absent: a choice of colours;
//! these are the terminal's own.

use super::super::model::Model;
use ratatui::style::{Color, Modifier, Style};

/// With colours, or without.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(in crate::cli::top) enum Theme {
    Colours,
    Plain,
}

impl Theme {
    pub(super) fn title() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn header(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub(super) fn state(self, model: &Model) -> Style {
        let status = &model.seen.status;
        match (&model.lost, model.seen.progress.draining) {
            _ if model.is_over() => self.coloured(Color::Green),
            (Some(_), _) => self.coloured(Color::Red),
            (None, false) if status.ready => self.coloured(Color::Green),
            (None, _) => self.coloured(Color::Yellow),
        }
    }

    pub(super) fn passed(self) -> Style {
        self.coloured(Color::Yellow)
    }

    fn coloured(self, colour: Color) -> Style {
        match self {
            Self::Colours => Style::new().fg(colour),
            Self::Plain => Style::new(),
        }
    }
}
