//! The farewell of tunnels: both sides are told.

use super::scene::{Plan, Scene, Via};
use crate::support::clients::{Ended, Raw, WebSocket};
use crate::support::proxy::Signal;

/// Only tunnels come to their deadlines.
const SHORT: Plan = Plan {
    websocket: "600ms",
    tcp: "600ms",
    ..Plan::CALM
};

#[tokio::test]
async fn websockets_get_close_1001_on_both_sides() {
    let scene = Scene::start(&SHORT).await;
    let mut sockets = Vec::new();
    for via in Via::BOTH {
        let wire = scene.wire(via, "http/1.1").await;
        let mut socket = WebSocket::over(wire, "/chat").await;
        assert_eq!(socket.echo("hello").await.expect("an echo"), "hello");
        sockets.push(socket);
    }
    scene.proxy.signal(Signal::TERM);
    for socket in sockets {
        let (code, reason) = socket.closed().await.expect("a Close");
        assert_eq!(code, 1001);
        assert!(reason.contains("drain"), "{reason}");
    }
    let seen = scene
        .websocket
        .desk
        .until("both Closes", |seen| seen.finished == 2);
    assert_eq!(seen.await.reasons, ["Close 1001", "Close 1001"]);
    assert_eq!(scene.over().await.farewelled, 2);
}

#[tokio::test]
async fn an_unanswered_upgrade_gets_503() {
    let scene = Scene::start(&SHORT).await;
    let mut client = Raw::connect(scene.address("web")).await;
    client
        .send(
            "GET /hold HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await
        .expect("sent");
    let desk = scene.http1.desk.clone();
    desk.until("the request", |seen| seen.requests == 1).await;
    scene.proxy.signal(Signal::TERM);
    let (answer, end) = client.rest().await;
    let answer = String::from_utf8(answer)
        .expect("text")
        .to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(end, Ended::Fin);
    assert_eq!(scene.over().await.farewelled, 1);
}

#[tokio::test]
async fn tcp_tunnels_are_half_closed_on_both_sides() {
    let scene = Scene::start(&SHORT).await;
    let mut tunnels = Vec::new();
    for via in Via::BOTH {
        let mut tunnel = scene.tunnel(via).await;
        tunnel.send("hello\n").await.expect("sent");
        tunnel.read_until("hello\n").await.expect("a line");
        tunnels.push(tunnel);
    }
    scene.proxy.signal(Signal::TERM);
    for tunnel in tunnels {
        assert_eq!(tunnel.rest().await, (Vec::new(), Ended::Fin));
    }
    let seen = scene.tcp.desk.until("both ends", |seen| seen.finished == 2);
    assert_eq!(seen.await.reasons, ["FIN", "FIN"]);
    assert_eq!(scene.over().await.farewelled, 2);
}

#[tokio::test]
async fn tunnels_leave_requests_alone() {
    let scene = Scene::start(&SHORT).await;
    let mut client = Raw::connect(scene.address("web")).await;
    client
        .send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let desk = scene.http1.desk.clone();
    desk.until("the request", |seen| seen.requests == 1).await;
    let tunnel = scene.tunnel(Via::Clear).await;
    scene.proxy.signal(Signal::TERM);
    assert_eq!(tunnel.rest().await.1, Ended::Fin);
    desk.release();
    client.read_until("\r\n\r\nheld").await.expect("a reply");
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (1, 1, 0));
}
