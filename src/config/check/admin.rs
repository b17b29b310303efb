//! The admin API: where it is, and who may use it.
//!
//! Purpose: `[admin]` becomes an [`Admin`], its tokens read from their files.
//!
//! Invariant: an admin API that other machines can reach asks who is there, by
//! a token or a client certificate, since it can end the process. Tokens are
//! never part of a message.
//!
//! Deliberately absent: comparing tokens.

use super::super::file;
use super::super::model::{Admin, AdminAddr, ListenerTls};
use super::super::read::{At, Time, value_or};
use super::super::report::{Fault, Problem, Reported, Span};
use super::super::tls;
use super::super::units::show;
use super::{Check, address};
use crate::drain::Plan;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Where the admin API listens unless told otherwise.
pub(super) const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);

/// The most tokens that a file may have: one in use, those before and after.
const MOST_TOKENS: usize = 16;

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
        let tls_span = written.tls.as_ref().map(|tls| tls.span.clone());
        let tls = written.tls.map(|tls| self.listener_tls(tls)).transpose();
        let (all, reading) = (written.token.as_ref(), written.read_token.as_ref());
        let certificates = matches!(&tls, Ok(Some(tls)) if tls.client_ca.is_some());
        let paired = match (all, reading) {
            (None, Some(reading)) if !certificates => {
                let problem = Problem::at(&reading.span, "a token to read with needs `token`");
                self.refuse(problem.help(
                    "add `token`, or `tls` with `client_ca`: without both everybody may do everything",
                ))
            }
            _ => Ok(()),
        };
        let tokens = self.tokens(all);
        let read_tokens = self.tokens(reading);
        let linger = value_or(written.linger, Time(Duration::ZERO));
        let (listen, tls) = (listen?, tls?);
        if let Some(key) = &written.listen {
            self.reached_safely(key, &listen, tls.as_ref(), all.is_some())?;
        }
        if let (AdminAddr::Unix(_), Some(span)) = (&listen, tls_span) {
            let problem = Problem::at(&span, "a Unix socket has no TLS");
            return self.refuse(
                problem.help("delete `tls`: who may use the socket is up to its owner and group"),
            );
        }
        paired?;
        Ok(Admin {
            listen,
            tls,
            tokens: tokens?,
            read_tokens: read_tokens?,
            linger: linger?.0,
        })
    }

    /// That not everybody can use an address that everybody can reach.
    fn reached_safely(
        &self,
        key: &At<String>,
        listen: &AdminAddr,
        tls: Option<&ListenerTls>,
        tokens: bool,
    ) -> Result<(), Reported> {
        let AdminAddr::Inet(address) = listen else {
            return Ok(());
        };
        let certificates = tls.is_some_and(|tls| tls.client_ca.is_some());
        if tokens || certificates || address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        let message = format!("the admin API on {address} needs a `token`");
        let problem = Problem::at(&key.span, message).label("other machines can reach this");
        self.refuse(problem.help(
            "add `token`, or `tls` with `client_ca`, or listen on 127.0.0.1, [::1] or `unix:PATH`",
        ))
    }

    fn tokens(&self, written: Option<&At<String>>) -> Result<Vec<String>, Reported> {
        let read = |text: &str| match text.strip_prefix("file:") {
            None => token_text(text).map(|one| vec![one]),
            Some(path) => token_file(&self.read_path(path)),
        };
        written.map_or_else(|| Ok(Vec::new()), |key| self.parse(key, read))
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
}

/// Reads a file of tokens, one on each line.
fn token_file(path: &Path) -> Result<Vec<String>, Fault> {
    let help = "write one token on each line, e.g. from `openssl rand -hex 32`";
    let wrong = |what: String| Fault::new(format!("`{}` {what}", path.display()), help);
    let text = tls::read(path, "a file of tokens")?;
    let text = String::from_utf8(text).map_err(|_| wrong("is no text".to_owned()))?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let tokens = lines.map(|(at, line)| {
        token_text(line).map_err(|_| {
            let at = at + 1;
            wrong(format!("has a token that cannot be sent, in line {at}"))
        })
    });
    let tokens: Vec<_> = tokens.collect::<Result<_, _>>()?;
    match tokens.len() {
        0 => Err(wrong("has no token".to_owned())),
        1..=MOST_TOKENS => Ok(tokens),
        _ => Err(wrong(format!("has more than {MOST_TOKENS} tokens"))),
    }
}

/// A bearer token (`b64token` of RFC 6750, section 2.1, taken more widely:
/// whatever stands in a header field without being cut).
fn token_text(text: &str) -> Result<String, Fault> {
    let help = "use letters, digits and punctuation, e.g. from `openssl rand -hex 32`";
    if text.is_empty() {
        return Err(Fault::new("a token cannot be empty", help));
    }
    if !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Fault::new(
            "this token holds characters that cannot be sent",
            help,
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_can_be_sent() {
        assert!(token_text("0123456789abcdef").is_ok());
        assert!(token_text("").is_err());
        assert!(token_text("with space 0123456789").is_err());
        assert!(token_text("0123456789abcdé0").is_err());
    }

    #[test]
    fn a_file_has_a_token_on_each_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            token_file(&path)
        };
        assert_eq!(
            read("one\n\n two\r\n"),
            Ok(vec!["one".into(), "two".into()])
        );
        for (text, part) in [
            ("", "no token"),
            ("\n\n", "no token"),
            ("s3cret\nno good", "line 2"),
            (&"x\n".repeat(17), "more than 16"),
        ] {
            let fault = read(text).expect_err(text);
            assert!(fault.what.contains(part), "{fault:?}");
            assert!(!fault.what.contains("s3cret"), "{fault:?}");
        }
    }
}
