//! Which server is next.
//!
//! Purpose: pingora's round robin over the servers that are up and not being
//! drained, less those that an exchange has tried already, answered as an index.
//!
//! Invariant: if some such server is untried, one is found. Round robin
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

    /// The next server that is up, is not being drained and is not in `tried`;
    /// where there is none, one that is leaving with its config.
    pub(super) fn select(&self, tried: Tried) -> Option<usize> {
        let next = if self.servers.len() == 1 {
            self.eligible(0, tried).then_some(0)
        } else {
            // Twice round, so that a step which another worker took in between
            // does not matter as a rule.
            self.select_within(2 * self.servers.len(), tried)
        };
        next.or_else(|| self.leaving(tried))
    }

    fn leaving(&self, tried: Tried) -> Option<usize> {
        let mut servers = self.servers.iter().enumerate();
        servers
            .find(|(index, server)| server.last_resort() && !tried.contains(*index))
            .map(|(index, _)| index)
    }

    fn select_within(&self, steps: usize, tried: Tried) -> Option<usize> {
        self.rotation
            .select_with(b"", steps, |target, up| {
                up && self
                    .addresses
                    .index(&target.addr)
                    .is_some_and(|index| self.eligible(index, tried))
            })
            .and_then(|target| self.addresses.index(&target.addr))
            .or_else(|| self.first_untried(tried))
    }

    fn first_untried(&self, tried: Tried) -> Option<usize> {
        (0..self.servers.len()).find(|&index| self.eligible(index, tried))
    }

    fn eligible(&self, index: usize, tried: Tried) -> bool {
        self.servers[index].wanted() && !tried.contains(index)
    }

    /// Ask every server for its health, at the same time.
    pub(super) async fn check_all(&self) {
        self.rotation.backends().run_health_check(true).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::proxy::registry::Registry;
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, SocketAddr as Inet};
    use std::time::Duration;

    fn balancer(servers: u16) -> Balancer {
        // In falling order, so that the address order is another one.
        let names: Vec<_> = (1..=servers)
            .rev()
            .map(|port| config::Server {
                name: port.to_string().into(),
                address: config::ServerAddress::Inet(Inet::from((Ipv4Addr::LOCALHOST, port))),
            })
            .collect();
        let config = config::Upstream {
            name: "site".into(),
            servers: names.clone(),
            http: config::UpstreamHttp::H1,
            health: None,
            balance: config::Balance::RoundRobin,
            connect_timeout: Duration::from_secs(1),
            tls: None,
            proxy_protocol: None,
        };
        let registry = Registry::new();
        let berth = |server: &config::Server| registry.berth(&config.name, &server.name);
        let servers: Arc<[Server]> = names
            .iter()
            .map(|server| Server::new(&config, server, berth(server)).expect("an address"))
            .collect();
        let addresses = Arc::new(Addresses::new(&servers));
        Balancer::new(&servers, &addresses, None)
    }

    #[test]
    fn round_robin_visits_each_server_once_a_round() {
        let balancer = balancer(5);
        for _ in 0..3 {
            let round: HashSet<_> = (0..5).map(|_| balancer.select(Tried::new())).collect();
            assert_eq!(round.len(), 5);
            assert!(!round.contains(&None));
        }
    }

    #[test]
    fn an_untried_server_is_found_though_the_rotation_steps_over_it() {
        let balancer = balancer(3);
        for untried in 0..3 {
            let mut tried = Tried::new();
            (0..3)
                .filter(|&server| server != untried)
                .for_each(|server| tried.mark(server));
            // One step, as if others had taken all those in between.
            for _ in 0..3 {
                assert_eq!(balancer.select_within(1, tried), Some(untried));
            }
            tried.mark(untried);
            assert_eq!(balancer.select_within(1, tried), None);
        }
    }

    #[test]
    fn a_server_that_is_down_is_not_selected() {
        for servers in [1, 2] {
            let balancer = balancer(servers);
            balancer.servers[0].set_up(false);
            let other = (servers == 2).then_some(1);
            for _ in 0..4 {
                assert_eq!(balancer.select(Tried::new()), other);
            }
        }
    }

    #[test]
    fn a_server_that_is_drained_is_not_selected_until_it_is_open_again() {
        for servers in [1, 2] {
            let balancer = balancer(servers);
            balancer.servers[0].berth.shut();
            let other = (servers == 2).then_some(1);
            for _ in 0..4 {
                assert_eq!(balancer.select(Tried::new()), other);
            }
            balancer.servers[0].berth.open();
            let seen: HashSet<_> = (0..4).map(|_| balancer.select(Tried::new())).collect();
            assert!(seen.contains(&Some(0)));
        }
    }

    #[test]
    fn a_server_that_leaves_with_its_config_is_the_last_resort() {
        let balancer = balancer(2);
        balancer.servers[0].berth.leave();
        for _ in 0..4 {
            assert_eq!(balancer.select(Tried::new()), Some(1));
        }
        balancer.servers[1].set_up(false);
        assert_eq!(balancer.select(Tried::new()), Some(0));
        let mut tried = Tried::new();
        tried.mark(0);
        assert_eq!(balancer.select(tried), None);
    }
}
