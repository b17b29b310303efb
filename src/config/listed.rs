//! Servers that a file of their own lists.
//!
//! Purpose: a program that knows where servers are writes them into a file, which
//! is read again when it changes. A line is an address, and behind it perhaps
//! `weight=3` and `zone=eu-1a`; what follows a `#` is a remark. A file whose name
//! ends with `.toml` has `servers = [...]` instead, as an upstream has.
//!
//! Invariant: one thing that is wrong, and none of the file counts: half of a
//! file that is still being written must not take servers away.
//!
//! Deliberately absent: when to read, and host names: asking for them could take
//! long, and `dns` does it better.

use super::check;
use super::file::{Server, ServerTable};
use super::model;
use super::read::{At, Table};
use super::report::{Fault, Problem, Problems, Report, Span, quote};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use toml::de::DeTable;

/// Above this a file is no list of servers.
const LARGEST: u64 = 4 << 20;

/// The servers that the file at `path` lists. Those that say of no zone are in
/// `zone`. Blocks on the disk.
///
/// # Errors
/// The [`Report`] of everything that is wrong with the file.
pub fn listed(path: &Path, zone: Option<&Arc<str>>) -> Result<Vec<model::Server>, Report> {
    let whole = |message: String, help: &str| {
        Report::of(path, "", Problem::whole(message).help(help.to_owned()))
    };
    let unreadable = |error| {
        let message = format!("the list of servers cannot be read: {error}");
        whole(message, "write one address on each line")
    };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > LARGEST {
        let message = format!("{length} bytes are too many for a list of servers");
        return Err(whole(message, "name another file"));
    }
    listed_in(path, &fs::read_to_string(path).map_err(unreadable)?, zone)
}

/// The same of `text`, as if it stood in the file at `path`.
///
/// # Errors
/// As [`listed`].
pub fn listed_in(
    path: &Path,
    text: &str,
    zone: Option<&Arc<str>>,
) -> Result<Vec<model::Server>, Report> {
    let problems = Problems::default();
    let entries = if path.extension().is_some_and(|it| it == "toml") {
        in_toml(path, text, &problems)?
    } else {
        in_lines(text, &problems)
    };
    match check::listed(entries, zone, (path, &problems)) {
        Ok(servers) if problems.none() => Ok(servers),
        _ => Err(problems.report(path, text)),
    }
}

fn in_toml(path: &Path, text: &str, problems: &Problems) -> Result<Vec<At<Server>>, Report> {
    let root =
        DeTable::parse(text).map_err(|error| Report::of(path, text, super::syntax(&error)))?;
    let servers = Table::read(
        root.get_ref(),
        0..0,
        "a list of servers",
        problems,
        |table| table.required::<Vec<At<Server>>>("servers", "servers = [\"10.0.0.11:8080\"]"),
    );
    // What could not be read is reported.
    Ok(servers.value.unwrap_or_default())
}

fn in_lines(text: &str, problems: &Problems) -> Vec<At<Server>> {
    let mut entries = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let said = line.split('#').next().unwrap_or_default();
        if !said.trim().is_empty() {
            entries.extend(in_line(said, start, problems));
        }
        start += line.len();
    }
    entries
}

/// The entry of a line that begins at `start` of the text and is not blank;
/// nothing if it could not be read, which is reported.
fn in_line(line: &str, start: usize, problems: &Problems) -> Option<At<Server>> {
    let mut words = line.split_whitespace().map(|word| {
        let at = start + (word.as_ptr() as usize - line.as_ptr() as usize);
        (word, at..at + word.len())
    });
    let (address, span) = words.next()?;
    let mut table = ServerTable {
        address: Some(text(address, span.clone())),
        ..ServerTable::default()
    };
    let mut good = true;
    for (word, span) in words {
        let fault = match word.split_once('=') {
            Some(("weight", number)) if table.weight.is_none() => match number.parse() {
                Ok(number) => {
                    let value = Ok(number);
                    table.weight = Some(At { span, value });
                    continue;
                }
                Err(_) => Fault::new(
                    format!("{} is no weight", quote(number)),
                    "write a number from 1 to 100",
                ),
            },
            Some(("zone", name)) if table.zone.is_none() => {
                table.zone = Some(text(name, span));
                continue;
            }
            _ => Fault::new(
                format!("{} says nothing of a server", quote(word)),
                "a line is an address, then perhaps `weight=N` and `zone=NAME`",
            ),
        };
        problems.push(fault.at(&span));
        good = false;
    }
    good.then_some(At {
        span,
        value: Ok(Server::Table(Box::new(table))),
    })
}

fn text(text: &str, span: Span) -> At<String> {
    At {
        span,
        value: Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
