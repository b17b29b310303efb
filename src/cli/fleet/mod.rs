//! Many processes at once: `--fleet`.
//!
//! `status` asks all of them; `drain` walks through them (`walk` decides,
//! `drain` does). Who starts the successors is somebody else: systemd, an
//! orchestrator, a person. This only asks.
//!
//! Invariant: an address that cannot be asked is said, never left out.
//!
//! Deliberately absent: addresses that change. Who is in the fleet is looked
//! up once; a pod whose successor has another address is its orchestrator's to
//! replace.

mod account;
mod drain;
mod show;
mod walk;

pub(super) use drain::drain;
pub(super) use show::status;

use super::args::{Address, Fleet, Remote};
use super::client::{Patience, exchange};
use crate::admin::view::Status;
use anyhow::{Context, bail};
use futures_util::future::join_all;
use http::Method;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::lookup_host;

/// One of a fleet: how to ask it.
type Member = Remote;

/// Everybody in this fleet, asked as `remote` says.
///
/// # Errors
/// If a name or a file cannot be read, nobody is in it, or one is twice.
async fn members(fleet: &Fleet, remote: &Remote) -> anyhow::Result<Vec<Member>> {
    let addresses = match fleet {
        Fleet::These(these) => these.clone(),
        Fleet::File(path) => listed(path)?,
        Fleet::Dns { host, secure } => named(host, *secure).await?,
    };
    if addresses.is_empty() {
        bail!("nobody is in this fleet; nothing was done");
    }
    for (at, address) in addresses.iter().enumerate() {
        if addresses[..at].contains(address) {
            bail!("{address} is in this fleet twice; nothing was done");
        }
    }
    let member = |admin| Remote {
        admin,
        ..remote.clone()
    };
    Ok(addresses.into_iter().map(member).collect())
}

/// One address a line; what follows `#` is for people.
fn listed(path: &Path) -> anyhow::Result<Vec<Address>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the fleet's file {} cannot be read", path.display()))?;
    let mut addresses = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match line.parse() {
            Ok(address) => addresses.push(address),
            Err(why) => bail!("{}:{}: {line:?}: {why}", path.display(), number + 1),
        }
    }
    Ok(addresses)
}

/// Every address of a name, in their own order, whatever the answer's was.
async fn named(host: &str, secure: bool) -> anyhow::Result<Vec<Address>> {
    let found = lookup_host(host).await;
    let found = found.with_context(|| format!("{host} cannot be looked up"))?;
    let mut found: Vec<_> = found.collect();
    found.sort_unstable();
    found.dedup();
    let address = |at: SocketAddr| {
        if secure {
            let name = host.to_owned();
            Address::Named { name, at }
        } else {
            Address::Host(at.to_string())
        }
    };
    Ok(found.into_iter().map(address).collect())
}

/// How a member is, or why it cannot be said.
async fn look(member: &Member) -> anyhow::Result<Status> {
    let body = exchange(
        member,
        Method::GET,
        "/v1/status",
        String::new(),
        Patience::Short,
    )
    .await?;
    serde_json::from_slice(&body)
        .context("the answer is not what this version expects; is the proxy of another one?")
}

/// The same of all, asked at once.
async fn look_at_all(members: &[Member]) -> Vec<anyhow::Result<Status>> {
    join_all(members.iter().map(look)).await
}

#[cfg(test)]
mod tests;
