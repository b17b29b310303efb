//! FLOOR 5: the command line.
//!
//! [`main`] is the whole program: it reads the arguments (`args`), does what
//! they say, here (`local`: run, check, schema, demo) or by asking a running
//! process (`remote`, through `client`), and turns what came of it into an
//! exit code.
//!
//! Invariant: results go to standard output and nothing else does; what went
//! wrong goes to standard error. The exit code says which of the two to read
//! ([`exit`]).
//!
//! Deliberately absent: decisions. What a command can do, the floors below can
//! do without it.

mod args;
mod client;
pub mod demo;
pub mod exit;
mod fleet;
mod handover;
mod list;
mod local;
mod output;
mod remote;
#[cfg(test)]
mod sample;
mod secure;
mod server;
mod text;
mod top;
mod wait;

use crate::process::signal::{self, Signals};
use args::{Arguments, Command};
use clap::Parser;
use output::Done;
use std::io;
use std::process::ExitCode;

/// Run the program: its arguments are read from the process, and the exit
/// code is returned.
#[must_use]
pub fn main() -> ExitCode {
    // Before the arguments are read: a signal that comes while a proxy starts
    // must not be lost. The other commands keep the default, which ends them.
    let runs = std::env::args_os().nth(1).is_some_and(|word| word == "run");
    let signals = if runs { Some(signal::install()) } else { None };
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Help that was asked for is a result, and no error.
            let _ = usage.print();
            return if usage.use_stderr() {
                exit::USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    done(arguments.command, signals).unwrap_or_else(|error| {
        let complaint = format!("ebbtide: {error:#}");
        Done::failed(exit::FAILED, complaint).tell()
    })
}

fn done(command: Command, signals: Option<io::Result<Signals>>) -> anyhow::Result<ExitCode> {
    let done = match command {
        Command::Run(what) => local::run(what, signals)?,
        // It has its own way of telling, while it goes on.
        Command::Demo => return demo::run(),
        Command::Check(file) => local::check(&file),
        Command::Schema => local::schema()?,
        Command::Status(what) => match &what.fleet {
            Some(many) => fleet::status(many, &what.remote)?,
            None => remote::status(&what.remote)?,
        },
        Command::Top(what) => top::top(&what)?,
        Command::Connections(what) => remote::connections(&what)?,
        Command::Drain(what) => match &what.walk.fleet {
            Some(many) => fleet::drain(&what, many)?,
            None => remote::drain(&what)?,
        },
        Command::Reload(what) => remote::reload(&what)?,
        Command::Handover(what) => handover::handover(&what)?,
        Command::Forecast(what) => remote::forecast(&what)?,
        Command::Receipt(what) => remote::receipt(&what)?,
        Command::Config(remote) => remote::config(&remote)?,
    };
    Ok(done.tell())
}
