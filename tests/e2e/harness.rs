//! The harness against itself: clients and servers without a proxy between.
//!
//! What a test sees through a proxy is worth as much as what it sees without.

use crate::support::certificate::Certificate;
use crate::support::clients::{
    Ended, Frame, Frames, GoAway, Grpc, Http1, Http2, Raw, WebSocket, connect,
};
use crate::support::servers::{Line, Server, pattern};
use crate::support::within;
use bytes::Bytes;
use h2::Reason;
use http::Request;
use http_body_util::{BodyExt, Full};
use tonic::{Code, Streaming};

#[tokio::test]
async fn http1_answers_by_path() {
    let server = Server::http1().await;
    let mut client = Http1::connect(server.address).await;
    let reply = client.get("/").await.expect("a reply");
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"));
    assert_eq!(
        client.get("/status/418").await.expect("a reply").status,
        418
    );
    let reply = client.get("/bytes/100000").await.expect("a reply");
    assert_eq!(reply.body, pattern(100_000));
    let mut request = Http1::request("/echo");
    *request.body_mut() = Full::new(Bytes::from_static(b"hello")).boxed_unsync();
    let reply = Http1::whole(client.send(request).await.expect("a head"))
        .await
        .expect("a body");
    assert_eq!(reply.text(), "hello");
    let seen = server
        .desk
        .until("four ends", |seen| seen.finished == 4)
        .await;
    assert_eq!(
        (seen.connections, seen.open, seen.requests, seen.cancelled),
        (1, 1, 4, 0)
    );
    assert!(
        seen.heads[0].starts_with("GET / HTTP/1.1\nhost: localhost\n"),
        "{:?}",
        seen.heads
    );
}

#[tokio::test]
async fn http1_holds_until_released_and_sends_trailers() {
    let certificate = Certificate::new();
    let server = Server::http1_tls(certificate.server(&["http/1.1"])).await;
    let wire = certificate.connect(server.address, "http/1.1").await;
    let mut client = Http1::over(wire).await;
    let mut response = client.send(Http1::request("/begin")).await.expect("a head");
    let first = within("a piece", response.body_mut().frame())
        .await
        .expect("a piece")
        .expect("a piece");
    assert_eq!(first.into_data().expect("data"), "begun");
    assert_eq!(server.desk.seen().finished, 0);
    server.desk.release();
    let reply = Http1::whole(response).await.expect("the rest");
    assert_eq!(
        (reply.text(), reply.trailer("x-check")),
        ("done", Some("done"))
    );
    assert_eq!(client.get("/hold").await.expect("a reply").text(), "held");
    assert!(!client.is_closed());
    let mut head = Http1::request("/");
    let close = "close".parse().expect("a value");
    head.headers_mut().insert("connection", close);
    client.send(head).await.expect("a head");
    client.closed().await.expect("an end in order");
}

#[tokio::test]
async fn an_http1_client_that_leaves_is_noticed() {
    let server = Server::http1().await;
    let mut client = Http1::connect(server.address).await;
    let response = client
        .send(Http1::request("/events"))
        .await
        .expect("a head");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    drop((client, response));
    let seen = server
        .desk
        .until("the client's end", |seen| seen.cancelled == 1)
        .await;
    assert_eq!(seen.finished, 0);
    server
        .desk
        .until("no connection", |seen| seen.open == 0)
        .await;
}

#[tokio::test]
async fn http2_answers_by_path_and_says_why_it_was_cancelled() {
    let certificate = Certificate::new();
    let server = Server::http2_tls(certificate.server(&["h2"])).await;
    let client = Http2::over(certificate.connect(server.address, "h2").await).await;
    assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
    assert_eq!(
        client.get("/bytes/300000").await.expect("a reply").body,
        pattern(300_000)
    );
    let mut begun = client.begin("/begin").await.expect("a head");
    assert_eq!(
        within("a piece", begun.body_mut().data())
            .await
            .expect("a piece")
            .expect("a piece"),
        "begun"
    );
    let (held, mut stream) = client
        .open(Http2::request("/hold"), true)
        .await
        .expect("a stream");
    server
        .desk
        .until("four requests", |seen| seen.requests == 4)
        .await;
    stream.send_reset(Reason::CANCEL);
    let seen = server
        .desk
        .until("CANCEL", |seen| seen.cancelled == 1)
        .await;
    assert_eq!(seen.finished, 2);
    assert!(within("an error", held).await.is_err());
    server
        .desk
        .until("its reason", |seen| seen.reasons == ["CANCEL"])
        .await;
    server.desk.release();
    let reply = Http2::whole(begun).await.expect("the rest");
    assert_eq!(
        (reply.text(), reply.trailer("x-check")),
        ("done", Some("done"))
    );
}

#[tokio::test]
async fn an_http2_client_sees_each_goaway() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bind");
    let address = listener.local_addr().expect("address");
    let (release, released) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accept");
        let mut connection = h2::server::handshake(stream).await.expect("handshake");
        let (_, mut respond) = connection
            .accept()
            .await
            .expect("a stream")
            .expect("a stream");
        connection.graceful_shutdown();
        tokio::spawn(async move {
            released.await.expect("the test goes on");
            let response = http::Response::new(());
            respond.send_response(response, true).expect("a response");
        });
        while connection.accept().await.is_some() {}
    });
    let client = Http2::connect(address).await;
    let (response, _) = client
        .open(Http2::request("/"), true)
        .await
        .expect("a stream");
    let goaways = client.goaways(2).await;
    let last: Vec<u32> = goaways.iter().map(|goaway| goaway.last_stream).collect();
    assert_eq!(last, [0x7fff_ffff, 1]);
    let plain = |goaway: &GoAway| goaway.reason == Reason::NO_ERROR && goaway.debug.is_empty();
    assert!(goaways.iter().all(plain), "{goaways:?}");
    release.send(()).expect("the server goes on");
    assert_eq!(
        within("a head", response).await.expect("a head").status(),
        200
    );
    let (ended, all) = client.closed().await;
    assert_eq!((ended.is_ok(), all), (true, goaways));
}

#[tokio::test]
async fn a_client_in_frames_sees_each_of_them() {
    let server = Server::http2().await;
    let mut client = Frames::over(connect(server.address).await).await;
    client
        .send(Frame::new(Frame::PING, 0, 0, *b"12345678"))
        .await;
    let settings = client.frame().await.expect("a frame");
    assert_eq!(
        (settings.kind, settings.flags, settings.stream),
        (Frame::SETTINGS, 0, 0)
    );
    let pong = loop {
        let frame = client.frame().await.expect("a frame");
        if frame.kind == Frame::PING {
            break frame;
        }
    };
    assert_eq!(
        (pong.flags, &pong.payload[..]),
        (Frame::ACK, &b"12345678"[..])
    );
}

#[tokio::test]
async fn http2_uploads_come_back() {
    let server = Server::http2().await;
    let client = Http2::connect(server.address).await;
    let request = Request::post("http://localhost/echo")
        .body(())
        .expect("a request");
    let (response, mut upload) = client.open(request, false).await.expect("a stream");
    upload
        .send_data(Bytes::from_static(b"hello"), false)
        .expect("data");
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-check", "sent".parse().expect("a value"));
    upload.send_trailers(trailers).expect("trailers");
    let reply = Http2::whole(within("a head", response).await.expect("a head"))
        .await
        .expect("a body");
    assert_eq!(
        (
            reply.text(),
            reply.trailer("x-check"),
            reply.header("trailer")
        ),
        ("hello", Some("sent"), Some("x-check"))
    );
}

#[tokio::test]
async fn grpc_has_all_four_kinds_of_call() {
    let server = Server::grpc().await;
    let client = Grpc::connect(server.address).await;
    assert_eq!(client.echo("hello").await.expect("a line").text, "hello");
    let mut lines = client.count(3).await.expect("a stream");
    for number in 0..3 {
        assert_eq!(next(&mut lines).await.expect("a line").number, number);
    }
    assert_eq!(next(&mut lines).await, None);
    let line = |text: &str, number| Line {
        text: text.to_owned(),
        number,
    };
    let sent = || tokio_stream::iter([line("a", 0), line("b", 0)]);
    assert_eq!(client.collect(sent()).await.expect("a line"), line("ab", 2));
    let mut chat = client.chat(sent()).await.expect("a stream");
    assert_eq!(next(&mut chat).await, Some(line("a", 0)));
    assert_eq!(next(&mut chat).await, Some(line("b", 0)));
    assert_eq!(next(&mut chat).await, None);
    server
        .desk
        .until("four ends", |seen| seen.finished == 4)
        .await;
}

async fn next(lines: &mut Streaming<Line>) -> Option<Line> {
    within("a line", lines.message())
        .await
        .expect("no status but 0")
}

#[tokio::test]
async fn grpc_calls_are_held_cancelled_and_refused() {
    let server = Server::grpc().await;
    let client = Grpc::connect(server.address).await;
    let mut endless = client.watch().await.expect("a stream");
    assert_eq!(next(&mut endless).await.expect("a line").number, 0);
    drop(endless);
    server
        .desk
        .until("the stream's end", |seen| seen.cancelled == 1)
        .await;
    let held = tokio::spawn({
        let client = client.clone();
        async move { client.hold("later").await }
    });
    server
        .desk
        .until("the call", |seen| seen.requests == 2)
        .await;
    server.desk.release();
    let line = within("the call", held)
        .await
        .expect("the task")
        .expect("a line");
    assert_eq!(line.text, "later");
    let other = Server::http1().await;
    let refused = Grpc::connect(other.address).await.echo("x").await;
    assert_ne!(refused.expect_err("it is no gRPC server").code(), Code::Ok);
}

#[tokio::test]
async fn websocket_echoes_and_closes_from_either_side() {
    let server = Server::websocket().await;
    let mut client = WebSocket::connect(server.address, "/chat").await;
    assert_eq!(client.echo("hello").await.expect("an echo"), "hello");
    client.close().await.expect("a Close");
    let seen = server
        .desk
        .until("the Close", |seen| seen.finished == 1)
        .await;
    assert_eq!(seen.reasons, ["Close 0"]);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
        let (stream, _) = listener.accept().await.expect("accept");
        let mut socket = tokio_tungstenite::accept_async(stream)
            .await
            .expect("a WebSocket");
        let frame = CloseFrame {
            code: CloseCode::Away,
            reason: "going".into(),
        };
        socket.close(Some(frame)).await.expect("a Close");
        while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {}
    });
    let client = WebSocket::connect(address, "/chat").await;
    assert_eq!(client.closed().await, Some((1001, "going".to_owned())));
}

#[tokio::test]
async fn tcp_echoes_and_tells_an_end_from_a_reset() {
    let server = Server::tcp().await;
    let mut client = Raw::connect(server.address).await;
    client.send("one\ntwo\n").await.expect("sent");
    assert_eq!(client.read_until("\n").await.expect("a line"), "one\n");
    client.finish().await.expect("FIN");
    assert_eq!(client.rest().await, (b"two\n".to_vec(), Ended::Fin));
    server
        .desk
        .until("the end", |seen| {
            seen.finished == 1 && seen.reasons == ["FIN"]
        })
        .await;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bind");
    let mut client = Raw::connect(listener.local_addr().expect("address")).await;
    client.send("unread").await.expect("sent");
    let (stream, _) = listener.accept().await.expect("accept");
    within("bytes", stream.readable()).await.expect("bytes");
    // Closed with bytes unread, a socket sends RST.
    drop(stream);
    assert_eq!(client.rest().await, (Vec::new(), Ended::Reset));
}

#[tokio::test]
async fn raw_clients_speak_http_and_half_of_tls() {
    let certificate = Certificate::new();
    let server = Server::http1_tls(certificate.server(&["http/1.1"])).await;
    let mut client = Raw::connect_tls(server.address, &certificate, "http/1.1").await;
    client
        .send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("sent");
    let head = client.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let hello = certificate.client_hello();
    assert_eq!(hello[0], 22, "a TLS handshake record");
    let mut half = Raw::connect(server.address).await;
    half.send(&hello[..hello.len() / 2]).await.expect("sent");
    half.finish().await.expect("FIN");
    server
        .desk
        .until("its end", |seen| seen.connections == 2 && seen.open == 1)
        .await;
    server.stop_accepting();
}
