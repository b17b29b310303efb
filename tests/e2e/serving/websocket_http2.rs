//! WebSocket over a stream of HTTP/2 (RFC 8441): the handshake, whichever
//! version the server speaks.

use super::script::Script;
use crate::support::clients::{Http1, Http2, Raw, WebSocket, connect};
use crate::support::proxy::Proxy;
use crate::support::servers::{Server, pattern};
use crate::support::within;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Method};
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};

const TLS: &str = "tls = { cert = \"site.pem\", key = \"site.key\" }";

/// `clear` and `tls` before one server, which speaks `http`.
pub(super) async fn before(server: SocketAddr, http: &str) -> Proxy {
    let listener = "listen = \"127.0.0.1:0\"\nroutes = [{ upstream = \"site\", \
                    set_response_headers = { x-set = \"here\" } }]\n";
    Proxy::start(&format!(
        "[listener.clear]\n{listener}\n[listener.tls]\n{TLS}\n{listener}\n\
         [upstream.site]\nservers = [\"{server}\"]\nhttp = \"{http}\"\n"
    ))
    .await
}

/// A server of HTTP/1.1 that says to each handshake what `answer` makes of its
/// head and of what its key becomes.
async fn answering(answer: impl Fn(&str, &str) -> String + Clone + Send + 'static) -> Script {
    Script::http1(move |mut wire| {
        let answer = answer.clone();
        async move {
            while let Ok(head) = wire.head().await {
                let key = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("sec-websocket-key")
                        .then_some(value)
                });
                let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
                wire.send(answer(&head, &accept)).await.expect("sent");
            }
        }
    })
    .await
}

fn agree(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: WebSocket\r\nSec-WebSocket-Accept: {accept}\r\n"
    )
}

#[tokio::test]
async fn messages_and_closes_pass_in_clear_text_and_over_tls() {
    for (server, http) in [
        (Server::websocket().await, "h1"),
        (Server::websocket_http2().await, "h2"),
    ] {
        let proxy = before(server.address, http).await;
        let tls = proxy.certificate().connect(proxy.address("tls"), "h2");
        let clear = connect(proxy.address("clear"));
        for (number, wire) in (1..).zip([clear.await, tls.await]) {
            let client = Http2::over(wire).await;
            let mut socket = WebSocket::over_stream(&client, "/chat").await;
            assert_eq!(socket.echo("hello").await.expect("an echo"), "hello");
            let large = Message::binary(pattern(1_000_000));
            socket.socket.send(large.clone()).await.expect("sent");
            let echo = within("the echo", socket.socket.next()).await;
            assert_eq!(echo.expect("a message").expect("a message"), large);
            let ping = Message::Ping(Bytes::from_static(b"are you there"));
            socket.socket.send(ping).await.expect("sent");
            let answer = within("a pong", socket.socket.next()).await;
            let answer = answer.expect("a message").expect("a message");
            assert_eq!(answer.into_data(), "are you there");
            let close = CloseFrame {
                code: CloseCode::Library(4000 + number),
                reason: "enough".into(),
            };
            socket.socket.close(Some(close)).await.expect("sent");
            let code = socket.closed().await.map(|(code, _)| code);
            assert_eq!(code, Some(4000 + number), "the answer's code");
            let told = format!("Close {}", 4000 + number);
            let desk = &server.desk;
            desk.until(&told, |seen| seen.reasons.last() == Some(&told))
                .await;
        }
        let desk = &server.desk;
        desk.until("both ends", |seen| seen.finished == 2).await;
    }
}

#[tokio::test]
async fn the_server_gets_a_handshake_of_its_own_version() {
    let (note, heads) = std::sync::mpsc::channel();
    let server = answering(move |head, accept| {
        note.send(head.to_ascii_lowercase()).expect("the test");
        let more = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: x-none\r\n";
        format!("{}{more}Content-Length: 0\r\n\r\n", agree(accept))
    })
    .await;
    let proxy = before(server.address, "h1").await;
    let client = Http2::connect(proxy.address("clear")).await;
    let mut asked = Http2::connect_to("websocket", "/chat?room=1");
    for (name, value) in [
        ("sec-websocket-protocol", "chat, talk"),
        ("sec-websocket-extensions", "x-none"),
        ("origin", "http://localhost"),
        ("sec-websocket-key", "not of this version"),
    ] {
        asked
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let (head, _stream) = client.tunnel(asked).await.expect("an answer");
    assert_eq!(head.status, 200);
    assert_eq!(head.headers["sec-websocket-protocol"], "chat");
    assert_eq!(head.headers["sec-websocket-extensions"], "x-none");
    assert_eq!(head.headers["x-set"], "here");
    for gone in [
        "sec-websocket-accept",
        "upgrade",
        "connection",
        "content-length",
    ] {
        assert!(!head.headers.contains_key(gone), "{gone}: {head:?}");
    }
    let head = heads.try_recv().expect("a head, as it was answered");
    assert!(head.starts_with("get /chat?room=1 http/1.1\r\n"), "{head}");
    for field in [
        "host: localhost",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: chat, talk",
        "origin: http://localhost",
        "via: 2 ebbtide",
    ] {
        assert!(
            head.contains(&format!("\r\n{field}\r\n")),
            "{field}: {head}"
        );
    }
    let key = head.split("\r\nsec-websocket-key: ").nth(1).expect("a key");
    assert_eq!(key.split("\r\n").next().map(str::len), Some(24), "{head}");
    assert_eq!(head.matches("sec-websocket-key").count(), 1, "{head}");
}

#[tokio::test]
async fn bytes_sent_along_with_the_101_are_not_lost() {
    let server = answering(|_, accept| format!("{}\r\n\x01\x05early", agree(accept))).await;
    let proxy = before(server.address, "h1").await;
    let client = Http2::connect(proxy.address("clear")).await;
    let asked = client.tunnel(Http2::connect_to("websocket", "/"));
    let (_, mut stream) = asked.await.expect("an answer");
    let mut early = [0; 7];
    within("bytes", stream.read_exact(&mut early))
        .await
        .expect("bytes");
    assert_eq!(&early, b"\x01\x05early");
}

#[tokio::test]
async fn an_answer_that_is_no_agreement_is_not_passed_as_one() {
    type Answer = fn(&str, &str) -> String;
    let wrong: [(&str, Answer); 4] = [
        ("a wrong key", |_, _| {
            agree("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") + "\r\n"
        }),
        ("no Upgrade", |_, accept| {
            agree(accept).replace("Upgrade: WebSocket\r\n", "") + "\r\n"
        }),
        ("no Connection", |_, accept| {
            agree(accept).replace("keep-alive, Upgrade", "keep-alive") + "\r\n"
        }),
        ("200", |_, _| {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()
        }),
    ];
    for (what, answer) in wrong {
        let server = answering(answer).await;
        let proxy = before(server.address, "h1").await;
        let client = Http2::connect(proxy.address("clear")).await;
        let asked = client.tunnel(Http2::connect_to("websocket", "/"));
        let (head, mut stream) = asked.await.expect("an answer");
        assert_eq!(head.status, 502, "{what}");
        let mut says = String::new();
        within("the words", stream.read_to_string(&mut says))
            .await
            .expect(what);
        assert_eq!(says, "the server's WebSocket handshake is wrong");
    }
}

#[tokio::test]
async fn an_upgrade_that_the_server_declines_is_an_ordinary_answer() {
    for (server, http) in [
        (Server::http1().await, "h1"),
        (Server::websocket_http2().await, "h2"),
    ] {
        let proxy = before(server.address, http).await;
        let client = Http2::connect(proxy.address("clear")).await;
        let path = if http == "h1" {
            "/status/403"
        } else {
            "/declined"
        };
        let asked = client.tunnel(Http2::connect_to("websocket", path));
        let (head, mut stream) = asked.await.expect("an answer");
        assert_eq!(head.status, 403);
        assert_eq!(head.headers["x-set"], "here");
        let mut says = String::new();
        within("the words", stream.read_to_string(&mut says))
            .await
            .expect("an end in order");
        assert_eq!(says, if http == "h1" { "" } else { "not here" });
        // The connection serves on.
        let asked = client.tunnel(Http2::connect_to("websocket", path));
        assert_eq!(asked.await.expect("an answer").0.status, 403);
    }
}

#[tokio::test]
async fn what_is_no_websocket_is_refused() {
    let server = Server::websocket().await;
    let proxy = before(server.address, "h1").await;
    let client = Http2::connect(proxy.address("clear")).await;
    let mut plain = Http2::request("");
    *plain.method_mut() = Method::CONNECT;
    *plain.uri_mut() = "localhost:80".parse().expect("an authority");
    let mut sized = Http2::connect_to("websocket", "/");
    let length = HeaderValue::from_static("5");
    sized.headers_mut().insert("content-length", length);
    for (asked, status) in [
        (Http2::connect_to("connect-udp", "/"), 501),
        (plain, 501),
        (sized, 400),
    ] {
        let what = format!("{asked:?}");
        let (head, mut stream) = client.tunnel(asked).await.expect(&what);
        assert_eq!(head.status, status, "{what}");
        let mut says = String::new();
        within("the words", stream.read_to_string(&mut says))
            .await
            .expect(&what);
        assert!(!says.is_empty(), "{what}");
    }
    assert_eq!(server.desk.seen().requests, 0);
}

#[tokio::test]
async fn a_client_of_http1_reaches_a_server_of_http2() {
    let server = Server::websocket_http2().await;
    let proxy = before(server.address, "h2").await;
    let mut client = Raw::connect(proxy.address("clear")).await;
    let asked = "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: talk\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // With the head, a masked text frame, "early", with a mask of zeros.
    client
        .send([asked.as_bytes(), key.as_bytes(), b"\x81\x85\0\0\0\0early"].concat())
        .await
        .expect("sent");
    let head = client.head().await.expect("a head").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for field in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-protocol: talk",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
    ] {
        assert!(
            head.contains(&format!("\r\n{field}\r\n")),
            "{field}: {head}"
        );
    }
    client.read_until("early").await.expect("the echo");
    let seen = server.desk.seen().heads[0].to_ascii_lowercase();
    assert!(
        seen.starts_with("connect http://localhost/chat http/2.0"),
        "{seen}"
    );
    for gone in ["connection:", "upgrade:", "sec-websocket-key:", "host:"] {
        assert!(!seen.contains(&format!("\n{gone}")), "{gone} {seen}");
    }
    let mut socket = WebSocket::connect(proxy.address("clear"), "/chat").await;
    assert_eq!(socket.echo("hello").await.expect("an echo"), "hello");
    socket.close().await.expect("a Close");
    // Without a key there is nothing to answer with.
    let mut client = Raw::connect(proxy.address("clear")).await;
    client.send(format!("{asked}\r\n")).await.expect("sent");
    let head = client.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    // Nor is a refusal anything but one.
    let mut client = Raw::connect(proxy.address("clear")).await;
    let asked = asked.replace("/chat", "/declined");
    client.send(format!("{asked}{key}")).await.expect("sent");
    let head = client.read_until("not here").await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
}

#[tokio::test]
async fn a_server_of_http2_that_takes_no_websocket_is_not_asked() {
    let server = Server::http2().await;
    let proxy = before(server.address, "h2").await;
    let client = Http2::connect(proxy.address("clear")).await;
    let asked = client.tunnel(Http2::connect_to("websocket", "/"));
    let (head, mut stream) = asked.await.expect("an answer");
    assert_eq!(head.status, 501);
    let mut says = String::new();
    within("the words", stream.read_to_string(&mut says))
        .await
        .expect("words");
    assert_eq!(says, "the server takes no WebSocket over HTTP/2");
    let mut client = Http1::connect(proxy.address("clear")).await;
    let mut asked = Http1::request("/");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        asked
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let response = client.send(asked).await.expect("a head");
    let reply = Http1::whole(response).await.expect("a reply");
    assert_eq!((reply.status.as_u16(), reply.text()), (501, says.as_str()));
    assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
    assert_eq!(server.desk.seen().requests, 1, "only the last");
}
