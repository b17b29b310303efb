//! Finish: what is in flight runs on, and its end is the process's end.

use super::scene::{Plan, Scene, Via, call};
use crate::support::clients::{Grpc, Http1, Http2, WebSocket};
use crate::support::proxy::Signal;
use crate::support::servers::Line;
use crate::support::within;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How late the exit may be; far from any limit of the plan.
const PROMPT: Duration = Duration::from_secs(2);

/// The rest of a scene in which nothing is in flight any more.
async fn ends_promptly(scene: Scene, finished: u64) {
    let done = Instant::now();
    let sums = scene.over().await;
    assert!(done.elapsed() < PROMPT, "{:?}", done.elapsed());
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (finished, 0, 0));
}

#[tokio::test]
async fn http1_requests_finish() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut held = Vec::new();
    for via in Via::BOTH {
        for path in ["/hold", "/begin"] {
            let mut client = Http1::over(scene.wire(via, "http/1.1").await).await;
            held.push(tokio::spawn(async move { client.get(path).await }));
        }
    }
    let desk = scene.http1.desk.clone();
    desk.until("all requests", |seen| seen.requests == 4).await;
    scene.drain().await;
    desk.release();
    for held in held {
        let reply = within("a reply", held).await.expect("the task");
        let reply = reply.expect("a reply");
        match reply.text() {
            // Its head was sent before anybody thought of a drain.
            "begundone" => assert_eq!(reply.trailer("x-check"), Some("done")),
            text => {
                assert_eq!(text, "held");
                assert_eq!(reply.header("connection"), Some("close"));
            }
        }
    }
    ends_promptly(scene, 4).await;
}

#[tokio::test]
async fn http2_streams_finish() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut clients = Vec::new();
    let mut held = Vec::new();
    let multi = Http2::connect(scene.address("multi")).await;
    for client in [
        scene.http2(Via::Clear).await,
        scene.http2(Via::Tls).await,
        multi,
    ] {
        for path in ["/hold", "/begin"] {
            let (response, _) = client
                .open(Http2::request(path), true)
                .await
                .expect("a stream");
            held.push(response);
        }
        clients.push(client);
    }
    let (desk, other) = (scene.http1.desk.clone(), scene.http2.desk.clone());
    desk.until("all requests", |seen| seen.requests == 4).await;
    other.until("all requests", |seen| seen.requests == 2).await;
    scene.drain().await;
    desk.release();
    other.release();
    for held in held {
        let response = within("a head", held).await.expect("a head");
        let reply = Http2::whole(response).await.expect("a reply");
        assert!(["held", "begundone"].contains(&reply.text()), "{reply:?}");
    }
    ends_promptly(scene, 6).await;
}

#[tokio::test]
async fn grpc_calls_and_streams_finish() {
    let scene = Scene::start(&Plan::CALM).await;
    let client = Grpc::connect(scene.address("web")).await;
    let unary = tokio::spawn({
        let client = client.clone();
        async move { client.hold("later").await }
    });
    let (lines, queue) = tokio::sync::mpsc::channel(1);
    let queue = tokio_stream::wrappers::ReceiverStream::new(queue);
    let mut chat = client.chat(queue).await.expect("a stream");
    let secure = scene.http2(Via::Tls).await;
    let (held, mut upload) = call(&secure, "Hold").await;
    let desk = scene.grpc.desk.clone();
    desk.until("all calls", |seen| seen.requests == 3).await;
    scene.drain().await;
    for number in 0..3 {
        let line = Line {
            text: "said late".to_owned(),
            number,
        };
        lines.send(line.clone()).await.expect("sent");
        let heard = within("a line", chat.message()).await.expect("no status");
        assert_eq!(heard, Some(line));
    }
    desk.release();
    drop(lines);
    let end = within("the end", chat.message()).await.expect("status 0");
    assert_eq!(end, None);
    let line = within("the call", unary).await.expect("the task");
    assert_eq!(line.expect("a line").text, "later");
    upload.send_data(Bytes::new(), true).expect("an end");
    let response = within("a head", held).await.expect("a head");
    let reply = Http2::whole(response).await.expect("a reply");
    assert_eq!(reply.trailer("grpc-status"), Some("0"));
    ends_promptly(scene, 3).await;
}

#[tokio::test]
async fn tunnels_finish() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut sockets = Vec::new();
    let mut tunnels = Vec::new();
    for via in Via::BOTH {
        let wire = scene.wire(via, "http/1.1").await;
        sockets.push(WebSocket::over(wire, "/chat").await);
        let mut tunnel = scene.tunnel(via).await;
        tunnel.send("early\n").await.expect("sent");
        tunnel.read_until("early\n").await.expect("a line");
        tunnels.push(tunnel);
    }
    scene.drain().await;
    for mut socket in sockets {
        assert_eq!(socket.echo("late").await.expect("an echo"), "late");
        socket.close().await.expect("a Close");
    }
    for mut tunnel in tunnels {
        tunnel.send("late\n").await.expect("sent");
        tunnel.finish().await.expect("FIN");
        let (rest, _) = tunnel.rest().await;
        assert_eq!(rest, b"late\n");
    }
    ends_promptly(scene, 4).await;
}

#[tokio::test]
async fn with_nothing_in_flight_the_process_ends_at_once() {
    let scene = Scene::start(&Plan::CALM).await;
    scene.proxy.signal(Signal::TERM);
    ends_promptly(scene, 0).await;
}

#[tokio::test]
async fn idle_connections_on_either_side_do_not_hold_the_exit() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut http1 = Http1::connect(scene.address("web")).await;
    let http2 = Http2::connect(scene.address("multi")).await;
    assert_eq!(http1.get("/").await.expect("a reply").text(), "ok");
    assert_eq!(http2.get("/").await.expect("a reply").text(), "ok");
    for server in [&scene.http1, &scene.http2] {
        let seen = server.desk.seen();
        assert_eq!((seen.finished, seen.open), (1, 1), "pooled");
    }
    scene.proxy.signal(Signal::TERM);
    http1.closed().await.expect("an end in order");
    let (ended, goaways) = http2.closed().await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(goaways[0].last_stream, 0x7fff_ffff);
    let (one, other) = (scene.http1.desk.clone(), scene.http2.desk.clone());
    ends_promptly(scene, 0).await;
    one.until("no connection", |seen| seen.open == 0).await;
    other.until("no connection", |seen| seen.open == 0).await;
}
