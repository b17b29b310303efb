//! HTTP/1.1: reuse, and what must not be reused.

use super::*;
use crate::clock;
use crate::config::UpstreamHttp::H1;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A server that answers each request head with its connection's number, and
/// hands out its connections so that a test can end them.
pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) ended: Arc<AtomicUsize>,
    enders: mpsc::UnboundedReceiver<mpsc::UnboundedSender<()>>,
}

pub(super) async fn scripted() -> Scripted {
    let (listener, address) = listen().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicUsize::new(0));
    let (hand_out, enders) = mpsc::unbounded_channel();
    let (opened, closed) = (Arc::clone(&connections), Arc::clone(&ended));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = opened.fetch_add(1, Relaxed) + 1;
            let (end, told) = mpsc::unbounded_channel();
            let _ = hand_out.send(end);
            let closed = Arc::clone(&closed);
            tokio::spawn(async move {
                answer(stream, number, told).await;
                closed.fetch_add(1, Relaxed);
            });
        }
    });
    Scripted {
        address,
        connections,
        ended,
        enders,
    }
}

async fn answer(mut stream: TcpStream, number: usize, mut told: mpsc::UnboundedReceiver<()>) {
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        tokio::select! {
            biased;
            Some(()) = told.recv() => return,
            read = stream.read(&mut byte) => match read {
                Ok(1) => head.push(byte[0]),
                _ => return,
            },
        }
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            let response = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_idle_connection_is_used_again() {
    let server = scripted().await;
    let pool = pool(&config(&[server.address], H1));
    assert!(pool.lease_idle(&Search::new()).is_none(), "nothing yet");
    let first = lease(&pool).await;
    assert!(!first.reused());
    assert_eq!(first.server_index(), 0);
    assert_eq!(&**first.server(), server.address.to_string());
    assert_eq!(exchange(first).await.1, "1");
    for _ in 0..5 {
        let next = pool.lease_idle(&Search::new()).expect("at once");
        assert!(next.reused());
        assert_eq!(exchange(next).await.1, "1");
    }
    assert_eq!(server.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn a_lease_that_is_not_kept_closes_its_connection() {
    let server = scripted().await;
    let pool = pool(&config(&[server.address], H1));
    let Lease::Http1(mut first) = lease(&pool).await else {
        panic!("not HTTP/1.1");
    };
    let response = first.send(get("/")).await.unwrap();
    drop(first);
    drop(response);
    until("the close", || server.ended.load(Relaxed) == 1).await;
    assert!(pool.lease_idle(&Search::new()).is_none());
    assert_eq!(exchange(lease(&pool).await).await.1, "2");
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_not_leased() {
    let mut server = scripted().await;
    let pool = pool(&config(&[server.address], H1));
    exchange(lease(&pool).await).await;
    server.enders.recv().await.unwrap().send(()).unwrap();
    // Taking and keeping it again shows when the close has been seen.
    until("the close", || match pool.lease_idle(&Search::new()) {
        Some(Lease::Http1(lease)) => {
            lease.keep();
            false
        }
        Some(Lease::Http2(_)) => panic!("not HTTP/1.1"),
        None => true,
    })
    .await;
    assert_eq!(exchange(lease(&pool).await).await.1, "2");
}

#[tokio::test]
async fn a_request_that_met_a_close_comes_back_whole() {
    let mut server = scripted().await;
    let pool = pool(&config(&[server.address], H1));
    exchange(lease(&pool).await).await;
    let Lease::Http1(mut stale) = lease(&pool).await else {
        panic!("not HTTP/1.1");
    };
    assert!(stale.reused());
    server.enders.recv().await.unwrap().send(()).unwrap();
    until("the close", || stale.held.sender.is_closed()).await;
    let failed = stale.send(get("/again")).await.unwrap_err();
    assert!(matches!(failed.error, crate::proxy::Error::Http1(_)));
    let request = failed.request.expect("nothing of it was sent");
    assert_eq!(request.uri(), "/again");
    assert_eq!(request.headers()["host"], "site");
    drop(stale);
    // The same request, on the next connection.
    let Lease::Http1(mut fresh) = lease(&pool).await else {
        panic!("not HTTP/1.1");
    };
    assert!(!fresh.reused());
    assert_eq!(fresh.send(*request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_connection_that_is_not_ready_is_neither_leased_at_once_nor_lost() {
    let (listener, address) = listen().await;
    let pool = pool(&config(&[address], H1));
    let (leased, accepted) = tokio::join!(lease(&pool), listener.accept());
    let mut far = accepted.unwrap().0;
    let Lease::Http1(mut unready) = leased else {
        panic!("not HTTP/1.1");
    };
    // In flight: the connection wants no other request.
    let answer = unready.held.sender.try_send_request(get("/"));
    let mut head = [0; 64];
    assert!(far.read(&mut head).await.unwrap() > 0);
    unready.keep();
    assert!(pool.lease_idle(&Search::new()).is_none());
    far.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(answer.await.unwrap().status(), 204);
    let Lease::Http1(ready) = lease(&pool).await else {
        panic!("not HTTP/1.1");
    };
    assert!(ready.reused(), "the same connection, waited for");
}

#[tokio::test]
async fn what_is_idle_for_too_long_is_let_go() {
    let server = scripted().await;
    let pool = pool(&config(&[server.address], H1));
    exchange(lease(&pool).await).await;
    pool.tend(clock::now());
    assert!(pool.lease_idle(&Search::new()).is_some_and(|lease| {
        let Lease::Http1(lease) = lease else {
            return false;
        };
        lease.keep();
        true
    }));
    pool.tend(clock::now() + config::Pool::default().idle);
    until("the close", || server.ended.load(Relaxed) == 1).await;
    assert!(pool.lease_idle(&Search::new()).is_none());
}

#[tokio::test]
async fn an_earlier_generation_is_neither_leased_nor_kept() {
    let server = scripted().await;
    let pool = pool(&config(&[server.address], H1));
    exchange(lease(&pool).await).await;
    let in_flight = lease(&pool).await;
    assert_eq!(exchange(lease(&pool).await).await.1, "2");
    pool.upstream().servers[0].berth.renew();
    assert!(pool.lease_idle(&Search::new()).is_none());
    assert_eq!(exchange(in_flight).await.1, "1", "it ran on");
    assert!(pool.lease_idle(&Search::new()).is_none(), "it was not kept");
    pool.tend(clock::now());
    until("both closes", || server.ended.load(Relaxed) == 2).await;
}

#[tokio::test]
async fn a_closed_pool_keeps_nothing_and_still_leases() {
    let server = scripted().await;
    let pool = pool(&config(&[server.address], H1));
    exchange(lease(&pool).await).await;
    pool.close();
    until("the close", || server.ended.load(Relaxed) == 1).await;
    assert_eq!(exchange(lease(&pool).await).await.1, "2");
    until("the close", || server.ended.load(Relaxed) == 2).await;
}

#[tokio::test]
async fn a_pool_that_is_gone_leaves_no_connection() {
    let server = scripted().await;
    let pool = pool(&config(&[server.address], H1));
    exchange(lease(&pool).await).await;
    drop(pool);
    until("the close", || server.ended.load(Relaxed) == 1).await;
}

fn is_send<T: Send>(_: &T) {}

#[tokio::test]
async fn the_futures_of_an_exchange_stay_small() {
    let (_socket, address) = nobody();
    let pool = pool(&config(&[address], H1));
    let mut tried = Search::new();
    let size = size_of_val(&pool.lease(None, &mut tried));
    assert!(size <= 160, "lease: {size} bytes");
    let size = size_of_val(&pool.dial(None, &mut tried));
    assert!(size <= 160, "dial: {size} bytes");
    is_send(&pool.lease(None, &mut tried));
    is_send(&pool.dial(None, &mut tried));
    assert!(size_of::<Lease>() <= 64, "{}", size_of::<Lease>());
}
