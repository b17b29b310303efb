//! Servers drained and taken back under load: no request goes to one that is
//! drained, and none is lost.

use super::{Pair, json, path_of};
use crate::support::clients::{Http1, Http2};
use crate::support::servers::Server;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tokio::task::JoinHandle;

/// How often a server is drained and taken back.
const ROUNDS: usize = 20;

#[derive(Clone, Default)]
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
}

impl Load {
    fn keep_alive(&self, address: SocketAddr) -> JoinHandle<()> {
        let load = self.clone();
        tokio::spawn(async move {
            let mut client = Http1::connect(address).await;
            while !load.stop.load(SeqCst) {
                let reply = client.get("/").await.expect("an answer");
                assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"));
                load.served.fetch_add(1, SeqCst);
            }
        })
    }

    fn streams(&self, address: SocketAddr) -> JoinHandle<()> {
        let load = self.clone();
        tokio::spawn(async move {
            let client = Http2::connect(address).await;
            while !load.stop.load(SeqCst) {
                let (one, two) = tokio::join!(client.get("/"), client.get("/bytes/20000"));
                assert_eq!(one.expect("an answer").status, 200);
                assert_eq!(two.expect("an answer").body.len(), 20_000);
                load.served.fetch_add(2, SeqCst);
            }
        })
    }

    /// Wait for so many more.
    async fn more(&self, count: u64, tasks: &[JoinHandle<()>]) {
        let before = self.served.load(SeqCst);
        while self.served.load(SeqCst) < before + count
            && !tasks.iter().any(JoinHandle::is_finished)
        {
            tokio::task::yield_now().await;
        }
    }
}

async fn under_load(servers: [Server; 2], more: &str) {
    let pair = Pair::start(servers, more).await;
    let load = Load::default();
    let web = pair.proxy.address("web");
    let tasks = [
        load.keep_alive(web),
        load.keep_alive(web),
        load.keep_alive(web),
        load.streams(web),
    ];
    for round in 0..ROUNDS {
        let drained = &pair.servers[round % 2];
        load.more(20, &tasks).await;
        let begun = pair.drain(drained, "").await;
        let seen = drained.desk.seen().requests as u64;
        let counts = begun["in_flight"].as_object().expect("counts").values();
        let in_flight: u64 = counts.map(|count| count.as_u64().expect("a number")).sum();
        load.more(20, &tasks).await;
        let receipt = pair.receipt(drained).await;
        assert_eq!(receipt["lost"], 0, "{receipt}");
        // What was counted as in flight may have been on its way.
        let over = drained.desk.seen().requests as u64;
        assert!(over <= seen + in_flight, "{over} > {seen} + {in_flight}");
        load.more(20, &tasks).await;
        assert_eq!(drained.desk.seen().requests as u64, over, "no more came");
        json(&pair.take_back(drained).await, 200);
        let progress = pair.proxy.json(&path_of(drained)).await;
        assert_eq!(progress["state"], "serving");
    }
    load.stop.store(true, SeqCst);
    for task in tasks {
        task.await.expect("every request was served");
    }
    let sums = pair.over().await;
    assert_eq!((sums.farewelled, sums.cut), (0, 0));
}

#[tokio::test]
async fn no_request_goes_to_a_drained_server_of_http1() {
    under_load([Server::http1().await, Server::http1().await], "").await;
}

#[tokio::test]
async fn no_request_goes_to_a_drained_server_of_http2() {
    let servers = [Server::http2().await, Server::http2().await];
    under_load(servers, "http = \"h2\"").await;
}
