//! HTTP/2: slots, shared dials, and connections that take no more streams.

use super::*;
use crate::clock;
use crate::config::UpstreamHttp::H2;
use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use http::Response;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use tokio::sync::Notify;

/// What an HTTP/2 server has seen, and how it is told what to do.
#[derive(Default)]
pub(super) struct Far {
    pub(super) connections: AtomicUsize,
    pub(super) ended: AtomicUsize,
    /// Streams accepted, per connection.
    streams: Mutex<Vec<usize>>,
    pub(super) held: Mutex<Vec<SendResponse<Bytes>>>,
    going_away: AtomicBool,
    wake: Notify,
}

impl Far {
    /// Answer everything that waits.
    pub(super) fn answer(&self) {
        for mut respond in self.held.lock().drain(..) {
            respond.send_response(Response::new(()), true).unwrap();
        }
    }

    fn go_away(&self) {
        self.going_away.store(true, Relaxed);
        self.wake.notify_waiters();
    }
}

/// A server that allows `streams` at once and answers when it is told to.
pub(super) async fn far(streams: u32) -> (Arc<Far>, SocketAddr) {
    let (listener, address) = listen().await;
    let far = Arc::new(Far::default());
    let accepting = Arc::clone(&far);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let far = Arc::clone(&accepting);
            let number = far.connections.fetch_add(1, Relaxed);
            far.streams.lock().push(0);
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                builder.max_concurrent_streams(streams);
                let mut connection = builder.handshake(stream).await.unwrap();
                loop {
                    let wake = far.wake.notified();
                    tokio::select! {
                        accepted = connection.accept() => match accepted {
                            Some(Ok((_, respond))) => {
                                far.streams.lock()[number] += 1;
                                far.held.lock().push(respond);
                            }
                            _ => break,
                        },
                        () = wake => {
                            if far.going_away.load(Relaxed) {
                                connection.graceful_shutdown();
                            }
                        }
                    }
                }
                far.ended.fetch_add(1, Relaxed);
            });
        }
    });
    (far, address)
}

pub(super) fn open(lease: &mut Lease) -> (ResponseFuture, SendStream<Bytes>) {
    let Lease::Http2(lease) = lease else {
        panic!("not HTTP/2");
    };
    let mut head = Request::new(());
    *head.uri_mut() = Uri::from_static("http://site/");
    lease.send(head, true).unwrap()
}

#[tokio::test]
async fn slots_bound_the_streams_and_a_second_connection_is_opened() {
    let (far, address) = far(3).await;
    let pool = pool(&config(&[address], H2));
    let mut leases = Vec::new();
    let mut responses = Vec::new();
    for count in 1..=7 {
        let mut lease = lease(&pool).await;
        assert_eq!(lease.server_index(), 0);
        assert_eq!(&**lease.server(), address.to_string());
        assert_eq!(lease.reused(), count % 3 != 1, "{count}");
        responses.push(open(&mut lease).0);
        leases.push(lease);
    }
    assert!(pool.lease_idle(&Search::new()).is_some(), "two are left");
    until("all requests", || far.held.lock().len() == 7).await;
    assert_eq!(far.connections.load(Relaxed), 3);
    assert_eq!(*far.streams.lock(), [3, 3, 1]);
    far.answer();
    for response in responses {
        assert_eq!(response.await.unwrap().status(), 200);
    }
    drop(leases);
    // All slots are free again: nothing needs to be dialled.
    let again: Vec<_> = (0..9)
        .map(|_| pool.lease_idle(&Search::new()).expect("a slot"))
        .collect();
    assert!(again.iter().all(Lease::reused));
    assert!(pool.lease_idle(&Search::new()).is_none());
    assert_eq!(far.connections.load(Relaxed), 3);
}

#[tokio::test]
async fn many_at_once_share_one_dial() {
    let (far, address) = far(100).await;
    let pool = pool(&config(&[address], H2));
    let leases = futures_util::future::join_all((0..100).map(|_| lease(&pool))).await;
    assert_eq!(leases.len(), 100);
    assert_eq!(far.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn as_many_are_dialled_as_those_who_wait_need() {
    let (far, address) = far(10).await;
    let pool = pool(&config(&[address], H2));
    let leases = futures_util::future::join_all((0..30).map(|_| lease(&pool))).await;
    assert_eq!(leases.len(), 30);
    assert_eq!(far.connections.load(Relaxed), 3);
}

#[tokio::test]
async fn a_dial_outlives_the_exchange_that_began_it() {
    let (far, address) = far(10).await;
    let pool = pool(&config(&[address], H2));
    let mut tried = Search::new();
    let mut first = Box::pin(pool.lease(None, &mut tried));
    let begun = futures_util::FutureExt::now_or_never(&mut first);
    assert!(begun.is_none(), "it waits for the dial");
    let second = lease(&pool);
    drop(first);
    second.await;
    assert_eq!(far.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn after_goaway_new_streams_go_elsewhere_and_old_ones_run_on() {
    let (far, address) = far(10).await;
    let pool = pool(&config(&[address], H2));
    let mut old = lease(&pool).await;
    let (response, _) = open(&mut old);
    until("the request", || far.held.lock().len() == 1).await;
    far.go_away();
    until("the GOAWAY", || pool.lease_idle(&Search::new()).is_none()).await;
    far.going_away.store(false, Relaxed);
    let mut new = lease(&pool).await;
    assert!(!new.reused());
    assert_eq!(far.connections.load(Relaxed), 2);
    let (second, _) = open(&mut new);
    until("the second request", || far.held.lock().len() == 2).await;
    far.answer();
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(second.await.unwrap().status(), 200);
    drop(old);
    until("the old connection's end", || far.ended.load(Relaxed) == 1).await;
}

#[tokio::test]
async fn a_lease_that_finds_goaway_tells_that_its_server_is_going() {
    let (far, address) = far(100).await;
    let upstream = fresh(&config(&[address], H2)).unwrap();
    let pool = upstream.pool();
    let mut first = lease(&pool).await;
    let (response, _) = open(&mut first);
    let Lease::Http2(mut late) = lease(&pool).await else {
        panic!("not HTTP/2");
    };
    until("the request", || far.held.lock().len() == 1).await;
    far.go_away();
    let mut streams = Vec::new();
    until("the GOAWAY", || {
        let mut head = Request::new(());
        *head.uri_mut() = Uri::from_static("http://site/");
        match late.send(head, true) {
            Ok(stream) => {
                streams.push(stream);
                false
            }
            Err(error) => error.is_go_away(),
        }
    })
    .await;
    assert!(!upstream.heed_goaway(0), "nobody has told yet");
    late.retire();
    assert!(upstream.heed_goaway(0));
    assert_eq!(
        upstream.servers()[0].position,
        super::super::Position::Going
    );
    far.answer();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_retired_connection_takes_no_more_streams() {
    let (far, address) = far(10).await;
    let pool = pool(&config(&[address], H2));
    let first = lease(&pool).await;
    let Lease::Http2(retiring) = &first else {
        panic!("not HTTP/2");
    };
    retiring.retire();
    assert!(pool.lease_idle(&Search::new()).is_none());
    drop(first);
    until("its end", || far.ended.load(Relaxed) == 1).await;
    assert!(!lease(&pool).await.reused());
}

#[tokio::test]
async fn a_connection_that_broke_is_not_leased() {
    let (listener, address) = listen().await;
    let pool = pool(&config(&[address], H2));
    let accept = async {
        let stream = listener.accept().await.unwrap().0;
        let mut connection = h2::server::handshake(stream).await.unwrap();
        // Driven until the client has its SETTINGS, then left to fall.
        let accepted = connection.accept().await.unwrap().unwrap();
        drop(accepted);
        drop(connection);
    };
    let client = async {
        let mut lease = lease(&pool).await;
        let (response, _) = open(&mut lease);
        assert!(response.await.is_err());
    };
    tokio::join!(accept, client);
    until("the end", || pool.lease_idle(&Search::new()).is_none()).await;
}

#[tokio::test]
async fn what_is_idle_for_too_long_is_let_go() {
    let (far, address) = far(10).await;
    let pool = pool(&config(&[address], H2));
    drop(lease(&pool).await);
    pool.tend(clock::now());
    assert_eq!(pool.http2_connections(0), 1);
    let busy = lease(&pool).await;
    let late = clock::now() + config::Pool::default().idle;
    pool.tend(late);
    assert_eq!(pool.http2_connections(0), 1, "in use");
    drop(busy);
    pool.tend(late + Duration::from_secs(1));
    assert_eq!(pool.http2_connections(0), 0);
    until("its end", || far.ended.load(Relaxed) == 1).await;
}

#[tokio::test]
async fn an_earlier_generation_takes_no_more_streams() {
    let (far, address) = far(10).await;
    let pool = pool(&config(&[address], H2));
    let mut old = lease(&pool).await;
    let (response, _) = open(&mut old);
    pool.upstream().servers[0].berth.renew();
    assert!(pool.lease_idle(&Search::new()).is_none());
    assert!(!lease(&pool).await.reused());
    until("the request", || far.held.lock().len() == 1).await;
    far.answer();
    assert_eq!(response.await.unwrap().status(), 200);
    drop(old);
    until("its end", || far.ended.load(Relaxed) == 1).await;
}

#[tokio::test]
async fn a_closed_pool_lets_go_and_still_leases() {
    let (far, address) = far(10).await;
    let pool = pool(&config(&[address], H2));
    drop(lease(&pool).await);
    pool.close();
    until("its end", || far.ended.load(Relaxed) == 1).await;
    drop(lease(&pool).await);
    pool.tend(clock::now());
    until("the next one's end", || far.ended.load(Relaxed) == 2).await;
}
