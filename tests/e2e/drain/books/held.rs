//! Clients that are there when a drain begins, a known number of each kind.

use super::super::scene::{Scene, Via, call};
use super::seed::Seed;
use super::view::Sums;
use crate::support::clients::{Http2, Raw, WebSocket};
use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use serde_json::Value;

/// Clients of each kind.
const EACH: u64 = 4;
/// Streams on a connection of HTTP/2.
const STREAMS: u64 = 3;

/// A client with its streams, which are cancelled when dropped.
type Multiplexed = (Http2, Vec<(ResponseFuture, SendStream<Bytes>)>);

/// Clients whose exchanges are in flight, of every protocol; and some that
/// have not come to one.
pub(super) struct Held {
    http1: Vec<Raw>,
    http2: Vec<Multiplexed>,
    grpc: Vec<Multiplexed>,
    websockets: Vec<WebSocket>,
    tunnels: Vec<Raw>,
    half_open: Vec<Raw>,
}

impl Held {
    pub(super) async fn all(scene: &Scene) -> Self {
        let mut held = Self {
            http1: Vec::new(),
            http2: Vec::new(),
            grpc: Vec::new(),
            websockets: Vec::new(),
            tunnels: Vec::new(),
            half_open: Vec::new(),
        };
        for number in 0..EACH {
            let via = Via::BOTH[usize::from(number % 2 == 0)];
            let mut client = scene.raw(via).await;
            let request = "GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n";
            client.send(request).await.expect("sent");
            held.http1.push(client);
            held.http2.push(multiplexed(scene, number).await);
            held.grpc.push(calling(scene.http2(via).await).await);
            let wire = scene.wire(via, "http/1.1").await;
            let mut socket = WebSocket::over(wire, "/chat").await;
            socket.echo("hello").await.expect("an echo");
            held.websockets.push(socket);
            let mut tunnel = scene.tunnel(via).await;
            tunnel.send("hello\n").await.expect("sent");
            tunnel.read_until("\n").await.expect("an echo");
            held.tunnels.push(tunnel);
            let mut half = scene.raw(via).await;
            half.send("GET / HT").await.expect("sent");
            held.half_open.push(half);
        }
        held
    }

    /// Wait until the proxy has seen all of it.
    pub(super) async fn settled(&self, scene: &Scene) {
        let in_flight: u64 = self.in_flight().values().sum();
        let connections = self.connections();
        let wanted = |table: &[Value]| {
            let seen = table.iter().map(|one| one["in_flight"].as_u64());
            let heads = table.iter().filter(|one| one["state"] == "head").count();
            seen.sum::<Option<u64>>() == Some(in_flight)
                && table.len() as u64 == connections
                && heads as u64 == EACH
        };
        scene.until_connections("what is held", wanted).await;
    }

    /// How many connections there are while all are here.
    #[expect(clippy::unused_self, reason = "it is a property of what was made")]
    pub(super) const fn connections(&self) -> u64 {
        6 * EACH
    }

    /// How many exchanges are in flight while all are here.
    #[expect(clippy::unused_self, reason = "it is a property of what was made")]
    pub(super) fn in_flight(&self) -> Sums {
        let sums = [
            ("http1", EACH),
            ("http2", EACH * STREAMS),
            ("grpc", EACH * STREAMS),
            ("websocket", EACH),
            ("tcp", EACH),
        ];
        sums.map(|(protocol, sum)| (protocol.to_owned(), sum))
            .into()
    }

    /// How many connections have come to no request.
    #[expect(clippy::unused_self, reason = "it is a property of what was made")]
    pub(super) const fn half_open(&self) -> u64 {
        EACH
    }

    /// Some vanish, without a word.
    pub(super) fn some_leave(&mut self, seed: &mut Seed) {
        self.http1.retain(|_| !seed.once_in(3));
        self.http2.retain(|_| !seed.once_in(3));
        self.grpc.retain(|_| !seed.once_in(3));
        self.websockets.retain(|_| !seed.once_in(3));
        self.tunnels.retain(|_| !seed.once_in(3));
    }
}

/// Streams whose answer the server holds; every other client's server is not
/// the one that lets go.
async fn multiplexed(scene: &Scene, number: u64) -> Multiplexed {
    let client = if number.is_multiple_of(2) {
        Http2::connect(scene.address("multi")).await
    } else {
        scene.http2(Via::Tls).await
    };
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let opened = client.open(Http2::request("/hold"), true).await;
        streams.push(opened.expect("a stream"));
    }
    (client, streams)
}

async fn calling(client: Http2) -> Multiplexed {
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let (response, mut upload) = call(&client, "Hold").await;
        upload.send_data(Bytes::new(), true).expect("an end");
        streams.push((response, upload));
    }
    (client, streams)
}
