//! The forecast: whom a drain would hit, asked before and during one.

use super::scene::{Plan, Scene, Via, call, message};
use crate::support::clients::{Http1, Http2, Raw, WebSocket};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::SERVICE;
use crate::support::within;
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Ask until what is in flight is as `wanted`.
async fn forecast(proxy: &Proxy, finish: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/drain/forecast?finish={finish}");
    let asking = async {
        loop {
            let forecast = proxy.json(&path).await;
            if wanted(&forecast) {
                return forecast;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    within("a forecast", asking).await
}

/// What is foreseen of the only exchange of this protocol.
fn of<'a>(forecast: &'a Value, protocol: &str) -> &'a Value {
    let all = forecast["exchanges"].as_array().expect("a list");
    let mut found = all.iter().filter(|one| one["protocol"] == protocol);
    let one = found.next().unwrap_or_else(|| panic!("{forecast:#}"));
    assert_eq!(found.next(), None, "{forecast:#}");
    one
}

/// A server that promises a million bytes, sends three pieces of a thousand at
/// 20 kB/s or slower, and stops.
async fn trickle() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bind");
    let address = listener.local_addr().expect("address");
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut asked).await.expect("a head");
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
        stream.write_all(head).await.expect("sent");
        for _ in 0..3 {
            stream.write_all(&[b'x'; 1_000]).await.expect("sent");
            // The pace that is judged; nothing waits for it. At most 20 kB/s, so
            // that the rest takes far longer than the shortest `finish`.
            sleep(Duration::from_millis(50)).await;
        }
        // The client's end is the end.
        while stream.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {}
    });
    (address, serving)
}

#[tokio::test]
async fn streams_and_tunnels_would_be_told_and_what_is_unknown_says_so() {
    let scene = Scene::start(&Plan::CALM).await;
    let multi = Http2::connect(scene.address("multi")).await;
    let (held, _) = multi
        .open(Http2::request("/hold"), true)
        .await
        .expect("a stream");
    let mut reader = Http1::connect(scene.address("web")).await;
    let events = reader.send(Http1::request("/events")).await;
    let client = scene.http2(Via::Tls).await;
    let (response, mut upload) = call(&client, "Watch").await;
    upload.send_data(Bytes::new(), true).expect("an end");
    let watching = within("a head", response).await.expect("a head");
    let socket = WebSocket::connect(scene.address("web"), "/chat").await;
    let mut tunnel = scene.tunnel(Via::Clear).await;
    tunnel.send("hello\n").await.expect("sent");
    tunnel.read_until("\n").await.expect("a line");
    let all = |one: &Value| one["all"]["in_flight"] == 5;
    let forecast = forecast(&scene.proxy, "30s", all).await;
    let sums = &forecast["all"];
    let numbers = ["finish", "farewell", "cut", "unknown"].map(|name| &sums[name]);
    assert_eq!(numbers, [0, 4, 0, 1], "{forecast:#}");
    for (protocol, basis, told, doing) in [
        ("http1", "endless", "event_stream", "events"),
        ("http2", "unknown", "unanswered", "awaiting"),
        ("grpc", "endless", "grpc_trailers", "sending"),
        ("websocket", "endless", "websocket_close", "tunnel"),
        ("tcp", "endless", "half_close", "tunnel"),
    ] {
        let one = of(&forecast, protocol);
        let said = (&one["basis"], &one["told"], &one["doing"]);
        let expected = (&json!(basis), &json!(told), &json!(doing));
        assert_eq!(said, expected, "{one:#}");
        let tunnel = ["websocket", "tcp"].contains(&protocol);
        assert_eq!(one["silent_ms"].is_null(), !tunnel, "{one:#}");
    }
    assert_eq!(forecast["draining"], false);
    assert_eq!(forecast["plan"]["finish"]["http_ms"], 30_000);
    drop((held, events, watching, socket, tunnel));
    drop((reader, multi, client));
    scene.proxy.signal(Signal::TERM);
    scene.over().await;
}

#[tokio::test]
async fn a_route_with_a_history_is_judged_by_it() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = Http1::connect(scene.address("web")).await;
        clients.push(tokio::spawn(async move {
            client.get("/hold").await.expect("a reply");
        }));
    }
    let desk = scene.http1.desk.clone();
    desk.until("the requests", |seen| seen.requests == 6).await;
    let young = forecast(&scene.proxy, "30s", |_| true).await;
    assert_eq!(young["all"]["unknown"], 6, "{young:#}");
    let age = |forecast: &Value| {
        let all = forecast["exchanges"].as_array().expect("a list");
        let ages = all
            .iter()
            .map(|one| one["age_ms"].as_f64().expect("an age"));
        ages.fold(f64::INFINITY, f64::min)
    };
    forecast(&scene.proxy, "30s", |seen| age(seen) > 2_000.0).await;
    desk.release();
    for client in clients {
        within("a reply", client).await.expect("the task");
    }
    // Another of the same route, as yet younger than those were at their end.
    let mut begun = Http1::connect(scene.address("web")).await;
    let response = begun.send(Http1::request("/events")).await.expect("a head");
    let seen = forecast(&scene.proxy, "30s", |one| one["all"]["in_flight"] == 1).await;
    let one = of(&seen, "http1");
    if age(&seen) < 1_500.0 {
        assert_eq!(
            (&one["basis"], &one["verdict"]),
            (&json!("history"), &json!("finish")),
            "{one:#}"
        );
        assert!(one["ends_in_ms"].as_f64() < Some(10_000.0), "{one:#}");
        assert!(one["outlives"].as_f64() < Some(0.5), "{one:#}");
    }
    // Once it is older than any that ended, it is what it is by nature.
    forecast(&scene.proxy, "30s", |seen| {
        of(seen, "http1")["basis"] == "endless"
    })
    .await;
    drop((begun, response));
    scene.proxy.signal(Signal::TERM);
    scene.over().await;
}

#[tokio::test]
async fn a_known_length_is_judged_by_its_rate() {
    let (server, serving) = trickle().await;
    let mut proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
         [upstream.site]\nservers = [\"{server}\"]\n\n[drain]\nannounce = \"0s\"\n"
    ))
    .await;
    let mut client = Raw::connect(proxy.address("web")).await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let timed = |one: &Value| one["exchanges"][0]["basis"] == "length";
    let short = forecast(&proxy, "10ms", timed).await;
    assert_eq!(of(&short, "http1")["verdict"], "farewell", "{short:#}");
    assert_eq!(of(&short, "http1")["told"], "truncated", "{short:#}");
    let long = forecast(&proxy, "100h", timed).await;
    assert_eq!(of(&long, "http1")["verdict"], "finish", "{long:#}");
    assert!(
        of(&long, "http1")["ends_in_ms"].as_f64() > Some(0.0),
        "{long:#}"
    );
    drop(client);
    within("the server", serving).await.expect("the task");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_grpc_timeout_bounds_what_is_foreseen() {
    let scene = Scene::start(&Plan::CALM).await;
    let client = scene.http2(Via::Clear).await;
    let request = Request::post(format!("http://localhost/{SERVICE}/Watch"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "1M")
        .body(())
        .expect("a request");
    let (response, mut upload) = client.open(request, false).await.expect("a stream");
    upload.send_data(message(), true).expect("a message");
    let response = within("a head", response).await.expect("a head");
    let there = |one: &Value| one["all"]["in_flight"] == 1;
    let before = forecast(&scene.proxy, "10s", there).await;
    assert_eq!(of(&before, "grpc")["basis"], "unknown", "{before:#}");
    let after = forecast(&scene.proxy, "2m", there).await;
    let one = of(&after, "grpc");
    assert_eq!(
        (&one["basis"], &one["verdict"]),
        (&json!("timeout"), &json!("finish")),
        "{one:#}"
    );
    assert!(one["ends_in_ms"].as_f64() <= Some(60_000.0), "{one:#}");
    drop((response, upload, client));
    scene.proxy.signal(Signal::TERM);
    scene.over().await;
}

#[tokio::test]
async fn a_drain_under_way_is_foreseen_from_where_it_stands() {
    let scene = Scene::start(&Plan::CALM).await;
    let socket = WebSocket::connect(scene.address("web"), "/chat").await;
    scene.drain().await;
    let mut before = f64::INFINITY;
    for _ in 0..3 {
        let forecast = scene.proxy.json("/v1/drain/forecast").await;
        assert_eq!(forecast["draining"], true);
        let left = of(&forecast, "websocket")["deadline_ms"].as_f64();
        let left = left.expect("a deadline");
        assert!(left < before.min(60_000.0), "{left} {before}");
        before = left;
    }
    socket.close().await.expect("a Close");
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (1, 0, 0));
}

#[tokio::test]
async fn the_command_line_shows_it() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut tunnel = scene.tunnel(Via::Clear).await;
    tunnel.send("hello\n").await.expect("sent");
    tunnel.read_until("\n").await.expect("a line");
    let admin = scene.proxy.admin().to_string();
    let ask = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
        command.args(["forecast", "--admin", &admin]).args(more);
        command.output().expect("run the binary")
    };
    let table = ask(&["--finish", "30s"]);
    let text = String::from_utf8(table.stdout).expect("text");
    assert!(
        text.starts_with("If it drained now, with finish 30s:\n1 in flight"),
        "{text}"
    );
    assert!(
        text.contains("farewell: tunnel closed on both sides"),
        "{text}"
    );
    let json = ask(&["--json"]);
    let value: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(value["all"]["farewell"], 1);
    let wrong = ask(&["--finish", "soon"]);
    assert_eq!(wrong.status.code(), Some(2));
    drop(tunnel);
    scene.proxy.signal(Signal::TERM);
    scene.over().await;
}

#[tokio::test]
async fn a_websocket_over_http2_is_a_tunnel_like_any_other() {
    let scene = Scene::start(&Plan::CALM).await;
    let client = scene.http2(Via::Clear).await;
    let socket = WebSocket::over_stream(&client, "/chat").await;
    let begun = |one: &Value| one["exchanges"][0]["doing"] == "tunnel";
    let forecast = forecast(&scene.proxy, "30s", begun).await;
    let one = of(&forecast, "websocket");
    let said = (&one["basis"], &one["verdict"], &one["told"]);
    let expected = (
        &json!("endless"),
        &json!("farewell"),
        &json!("websocket_close"),
    );
    assert_eq!(said, expected, "{one:#}");
    drop((socket, client));
    scene.proxy.signal(Signal::TERM);
    scene.over().await;
}
