//! The terminal, borrowed: raw, and on its other screen.
//!
//! Invariant: it is given back as it was, however the program ends: by a key,
//! an error, a signal or a panic. Only SIGKILL leaves it to `reset`.
//!
//! Deliberately absent: what is drawn.

use crossterm::cursor::Show;
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect};
use std::io::{self, Stdout};
use std::panic;
use std::sync::Once;

/// A borrowed terminal; dropped, it is given back.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Borrow it.
    ///
    /// # Errors
    /// If it is no terminal, or has gone.
    pub(super) fn borrow() -> io::Result<Self> {
        give_back_on_panic();
        enter()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()));
        let terminal = terminal.inspect_err(|_| leave())?;
        Ok(Self { terminal })
    }

    /// Give it back for as long as `meanwhile` takes.
    ///
    /// # Errors
    /// If it cannot be had again.
    pub(super) fn lend(&mut self, meanwhile: impl FnOnce()) -> io::Result<()> {
        leave();
        meanwhile();
        enter()?;
        self.anew()
    }

    /// Have the next picture drawn as a whole.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(super) fn anew(&mut self) -> io::Result<()> {
        // Not `clear`: that asks the terminal where its cursor is, and waits for
        // an answer which a slow line brings late and some never give.
        let area = Rect::from((Position::ORIGIN, self.terminal.size()?));
        self.terminal.resize(area)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen).inspect_err(|_| leave())
}

fn leave() {
    // Where the terminal has gone there is nobody to give it back to.
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// What a panic says must stand on the usual screen.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let say = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            leave();
            say(what);
        }));
    });
}

#[cfg(test)]
mod tests;
