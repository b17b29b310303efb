//! Listeners one by one: drained alone, taken back, one after another; and
//! more time for what is in flight.

use super::scene::{Plan, Scene, Sums, Via, ended};
use crate::support::clients::{Http1, WebSocket};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use http::Method;
use serde_json::Value;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::sleep;

const LOOK: Duration = Duration::from_millis(5);

async fn refuses(address: SocketAddr) {
    let connected = within("a refusal", TcpStream::connect(address)).await;
    let refused = connected.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

async fn serves(address: SocketAddr) {
    let mut client = Http1::connect(address).await;
    assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
}

/// Wait until the drain of a listener, or of the process, is as `wanted`.
async fn until(proxy: &Proxy, path: &str, wanted: impl Fn(&Value) -> bool) {
    let look = async {
        while !wanted(&proxy.json(path).await) {
            sleep(LOOK).await;
        }
    };
    within("the drain to come that far", look).await;
}

#[tokio::test]
async fn a_listener_is_drained_alone_and_the_others_serve() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut tunnel = scene.tunnel(Via::Clear).await;
    tunnel.send("before").await.expect("open");
    tunnel.read_until("before").await.expect("an echo");
    let proxy = &scene.proxy;
    let begun = proxy
        .ask(Method::POST, "/v1/drain", r#"{"listener":"tcp"}"#)
        .await;
    assert_eq!(begun.status, 202);
    until(proxy, "/v1/drain?listener=tcp", |one| {
        one["stage"] == "finish"
    })
    .await;
    refuses(scene.address("tcp")).await;
    serves(scene.address("web")).await;
    assert_eq!(proxy.get("/readyz").await.status, 200);
    assert_eq!(proxy.get("/readyz?listener=tcp").await.status, 503);
    assert_eq!(proxy.json("/v1/drain").await["draining"], false);
    tunnel.send("still").await.expect("open");
    tunnel.read_until("still").await.expect("an echo");
    assert_eq!(
        proxy.get("/v1/drain/receipt?listener=tcp").await.status,
        404
    );
    drop(tunnel);
    let receipt = proxy.json("/v1/drain?listener=tcp&wait=true").await;
    assert_eq!(receipt["listener"], "tcp");
    assert_eq!(receipt["requests"]["tcp"]["finished"], 1, "{receipt}");
    assert_eq!(receipt["connections"]["opened"], 1, "{receipt}");
    let too_late = proxy
        .ask(Method::DELETE, "/v1/drain?listener=tcp", "")
        .await;
    assert_eq!(too_late.status, 409);
    serves(scene.address("web")).await;
    scene.proxy.signal(Signal::TERM);
    scene.over().await;
}

#[tokio::test]
async fn a_listener_that_announces_is_taken_back() {
    let plan = Plan {
        announce: "60s",
        ..Plan::CALM
    };
    let scene = Scene::start(&plan).await;
    let proxy = &scene.proxy;
    let path = "/v1/drain?listener=web";
    assert_eq!(proxy.ask(Method::POST, path, "").await.status, 202);
    assert_eq!(proxy.get("/readyz?listener=web").await.status, 503);
    serves(scene.address("web")).await;
    assert_eq!(proxy.ask(Method::DELETE, path, "").await.status, 200);
    assert_eq!(proxy.get("/readyz?listener=web").await.status, 200);
    assert_eq!(proxy.ask(Method::DELETE, path, "").await.status, 409);
    serves(scene.address("web")).await;
    let unknown = proxy
        .ask(Method::POST, "/v1/drain?listener=nobody", "")
        .await;
    assert_eq!(unknown.status, 404);
    // Straight to the cut: announce would last.
    proxy.signal(Signal::INT);
    // The kernel makes one of two signals that nobody has read yet.
    proxy.until_event("shutdown_start", |_| true).await;
    proxy.signal(Signal::INT);
    scene.over().await;
}

#[tokio::test]
async fn a_listener_goes_on_until_those_before_it_are_gone() {
    let server = Server::http1().await;
    let config = format!(
        r#"
[listener.first]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[listener.second]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]
after = ["first"]

[upstream.site]
servers = ["{}"]
{}"#,
        server.address,
        Plan::CALM
    );
    let mut proxy = Proxy::start(&config).await;
    let mut held = Http1::connect(proxy.address("first")).await;
    let held = tokio::spawn(async move { held.get("/hold").await });
    server
        .desk
        .until("a request", |seen| seen.requests == 1)
        .await;
    proxy.signal(Signal::TERM);
    until(&proxy, "/v1/drain?listener=first", |one| {
        one["stage"] == "finish"
    })
    .await;
    refuses(proxy.address("first")).await;
    serves(proxy.address("second")).await;
    let status = proxy.json("/v1/status").await;
    assert_eq!(status["phase"], "draining");
    assert_eq!(status["listeners"][1]["phase"], "active");
    server.desk.release();
    let reply = within("a reply", held).await.expect("the task");
    assert_eq!(reply.expect("a reply").text(), "held");
    let sums = ended(&mut proxy).await;
    let all = Sums {
        finished: 2,
        farewelled: 0,
        cut: 0,
    };
    assert_eq!(sums, all);
}

#[tokio::test]
async fn more_time_saves_what_would_have_been_ended() {
    let plan = Plan {
        websocket: "200ms",
        http: "1s",
        ..Plan::CALM
    };
    let scene = Scene::start(&plan).await;
    let proxy = &scene.proxy;
    let early = proxy.ask(Method::POST, "/v1/drain/extend", r#"{"by":"60s"}"#);
    assert_eq!(early.await.status, 409, "nothing is draining");
    let mut held = Http1::connect(scene.address("web")).await;
    let held = tokio::spawn(async move { held.get("/hold").await });
    let chat = scene.wire(Via::Clear, "http/1.1").await;
    let chat = WebSocket::over(chat, "/chat").await;
    let desk = scene.http1.desk.clone();
    desk.until("a request", |seen| seen.requests == 1).await;
    scene.drain().await;
    let more = proxy.ask(Method::POST, "/v1/drain/extend", r#"{"by":"60s"}"#);
    assert_eq!(more.await.status, 200);
    let progress = proxy.json("/v1/drain").await;
    let left = progress["deadlines"]["farewell_in_ms"]["http1"].as_u64();
    assert!(left > Some(30_000), "{progress}");
    // The time that it had by the plan goes by.
    until(proxy, "/v1/drain", |one| {
        one["elapsed_ms"].as_f64() > Some(1_500.0)
    })
    .await;
    desk.release();
    let reply = within("a reply", held).await.expect("the task");
    assert_eq!(reply.expect("a reply").text(), "held");
    let _ = chat.close().await;
    let sums = scene.over().await;
    assert_eq!(sums.cut, 0);
}
