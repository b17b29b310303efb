//! Tunnels: how many there may be, and how long one may be silent.

use super::{Scene, config, limited};
use crate::drain::scene::until_connections;
use crate::support::clients::{Ended, Http2, Raw, WebSocket, connect};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use http::Method;

/// A handshake as HTTP/1.1 has it.
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A proxy with limits before a server that agrees to every WebSocket.
async fn scene(listener: &str, tables: &str) -> Scene {
    let server = Server::websocket().await;
    let proxy = Proxy::start(&config(&server, listener, tables)).await;
    Scene { proxy, server }
}

async fn over_http1(scene: &Scene) -> WebSocket {
    WebSocket::connect(scene.proxy.address("web"), "/chat").await
}

async fn client(scene: &Scene) -> Http2 {
    Http2::connect(scene.proxy.address("web")).await
}

async fn echoes(socket: &mut WebSocket, what: &str) {
    assert_eq!(socket.echo(what).await.expect(what), what);
}

/// One more over HTTP/1.1 is told to come back, and its connection stays.
async fn refused(raw: &mut Raw, what: &str) {
    raw.send(UPGRADE).await.expect("sent");
    let answer = raw.head().await.expect(what);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{what}: {answer}");
    let fields = answer.to_ascii_lowercase();
    assert!(
        fields.contains("\r\nretry-after: 1\r\n"),
        "{what}: {answer}"
    );
    assert!(
        !fields.contains("\r\nconnection: close"),
        "{what}: {answer}"
    );
    raw.read_until("too many tunnels are open; try again later")
        .await
        .expect(what);
}

/// The same over a stream.
async fn refused_stream(client: &Http2, what: &str) {
    let (head, _) = client
        .tunnel(Http2::connect_to("websocket", "/chat"))
        .await
        .expect(what);
    assert_eq!(head.status, 503, "{what}: {head:?}");
    assert_eq!(head.headers["retry-after"], "1");
}

#[tokio::test]
async fn a_tunnel_too_many_is_refused_and_those_there_go_on() {
    for (listener, process, reason) in [
        ("limits = { tunnels = 2 }", "", "tunnels"),
        (
            "",
            "[process]\ntunnels = 2\nlogs = { format = \"json\" }\n",
            "process_tunnels",
        ),
    ] {
        let scene = scene(listener, process).await;
        let mut one = over_http1(&scene).await;
        let streams = client(&scene).await;
        let mut other = WebSocket::over_stream(&streams, "/chat").await;
        let mut raw = scene.raw().await;
        refused(&mut raw, reason).await;
        scene.until_limited(reason, 1).await;
        refused_stream(&streams, reason).await;
        scene.until_limited(reason, 2).await;
        assert_eq!(scene.server.desk.seen().requests, 2, "nobody was asked");
        echoes(&mut one, "the first").await;
        echoes(&mut other, "the second").await;
        one.close().await.expect("closed");
        until_connections(&scene.proxy, "the first to leave", |there| there.len() == 2).await;
        // On the very connection that was refused.
        raw.send(UPGRADE).await.expect("sent");
        let answer = raw.head().await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        refused_stream(&streams, "full again").await;
        other.close().await.expect("closed");
        drop((raw, streams));
        scene.over().await;
    }
}

#[tokio::test]
async fn one_client_has_its_own_number_of_tunnels() {
    let scene = scene("proxy_protocol = true\nlimits = { per_client = 2 }", "").await;
    let of = async |client: &str| {
        let mut wire = connect(scene.proxy.address("web")).await;
        let header = format!("PROXY TCP4 {client} 192.0.2.1 4711 80\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut wire, header.as_bytes())
            .await
            .expect("sent");
        Http2::over(wire).await
    };
    // One connection would be within the limit of connections.
    let (one, other) = (of("192.0.2.7").await, of("192.0.2.8").await);
    let mut first = WebSocket::over_stream(&one, "/chat").await;
    let second = WebSocket::over_stream(&one, "/chat").await;
    refused_stream(&one, "a third").await;
    scene.until_limited("client_tunnels", 1).await;
    let mut neighbour = WebSocket::over_stream(&other, "/chat").await;
    echoes(&mut neighbour, "another client").await;
    echoes(&mut first, "the first").await;
    drop(second);
    scene
        .server
        .desk
        .until("the second to leave", |seen| seen.open == 2)
        .await;
    let mut third = WebSocket::over_stream(&one, "/chat").await;
    echoes(&mut third, "in its place").await;
    drop((first, third, neighbour, one, other));
    scene.over().await;
}

#[tokio::test]
async fn a_reload_moves_the_number_and_ends_nobody() {
    let scene = scene("limits = { tunnels = 1 }", "").await;
    let mut there = vec![over_http1(&scene).await];
    let mut raw = scene.raw().await;
    refused(&mut raw, "a second").await;
    for (limit, admits) in [(2, true), (1, false), (0, true)] {
        let limits = format!("limits = {{ tunnels = {limit} }}");
        scene
            .proxy
            .write_config(&config(&scene.server, &limits, ""));
        let done = scene.proxy.ask(Method::POST, "/v1/reload", "").await;
        assert_eq!(done.status, 200, "{}", done.text());
        if admits {
            there.push(over_http1(&scene).await);
        } else {
            refused(&mut raw, "one too many").await;
        }
        for socket in &mut there {
            echoes(socket, "who was there").await;
        }
    }
    drop((there, raw));
    scene.over().await;
}

#[tokio::test]
async fn a_silent_tunnel_is_ended_in_its_protocol() {
    let tcp = Server::tcp().await;
    let idle = "limits = { tunnel_idle = \"1s\" }";
    let db = format!(
        "[listener.db]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"db\"\n{idle}\n\n\
         [upstream.db]\nservers = [\"{}\"]\n",
        tcp.address
    );
    let scene = scene(idle, &db).await;
    let streams = client(&scene).await;
    let sockets = [
        over_http1(&scene).await,
        WebSocket::over_stream(&streams, "/chat").await,
    ];
    for socket in sockets {
        let (code, reason) = socket.closed().await.expect("a Close");
        assert_eq!((code, &*reason), (1001, "nothing was said for too long"));
    }
    scene.until_limited("tunnel_idle", 2).await;
    let told = |seen: &crate::support::seen::Seen| seen.reasons == ["Close 1001"; 2];
    scene.server.desk.until("two Closes", told).await;
    let mut raw = Raw::connect(scene.proxy.address("db")).await;
    raw.send("ping").await.expect("sent");
    raw.read_until("ping").await.expect("an echo");
    assert_eq!(raw.rest().await, (Vec::new(), Ended::Fin));
    tcp.desk
        .until("its end", |seen| seen.reasons == ["FIN"])
        .await;
    let reached = async {
        while limited(&scene.proxy, "db", "tunnel_idle").await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    crate::support::within("tunnel_idle", reached).await;
    drop(streams);
    scene.over().await;
}
