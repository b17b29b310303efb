//! What a pool keeps, for how long, and what it dials ahead, by a clock of the
//! test's own.

use super::http1::scripted;
use super::http2::{far, open};
use super::*;
use crate::clock;
use crate::config::UpstreamHttp::{H1, H2};
use crate::drain::Timestamp;
use crate::proxy::upstream::Closed;
use std::sync::atomic::Ordering::Relaxed;

fn policy(change: impl FnOnce(&mut config::Pool)) -> config::Pool {
    let mut pool = config::Pool {
        jitter: 0,
        ..config::Pool::default()
    };
    change(&mut pool);
    pool
}

fn pool_by(
    server: SocketAddr,
    http: config::UpstreamHttp,
    change: impl FnOnce(&mut config::Pool),
) -> Arc<Pool> {
    let mut config = config(&[server], http);
    config.pool = policy(change);
    pool(&config)
}

fn later(by: Duration) -> Timestamp {
    clock::now() + by
}

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const NEARLY: Duration = Duration::from_secs(59);

/// Why connections have ended, without the reasons that none had.
fn closed(pool: &Arc<Pool>) -> Vec<(Closed, u64)> {
    let connections = pool.upstream().connections();
    let all = Closed::ALL.map(|why| (why, connections.closed(why)));
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[tokio::test]
async fn not_more_are_kept_than_may_be_and_the_oldest_goes() {
    let server = scripted().await;
    let pool = pool_by(server.address, H1, |pool| pool.max_idle = 2);
    let leases = [lease(&pool).await, lease(&pool).await, lease(&pool).await];
    for lease in leases {
        exchange(lease).await;
    }
    assert_eq!(pool.upstream().connections().idle(), 2);
    until("the close", || server.ended.load(Relaxed) == 1).await;
    assert_eq!(closed(&pool), [(Closed::Excess, 1)]);
    let kept = [lease(&pool).await, lease(&pool).await];
    for (lease, number) in kept.into_iter().zip(["3", "2"]) {
        assert_eq!(exchange(lease).await.1, number);
    }
}

#[tokio::test]
async fn where_none_is_kept_each_request_has_its_own() {
    let server = scripted().await;
    let pool = pool_by(server.address, H1, |pool| pool.max_idle = 0);
    for number in ["1", "2"] {
        assert_eq!(exchange(lease(&pool).await).await.1, number);
    }
    until("both closes", || server.ended.load(Relaxed) == 2).await;
    let (far, address) = far(10).await;
    let pool = pool_by(address, H2, |pool| pool.max_idle = 0);
    let busy = lease(&pool).await;
    pool.tend(clock::now());
    assert_eq!(pool.http2_connections(0), 1, "it is not idle");
    drop(busy);
    pool.tend(clock::now());
    until("its end", || far.ended.load(Relaxed) == 1).await;
    assert_eq!(closed(&pool), [(Closed::Excess, 1)]);
}

#[tokio::test]
async fn a_connection_carries_as_many_requests_as_it_may() {
    let server = scripted().await;
    let pool = pool_by(server.address, H1, |pool| pool.max_requests = 2);
    for number in ["1", "1", "2", "2", "3"] {
        assert_eq!(exchange(lease(&pool).await).await.1, number);
    }
    until("two closes", || server.ended.load(Relaxed) == 2).await;
    assert_eq!(closed(&pool), [(Closed::Requests, 2)]);
}

#[tokio::test]
async fn an_http2_connection_carries_as_many_streams_as_it_may_and_ends_with_its_last() {
    let (far, address) = far(10).await;
    let pool = pool_by(address, H2, |pool| pool.max_requests = 3);
    let mut leases = Vec::new();
    for count in 0..7 {
        let mut lease = lease(&pool).await;
        assert_eq!(lease.reused(), count % 3 != 0, "{count}");
        let (response, _) = open(&mut lease);
        leases.push((lease, response));
    }
    until("all streams", || far.held.lock().len() == 7).await;
    assert_eq!(far.connections.load(Relaxed), 3);
    far.answer();
    for (lease, response) in leases {
        assert_eq!(response.await.unwrap().status(), 200);
        drop(lease);
    }
    until("two ends", || far.ended.load(Relaxed) == 2).await;
    assert_eq!(closed(&pool), [(Closed::Requests, 2)]);
}

#[tokio::test]
async fn an_own_limit_of_streams_counts_beside_the_servers() {
    let (far, address) = far(100).await;
    let pool = pool_by(address, H2, |pool| pool.streams = 2);
    let leases = [lease(&pool).await, lease(&pool).await, lease(&pool).await];
    assert_eq!(leases.map(|lease| lease.reused()), [false, true, false]);
    assert_eq!(far.connections.load(Relaxed), 2);
}

#[tokio::test]
async fn an_idle_connection_past_its_age_is_closed() {
    let server = scripted().await;
    let pool = pool_by(server.address, H1, |pool| {
        pool.max_age = MINUTE;
        pool.idle = HOUR;
    });
    exchange(lease(&pool).await).await;
    pool.tend(later(MINUTE / 2));
    assert_eq!(pool.upstream().connections().idle(), 1);
    pool.tend(later(MINUTE));
    until("the close", || server.ended.load(Relaxed) == 1).await;
    assert_eq!(closed(&pool), [(Closed::Age, 1)]);
}

#[tokio::test]
async fn an_http2_connection_that_grows_old_is_replaced_before_and_finishes_its_streams() {
    let (far, address) = far(10).await;
    let pool = pool_by(address, H2, |pool| pool.max_age = MINUTE);
    let mut old = lease(&pool).await;
    let (response, _) = open(&mut old);
    until("the stream", || far.held.lock().len() == 1).await;
    let due = pool.tend(later(MINUTE / 2));
    assert!(due <= later(MINUTE), "to be tended in time");
    assert_eq!(far.connections.load(Relaxed), 1);
    // A little before: the next one is dialled, and this one serves until then.
    pool.tend(later(NEARLY));
    assert!(lease(&pool).await.reused());
    until("the next one", || far.connections.load(Relaxed) == 2).await;
    until("its handshake", || {
        pool.lease_idle(&Search::new())
            .is_some_and(|lease| !lease.reused())
    })
    .await;
    assert_eq!(pool.http2_connections(0), 1, "the old one takes no more");
    pool.tend(later(NEARLY));
    assert_eq!(far.connections.load(Relaxed), 2, "one is enough");
    far.answer();
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(far.ended.load(Relaxed), 0);
    drop(old);
    until("its end", || far.ended.load(Relaxed) == 1).await;
    assert_eq!(closed(&pool), [(Closed::Age, 1)]);
}

#[tokio::test]
async fn an_old_connection_that_nobody_uses_is_not_replaced() {
    let (far, address) = far(10).await;
    let pool = pool_by(address, H2, |pool| {
        pool.max_age = MINUTE;
        pool.idle = HOUR;
    });
    drop(lease(&pool).await);
    for by in [NEARLY, MINUTE] {
        pool.tend(later(by));
    }
    until("its end", || far.ended.load(Relaxed) == 1).await;
    assert_eq!(pool.http2_connections(0), 0);
    assert_eq!(far.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn an_old_connection_that_keeps_a_server_warm_is_replaced_before_too() {
    let (far, address) = far(10).await;
    let pool = pool_by(address, H2, |pool| {
        pool.max_age = MINUTE;
        pool.idle = HOUR;
        pool.warm = 1;
    });
    pool.tend(clock::now());
    until("one", || pool.http2_connections(0) == 1).await;
    pool.tend(later(NEARLY));
    until("the next one", || closed(&pool) == [(Closed::Age, 1)]).await;
    assert_eq!(pool.http2_connections(0), 1);
    assert_eq!(far.connections.load(Relaxed), 2);
    pool.upstream().set_warming(false);
    pool.tend(later(NEARLY));
    pool.tend(later(MINUTE + Duration::from_secs(1)));
    until("its end", || closed(&pool) == [(Closed::Age, 2)]).await;
    assert_eq!(far.connections.load(Relaxed), 2, "not in a drain");
}

#[tokio::test]
async fn a_connection_that_cannot_be_replaced_ends_at_its_age_all_the_same() {
    let (listener, address) = listen().await;
    let pool = pool_by(address, H2, |pool| pool.max_age = MINUTE);
    let serve = async {
        let stream = listener.accept().await.unwrap().0;
        drop(listener);
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while connection.accept().await.is_some() {}
    };
    tokio::spawn(serve);
    let busy = lease(&pool).await;
    pool.tend(later(NEARLY));
    assert!(lease(&pool).await.reused());
    pool.tend(later(MINUTE));
    assert_eq!(pool.http2_connections(0), 0);
    drop(busy);
    until("its end", || closed(&pool) == [(Closed::Age, 1)]).await;
}

#[tokio::test]
async fn a_policy_that_changes_holds_for_connections_that_are_open() {
    let server = scripted().await;
    let registry = Registry::new();
    let mut config = config(&[server.address], H1);
    let before = Upstream::new(&config, &registry, None).unwrap();
    let old = before.pool();
    exchange(lease(&old).await).await;
    config.pool = policy(|pool| {
        pool.max_age = MINUTE;
        pool.idle = HOUR;
    });
    let after = Upstream::new(&config, &registry, Some(&before)).unwrap();
    let new = after.pool_in_place_of(&old);
    new.tend(later(MINUTE / 2));
    assert_eq!(exchange(lease(&new).await).await.1, "1", "it was kept");
    new.tend(later(MINUTE));
    until("the close", || server.ended.load(Relaxed) == 1).await;
    assert_eq!(closed(&new), [(Closed::Age, 1)]);
    assert_eq!(closed(&old), closed(&new), "one book for both");
}

#[tokio::test]
async fn a_server_is_kept_warm_from_the_start_on() {
    let server = scripted().await;
    let pool = pool_by(server.address, H1, |pool| pool.warm = 3);
    pool.tend(clock::now());
    let connections = pool.upstream().connections();
    until("three", || connections.idle() == 3).await;
    pool.tend(clock::now());
    let Lease::Http1(first) = pool.lease_idle(&Search::new()).expect("at once") else {
        panic!("not HTTP/1.1");
    };
    assert!(first.reused(), "its server may have closed it meanwhile");
    pool.tend(clock::now());
    assert_eq!(connections.made(), 3, "one in use is one of them");
    drop(first);
    until("the close", || server.ended.load(Relaxed) == 1).await;
    assert_eq!(closed(&pool), [(Closed::Exchange, 1)]);
    pool.tend(clock::now());
    until("another", || connections.idle() == 3).await;
}

#[tokio::test]
async fn only_what_is_missing_is_dialled_over_http2_too() {
    let (far, address) = far(10).await;
    let pool = pool_by(address, H2, |pool| pool.warm = 1);
    for _ in 0..3 {
        pool.tend(clock::now());
    }
    until("one", || pool.http2_connections(0) == 1).await;
    assert!(pool.lease_idle(&Search::new()).is_some());
    pool.tend(clock::now());
    assert_eq!(far.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn servers_that_are_not_well_and_pools_of_a_drain_dial_nothing_ahead() {
    let server = scripted().await;
    let pool = pool_by(server.address, H1, |pool| pool.warm = 1);
    let upstream = pool.upstream();
    let known = &upstream.servers[0];
    let is_left_alone = || {
        pool.tend(clock::now());
        assert_eq!(pool.stock.counts[0].usable(), 0);
        assert!(!upstream.warms(0));
    };
    known.set_up(false);
    is_left_alone();
    known.set_up(true);
    known.standing.set_ejected(true);
    is_left_alone();
    known.standing.set_ejected(false);
    known.berth.shut();
    is_left_alone();
    known.berth.open();
    upstream.set_warming(false);
    is_left_alone();
    upstream.set_warming(true);
    pool.tend(clock::now());
    until("one", || upstream.connections().idle() == 1).await;
    assert_eq!(server.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn connections_are_counted_until_their_sockets_are_closed() {
    let server = scripted().await;
    let pool = pool_by(server.address, H1, |_| ());
    let connections = Arc::clone(pool.upstream().connections());
    let busy = lease(&pool).await;
    exchange(lease(&pool).await).await;
    let (tunnel, _) = pool.dial(None, &mut Search::new()).await.unwrap();
    assert_eq!((connections.open(), connections.idle()), (3, 1));
    assert_eq!(connections.left(), 2, "a tunnel ends with its exchange");
    pool.close();
    until("the idle one", || connections.open() == 2).await;
    drop(busy);
    timeout(LIMIT, connections.until_closed()).await.unwrap();
    drop(tunnel);
    until("all", || connections.open() == 0).await;
    let ended = [(Closed::Exchange, 2), (Closed::Drain, 1)];
    assert_eq!(closed(&pool), ended);
    assert_eq!(connections.made(), 3);
}
