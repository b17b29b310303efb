//! The books balance, however clients and servers leave.
//!
//! Hundreds of clients of every protocol come and go, most of them badly, by
//! a seed that a failure names. Whatever they did, afterwards nobody is left
//! in the live table, every view of it says the same, and a drain's receipt
//! adds up to what was there when it began.

mod breaker;
mod clients;
mod held;
mod seed;
mod view;

use super::scene::{Plan, Scene, ended};
use crate::support::clients::Raw;
use crate::support::proxy::Signal;
use crate::support::within;
use breaker::Breaker;
use clients::Client;
use held::Held;
use http::Method;
use seed::Seed;
use serde_json::Value;
use std::sync::Arc;
use tokio::task::JoinSet;
use view::View;

/// Clients that come and go.
const CLIENTS: u64 = 300;
/// Clients at once.
const AT_ONCE: usize = 40;

/// Deadlines short enough to be passed, one by one.
const PLAN: Plan = Plan {
    http: "300ms",
    grpc: "500ms",
    websocket: "300ms",
    tcp: "400ms",
    farewell: "400ms",
    ..Plan::CALM
};

async fn begin(plan: &Plan, breaker: &Breaker) -> Arc<Scene> {
    Arc::new(Scene::start_with(plan, &breaker.config()).await)
}

/// Clients of every kind, each with an end of its own.
async fn come_and_go(scene: &Arc<Scene>, seed: u64) {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        if clients.len() == AT_ONCE {
            clients.join_next().await.expect("some").expect("no panic");
        }
        let client = Client::new(Seed::of(seed, number));
        let scene = Arc::clone(scene);
        let what = format!("the end of client {number} of seed {seed}: {client:?}");
        clients.spawn(async move { within(&what, client.live(&scene)).await });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("no panic");
    }
}

async fn until_nobody_is_left(scene: &Scene) {
    let empty = |connections: &[Value]| connections.is_empty();
    scene.until_connections("an empty table", empty).await;
}

#[tokio::test]
async fn whoever_leaves_badly_leaves_nothing_behind() {
    let breaker = Breaker::new().await;
    for seed in [1, 2] {
        let scene = begin(&Plan::CALM, &breaker).await;
        come_and_go(&scene, seed).await;
        until_nobody_is_left(&scene).await;
        let view = View::of(&scene.proxy).await;
        view.agrees(seed);
        assert_eq!(view.connections(), 0, "seed {seed}");
        for (protocol, in_flight) in view.in_flight() {
            assert_eq!(in_flight, 0, "seed {seed}: {protocol}");
        }
        // The servers have been told too: nothing is worked on for nobody.
        for (name, server) in [
            ("http1", &scene.http1),
            ("http2", &scene.http2),
            ("grpc", &scene.grpc),
            ("websocket", &scene.websocket),
            ("tcp", &scene.tcp),
        ] {
            let ended = |seen: &crate::support::seen::Seen| {
                seen.requests > 0 && seen.requests == seen.finished + seen.cancelled
            };
            server.desk.until(name, ended).await;
        }
        let scene = Arc::into_inner(scene).expect("no client is left");
        scene.proxy.signal(Signal::TERM);
        let sums = scene.over().await;
        let all = sums.finished + sums.farewelled + sums.cut;
        assert_eq!(all, 0, "seed {seed}: nothing was in flight");
    }
}

#[tokio::test]
async fn a_receipt_adds_up_to_what_was_there() {
    let breaker = Breaker::new().await;
    for seed in [11, 12] {
        let scene = begin(&PLAN, &breaker).await;
        come_and_go(&scene, seed).await;
        until_nobody_is_left(&scene).await;
        let mut held = Held::all(&scene).await;
        held.settled(&scene).await;
        let view = View::of(&scene.proxy).await;
        view.agrees(seed);
        assert_eq!(view.connections(), held.connections(), "seed {seed}");
        assert_eq!(view.in_flight(), held.in_flight(), "seed {seed}");

        let mut waiting = Raw::connect(scene.proxy.admin()).await;
        let ask =
            "GET /v1/drain?wait=true HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let begun = scene.proxy.ask(Method::POST, "/v1/drain", "").await;
        assert_eq!(begun.status, 202, "{begun:?}");
        waiting.send(ask).await.expect("sent");
        scene.stage("finish").await;
        // Some end well, some vanish, some stay until they are told.
        scene.http1.desk.release();
        held.some_leave(&mut Seed::of(seed, 0));
        let answer = waiting.rest().await.0;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let body = answer.split_once("\r\n\r\n").expect("an answer").1;
        let receipt: Value = serde_json::from_str(body).expect("JSON");
        view::adds_up(&receipt, &held, seed);
        drop(held);
        let mut scene = Arc::into_inner(scene).expect("no client is left");
        let sums = ended(&mut scene.proxy).await;
        assert_eq!(
            [sums.finished, sums.farewelled, sums.cut],
            view::sums(&receipt),
            "seed {seed}: the log and the receipt"
        );
    }
}
