//! Clients that end in every way that there is.

use super::super::scene::{Scene, call};
use super::seed::Seed;
use crate::support::BoxWire;
use crate::support::clients::{Frame, Http2, Raw, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use socket2::SockRef;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// What a client does; see [`Client::live`].
#[derive(Clone, Copy, Debug)]
enum Does {
    Http1,
    HalfHttp1,
    Http2,
    Grpc,
    WebSocket,
    Tunnel,
    HalfOpen,
    Broken,
}

const ALL: [Does; 8] = [
    Does::Http1,
    Does::HalfHttp1,
    Does::Http2,
    Does::Grpc,
    Does::WebSocket,
    Does::Tunnel,
    Does::HalfOpen,
    Does::Broken,
];

/// A client: its whole life is in its seed.
#[derive(Debug)]
pub(super) struct Client {
    seed: Seed,
    does: Does,
    /// Whether it vanishes in a reset, whatever it was doing.
    resets: bool,
    encrypted: bool,
}

impl Client {
    pub(super) fn new(mut seed: Seed) -> Self {
        Self {
            does: seed.one_of(&ALL),
            resets: seed.once_in(2),
            encrypted: seed.once_in(3),
            seed,
        }
    }

    /// Come, do it, and leave. What it gets is not looked at: it is there to
    /// leave badly.
    pub(super) async fn live(mut self, scene: &Scene) {
        match self.does {
            Does::Http1 => self.http1(scene).await,
            Does::HalfHttp1 => self.half_http1(scene).await,
            Does::Http2 => self.http2(scene).await,
            Does::Grpc => self.grpc(scene).await,
            Does::WebSocket => self.websocket(scene).await,
            Does::Tunnel => self.tunnel(scene).await,
            Does::HalfOpen => self.half_open(scene).await,
            Does::Broken => self.broken(scene).await,
        }
    }

    async fn socket(&self, scene: &Scene, listener: &str) -> TcpStream {
        let address = scene.address(listener);
        let stream = TcpStream::connect(address).await.expect("connect");
        if self.resets {
            // Closed with this set, it is gone without a FIN.
            let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            linger.expect("set");
        }
        stream
    }

    async fn wire(&self, scene: &Scene, protocol: &str) -> BoxWire {
        if !self.encrypted {
            return Box::new(self.socket(scene, "web").await);
        }
        let stream = self.socket(scene, "secure").await;
        let certificate = scene.proxy.certificate();
        certificate.shake_hands(stream, protocol).await
    }

    /// Requests that are answered, or left in the middle.
    async fn http1(&mut self, scene: &Scene) {
        let mut client = Raw::over(self.wire(scene, "http/1.1").await);
        let mut last = false;
        while !last {
            let (path, awaited) = self.seed.one_of(&[
                ("/", "ok"),
                ("/", "ok"),
                ("/hold", ""),
                ("/begin", "begun"),
                ("/events", "data: 1"),
                ("/bytes/3000000", "\r\n\r\n"),
            ]);
            last = path != "/" || self.seed.once_in(3);
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            client.send(request).await.expect("sent");
            if !awaited.is_empty() {
                client.read_until(awaited).await.expect(path);
            }
        }
    }

    /// Requests of which the client sends a part only.
    async fn half_http1(&mut self, scene: &Scene) {
        let mut client = Raw::over(self.wire(scene, "http/1.1").await);
        let part = self.seed.one_of(&[
            "GET / HT",
            "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nten bytes.",
            "POST /echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n9\r\nten",
            "no request\r\n\r\n",
        ]);
        client.send(part).await.expect("sent");
        if self.seed.once_in(2) {
            // A client that resets may not get this far.
            let _ = client.finish().await;
        }
    }

    async fn http2(&mut self, scene: &Scene) {
        let client = if self.seed.once_in(2) {
            Http2::over(Box::new(self.socket(scene, "multi").await)).await
        } else {
            Http2::over(self.wire(scene, "h2").await).await
        };
        let mut open = Vec::new();
        for _ in 0..self.seed.one_of(&[1, 3, 8]) {
            // A server that waits for a request's end is told of nothing else.
            let (path, end) = self.seed.one_of(&[
                ("/", true),
                ("/", false),
                ("/hold", true),
                ("/begin", true),
                ("/echo", false),
                ("/bytes/3000000", true),
            ]);
            let (response, upload) = client
                .open(Http2::request(path), end)
                .await
                .expect("a stream");
            // Dropped unanswered, a stream is cancelled; others go on.
            if self.seed.once_in(2) {
                open.push((response, upload));
            }
        }
        client
            .get("/status/204")
            .await
            .expect("a sibling is answered");
    }

    async fn grpc(&mut self, scene: &Scene) {
        let client = Http2::over(self.wire(scene, "h2").await).await;
        let (watched, mut upload) = call(&client, "Watch").await;
        upload.send_data(Bytes::new(), true).expect("an end");
        let _held = call(&client, "Hold").await;
        let mut watched = watched.await.expect("a response");
        if self.seed.once_in(2) {
            watched
                .body_mut()
                .data()
                .await
                .expect("a line")
                .expect("a line");
        }
        if self.seed.once_in(2) {
            drop(watched);
            client
                .get("/status/204")
                .await
                .expect("a sibling is answered");
        }
    }

    async fn websocket(&mut self, scene: &Scene) {
        let mut socket = WebSocket::over(self.wire(scene, "http/1.1").await, "/chat").await;
        socket.echo("hello").await.expect("an echo");
        match self.seed.one_of(&[0, 1, 2]) {
            0 => {}
            1 => socket.close().await.unwrap_or_default(),
            _ => {
                let said = socket.socket.feed(Message::text("unheard")).await;
                said.expect("room");
            }
        }
    }

    async fn tunnel(&mut self, scene: &Scene) {
        let mut client = Raw::over(Box::new(self.socket(scene, "tcp").await));
        client.send("hello\n").await.expect("sent");
        client.read_until("\n").await.expect("an echo");
        if self.seed.once_in(2) {
            client.finish().await.expect("FIN");
            client.rest().await;
        }
    }

    /// Connections that never come to a request.
    async fn half_open(&mut self, scene: &Scene) {
        let hello = scene.proxy.certificate().client_hello();
        let half = &hello[..hello.len() / 2];
        let (listener, bytes) = self.seed.one_of(&[
            ("web", &b""[..]),
            ("secure", b""),
            ("secure", half),
            ("secure", &hello),
            ("secure", b"no TLS at all, though it is long enough"),
            ("secure_tcp", half),
            ("multi", b"PRI * HTTP/2.0\r\n"),
            ("multi", Frame::PREFACE.as_bytes()),
        ]);
        let mut client = Raw::over(Box::new(self.socket(scene, listener).await));
        client.send(bytes).await.expect("sent");
    }

    /// Exchanges that the server breaks off.
    async fn broken(&mut self, scene: &Scene) {
        let listener = self
            .seed
            .one_of(&["breaks", "breaks", "breaks_h2", "breaks_tcp"]);
        let stream = Box::new(self.socket(scene, listener).await);
        if listener != "breaks_tcp" && self.seed.once_in(2) {
            let client = Http2::over(stream).await;
            for _ in 0..3 {
                // 502 or a reset, by how far the server went.
                let _ = client.get("/").await;
            }
            return;
        }
        let mut client = Raw::over(stream);
        let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        client.send(request).await.expect("sent");
        client.rest().await;
    }
}
