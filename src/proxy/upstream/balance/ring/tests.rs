use super::*;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

fn servers(weights: &[u32]) -> Vec<Server> {
    let servers = weights.iter().zip(1..);
    let server = |(weight, last): (&u32, u8)| Server {
        name: last.to_string().into(),
        address: ServerAddress::Inet((Ipv4Addr::new(10, 0, 0, last), 80).into()),
        weight: *weight,
        zone: None,
        found_by: None,
    };
    servers.map(server).collect()
}

fn first(ring: &Ring, key: u32) -> usize {
    let spot = ring.spot(&key.to_le_bytes());
    ring.from(spot).next().expect("a server")
}

#[test]
fn the_order_of_the_config_means_nothing() {
    let mut servers = servers(&[1, 2, 1]);
    let ring = Ring::new(&servers);
    servers.reverse();
    let reversed = Ring::new(&servers);
    assert!((0..1000).all(|key| first(&ring, key) == 2 - first(&reversed, key)));
}

#[test]
fn weights_with_a_common_divisor_make_the_same_ring() {
    let (small, large) = (
        Ring::new(&servers(&[1, 2, 3])),
        Ring::new(&servers(&[30, 60, 90])),
    );
    assert!((0..1000).all(|key| first(&small, key) == first(&large, key)));
}

#[test]
fn a_server_that_is_added_takes_keys_from_all_and_moves_no_others() {
    let (before, after) = (Ring::new(&servers(&[1; 3])), Ring::new(&servers(&[1; 4])));
    let mut from = BTreeSet::new();
    let mut moved = 0;
    for key in 0..4000 {
        let (old, new) = (first(&before, key), first(&after, key));
        if old != new {
            assert_eq!(new, 3);
            from.insert(old);
            moved += 1;
        }
    }
    assert_eq!(from.len(), 3);
    assert!((700..1300).contains(&moved), "about a quarter: {moved}");
}

#[test]
fn unix_sockets_have_their_share() {
    let server = |path: &str| Server {
        name: path.into(),
        address: ServerAddress::Unix(path.into()),
        weight: 1,
        zone: None,
        found_by: None,
    };
    let ring = Ring::new(&[server("/run/a.sock"), server("/run/b.sock")]);
    let a = (0..2000).filter(|key| first(&ring, *key) == 0).count();
    assert!((700..1300).contains(&a), "{a}");
}

#[test]
fn every_server_comes_in_the_end() {
    let ring = Ring::new(&servers(&[1, 50, 100]));
    for key in 0_u32..100 {
        let spot = ring.spot(&key.to_le_bytes());
        let come: BTreeSet<_> = ring.from(spot).take(2000).collect();
        assert!(come.contains(&1) && come.contains(&2));
    }
}

#[test]
fn a_number_of_a_spot_is_even_and_its_own() {
    let below = |spot: u32| Spot(spot).below(1000);
    let half = (0..10_000).filter(|spot| below(*spot) < 500).count();
    assert!((4500..5500).contains(&half), "{half}");
    assert_eq!(below(7), below(7));
}
