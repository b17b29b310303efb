//! The admin API and what holds for the process as a whole.
//!
//! Purpose: where the process is asked, and how it works and logs.
//!
//! Invariant: an admin API that other machines can reach has a token, since
//! it can end the process.
//!
//! Deliberately absent: opening log files and installing filters.

use super::super::file;
use super::super::model::{Admin, AdminAddr, LogFile, LogFormat, Logs, Process};
use super::super::read::{At, OneOf, Time, nearest, value_or};
use super::super::report::{Fault, Problem, Reported, Span, quote};
use super::super::units::show;
use super::{Check, address};
use crate::drain::Plan;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Where the admin API listens unless told otherwise.
pub(super) const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);

/// More worker threads than any machine has cores.
const MOST_WORKERS: u64 = 1024;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Check<'_> {
    pub(super) fn admin(&self, written: Option<At<file::Admin>>) -> Result<Admin, Reported> {
        let written = value_or(written, file::Admin::default())?;
        let default = AdminAddr::Inet(ADMIN);
        let listen = self.parse_or(written.listen.as_ref(), default, |text| {
            if let Some(path) = text.strip_prefix("unix:") {
                let path = address::unix_fits(self.path(path)).map(AdminAddr::Unix);
                return address::unix(text).and(path);
            }
            address::listen(text).map(AdminAddr::Inet)
        });
        let wants_token = written.token.is_none();
        let token = written
            .token
            .map(|token| self.parse(&token, |text| self.token(text)))
            .transpose();
        let linger = value_or(written.linger, Time(Duration::ZERO));
        let listen = listen?;
        if let (AdminAddr::Inet(address), Some(key)) = (&listen, &written.listen)
            && wants_token
            && !address.ip().to_canonical().is_loopback()
        {
            let message = format!("the admin API on {address} needs a `token`");
            let problem = Problem::at(&key.span, message).label("other machines can reach this");
            return self.refuse(
                problem.help("add `token = \"...\"`, or listen on 127.0.0.1, [::1] or `unix:PATH`"),
            );
        }
        Ok(Admin {
            listen,
            token: token?,
            linger: linger?.0,
        })
    }

    /// The token itself, or the file that it is in, alone on its first line.
    fn token(&self, text: &str) -> Result<String, Fault> {
        token_text(&self.secret(text)?)
    }

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

    /// That the admin interface, too, is gone before the orchestrator's
    /// patience.
    pub(super) fn linger(
        &self,
        written: &Span,
        linger: Duration,
        plan: &Plan,
    ) -> Result<(), Reported> {
        let (total, grace) = (plan.total(), plan.grace);
        if total.saturating_add(linger) <= grace {
            return Ok(());
        }
        let message = format!(
            "the drain can take {} and `linger` adds {}, but `grace` is {}",
            show(total),
            show(linger),
            show(grace)
        );
        let help = "take it from `linger` or the stages, or raise `grace` (and what the \
                    orchestrator gives before SIGKILL)";
        self.refuse(Problem::at(written, message).help(help))
    }

    pub(super) fn process(&self, written: Option<At<file::Process>>) -> Result<Process, Reported> {
        let written = value_or(written, file::Process::default())?;
        let workers = self.number("workers", written.workers, (0, MOST_WORKERS), 0);
        let watch = value_or(written.watch, Time(Duration::ZERO));
        let logs = value_or(written.logs, file::Logs::default()).and_then(|logs| self.logs(logs));
        Ok(Process {
            workers: workers?,
            watch: watch?.0,
            logs: logs?,
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

/// A bearer token (`b64token` of RFC 6750, section 2.1, taken more widely:
/// whatever stands in a header field without being cut).
fn token_text(text: &str) -> Result<String, Fault> {
    let help = "use letters, digits and punctuation, e.g. from `openssl rand -hex 32`";
    if text.is_empty() {
        return Err(Fault::new("`token` cannot be empty", help));
    }
    if !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Fault::new(
            "`token` holds characters that cannot be sent",
            help,
        ));
    }
    Ok(text.to_owned())
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

    #[test]
    fn a_token_can_be_sent() {
        assert!(token_text("0123456789abcdef").is_ok());
        assert!(token_text("").is_err());
        assert!(token_text("with space 0123456789").is_err());
        assert!(token_text("0123456789abcdé0").is_err());
    }
}
