//! Announce: not ready any more, and nothing else has changed.

use super::scene::{Plan, Scene, Via, call};
use crate::support::clients::{Http1, Http2, Raw, WebSocket};
use crate::support::proxy::Signal;
use crate::support::within;
use http::Method;

/// Everything is accepted and served, and nobody is told to leave.
async fn serves_everything(scene: &Scene) {
    for via in Via::BOTH {
        let mut http1 = Http1::over(scene.wire(via, "http/1.1").await).await;
        for _ in 0..2 {
            let reply = http1.get("/").await.expect("a reply");
            assert_eq!((reply.text(), reply.header("connection")), ("ok", None));
        }
        let http2 = scene.http2(via).await;
        assert_eq!(http2.get("/").await.expect("a reply").text(), "ok");
        let (response, mut upload) = call(&http2, "Echo").await;
        upload.send_data(bytes::Bytes::new(), true).expect("an end");
        let response = within("a response", response).await.expect("a response");
        let reply = Http2::whole(response).await.expect("a reply");
        assert_eq!(reply.trailer("grpc-status"), Some("0"));
        let wire = scene.wire(via, "http/1.1").await;
        let mut socket = WebSocket::over(wire, "/chat").await;
        assert_eq!(socket.echo("hello").await.expect("an echo"), "hello");
        socket.close().await.expect("a Close");
        let mut tunnel = scene.tunnel(via).await;
        echoes(&mut tunnel).await;
        assert_eq!(http2.goaways(0).await, []);
    }
}

async fn echoes(tunnel: &mut Raw) {
    tunnel.send("hello\n").await.expect("sent");
    assert_eq!(tunnel.read_until("\n").await.expect("a line"), "hello\n");
}

#[tokio::test]
async fn announcing_serves_everything_and_can_be_taken_back() {
    let scene = Scene::start(&Plan {
        announce: "6s",
        ..Plan::CALM
    })
    .await;
    let mut tunnel = scene.tunnel(Via::Clear).await;
    echoes(&mut tunnel).await;
    let asked = scene.proxy.ask(Method::POST, "/v1/drain", "").await;
    assert_eq!(asked.status, 202, "{asked:?}");
    assert_eq!(scene.proxy.get("/readyz").await.status, 503);
    assert_eq!(scene.proxy.get("/livez").await.status, 200);
    let status = scene.proxy.json("/v1/status").await;
    assert_eq!(
        (&status["phase"], &status["stage"]),
        (&"active".into(), &"announce".into())
    );
    serves_everything(&scene).await;
    assert_eq!(scene.proxy.get("/readyz").await.status, 503);
    let asked = scene.proxy.ask(Method::DELETE, "/v1/drain", "").await;
    assert_eq!(asked.status, 200, "{asked:?}");
    assert_eq!(scene.proxy.get("/readyz").await.status, 200);
    serves_everything(&scene).await;
    echoes(&mut tunnel).await;
    let again = scene.proxy.ask(Method::DELETE, "/v1/drain", "").await;
    assert_eq!(again.status, 409, "{again:?}");

    // A later drain is one like any other, of what is in flight by then: the
    // proxy learns of an exchange's end after its client.
    let only_the_tunnel = |status: &serde_json::Value| {
        let counts = status["in_flight"].as_object().expect("counts");
        counts
            .values()
            .filter_map(serde_json::Value::as_u64)
            .sum::<u64>()
            == 1
    };
    scene.proxy.until_status(only_the_tunnel).await;
    scene.proxy.signal(Signal::TERM);
    scene.stage("finish").await;
    echoes(&mut tunnel).await;
    tunnel.finish().await.expect("FIN");
    tunnel.rest().await;
    let cancelled = scene.proxy.log();
    let told = |event: &str| {
        let lines = cancelled.iter().filter(|line| line["event"] == event);
        lines.count()
    };
    assert_eq!((told("shutdown_start"), told("drain_cancelled")), (2, 1));
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (1, 0, 0));
}

#[tokio::test]
async fn past_refuse_a_drain_cannot_be_taken_back() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut tunnel = scene.tunnel(Via::Clear).await;
    echoes(&mut tunnel).await;
    scene.drain().await;
    let asked = scene.proxy.ask(Method::DELETE, "/v1/drain", "").await;
    assert_eq!(asked.status, 409, "{asked:?}");
    assert_eq!(scene.proxy.get("/readyz").await.status, 503);
    assert_eq!(scene.proxy.get("/livez").await.status, 200);
    let progress = scene.proxy.json("/v1/drain").await;
    assert_eq!(progress["phase"], "draining");
    echoes(&mut tunnel).await;
    drop(tunnel);
    assert_eq!(scene.over().await.finished, 1);
}

#[tokio::test]
async fn asked_for_twice_a_drain_begins_once() {
    let scene = Scene::start(&Plan::CALM).await;
    let mut tunnel = scene.tunnel(Via::Clear).await;
    echoes(&mut tunnel).await;
    for _ in 0..2 {
        let asked = scene.proxy.ask(Method::POST, "/v1/drain", "").await;
        assert_eq!(asked.status, 202, "{asked:?}");
    }
    scene.drain().await;
    let begun = scene.proxy.json("/v1/drain").await;
    assert_eq!(begun["trigger"], "api");
    drop(tunnel);
    let log = {
        let log = scene.proxy.log();
        log.into_iter()
            .filter(|line| line["event"] == "shutdown_start")
    };
    assert_eq!(log.count(), 1);
    scene.over().await;
}
