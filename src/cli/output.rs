//! What a command came to, and the only place that writes to the terminal.
//!
//! Invariant: a reader that has gone (`ebbtide connections | head`) ends the
//! output and is no error. Absent: colour, but in reports on a config.

use rustix::termios::tcgetwinsize;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

/// The columns of a terminal that does not say how many it has.
const USUAL: usize = 80;

/// What a command came to.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(super) struct Done {
    /// The result, for standard output; may be empty.
    pub(super) result: String,
    /// What went wrong, for standard error; may be empty.
    pub(super) complaint: String,
    /// See [`exit`](super::exit); 0 is good.
    pub(super) code: u8,
}

impl Done {
    /// A good end with this result.
    pub(super) fn with(result: String) -> Self {
        Self {
            result,
            ..Self::default()
        }
    }

    /// The end that this code means, and why.
    pub(super) fn failed(code: u8, complaint: String) -> Self {
        Self {
            complaint,
            code,
            ..Self::default()
        }
    }

    /// Write what there is to say.
    pub(super) fn tell(self) -> ExitCode {
        write(&mut io::stdout().lock(), &self.result);
        write(&mut io::stderr().lock(), &self.complaint);
        self.code.into()
    }
}

/// Tell how a long command gets on, whoever reads it.
pub(super) fn say(text: &str) {
    write(&mut io::stderr().lock(), text);
}

/// Tell a waiting person something; nobody if no person looks on.
pub(super) fn remark(text: &str) {
    if is_watched() {
        write(&mut io::stderr().lock(), text);
    }
}

/// The columns of the terminal that the result goes to; none if it goes to a
/// file or a program, which lose nothing.
pub(super) fn width() -> Option<usize> {
    let out = io::stdout();
    out.is_terminal().then(|| columns(&out))
}

/// The columns of a terminal; what every terminal has, if it does not say.
fn columns(terminal: impl AsFd) -> usize {
    let size = tcgetwinsize(terminal).ok();
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { USUAL } else { columns }
}

/// The columns of the terminal that standard error is, if a line there can be
/// drawn again.
pub(super) fn drawable() -> Option<usize> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let err = io::stderr();
    (err.is_terminal() && !dumb).then(|| columns(&err))
}

/// Draw this in the place of the line that was drawn before.
pub(super) fn redraw(line: &str) {
    let mut err = io::stderr().lock();
    // As in `write`. The sequence erases the line (ECMA-48, EL).
    let _ = write!(err, "\r\u{1b}[K{line}").and_then(|()| err.flush());
}

/// Whether standard error is a terminal.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Nothing, or the text ended with a line feed.
fn write(to: &mut dyn Write, text: &str) {
    if text.is_empty() {
        return;
    }
    let end = if text.ends_with('\n') { "" } else { "\n" };
    // The reader has gone, or the disk is full: there is nobody to tell.
    let _ = write!(to, "{text}{end}").and_then(|()| to.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_ends_in_one_line_feed() {
        let mut written = Vec::new();
        for text in ["", "a", "b\n"] {
            write(&mut written, text);
        }
        assert_eq!(written, b"a\nb\n");
    }
}
