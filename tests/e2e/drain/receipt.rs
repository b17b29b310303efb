//! The receipt: who was told what and why, what had been foreseen, and who
//! did not heed it.

use super::scene::{Plan, Scene, Via, call, kept};
use crate::support::clients::{Frame, Frames, Http2, WebSocket};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use bytes::Bytes;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// Everything comes to its deadline, well after a client that does not read
/// counts as one.
const SHORT: Plan = Plan {
    http: "2500ms",
    grpc: "2500ms",
    websocket: "2500ms",
    tcp: "2500ms",
    ..Plan::CALM
};

/// What was told of the only exchange of this kind.
fn told<'a>(receipt: &'a Value, protocol: &str, doing: &str) -> &'a Value {
    let all = receipt["told"].as_array().expect("a list");
    let mut found = all
        .iter()
        .filter(|one| one["protocol"] == protocol && one["doing"] == doing);
    let one = found.next().unwrap_or_else(|| panic!("{receipt:#}"));
    assert_eq!(found.next(), None, "{receipt:#}");
    one
}

#[tokio::test]
async fn each_told_one_is_named_with_what_it_did_and_why_it_was_there() {
    let scene = Scene::start(&SHORT).await;
    let mut held = scene.raw(Via::Clear).await;
    held.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let client = scene.http2(Via::Clear).await;
    let (response, mut upload) = call(&client, "Watch").await;
    upload.send_data(Bytes::new(), true).expect("an end");
    let watching = within("a head", response).await.expect("a head");
    let reading = tokio::spawn(Http2::whole(watching));
    let mut small = h2::client::Builder::new();
    small.initial_window_size(0);
    let stuck = Http2::with(small, scene.wire(Via::Tls, "h2").await).await;
    let (response, _) = stuck
        .open(Http2::request("/begin"), true)
        .await
        .expect("a stream");
    let begun = within("a head", response).await.expect("a head");
    let socket = WebSocket::connect(scene.address("web"), "/chat").await;
    let mut tunnel = scene.tunnel(Via::Clear).await;
    tunnel.send("hello\n").await.expect("sent");
    tunnel.read_until("\n").await.expect("a line");
    let desk = scene.http1.desk.clone();
    desk.until("the requests", |seen| seen.requests == 2).await;
    scene.proxy.signal(Signal::TERM);
    socket.closed().await;
    tunnel.finish().await.expect("FIN");
    within("the stream's end", reading)
        .await
        .expect("the task")
        .expect("an end in order");
    Http2::whole(begun).await.expect_err("reset");
    held.rest().await;
    drop((client, stuck, tunnel));
    let receipt = scene.receipt().await;
    for (protocol, doing, what, why, route) in [
        ("http1", "awaiting", "unanswered", "deadline", "web/2"),
        ("grpc", "sending", "grpc_trailers", "deadline", "web/0"),
        (
            "http2",
            "blocked",
            "reset",
            "client_not_reading",
            "secure/2",
        ),
        (
            "websocket",
            "tunnel",
            "websocket_close",
            "deadline",
            "web/1",
        ),
        ("tcp", "tunnel", "half_close", "deadline", "tcp/0"),
    ] {
        let one = told(&receipt, protocol, doing);
        let said = (&one["outcome"], &one["what"], &one["why"], &one["route"]);
        let expected = [json!("farewelled"), json!(what), json!(why), json!(route)];
        assert_eq!(
            [said.0, said.1, said.2, said.3],
            expected.each_ref(),
            "{one:#}"
        );
        let peer = one["peer"].as_str().expect("an address");
        assert!(peer.starts_with("127.0.0.1:"), "{one:#}");
        assert!(one["age_ms"].as_f64() >= Some(2_000.0), "{one:#}");
    }
}

#[tokio::test]
async fn half_a_request_is_told_with_what_was_missing() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut head = scene.raw(Via::Clear).await;
    head.send("GET /half HTTP/1.1\r\nHo").await.expect("sent");
    let silent = scene.raw(Via::Clear).await;
    let mut preface = scene.raw(Via::Clear).await;
    preface.send("PRI * HT").await.expect("sent");
    scene
        .until_connections("all of them", |all| {
            let states: Vec<_> = all.iter().map(|one| one["state"].clone()).collect();
            let wanted = ["head", "accepted", "preface"];
            wanted.iter().all(|one| states.contains(&json!(one)))
        })
        .await;
    scene.proxy.signal(Signal::TERM);
    for client in [head, silent, preface] {
        client.rest().await;
    }
    let receipt = scene.receipt().await;
    let all = receipt["told"].as_array().expect("a list");
    let mut said: Vec<_> = all
        .iter()
        .map(|one| {
            assert_eq!(one["why"], "no_request", "{one:#}");
            assert_eq!(one["route"], json!(null));
            (one["doing"].as_str(), one["what"].as_str())
        })
        .collect();
    said.sort_unstable();
    assert_eq!(
        said,
        [
            (Some("half_head"), Some("half_head")),
            (Some("preface"), Some("fin")),
            (Some("silent"), Some("fin")),
        ]
    );
}

#[tokio::test]
async fn what_an_operator_cut_says_so() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut tunnel = scene.tunnel(Via::Clear).await;
    tunnel.send("hello\n").await.expect("sent");
    tunnel.read_until("\n").await.expect("a line");
    scene.proxy.signal(Signal::INT);
    scene.stage("finish").await;
    scene.proxy.signal(Signal::INT);
    tunnel.rest().await;
    let told_line = scene.proxy.until_event("told", |_| true).await;
    let receipt = scene.receipt().await;
    let one = told(&receipt, "tcp", "tunnel");
    assert_eq!(
        (&one["what"], &one["why"]),
        (&json!("operator"), &json!("operator"))
    );
    for field in ["peer", "route", "doing", "why", "connection"] {
        assert_eq!(told_line[field], one[field], "{field}");
    }
    assert_eq!(receipt["lost"], 1);
}

#[tokio::test]
async fn the_file_has_what_the_admin_interface_answers() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut tunnel = scene.tunnel(Via::Clear).await;
    tunnel.send("hello\n").await.expect("sent");
    tunnel.read_until("\n").await.expect("a line");
    scene.drain().await;
    let (waited, ()) = tokio::join!(scene.proxy.json("/v1/drain?wait=true"), async {
        tunnel.finish().await.expect("FIN");
        tunnel.rest().await;
    });
    let path = scene.proxy.path("receipt.json");
    let mut proxy = scene.proxy;
    assert_eq!(proxy.exit().await.code(), Some(0));
    assert_eq!(kept(&proxy), waited);
    let mode = std::fs::metadata(path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn a_receipt_that_cannot_be_kept_changes_nothing_but_the_log() {
    let server = Server::http1().await;
    let mut proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
         [upstream.site]\nservers = [\"{}\"]\n\n\
         [drain]\nannounce = \"0s\"\nreceipt = \"receipt.json\"\n",
        server.address
    ))
    .await;
    // Nobody can rename a file over a folder.
    std::fs::create_dir(proxy.path("receipt.json")).expect("made");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    let log = proxy.log();
    let mut lines = log.iter().filter(|line| line["event"] == "receipt");
    let line = lines.next().expect("a line");
    assert_eq!(line["level"], "ERROR", "{line}");
    let path = line["path"].as_str().expect("a path");
    assert!(path.ends_with("receipt.json"), "{line}");
}

#[tokio::test]
async fn what_was_foreseen_is_held_to_what_came() {
    let scene = Scene::start(&Plan {
        websocket: "300ms",
        ..Plan::CALM
    })
    .await;
    let socket = WebSocket::connect(scene.address("web"), "/chat").await;
    let mut held = scene.raw(Via::Clear).await;
    held.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let desk = scene.http1.desk.clone();
    desk.until("the request", |seen| seen.requests == 1).await;
    // The client has its 101 a moment before the proxy's books have a tunnel.
    let tunnel = |forecast: &Value| forecast.to_string().contains("\"basis\":\"endless\"");
    scene.proxy.until_json("/v1/drain/forecast", tunnel).await;
    scene.drain().await;
    socket.closed().await;
    desk.release();
    held.rest().await;
    let receipt = scene.receipt().await;
    let foretold = receipt["foretold"].as_array().expect("a list");
    let stages: Vec<&Value> = foretold.iter().map(|one| &one["stage"]).collect();
    assert_eq!(stages, ["announce", "refuse"]);
    for one in foretold {
        let compared = |finish, told, unknown| {
            json!({
                "finish": finish, "finish_came_true": finish,
                "told": told, "told_came_true": told,
                "unknown": unknown, "unknown_finished": unknown,
            })
        };
        let expected = json!({"http1": compared(0, 0, 1), "websocket": compared(0, 1, 0)});
        assert_eq!(one["protocols"], expected, "{one:#}");
        // The tunnel would be there until its deadline, and no longer.
        let length = one["duration_ms"].as_f64().expect("a length");
        assert!((300.0..60_000.0).contains(&length), "{one:#}");
    }
}

#[tokio::test]
async fn who_still_comes_after_readiness_failed_is_named() {
    let scene = Scene::start(&Plan {
        announce: "1s",
        ..Plan::CALM
    })
    .await;
    let before = scene.raw(Via::Clear).await;
    scene
        .until_connections("the first", |all| all.len() == 1)
        .await;
    scene.proxy.signal(Signal::TERM);
    scene.stage("announce").await;
    let late = [scene.raw(Via::Clear).await, scene.raw(Via::Clear).await];
    scene
        .until_connections("all three", |all| all.len() == 3)
        .await;
    drop((before, late));
    let receipt = scene.receipt().await;
    let compliance = &receipt["compliance"];
    assert_eq!(compliance["newcomers"]["count"], 2, "{compliance:#}");
    let sender = &compliance["newcomers"]["senders"][0];
    assert_eq!(sender["address"], "127.0.0.1");
    let (first, last) = (sender["first_ms"].as_f64(), sender["last_ms"].as_f64());
    assert!(first <= last && last > Some(0.0), "{sender:#}");
    // At least the margin, and the last arrival before it.
    let needed = compliance["suggested_announce_ms"].as_f64();
    assert!(needed > last.map(|last| last + 1_000.0), "{compliance:#}");
    assert_eq!(compliance["announce_sufficed"], false, "{compliance:#}");
    assert_eq!(compliance["ignored_goaway"]["count"], 0);
}

#[tokio::test]
async fn a_client_that_opens_streams_after_goaway_is_named() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut heeding = Frames::over(scene.wire(Via::Clear, "h2").await).await;
    let mut deaf = Frames::over(scene.wire(Via::Tls, "h2").await).await;
    let mut mute = Frames::over(scene.wire(Via::Clear, "h2").await).await;
    for client in [&mut heeding, &mut deaf, &mut mute] {
        client.get(1, "/hold").await;
    }
    let desk = scene.http1.desk.clone();
    desk.until("the requests", |seen| seen.requests == 3).await;
    scene.proxy.signal(Signal::TERM);
    for client in [&mut heeding, &mut deaf] {
        client.goaway().await;
        client.pong().await;
        assert_eq!(client.goaway().await, 1);
    }
    mute.goaway().await;
    scene.elapse(1_100.0).await;
    // One has read GOAWAY and does not care: nobody will answer these.
    for stream in [3, 5, 7] {
        deaf.get(stream, "/").await;
    }
    // The other never said that it has read it, and is served.
    mute.get(3, "/").await;
    assert_eq!(mute.answer(3).await, b"ok");
    // What was sent before this was read before this.
    deaf.send(Frame::new(Frame::PING, 0, 0, *b"did hear")).await;
    desk.release();
    for client in [&mut heeding, &mut deaf, &mut mute] {
        assert_eq!(client.answer(1).await, b"held");
    }
    drop((heeding, deaf, mute));
    let receipt = scene.receipt().await;
    let ignored = &receipt["compliance"]["ignored_goaway"];
    assert_eq!(ignored["count"], 4, "{receipt:#}");
    assert_eq!(ignored["senders"][0]["address"], "127.0.0.1");
}

#[tokio::test]
async fn a_client_that_asks_behind_connection_close_is_named() {
    let scene = Scene::start(&Plan {
        last_request: "20s",
        ..Plan::CALM
    })
    .await;
    let mut client = scene.raw(Via::Clear).await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    client.read_until("\r\n\r\nok").await.expect("an answer");
    scene.drain().await;
    let begin = "GET /begin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(begin).await.expect("sent");
    let head = client.read_until("begun\r\n").await.expect("a piece");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    scene.elapse(1_100.0).await;
    client.send(begin).await.expect("sent");
    scene.http1.desk.release();
    client.read_until("done\r\n").await.expect("the rest");
    client.finish().await.expect("FIN");
    client.rest().await;
    let receipt = scene.receipt().await;
    let compliance = &receipt["compliance"];
    assert_eq!(compliance["ignored_close"]["count"], 1, "{compliance:#}");
    assert_eq!(compliance["ignored_goaway"]["count"], 0, "{compliance:#}");
}
