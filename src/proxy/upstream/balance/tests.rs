use super::*;
use crate::config::ServerAddress;
use crate::drain::Protocol;
use crate::proxy::registry::{Mooring, Registry};
use crate::proxy::upstream::standing::Standing;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

/// An upstream whose servers have these weights.
fn config(weights: &[u32], balance: Balance) -> config::Upstream {
    // In falling order, so that the order of addresses is another one.
    let servers = weights.iter().zip((1..=100_u16).rev());
    let servers = servers.map(|(weight, port)| config::Server {
        name: port.to_string().into(),
        address: ServerAddress::Inet((Ipv4Addr::LOCALHOST, port).into()),
        weight: *weight,
        zone: None,
        found_by: None,
    });
    config::Upstream {
        name: "site".into(),
        servers: servers.collect(),
        sources: Vec::new(),
        discover: config::Discover::default(),
        http: config::UpstreamHttp::H1,
        health: None,
        balance,
        zone: None,
        spill: 70,
        panic: 0,
        slow_start: Duration::ZERO,
        eject: Some(config::Eject::default()),
        going: config::Going::default(),
        limits: config::UpstreamLimits::default(),
        adaptive: None,
        connect_timeout: Duration::from_secs(1),
        tls: None,
        proxy_protocol: None,
        pool: config::Pool::default(),
    }
}

/// A balancer and one worker that chooses by it.
struct Choosing {
    balancer: Balancer,
    rotation: Rotation,
}

impl Choosing {
    fn of(config: &config::Upstream) -> Self {
        let registry = Registry::new();
        let known = |server: &config::Server| {
            let berth = registry.berth(&config.name, &server.name);
            (berth, Standing::new(None))
        };
        let servers: Arc<[Server]> = config
            .servers
            .iter()
            .map(|server| Server::new(config, server, known(server)).expect("an address"))
            .collect();
        let balancer = Balancer::new(config, &servers);
        let rotation = balancer.rotation();
        Self { balancer, rotation }
    }

    fn by(weights: &[u32], balance: Balance) -> Self {
        Self::of(&config(weights, balance))
    }

    fn turns(servers: usize) -> Self {
        Self::by(&vec![1; servers], Balance::RoundRobin)
    }

    fn select(&self, search: Search) -> Option<usize> {
        self.balancer.select(search, &self.rotation)
    }

    /// How often each server is chosen in so many choices.
    fn shares(&self, choices: usize) -> Vec<usize> {
        let mut shares = vec![0; self.balancer.servers.len()];
        for _ in 0..choices {
            shares[self.select(Search::new()).expect("a server")] += 1;
        }
        shares
    }

    fn set_up(&self, server: usize, up: bool) {
        self.balancer.servers[server].set_up(up);
        self.balancer.redraw();
    }
}

#[test]
fn round_robin_visits_each_server_once_a_round() {
    let choosing = Choosing::turns(5);
    for _ in 0..3 {
        assert_eq!(choosing.shares(5), [1; 5]);
    }
}

#[test]
fn weights_are_shares_and_turns_are_interleaved() {
    let choosing = Choosing::by(&[3, 1], Balance::RoundRobin);
    for _ in 0..3 {
        let turns: Vec<_> = (0..4).map(|_| choosing.select(Search::new())).collect();
        assert_eq!(turns, [Some(0), Some(0), Some(1), Some(0)]);
    }
    assert_eq!(
        Choosing::by(&[5, 3, 2], Balance::RoundRobin).shares(1000),
        [500, 300, 200]
    );
}

#[test]
fn workers_begin_at_different_servers() {
    for weights in [[1, 1, 1], [1, 2, 3]] {
        let choosing = Choosing::by(&weights, Balance::RoundRobin);
        let first = |_| {
            let other = choosing.balancer.rotation();
            choosing.balancer.select(Search::new(), &other)
        };
        assert!(
            (0..3).map(first).collect::<BTreeSet<_>>().len() > 1,
            "{weights:?}"
        );
    }
}

#[test]
fn an_untried_server_is_found_and_then_none() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastInFlight,
        Balance::Hash(HashBy::Client),
    ] {
        let choosing = Choosing::by(&[1, 9, 3], balance);
        for untried in 0..3 {
            let mut search = choosing
                .balancer
                .search_of_client(Ipv4Addr::LOCALHOST.into());
            (0..3)
                .filter(|&server| server != untried)
                .for_each(|server| search.mark(server));
            for _ in 0..30 {
                assert_eq!(choosing.select(search), Some(untried));
            }
            search.mark(untried);
            assert_eq!(choosing.select(search), None);
        }
    }
}

#[test]
fn who_looks_for_another_server_takes_no_turn() {
    for weights in [[1, 1, 1, 1], [4, 3, 2, 1]] {
        let choosing = Choosing::by(&weights, Balance::RoundRobin);
        let total = usize::try_from(weights.iter().sum::<u32>()).expect("small");
        let (mut first, mut then) = ([0; 4], [0; 4]);
        for _ in 0..100 * total {
            let server = choosing.select(Search::new()).expect("a server");
            first[server] += 1;
            if server == 0 {
                let mut search = Search::new();
                search.mark(server);
                then[choosing.select(search).expect("another")] += 1;
            }
        }
        let shares = weights.map(|weight| 100 * usize::try_from(weight).expect("small"));
        assert_eq!(first, shares, "as if nothing had failed");
        assert_eq!(then[0], 0);
        assert!(then[1..].iter().all(|count| *count > 0), "{then:?}");
    }
}

#[test]
fn a_server_that_is_down_is_not_selected() {
    for servers in [1, 2] {
        let choosing = Choosing::turns(servers);
        choosing.set_up(0, false);
        let other = (servers == 2).then_some(1);
        for _ in 0..4 {
            assert_eq!(choosing.select(Search::new()), other);
        }
    }
}

#[test]
fn who_is_passed_over_leaves_its_turns_to_all_others() {
    for weights in [[1, 1, 1, 1], [2, 4, 4, 4]] {
        let choosing = Choosing::by(&weights, Balance::RoundRobin);
        choosing.balancer.servers[0].berth.shut();
        assert_eq!(choosing.shares(300), [0, 100, 100, 100], "{weights:?}");
    }
}

#[test]
fn a_server_that_is_drained_is_not_selected_until_it_is_open_again() {
    for servers in [1, 2] {
        let choosing = Choosing::turns(servers);
        choosing.balancer.servers[0].berth.shut();
        let other = (servers == 2).then_some(1);
        for _ in 0..4 {
            assert_eq!(choosing.select(Search::new()), other);
        }
        choosing.balancer.servers[0].berth.open();
        assert!(choosing.shares(4)[0] > 0);
    }
}

#[test]
fn a_server_that_leaves_with_its_config_is_the_last_resort() {
    let choosing = Choosing::turns(2);
    choosing.balancer.servers[0].berth.leave();
    for _ in 0..4 {
        assert_eq!(choosing.select(Search::new()), Some(1));
    }
    choosing.set_up(1, false);
    assert_eq!(choosing.select(Search::new()), Some(0));
    let mut search = Search::new();
    search.mark(0);
    assert_eq!(choosing.select(search), None);
}

#[test]
fn the_less_busy_of_two_is_selected() {
    let choosing = Choosing::by(&[1, 1], Balance::LeastInFlight);
    let busy = Mooring::new(&choosing.balancer.servers[0].berth);
    assert!(busy.enter(Protocol::Http1));
    // The other one, unless the busy one is drawn as often as may be.
    assert!(choosing.shares(1000)[1] > 900);
    assert_eq!(choosing.balancer.servers[0].berth.aboard(), 1);
}

#[test]
fn what_is_in_flight_counts_by_weight() {
    let choosing = Choosing::by(&[1, 3], Balance::LeastInFlight);
    let servers = &choosing.balancer.servers;
    let holds: Vec<_> = servers
        .iter()
        .map(|server| Mooring::new(&server.berth))
        .collect();
    for _ in 0..4000 {
        let server = choosing.select(Search::new()).expect("a server");
        assert!(holds[server].enter(Protocol::Http1));
    }
    let shares = [0, 1].map(|server: usize| servers[server].berth.aboard());
    assert!((900..1100).contains(&shares[0]), "{shares:?}");
    assert_eq!(shares[0] + shares[1], 4000);
}

fn clients() -> impl Iterator<Item = IpAddr> {
    (0..2000_u32).map(|number| Ipv4Addr::from_bits(0x0a00_0000 + number).into())
}

#[test]
fn a_key_stays_with_its_server_and_only_those_of_a_server_that_leaves_move() {
    let choosing = Choosing::by(&[1, 1, 2], Balance::Hash(HashBy::Client));
    let of = |client| choosing.select(choosing.balancer.search_of_client(client));
    let before: BTreeMap<_, _> = clients().map(|client| (client, of(client))).collect();
    let share = |server| before.values().filter(|one| **one == Some(server)).count();
    for (server, expected) in [(0, 500), (1, 500), (2, 1000)] {
        let share = share(server);
        assert!(
            (expected - 150..expected + 150).contains(&share),
            "{server}: {share}"
        );
    }
    assert!(
        clients().all(|client| of(client) == before[&client]),
        "again"
    );
    choosing.set_up(0, false);
    let mut heirs = BTreeSet::new();
    for client in clients() {
        let now = of(client);
        if before[&client] == Some(0) {
            heirs.insert(now);
        } else {
            assert_eq!(now, before[&client]);
        }
    }
    assert_eq!(
        heirs,
        BTreeSet::from([Some(1), Some(2)]),
        "not one of them alone"
    );
    choosing.set_up(0, true);
    assert!(
        clients().all(|client| of(client) == before[&client]),
        "back"
    );
}

#[test]
fn who_has_no_key_takes_turns() {
    let by = HashBy::Header(http::HeaderName::from_static("x-user"));
    let choosing = Choosing::by(&[1, 1], Balance::Hash(by));
    let search = choosing
        .balancer
        .search(&HeaderMap::new(), Ipv4Addr::LOCALHOST.into());
    assert_eq!(search.spot, None);
    assert_eq!(choosing.shares(10), [5, 5]);
    let fields = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-user"),
        http::HeaderValue::from_static("ada"),
    )]);
    let search = choosing
        .balancer
        .search(&fields, Ipv4Addr::LOCALHOST.into());
    let one = choosing.select(search);
    assert!((0..10).all(|_| choosing.select(search) == one));
}

/// Two servers here, two elsewhere.
fn in_zones(spill: u32) -> Choosing {
    let mut config = config(&[1; 4], Balance::RoundRobin);
    config.zone = Some("here".into());
    config.spill = spill;
    for (index, server) in config.servers.iter_mut().enumerate() {
        server.zone = Some(if index < 2 {
            "here".into()
        } else {
            "there".into()
        });
    }
    Choosing::of(&config)
}

#[test]
fn exchanges_stay_in_the_zone_while_enough_is_healthy_there() {
    let choosing = in_zones(70);
    assert_eq!(choosing.shares(100), [50, 50, 0, 0]);
    choosing.set_up(0, false);
    // Half is left of the 70 % that all need: five sevenths stay.
    let shares = choosing.shares(7000);
    assert_eq!(shares[0], 0);
    assert!(shares[1].abs_diff(5000) < 10, "{shares:?}");
    assert!(
        shares[2].abs_diff(1000) < 10 && shares[3].abs_diff(1000) < 10,
        "{shares:?}"
    );
    choosing.set_up(1, false);
    assert_eq!(choosing.shares(100), [0, 0, 50, 50]);
    choosing.set_up(0, true);
    choosing.set_up(2, false);
    choosing.set_up(3, false);
    assert_eq!(
        choosing.shares(10),
        [10, 0, 0, 0],
        "there is nobody elsewhere"
    );
}

#[test]
fn a_zone_without_a_threshold_keeps_all_while_one_is_left() {
    let choosing = in_zones(0);
    choosing.set_up(0, false);
    assert_eq!(choosing.shares(10), [0, 10, 0, 0]);
    choosing.set_up(1, false);
    assert_eq!(choosing.shares(10), [0, 0, 5, 5]);
}

#[test]
fn in_a_panic_all_are_used() {
    let mut config = config(&[1; 4], Balance::RoundRobin);
    config.panic = 50;
    let choosing = Choosing::of(&config);
    choosing.set_up(0, false);
    choosing.set_up(1, false);
    assert!(!choosing.balancer.panics());
    assert_eq!(choosing.shares(8), [0, 0, 4, 4]);
    choosing.set_up(2, false);
    assert!(choosing.balancer.panics());
    assert_eq!(choosing.shares(8), [2, 2, 2, 2]);
    choosing.set_up(0, true);
    assert!(!choosing.balancer.panics());
}
