//! PINGs: those of clients are policed, ours find out who is gone.

use crate::support::clients::{Ended, Frame, Frames, connect};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use crate::support::{BoxWire, within};
use h2::Reason;

struct Scene {
    proxy: Proxy,
    server: Server,
}

impl Scene {
    async fn start(keepalive: &str) -> Self {
        let server = Server::http1().await;
        let address = server.address;
        let shared =
            format!("keepalive = {{ {keepalive} }}\nroutes = [{{ upstream = \"site\" }}]\n");
        let proxy = Proxy::start(&format!(
            "[listener.web]\nlisten = \"127.0.0.1:0\"\n{shared}\n\
             [listener.secure]\nlisten = \"127.0.0.1:0\"\n\
             tls = {{ cert = \"site.pem\", key = \"site.key\" }}\n{shared}\n\
             [upstream.site]\nservers = [\"{address}\"]\n"
        ))
        .await;
        Self { proxy, server }
    }

    /// A connection, in clear text or over TLS.
    async fn wire(&self, tls: bool) -> BoxWire {
        if tls {
            let secure = self.proxy.address("secure");
            self.proxy.certificate().connect(secure, "h2").await
        } else {
            connect(self.proxy.address("web")).await
        }
    }
}

/// A PING, and the answer to it.
async fn pinged(client: &mut Frames, mark: u8) {
    client.send(Frame::new(Frame::PING, 0, 0, [mark; 8])).await;
    loop {
        let frame = within("an answer", client.frame()).await.expect("a frame");
        if frame.kind == Frame::PING && frame.flags & Frame::ACK != 0 {
            assert_eq!(frame.payload, [mark; 8]);
            return;
        }
    }
}

#[tokio::test]
async fn idle_pings_too_close_together_are_too_many() {
    let scene = Scene::start("least = \"10m\"").await;
    for tls in [false, true] {
        let mut client = Frames::over(scene.wire(tls).await).await;
        for mark in 1..=3 {
            pinged(&mut client, mark).await;
        }
        client.send(Frame::new(Frame::PING, 0, 0, [4; 8])).await;
        let away = client.until(Frame::GOAWAY).await;
        assert_eq!(away.goaway(), (0, Reason::ENHANCE_YOUR_CALM));
        assert_eq!(&away.payload[8..], b"too_many_pings");
        let (_, ended) = client.rest().await;
        assert!(matches!(ended, Ended::Fin | Ended::Reset));
    }
}

#[tokio::test]
async fn who_calls_may_send_as_many_as_it_likes() {
    for tls in [false, true] {
        let scene = Scene::start("least = \"10m\"").await;
        let mut client = Frames::over(scene.wire(tls).await).await;
        client.until(Frame::SETTINGS).await;
        client
            .send(Frame::new(Frame::SETTINGS, Frame::ACK, 0, []))
            .await;
        client.get(1, "/hold").await;
        let desk = scene.server.desk.clone();
        desk.until("the request", |seen| seen.requests == 1).await;
        for mark in 0..20 {
            pinged(&mut client, mark).await;
        }
        desk.release();
        assert_eq!(client.answer(1).await, b"held");
        // Each call makes up for those before it.
        for stream in (3..11).step_by(2) {
            for mark in 0..2 {
                pinged(&mut client, mark).await;
            }
            client.get(stream, "/").await;
            assert_eq!(client.answer(stream).await, b"ok");
        }
    }
}

#[tokio::test]
async fn a_silent_client_that_does_not_answer_is_left() {
    let scene = Scene::start("after = \"100ms\", answer = \"200ms\"").await;
    for (number, tls) in [(1, false), (2, true)] {
        let mut client = Frames::over(scene.wire(tls).await).await;
        client.get(1, "/hold").await;
        client.until(Frame::PING).await;
        let desk = scene.server.desk.clone();
        desk.until("its request's end", |seen| seen.cancelled == number)
            .await;
        within("the end", client.rest()).await;
    }
}

#[tokio::test]
async fn a_silent_client_that_answers_is_waited_for() {
    for tls in [false, true] {
        let scene = Scene::start("after = \"100ms\", answer = \"3s\"").await;
        let mut client = Frames::over(scene.wire(tls).await).await;
        client.get(1, "/begin").await;
        // The second is sent only if the first was answered.
        for _ in 0..2 {
            client.pong().await;
        }
        scene.server.desk.release();
        assert!(client.answer(1).await.ends_with(b"done"));
        assert_eq!(scene.server.desk.seen().cancelled, 0);
    }
}
