//! Which server is asked, and what is said when none can be.

use super::*;
use crate::config::UpstreamHttp::{H1, H2};
use crate::proxy::Error;
use std::collections::HashMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server that answers every head on every connection.
async fn answering() -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 1024];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_refused_connection_names_server_and_reason() {
    for http in [H1, H2] {
        let (_socket, address) = nobody();
        let pool = pool(&config(&[address], http));
        let mut tried = Search::new();
        match pool.lease(None, &mut tried).await.err().unwrap() {
            Error::Connect {
                upstream,
                server,
                reason,
            } => {
                assert_eq!(&*upstream, "site");
                assert_eq!(&*server, address.to_string());
                assert_eq!(reason, "connection refused");
            }
            other => panic!("{other}"),
        }
        assert!(tried.contains(0), "known to have failed");
    }
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_cannot_be_reached() {
    for http in [H1, H2] {
        let ((_one, down), (_two, also_down)) = (nobody(), nobody());
        let up = answering().await;
        let pool = pool(&config(&[down, up], H1));
        for _ in 0..4 {
            let mut tried = Search::new();
            let (_, server) = pool.dial(None, &mut tried).await.unwrap();
            assert_eq!(server, 1);
            let lease = pool.lease(None, &mut Search::new()).await.unwrap();
            assert_eq!(lease.server_index(), 1);
        }
        let pool = super::pool(&config(&[down, also_down], http));
        let mut tried = Search::new();
        let error = pool.lease(None, &mut tried).await.err().unwrap();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        assert!(tried.contains(0) && tried.contains(1));
        let error = pool.lease(None, &mut tried).await.err().unwrap();
        assert!(matches!(error, Error::NoServer { .. }), "{error}");
        let error = pool.dial(None, &mut Search::new()).await.err().unwrap();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_tried_server_is_avoided() {
    let servers = [answering().await, answering().await, answering().await];
    let pool = pool(&config(&servers, H1));
    let mut tried = Search::new();
    tried.mark(0);
    tried.mark(2);
    for _ in 0..6 {
        let lease = pool.lease(None, &mut tried).await.unwrap();
        assert_eq!(lease.server_index(), 1);
        exchange(lease).await;
    }
    tried.mark(1);
    let error = pool.lease(None, &mut tried).await.err().unwrap();
    assert!(matches!(error, Error::NoServer { .. }), "{error}");
}

#[tokio::test]
async fn each_server_has_its_turn_whether_or_not_it_has_idle_connections() {
    let servers = [answering().await, answering().await];
    let pool = pool(&config(&servers, H1));
    let mut turns = HashMap::new();
    for _ in 0..20 {
        // As an exchange does: first what is at hand, then with patience.
        let lease = match pool.lease_idle(&Search::new()) {
            Some(lease) => lease,
            None => pool.lease(None, &mut Search::new()).await.unwrap(),
        };
        *turns.entry(lease.server_index()).or_insert(0) += 1;
        exchange(lease).await;
    }
    assert_eq!(turns, HashMap::from([(0, 10), (1, 10)]));
}

#[tokio::test]
async fn a_server_that_is_up_is_found_whoever_else_selects() {
    let servers = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let pool = pool(&config(&servers, H1));
    let mut tried = Search::new();
    tried.mark(0);
    tried.mark(1);
    let rivals: Vec<_> = (0..4)
        .map(|_| {
            let pool = Arc::clone(&pool);
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    assert!(pool.select(Search::new()).is_some());
                }
            })
        })
        .collect();
    for _ in 0..20_000 {
        assert_eq!(pool.select(tried), Some(2));
    }
    for rival in rivals {
        rival.join().unwrap();
    }
}
