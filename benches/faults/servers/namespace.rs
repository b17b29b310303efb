//! A place of its own in the network, that can be lost: whatever is sent there
//! vanishes, and so does what is sent from there. No FIN, no RST, no ICMP.
//!
//! It is a network namespace behind a pair of interfaces. It is lost by taking its
//! address away; whom to send to is fixed, so that nobody finds out by ARP.

use anyhow::{Context as _, Result, bail};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command as Blocking;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use tokio::process::Command;

const OUR_MAC: &str = "02:00:00:00:00:01";
const ITS_MAC: &str = "02:00:00:00:00:02";

/// How many there were.
static NUMBER: AtomicU8 = AtomicU8::new(0);

/// A namespace; one that is dropped is gone.
pub(crate) struct Namespace {
    name: String,
    ours: Ipv4Addr,
    its: Ipv4Addr,
}

async fn ip(arguments: &str) -> Result<()> {
    let done = Command::new("ip").args(arguments.split(' ')).output();
    let done = done.await.context("cannot run ip")?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        bail!("ip {arguments}: {words} (a network namespace needs root)");
    }
    Ok(())
}

impl Namespace {
    pub(crate) async fn new() -> Result<Self> {
        let number = NUMBER.fetch_add(1, Relaxed);
        let id = std::process::id();
        let subnet = u8::try_from(id % 250)?;
        let own = Self {
            name: format!("faults-{id}-{number}"),
            ours: Ipv4Addr::new(10, 213, subnet, number * 4 + 1),
            its: Ipv4Addr::new(10, 213, subnet, number * 4 + 2),
        };
        let (name, ours, its) = (&own.name, own.ours, own.its);
        let (here, there) = (format!("fa{id}.{number}"), format!("fb{id}.{number}"));
        ip(&format!("netns add {name}")).await?;
        ip(&format!(
            "link add {here} address {OUR_MAC} type veth peer name {there} address {ITS_MAC}"
        ))
        .await?;
        ip(&format!("link set {there} netns {name}")).await?;
        ip(&format!("addr add {ours}/30 dev {here}")).await?;
        ip(&format!("link set {here} up")).await?;
        ip(&format!("-n {name} addr add {its}/30 dev {there}")).await?;
        ip(&format!("-n {name} link set {there} up")).await?;
        let fixed = "nud permanent";
        ip(&format!(
            "neigh replace {its} lladdr {ITS_MAC} dev {here} {fixed}"
        ))
        .await?;
        ip(&format!(
            "-n {name} neigh replace {ours} lladdr {OUR_MAC} dev {there} {fixed}"
        ))
        .await?;
        Ok(own)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// An address in it.
    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        (self.its, port).into()
    }

    fn addressed(&self, verb: &str) -> String {
        // Interfaces are named after the namespace, that goes with them.
        let there = self.name.replace("faults-", "fb").replace('-', ".");
        format!("-n {} addr {verb} {}/30 dev {there}", self.name, self.its)
    }

    /// Nothing reaches it, and nothing comes from it.
    pub(crate) async fn lose(&self) -> Result<()> {
        ip(&self.addressed("del")).await
    }

    /// It is reached again.
    pub(crate) async fn find(&self) -> Result<()> {
        ip(&self.addressed("add")).await?;
        // The fixed neighbour went with the address.
        let there = self.name.replace("faults-", "fb").replace('-', ".");
        ip(&format!(
            "-n {} neigh replace {} lladdr {OUR_MAC} dev {there} nud permanent",
            self.name, self.ours
        ))
        .await
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let mut command = Blocking::new("ip");
        // Its interfaces go with it.
        let _ = command.args(["netns", "del", &self.name]).output();
    }
}
