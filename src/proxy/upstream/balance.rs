//! Which server is next.
//!
//! Purpose: pingora's round robin over the servers that are up, less those
//! that an exchange has tried already, answered as an index.
//!
//! Invariant: if some server is up and untried, one is found. Round robin
//! alone does not promise that: its counter is shared by all workers, so one
//! worker's walk may step over a server that the others' steps landed on.
//!
//! Deliberately absent: weights, least-in-flight and hashing, which the
//! configuration refuses so far.

use super::server::Server;
use super::tried::Tried;
use futures_util::FutureExt;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::discovery::Static;
use pingora_load_balancing::health_check::HealthCheck;
use pingora_load_balancing::selection::RoundRobin;
use pingora_load_balancing::{Backend, Backends, Extensions, LoadBalancer};
use std::sync::Arc;

/// Addresses in order, to find a server's index without hashing.
#[derive(Debug)]
pub(super) struct Addresses(Box<[(SocketAddr, usize)]>);

impl Addresses {
    pub(super) fn new(servers: &[Server]) -> Self {
        let mut table: Vec<_> = servers
            .iter()
            .enumerate()
            .map(|(index, server)| (server.peer._address.clone(), index))
            .collect();
        table.sort_unstable();
        Self(table.into_boxed_slice())
    }

    /// The index of the server with this address.
    pub(super) fn index(&self, address: &SocketAddr) -> Option<usize> {
        let at = self
            .0
            .binary_search_by(|(known, _)| known.cmp(address))
            .ok()?;
        Some(self.0[at].1)
    }
}

/// The selection over one upstream's servers, shared by all workers.
pub(super) struct Balancer {
    servers: Arc<[Server]>,
    addresses: Arc<Addresses>,
    rotation: LoadBalancer<RoundRobin>,
}

impl Balancer {
    /// Over `servers`; `health`, if any, is what [`Self::check_all`] asks.
    pub(super) fn new(
        servers: &Arc<[Server]>,
        addresses: &Arc<Addresses>,
        health: Option<Box<dyn HealthCheck + Send + Sync>>,
    ) -> Self {
        let targets = servers.iter().map(|server| Backend {
            addr: server.peer._address.clone(),
            weight: 1,
            // Left empty: a selection clones it.
            ext: Extensions::new(),
        });
        let mut rotation =
            LoadBalancer::from_backends(Backends::new(Static::new(targets.collect())));
        if let Some(health) = health {
            rotation.set_health_check(health);
        }
        // The list is in memory, so that this neither waits nor fails; if it
        // did, `first_untried` would still find every server.
        let _ = rotation.update().now_or_never();
        Self {
            servers: Arc::clone(servers),
            addresses: Arc::clone(addresses),
            rotation,
        }
    }

    /// The next server that is up and not in `tried`.
    pub(super) fn select(&self, tried: Tried) -> Option<usize> {
        if let [only] = &*self.servers {
            return (only.up() && !tried.contains(0)).then_some(0);
        }
        // Twice round: enough to meet an untried server whoever else steps.
        let steps = 2 * self.servers.len();
        self.rotation
            .select_with(b"", steps, |target, up| {
                up && self
                    .addresses
                    .index(&target.addr)
                    .is_some_and(|index| !tried.contains(index))
            })
            .and_then(|target| self.addresses.index(&target.addr))
            .or_else(|| self.first_untried(tried))
    }

    fn first_untried(&self, tried: Tried) -> Option<usize> {
        (0..self.servers.len()).find(|&index| self.servers[index].up() && !tried.contains(index))
    }

    /// Ask every server for its health, at the same time.
    pub(super) async fn check_all(&self) {
        self.rotation.backends().run_health_check(true).await;
    }
}
