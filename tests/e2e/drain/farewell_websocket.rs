//! The farewell of a WebSocket that HTTP/2 carries (RFC 8441): Close 1001 to
//! both sides, and nothing to the streams beside it.

use super::scene::{Plan, Scene, Via, ended};
use crate::support::clients::{Http1, Http2, WebSocket};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::stream::{Stream, reset_of};
use crate::support::within;
use h2::Reason;
use http::Method;
use http::header::HOST;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Only WebSocket comes to its deadline.
const SHORT: Plan = Plan {
    websocket: "600ms",
    ..Plan::CALM
};

/// A Close of ours: its code, and that it is not masked.
const CLOSE_1001: [u8; 2] = 1001_u16.to_be_bytes();

async fn tunnel(client: &Http2) -> Stream {
    let asked = client.tunnel(Http2::connect_to("websocket", "/chat"));
    let (head, stream) = asked.await.expect("an answer");
    assert_eq!(head.status, 200);
    stream
}

/// Drain; the receipt.
async fn drain(admin: SocketAddr) -> Value {
    let mut request = Http1::request("/v1/drain?wait=true");
    *request.method_mut() = Method::POST;
    let host = admin.to_string().parse().expect("a host");
    request.headers_mut().insert(HOST, host);
    let mut client = Http1::connect(admin).await;
    let response = client.send(request).await.expect("an answer");
    let reply = Http1::whole(response).await.expect("a receipt");
    serde_json::from_str(reply.text()).expect("JSON")
}

/// Read the Close that the farewell says.
async fn read_close(stream: &mut Stream) {
    let mut head = [0; 2];
    within("a Close", stream.read_exact(&mut head))
        .await
        .expect("a Close");
    assert_eq!(head[0], 0x88);
    let mut says = vec![0; head[1].into()];
    within("its words", stream.read_exact(&mut says))
        .await
        .expect("its words");
    assert!(says.starts_with(&CLOSE_1001), "{says:?}");
}

/// What a client answers: Close 1001, with a mask of zeros.
const ANSWER: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, CLOSE_1001[0], CLOSE_1001[1]];

#[tokio::test]
async fn both_sides_get_close_1001_and_siblings_go_on() {
    let scene = Scene::start(&SHORT).await;
    let mut sockets = Vec::new();
    let mut clients = Vec::new();
    let mut held = Vec::new();
    for via in Via::BOTH {
        let client = scene.http2(via).await;
        let mut socket = WebSocket::over_stream(&client, "/chat").await;
        assert_eq!(socket.echo("hello").await.expect("an echo"), "hello");
        sockets.push(socket);
        let (response, _) = client
            .open(Http2::request("/hold"), true)
            .await
            .expect("a stream");
        held.push(response);
        clients.push(client);
    }
    let desk = scene.http1.desk.clone();
    desk.until("the requests", |seen| seen.requests == 2).await;
    let receipt = tokio::spawn(drain(scene.proxy.admin()));
    for socket in sockets {
        let (code, reason) = socket.closed().await.expect("a Close");
        assert_eq!(code, 1001);
        assert!(reason.contains("drain"), "{reason}");
    }
    let both = &scene.websocket.desk;
    let seen = both.until("both Closes", |seen| seen.finished == 2).await;
    assert_eq!(seen.reasons, ["Close 1001", "Close 1001"]);
    both.until("their ends", |seen| seen.open == 0).await;
    desk.release();
    for (client, held) in clients.into_iter().zip(held) {
        let response = within("a head", held).await.expect("a head");
        let reply = Http2::whole(response).await.expect("a reply");
        assert_eq!(reply.text(), "held");
        let (end, goaways) = client.closed().await;
        end.expect("an end in order");
        assert_eq!(goaways.len(), 2, "{goaways:?}");
    }
    let receipt = within("a receipt", receipt).await.expect("a receipt");
    assert_eq!(
        receipt["requests"]["websocket"],
        json!({ "opened": 2, "finished": 0, "farewelled": 2, "cut": 0 })
    );
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (2, 2, 0));
}

#[tokio::test]
async fn a_frame_under_way_is_not_broken() {
    let scene = Scene::start(&SHORT).await;
    let client = scene.http2(Via::Clear).await;
    let mut stream = tunnel(&client).await;
    // Half of a masked text frame, "hello", with a mask of zeros.
    stream.write_all(b"\x81\x85\0\0\0\0he").await.expect("sent");
    scene.proxy.signal(Signal::TERM);
    read_close(&mut stream).await;
    stream.write_all(b"llo").await.expect("sent");
    let desk = &scene.websocket.desk;
    let seen = desk.until("a Close", |seen| !seen.reasons.is_empty());
    assert_eq!(seen.await.reasons, ["Close 1001"]);
    stream.write_all(&ANSWER).await.expect("sent");
    stream.shutdown().await.expect("END_STREAM");
    let mut rest = Vec::new();
    within("END_STREAM", stream.read_to_end(&mut rest))
        .await
        .expect("an end in order");
    assert_eq!(rest, b"");
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (0, 1, 0));
}

#[tokio::test]
async fn an_unanswered_handshake_gets_503() {
    let scene = Scene::start(&SHORT).await;
    let client = scene.http2(Via::Clear).await;
    let asked = tokio::spawn(async move {
        let asked = client.tunnel(Http2::connect_to("websocket", "/hold"));
        let answer = asked.await.expect("an answer");
        (answer, client)
    });
    let desk = &scene.http1.desk;
    desk.until("the request", |seen| seen.requests == 1).await;
    scene.proxy.signal(Signal::TERM);
    let ((head, stream), _client) = within("an answer", asked).await.expect("an answer");
    assert_eq!(head.status, 503);
    assert!(head.headers.contains_key("retry-after"), "{head:?}");
    drop(stream);
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (0, 1, 0));
}

#[tokio::test]
async fn a_client_that_does_not_leave_is_cut_alone() {
    let scene = Scene::start(&Plan {
        farewell: "300ms",
        ..SHORT
    })
    .await;
    let client = scene.http2(Via::Clear).await;
    let mut stream = tunnel(&client).await;
    let (held, _) = client
        .open(Http2::request("/hold"), true)
        .await
        .expect("a stream");
    let desk = &scene.http1.desk;
    desk.until("the request", |seen| seen.requests == 1).await;
    scene.proxy.signal(Signal::TERM);
    read_close(&mut stream).await;
    let mut rest = Vec::new();
    let error = within("a reset", stream.read_to_end(&mut rest))
        .await
        .expect_err("a reset");
    assert_eq!(reset_of(&error), Some(Reason::CANCEL), "{error}");
    desk.release();
    let response = within("a head", held).await.expect("a head");
    let reply = Http2::whole(response).await.expect("a reply");
    assert_eq!(reply.text(), "held");
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (1, 0, 1));
}

#[tokio::test]
async fn a_server_of_http2_is_told_as_well() {
    let server = Server::websocket_http2().await;
    let mut proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
         [upstream.site]\nservers = [\"{}\"]\nhttp = \"h2\"\n\n{SHORT}",
        server.address
    ))
    .await;
    let address = proxy.address("web");
    let client = Http2::connect(address).await;
    let sockets = [
        WebSocket::connect(address, "/chat").await,
        WebSocket::over_stream(&client, "/chat").await,
    ];
    let desk = &server.desk;
    desk.until("both", |seen| seen.requests == 2).await;
    proxy.signal(Signal::TERM);
    for socket in sockets {
        assert_eq!(socket.closed().await.map(|(code, _)| code), Some(1001));
    }
    let seen = desk.until("both Closes", |seen| seen.finished == 2).await;
    assert_eq!(seen.reasons, ["Close 1001", "Close 1001"]);
    drop(client);
    let sums = ended(&mut proxy).await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (0, 2, 0));
}
