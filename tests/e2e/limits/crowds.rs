//! How many connections there may be: of a client, and of all.

use super::{HONEST, OK, Scene, config};
use crate::drain::scene::until_connections;
use crate::support::clients::{Ended, Raw};
use http::Method;

/// A connection that says it is this client's.
async fn of(scene: &Scene, client: &str) -> Raw {
    let mut raw = scene.raw().await;
    let (family, here) = if client.contains(':') {
        ("TCP6", "2001:db8::1")
    } else {
        ("TCP4", "192.0.2.1")
    };
    let header = format!("PROXY {family} {client} {here} 4711 80\r\n");
    raw.send(header).await.expect("sent");
    raw
}

/// A request of it, answered.
async fn answered(raw: &mut Raw, what: &str) {
    raw.send(HONEST).await.expect(what);
    raw.read_until(OK).await.expect(what);
}

/// It is closed without an answer.
async fn closed(mut raw: Raw, what: &str) {
    // What was not read answers with a reset.
    let _ = raw.send(HONEST).await;
    let (bytes, _) = raw.rest().await;
    assert!(bytes.is_empty(), "{what}: {}", bytes.escape_ascii());
}

const TWO: &str = "proxy_protocol = true\nlimits = { per_client = 2 }";

#[tokio::test]
async fn a_client_with_too_many_connections_keeps_those_that_it_has() {
    let scene = Scene::with(TWO).await;
    for (one, other, third, neighbour) in [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8"),
        (
            "2001:db8:0:7::1",
            "2001:db8:0:7::2",
            "2001:db8:0:7:8::3",
            "2001:db8:0:8::1",
        ),
    ] {
        let before = scene.limited("per_client").await;
        let (mut one, mut other) = (of(&scene, one).await, of(&scene, other).await);
        answered(&mut one, "the first").await;
        answered(&mut other, "the second").await;
        closed(of(&scene, third).await, third).await;
        scene.until_limited("per_client", before + 1).await;
        let mut neighbour = of(&scene, neighbour).await;
        answered(&mut neighbour, "another client").await;
        answered(&mut one, "the first once more").await;
        drop(other);
        until_connections(&scene.proxy, "two", |there| there.len() == 2).await;
        let mut third = of(&scene, third).await;
        answered(&mut third, "in the place of the second").await;
        drop((one, third, neighbour));
        until_connections(&scene.proxy, "nobody", <[_]>::is_empty).await;
    }
    scene.over().await;
}

#[tokio::test]
async fn clients_of_this_machine_have_no_limit_of_their_own() {
    let scene = Scene::with("limits = { per_client = 1 }").await;
    let mut there = Vec::new();
    for _ in 0..3 {
        let mut raw = scene.raw().await;
        answered(&mut raw, "a connection").await;
        there.push(raw);
    }
    assert_eq!(scene.limited("per_client").await, 0);
    drop(there);
    scene.over().await;
}

#[tokio::test]
async fn a_reload_changes_the_limit_for_who_comes_and_loses_nobody() {
    let scene = Scene::with(TWO).await;
    let mut there = Vec::new();
    for _ in 0..2 {
        let mut raw = of(&scene, "192.0.2.7").await;
        answered(&mut raw, "a connection").await;
        there.push(raw);
    }
    closed(of(&scene, "192.0.2.7").await, "a third").await;
    for (limit, admits) in [(3, true), (1, false), (0, true)] {
        let limits = TWO.replace("per_client = 2", &format!("per_client = {limit}"));
        scene
            .proxy
            .write_config(&config(&scene.server, &limits, ""));
        let done = scene.proxy.ask(Method::POST, "/v1/reload", "").await;
        assert_eq!(done.status, 200, "{}", done.text());
        let mut next = of(&scene, "192.0.2.7").await;
        if admits {
            answered(&mut next, "one more").await;
            there.push(next);
        } else {
            closed(next, "one too many").await;
        }
        for raw in &mut there {
            answered(raw, "who was there").await;
        }
    }
    drop(there);
    scene.over().await;
}

#[tokio::test]
async fn who_finds_the_process_full_waits_while_others_are_served() {
    let process = "[process]\nconnections = 2\nlogs = { format = \"json\" }\n";
    let scene = Scene::and("", process).await;
    let (mut one, mut other) = (scene.raw().await, scene.raw().await);
    answered(&mut one, "the first").await;
    answered(&mut other, "the second").await;
    let mut waiting = scene.raw().await;
    waiting.send(HONEST).await.expect("sent");
    scene.until_limited("process_connections", 1).await;
    answered(&mut one, "the first once more").await;
    drop(other);
    waiting.read_until(OK).await.expect("its turn");
    // One that still waits when the drain begins is served in it.
    let mut last = scene.raw().await;
    last.send(HONEST).await.expect("sent");
    scene.until_limited("process_connections", 2).await;
    let over = scene.over();
    let served = async {
        last.read_until(OK).await.expect("an answer");
        assert_eq!(last.rest().await.1, Ended::Fin);
        drop((one, waiting));
    };
    tokio::join!(over, served);
}
