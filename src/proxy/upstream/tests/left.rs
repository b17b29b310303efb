//! Servers that come back while something is left of them.

use super::*;
use std::net::IpAddr;

fn with(servers: &[u16], registry: &Registry, before: Option<&Upstream>) -> Arc<Upstream> {
    let address = |port: &u16| SocketAddr::from(([127, 0, 0, 1], *port));
    let servers: Vec<_> = servers.iter().map(address).collect();
    let config = config(&servers, config::UpstreamHttp::H1);
    Upstream::new(&config, registry, before).unwrap()
}

#[test]
fn one_that_is_back_while_it_drains_stands_as_it_stood() {
    let registry = Registry::new();
    let first = with(&[1, 2], &registry, None);
    first.servers[0].set_up(false);
    let drains = Arc::clone(&first.servers[0].berth);
    let second = with(&[2], &registry, Some(&first));
    let third = with(&[2, 3], &registry, Some(&second));
    drop((first, second));
    let back = with(&[1, 2, 3], &registry, Some(&third));
    assert!(Arc::ptr_eq(&back.servers[0].berth, &drains));
    assert!(!back.servers[0].up(), "it was down");
    let gone = with(&[2, 3], &registry, Some(&back));
    drop((third, back, drains));
    let fresh = with(&[1, 2, 3], &registry, Some(&gone));
    assert!(fresh.servers[0].up(), "nothing of it was left");
}

#[test]
fn an_upstream_may_have_no_server_for_a_while() {
    let registry = Registry::new();
    for balance in [
        config::Balance::RoundRobin,
        config::Balance::LeastInFlight,
        config::Balance::Hash(config::HashBy::Client),
    ] {
        let config = config::Upstream {
            balance,
            panic: 50,
            zone: Some("a".into()),
            ..config(&[], config::UpstreamHttp::H1)
        };
        let upstream = Upstream::new(&config, &registry, None).unwrap();
        let search = upstream.search_of_client(IpAddr::from([10, 0, 0, 1]));
        assert!(upstream.pool().lease_idle(&search).is_none());
        assert!(!upstream.is_up() && !upstream.takes_exchanges());
    }
}
