//! Configuration: from a TOML file to a checked [`Config`], or to a
//! [`Report`] of everything that is wrong with it.
//!
//! The way of the data, one module each:
//! - `read`: tools that read a parsed tree and remember where values stand;
//! - `file`: the file as it is written, every key of it; `schema` is made
//!   from the same types;
//! - `check`: what the values mean together; `tls` and `names` load the
//!   certificates, `units` reads durations and sizes;
//! - `model`: the result, which the rest of Ebbtide runs from;
//! - `listed`: servers in a file of their own;
//! - `shown`: the file with every default written out, and no secret;
//! - `diff`: what tells two of them apart, for a reload;
//! - `report`: what is wrong, drawn on the text.
//!
//! Invariant: a [`Config`] that exists can be run, and a file that is refused
//! is refused with all of its problems at once.
//!
//! Deliberately absent: watching the file, and any use of the values; nothing
//! here binds, dials or waits. Loading does block, on files and on the
//! resolver, so it has no place on a worker's thread.

mod check;
mod der;
mod diff;
mod file;
mod files;
mod grace;
mod listed;
mod model;
mod names;
mod read;
mod report;
mod schema;
mod shown;
mod tls;
mod units;
mod words;

pub use check::Resolve;
pub use diff::{Change, Diff};
pub use files::Files;
pub use listed::{listed, listed_in};
pub use model::{
    Access, AccessField, AccessForm, AccessPiece, AccessValue, Adaptive, Admin, AdminAddr, Balance,
    Certificate, ClientAuth, Config, Discover, Eject, Family, Going, Handover, HandoverSocket,
    HashBy, Health, HealthCheck, Hook, HookRun, HostPattern, HttpCheck, Keepalive, Limits,
    Listener, ListenerTls, LogFile, LogFormat, Logs, Occasion, Ping, Place, Pool, Process,
    ProxyProtocol, ProxyVersion, Ratio, Retry, Route, Server, ServerAddress, Serves, Source,
    SuccessRate, TcpKeepalive, Traces, TracesProtocol, Upstream, UpstreamHttp, UpstreamId,
    UpstreamLimits, UpstreamTls,
};
pub use report::{Problem, Report};
pub use schema::schema;
pub use words::Word;

use report::Problems;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

/// Loads the configuration file at `path`. Blocks on files and the resolver.
///
/// # Errors
/// The [`Report`] of everything that is wrong with the file.
pub fn load(path: &Path) -> Result<Config, Report> {
    let files = Files::with(path);
    let bytes = fs::read(path).map_err(|error| {
        let problem = Problem::whole(format!("cannot read the configuration: {error}"));
        Report::of(
            path,
            "",
            problem.help("name a TOML file, e.g. `ebbtide run ebbtide.toml`"),
        )
    })?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => made_from(files, path, text, &look_up),
        Err(error) => {
            // What stands before the first bad byte is shown as it is, so
            // the same offset points at that byte's replacement.
            let text = String::from_utf8_lossy(&bytes);
            let at = error.valid_up_to();
            let problem = Problem::at(&(at..at + 1), "this file is not UTF-8 text");
            Err(Report::of(
                path,
                &text,
                problem.help("TOML is UTF-8: save the file in that encoding"),
            ))
        }
    }
}

/// Like [`load`], for a process that has so much time from SIGTERM to SIGKILL,
/// if that is known.
///
/// # Errors
/// The [`Report`] of everything that is wrong with the file, or that its drain
/// does not fit.
pub fn load_within(path: &Path, given: Option<Duration>) -> Result<Config, Report> {
    load(path)?.within(given)
}

/// Reads a configuration from `text`. Relative paths in it start at the
/// directory of `source_name`, which also names it in reports. Blocks on the
/// files that the text names and on the resolver.
///
/// # Errors
/// The [`Report`] of everything that is wrong with the text.
pub fn parse(source_name: &Path, text: &str) -> Result<Config, Report> {
    parse_with(source_name, text, &look_up)
}

/// Like [`parse`], with `resolve` in place of the system's resolver.
///
/// # Errors
/// The [`Report`] of everything that is wrong with the text.
pub fn parse_with(source_name: &Path, text: &str, resolve: &Resolve<'_>) -> Result<Config, Report> {
    made_from(Files::with(source_name), source_name, text, resolve)
}

fn made_from(
    files: Files,
    source_name: &Path,
    text: &str,
    resolve: &Resolve<'_>,
) -> Result<Config, Report> {
    let root = toml::de::DeTable::parse(text)
        .map_err(|error| Report::of(source_name, text, syntax(&error)))?;
    let problems = Problems::default();
    let file = file::File::read(root.get_ref(), &problems);
    match check::check(file, (source_name, files), &problems, resolve) {
        Ok(mut config) if problems.none() => {
            let written = text.parse().unwrap_or_default();
            config.shown = Arc::new(shown::shown(written, &config.plan));
            Ok(config)
        }
        _ => Err(problems.report(source_name, text)),
    }
}

/// Reads a duration as the configuration has it, e.g. `1m30s`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn duration(text: &str) -> Result<Duration, String> {
    units::parse_time(text).map_err(|fault| format!("{}; {}", fault.what, fault.help))
}

/// The usual form of the access log's lines, as text or as JSON.
#[must_use]
pub fn usual_access(text: bool) -> AccessForm {
    check::usual(text)
}

/// Checks a log level as the configuration has it, e.g. `info,ebbtide=debug`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn level(text: &str) -> Result<(), String> {
    let read = check::level(text).map(drop);
    read.map_err(|fault| format!("{}; {}", fault.what, fault.help))
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// A file that is not TOML has one problem: what follows the first place that
/// cannot be read would only be guessed at.
fn syntax(error: &toml::de::Error) -> Problem {
    let message = format!("this is not TOML: {}", error.message());
    let Some(span) = error.span() else {
        return Problem::whole(message);
    };
    let help = match error.message() {
        said if said.starts_with("duplicate key") => {
            "a key stands once in its table; delete or join one of them"
        }
        said if said.starts_with("string values must be quoted")
            || said.starts_with("invalid float") =>
        {
            "put strings in quotes, e.g. `idle = \"60s\"`"
        }
        said if said.contains("basic string") => "close the string with `\"` on its line",
        said if said.starts_with("key with no value") => "write `key = value`, one on each line",
        _ => "see https://toml.io for the form of a TOML file",
    };
    Problem::at(&span, message).help(help)
}
