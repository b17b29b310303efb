//! What a key does: to what is shown, or to the process.
//!
//! Pure: a key goes in, and what must be done ([`Act`]) comes out.
//!
//! Invariant: nothing is asked of the process before it was confirmed with
//! `y`, whatever else is pressed; Ctrl-C always leaves.
//!
//! Deliberately absent: the mouse.

use super::model::Standing;
use crate::cli::args::ServerName;
use crate::cli::list::{By, Sort};
use crate::config;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What is shown below the drain.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub(super) enum Page {
    /// Sums, holders of the exit, servers, events.
    #[default]
    Overview,
    /// Every connection.
    Connections,
}

/// What is asked of the process.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) enum Wish {
    Drain,
    Cancel,
    /// By how much.
    Extend(String),
    DrainServer(ServerName),
    TakeBackServer(ServerName),
}

/// What keys mean just now.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(super) enum Mode {
    #[default]
    Look,
    /// They make up the filter.
    Filter,
    /// They make up a time.
    Extend(String),
    /// They choose a server; this one is chosen.
    Server(usize),
    /// One says whether this is meant.
    Confirm(Wish),
    /// Any leaves the page of keys.
    Help,
}

/// What must be done.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) enum Act {
    Nothing,
    Quit,
    /// Stop as a job of the shell.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Ask the process.
    Ask(Wish),
}

/// A server that can be drained, or taken back.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) struct Choice {
    pub(super) name: ServerName,
    /// Whether it was taken out.
    pub(super) out: bool,
}

/// What keys are about.
#[derive(Copy, Clone, Debug)]
pub(super) struct About<'a> {
    /// How much of the list is seen.
    pub(super) rows: usize,
    /// How long it is.
    pub(super) length: usize,
    pub(super) standing: Standing,
    pub(super) servers: &'a [Choice],
}

/// What the operator sees of what is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Ui {
    pub(super) page: Page,
    pub(super) mode: Mode,
    pub(super) sort: Sort,
    /// What must be in a line; lower case.
    pub(super) filter: String,
    pub(super) paused: bool,
    /// The first line of the list that is seen.
    pub(super) first: usize,
    /// Why the last key did nothing.
    pub(super) wrong: Option<String>,
}

/// What `e` offers.
const USUAL: &str = "30s";

impl Ui {
    /// A key was pressed.
    pub(super) fn press(&mut self, key: KeyEvent, about: About<'_>) -> Act {
        if key.kind == KeyEventKind::Release {
            return Act::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Act::Quit,
                KeyCode::Char('z') => Act::Suspend,
                KeyCode::Char('l') => Act::Redraw,
                _ => Act::Nothing,
            };
        }
        self.wrong = None;
        match self.mode.clone() {
            Mode::Look => self.look(key.code, about),
            Mode::Filter => self.filter(key.code),
            Mode::Extend(text) => self.extend(key.code, text),
            Mode::Server(chosen) => self.server(key.code, chosen, about.servers),
            Mode::Confirm(wish) => {
                self.mode = Mode::Look;
                match key.code {
                    KeyCode::Char('y' | 'Y') => Act::Ask(wish),
                    _ => Act::Nothing,
                }
            }
            Mode::Help => {
                self.mode = Mode::Look;
                Act::Nothing
            }
        }
    }

    fn look(&mut self, code: KeyCode, about: About<'_>) -> Act {
        match code {
            KeyCode::Char('q') => return Act::Quit,
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char(wish @ ('d' | 'c' | 'e' | 's')) => self.wish(wish, about),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab | KeyCode::BackTab => {
                self.page = match self.page {
                    Page::Overview => Page::Connections,
                    Page::Connections => Page::Overview,
                };
                self.first = 0;
            }
            KeyCode::Char(letter) if self.page == Page::Connections => {
                if let Some(by) = By::of_key(letter) {
                    self.sort = self.sort.by(by);
                    self.first = 0;
                }
            }
            other => self.scroll(other, about),
        }
        Act::Nothing
    }

    /// Go on to a question, if it can be asked as things stand.
    fn wish(&mut self, wish: char, about: About<'_>) {
        let refused = match (wish, about.standing) {
            (_, Standing::Gone) => Some("nobody answers whom it could be asked"),
            (_, Standing::Over) => Some("it has drained already"),
            ('d', Standing::Draining) => Some("it drains already; e gives it more time"),
            ('c' | 'e', Standing::Calm) => Some("no drain is under way; d begins one"),
            ('s', _) if about.servers.is_empty() => Some("it has no servers"),
            _ => None,
        };
        if let Some(why) = refused {
            self.wrong = Some(why.to_owned());
            return;
        }
        self.mode = match wish {
            'd' => Mode::Confirm(Wish::Drain),
            'c' => Mode::Confirm(Wish::Cancel),
            'e' => Mode::Extend(USUAL.to_owned()),
            _ => Mode::Server(0),
        };
    }

    fn scroll(&mut self, code: KeyCode, about: About<'_>) {
        let last = about.length.saturating_sub(about.rows);
        let first = match code {
            KeyCode::Up => self.first.saturating_sub(1),
            KeyCode::Down => self.first + 1,
            KeyCode::PageUp => self.first.saturating_sub(about.rows),
            KeyCode::PageDown => self.first + about.rows,
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => self.first,
        };
        self.first = first.min(last);
    }

    fn filter(&mut self, code: KeyCode) -> Act {
        match code {
            KeyCode::Enter => self.mode = Mode::Look,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Look;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.extend(letter.to_lowercase()),
            _ => {}
        }
        self.first = 0;
        Act::Nothing
    }

    fn server(&mut self, code: KeyCode, chosen: usize, servers: &[Choice]) -> Act {
        // There may be fewer of them than when the key before was pressed.
        let last = servers.len().saturating_sub(1);
        let chosen = chosen.min(last);
        self.mode = match code {
            KeyCode::Up => Mode::Server(chosen.saturating_sub(1)),
            KeyCode::Down => Mode::Server((chosen + 1).min(last)),
            KeyCode::Home => Mode::Server(0),
            KeyCode::End => Mode::Server(last),
            KeyCode::Enter => match servers.get(chosen) {
                Some(Choice { name, out: true }) => {
                    Mode::Confirm(Wish::TakeBackServer(name.clone()))
                }
                Some(Choice { name, out: false }) => Mode::Confirm(Wish::DrainServer(name.clone())),
                None => Mode::Look,
            },
            KeyCode::Esc | KeyCode::Char('q') => Mode::Look,
            _ => Mode::Server(chosen),
        };
        Act::Nothing
    }

    fn extend(&mut self, code: KeyCode, mut text: String) -> Act {
        match code {
            KeyCode::Esc => {
                self.mode = Mode::Look;
                return Act::Nothing;
            }
            KeyCode::Enter => match config::duration(&text) {
                Ok(_) => {
                    self.mode = Mode::Confirm(Wish::Extend(text));
                    return Act::Nothing;
                }
                Err(why) => self.wrong = Some(why),
            },
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(letter) => text.push(letter),
            _ => {}
        }
        self.mode = Mode::Extend(text);
        Act::Nothing
    }
}

#[cfg(test)]
mod tests;
