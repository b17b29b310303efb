//! What holds for the process as a whole.
//!
//! Purpose: how many workers it has, and how it logs.
//!
//! Invariant: a level is one; a filter that is mistyped would log nothing.
//!
//! Deliberately absent: opening log files and installing filters.

use super::super::file;
use super::super::model::{LogFile, LogFormat, Logs, Process};
use super::super::read::{At, OneOf, Size, Time, nearest, value_or};
use super::super::report::{Fault, Reported, quote};
use super::Check;
use super::listener::CONNECTIONS;
use std::fs;
use std::time::Duration;

/// More worker threads than any machine has cores.
const MOST_WORKERS: u64 = 1024;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Check<'_> {
    /// What stands in the file of `file:PATH`, alone on its line; anything else
    /// stands for itself.
    pub(super) fn secret(&self, text: &str) -> Result<String, Fault> {
        let Some(path) = text.strip_prefix("file:") else {
            return Ok(text.to_owned());
        };
        let path = self.read_path(path);
        let shown = quote(&path.display().to_string());
        let read = fs::read_to_string(&path).map_err(|error| {
            let help = "a relative path starts at the directory of this file";
            Fault::new(format!("{shown} cannot be read: {error}"), help)
        })?;
        let line = read.strip_suffix('\n').unwrap_or(&read);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }

    pub(super) fn process(&self, written: Option<At<file::Process>>) -> Result<Process, Reported> {
        let written = value_or(written, file::Process::default())?;
        let workers = self.number("workers", written.workers, (0, MOST_WORKERS), 0);
        let connections = self.number("connections", written.connections, CONNECTIONS, 0);
        let tunnels = self.number("tunnels", written.tunnels, CONNECTIONS, 0);
        let memory = value_or(written.memory, Size(0));
        let zone = written.zone.map(|zone| self.zone(&zone)).transpose();
        let watch = value_or(written.watch, Time(Duration::ZERO));
        let logs = value_or(written.logs, file::Logs::default()).and_then(|logs| self.logs(logs));
        let traces = written.traces.map(|traces| self.traces(traces));
        Ok(Process {
            workers: workers?,
            connections: connections?,
            tunnels: tunnels?,
            memory: memory?.0,
            zone: zone?,
            watch: watch?.0,
            logs: logs?,
            traces: traces.transpose()?,
        })
    }

    fn logs(&self, written: file::Logs) -> Result<Logs, Reported> {
        let format = value_or(written.format, OneOf(LogFormat::default()));
        let file = self.parse_or(written.file.as_ref(), LogFile::Stderr, |text| match text {
            "stderr" => Ok(LogFile::Stderr),
            "stdout" => Ok(LogFile::Stdout),
            "" => Err(Fault::new(
                "`file` cannot be empty",
                "write `stderr`, `stdout` or the path of a file",
            )),
            path => {
                let in_file = "logs go to a file; write its path, e.g. `\"log/ebbtide.log\"`";
                self.file("file", path, in_file).map(LogFile::Path)
            }
        });
        let access = self.access(written.access);
        let level = self.parse_or(written.level.as_ref(), "info".to_owned(), level);
        Ok(Logs {
            format: format?.0,
            file: file?,
            access: access?,
            level: level?,
        })
    }
}

/// A filter for `tracing`. The filter itself takes any bare word for a
/// target, so that a mistyped level would log everything of a target that
/// does not exist, and nothing else.
pub(in crate::config) fn level(text: &str) -> Result<String, Fault> {
    for part in text.split(',') {
        let word = part.rsplit('=').next().unwrap_or_default().trim();
        if LEVELS.contains(&word.to_ascii_lowercase().as_str()) {
            continue;
        }
        let help = match nearest(word, &LEVELS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "write {}, or pairs such as `info,ebbtide::proxy=debug`",
                LEVELS.join(", ")
            ),
        };
        return Err(Fault::new(
            format!("{} is not a log level", quote(word)),
            help,
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked_word_by_word() {
        for good in [
            "info",
            "WARN",
            "off",
            "info,ebbtide::proxy=debug",
            "a=trace, b=off",
        ] {
            assert!(level(good).is_ok(), "{good}");
        }
        for bad in ["", "inof", "info,", "ebbtide=loud", "info;debug"] {
            assert!(level(bad).is_err(), "{bad}");
        }
        assert!(level("inof").expect_err("a typo").help.contains("`info`"));
    }
}
