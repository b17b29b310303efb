//! What clients see of servers that deploy, die, flap, or are not there.
//!
//! The binary serves clients that ask for one thing after the other, over
//! HTTP/1.1, HTTP/2 and gRPC, with bodies and without, and repeat nothing
//! themselves. Behind it servers fail, in one way for each row of the table, and
//! each row has a bar that it must keep to.
//!
//! `make faults` runs it. The environment says how much of it: `FAULTS_DEPLOYS`
//! (rolling deploys, 50), `FAULTS_REQUESTS` (to servers that close connections,
//! 100,000), `FAULTS_CUTS` (servers that are cut, 20), `FAULTS_SECONDS` (every
//! other fault, 5), `FAULTS_SEED` (1), `FAULTS_ONLY` (faults whose name has this in
//! it), `FAULTS_BINARY` (another proxy than the one that was built) and
//! `FAULTS_NGINX` (the nginx to deploy). A server that is not there any more needs
//! a network namespace, and so root.
//!
//! Deliberately absent: figures of speed. Clients, servers and proxy share the
//! machine. The exit code is 1 if a bar was missed.

mod books;
mod cases;
mod clients;
mod proxy;
mod servers;
mod table;

use anyhow::{Context as _, Result};
use cases::{CASES, Scale};
use std::env;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Builder;

fn number(name: &str, default: u64) -> Result<u64> {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name} is a number, not {text:?}")),
        Err(_) => Ok(default),
    }
}

fn main() -> Result<ExitCode> {
    if let Some(served) = servers::process::role() {
        return served.map(|()| ExitCode::SUCCESS);
    }
    let scale = Scale {
        deploys: number("FAULTS_DEPLOYS", 50)?,
        requests: number("FAULTS_REQUESTS", 100_000)?,
        cuts: number("FAULTS_CUTS", 20)?,
        time: Duration::from_secs(number("FAULTS_SECONDS", 5)?),
        seed: number("FAULTS_SEED", 1)?,
        thread: servers::thread()?,
    };
    let only = env::var("FAULTS_ONLY").unwrap_or_default();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    table::head()?;
    let mut kept = true;
    for case in CASES.iter().filter(|case| case.name.contains(&only)) {
        let row = runtime.block_on((case.run)(scale.clone()));
        let row = row.with_context(|| case.name)?;
        kept &= table::print(&row)?;
    }
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
