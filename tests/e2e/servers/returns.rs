//! A server that is taken back: at any time, and at once where that harms
//! nobody.

use super::{Pair, asks, json, told};
use crate::support::clients::{Ended, Http1, Raw};
use crate::support::servers::Server;

#[tokio::test]
async fn before_its_deadline_it_serves_again_at_once_and_nobody_is_told() {
    let pair = Pair::http1().await;
    let mut client = asks(&pair.proxy, "/hold").await;
    let drained = pair.with_requests(1).await;
    pair.drain(drained, "{\"finish\":\"10s\"}").await;
    let back = json(&pair.take_back(drained).await, 200);
    assert_eq!(
        (&back["state"], &back["in_flight"]["http1"]),
        (&"serving".into(), &1.into())
    );
    let before = drained.desk.seen().requests;
    let mut others = Http1::connect(pair.proxy.address("web")).await;
    while drained.desk.seen().requests == before {
        assert_eq!(others.get("/").await.expect("an answer").status, 200);
    }
    drained.desk.release();
    client.read_until("held").await.expect("the answer");
    drop((client, others));
    pair.over().await;
}

#[tokio::test]
async fn one_that_is_drained_stays_out_until_then() {
    let pair = Pair::http1().await;
    let [one, two] = &pair.servers;
    pair.drain(one, "").await;
    pair.until(one, "drained").await;
    let mut client = Http1::connect(pair.proxy.address("web")).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.expect("an answer").status, 200);
    }
    assert_eq!(
        (one.desk.seen().requests, two.desk.seen().requests),
        (0, 10)
    );
    json(&pair.take_back(one).await, 200);
    while one.desk.seen().requests == 0 {
        assert_eq!(client.get("/").await.expect("an answer").status, 200);
    }
    // And out again, as often as one likes.
    pair.drain(one, "").await;
    pair.until(one, "drained").await;
    drop(client);
    pair.over().await;
}

#[tokio::test]
async fn after_a_farewell_it_returns_when_those_have_left_who_were_told() {
    let servers = [Server::tcp().await, Server::tcp().await];
    let pair = Pair::start_with(servers, "", "4s").await;
    let mut stays = Raw::connect(pair.proxy.address("tcp")).await;
    stays.send("hello\n").await.expect("sent");
    stays.read_until("hello\n").await.expect("an echo");
    let drained = pair.with_requests(1).await;
    pair.drain(drained, "{\"finish\":\"0s\"}").await;
    drained
        .desk
        .until("its end", |seen| seen.finished == 1)
        .await;
    let back = json(&pair.take_back(drained).await, 202);
    assert_eq!(back["state"], "returning");
    // Whoever was told is cut in its time all the same.
    pair.until(drained, "serving").await;
    assert_eq!(stays.rest().await.1, Ended::Fin);
    let line = pair.proxy.until_event("told", |_| true).await;
    assert_eq!(
        (&line["outcome"], &line["why"]),
        (&"cut".into(), &"server_drained".into())
    );
    pair.over().await;
}

#[tokio::test]
async fn one_that_was_to_return_can_be_kept_out_after_all() {
    let servers = [Server::tcp().await, Server::tcp().await];
    let pair = Pair::start_with(servers, "", "4s").await;
    let mut stays = Raw::connect(pair.proxy.address("tcp")).await;
    stays.send("hello\n").await.expect("sent");
    stays.read_until("hello\n").await.expect("an echo");
    let drained = pair.with_requests(1).await;
    pair.drain(drained, "{\"finish\":\"0s\"}").await;
    drained
        .desk
        .until("its end", |seen| seen.finished == 1)
        .await;
    json(&pair.take_back(drained).await, 202);
    let again = pair.drain(drained, "").await;
    assert_eq!(again["state"], "draining");
    let over = pair.until(drained, "drained").await;
    assert_eq!(
        told(&over["receipt"]),
        ["tcp cut server_drained server_drained"]
    );
    drop(stays);
    pair.over().await;
}
