//! WebSocket and TCP: bytes, and ends, pass both ways.

use super::script::Script;
use crate::support::clients::{Http1, Raw, WebSocket};
use crate::support::proxy::Proxy;
use crate::support::servers::{Server, pattern};
use crate::support::within;
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};

const TLS: &str = "tls = { cert = \"site.pem\", key = \"site.key\" }";

async fn web_proxy(server: SocketAddr) -> Proxy {
    let listener = "listen = \"127.0.0.1:0\"\nroutes = [{ upstream = \"site\" }]\n";
    let text = format!(
        "[listener.clear]\n{listener}\n[listener.tls]\n{TLS}\n{listener}\n[upstream.site]\nservers = [\"{server}\"]\n"
    );
    Proxy::start(&text).await
}

async fn tcp_proxy(server: SocketAddr) -> Proxy {
    let listener = "listen = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"site\"\n";
    let text = format!(
        "[listener.clear]\n{listener}\n[listener.tls]\n{TLS}\n{listener}\n[upstream.site]\nservers = [\"{server}\"]\n"
    );
    Proxy::start(&text).await
}

#[tokio::test]
async fn websocket_messages_and_closes_pass_in_clear_text_and_over_tls() {
    let server = Server::websocket().await;
    let proxy = web_proxy(server.address).await;
    for (number, listener) in (1..).zip(["clear", "tls"]) {
        let mut socket = if listener == "clear" {
            WebSocket::connect(proxy.address("clear"), "/chat").await
        } else {
            let wire = proxy
                .certificate()
                .connect(proxy.address("tls"), "http/1.1");
            WebSocket::over(wire.await, "/chat").await
        };
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
        server
            .desk
            .until(&told, |seen| seen.reasons.last() == Some(&told))
            .await;
    }
    server
        .desk
        .until("no connection", |seen| seen.open == 0 && seen.finished == 2)
        .await;
}

#[tokio::test]
async fn a_websocket_server_that_says_close_is_heard() {
    let server = Script::tcp(async |socket| {
        let mut socket = tokio_tungstenite::accept_async(socket)
            .await
            .expect("upgrade");
        let close = CloseFrame {
            code: CloseCode::Policy,
            reason: "not you".into(),
        };
        socket.close(Some(close)).await.expect("sent");
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let proxy = web_proxy(server.address).await;
    let socket = WebSocket::connect(proxy.address("clear"), "/").await;
    assert_eq!(socket.closed().await, Some((1008, "not you".to_owned())));
}

#[tokio::test]
async fn bytes_sent_along_with_the_handshake_are_not_lost() {
    let server = Server::websocket().await;
    let proxy = web_proxy(server.address).await;
    let mut client = Raw::connect(proxy.address("clear")).await;
    // A masked text frame, "early", with a mask of zeros.
    let frame = b"\x81\x85\0\0\0\0early";
    let head = b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client
        .send([&head[..], frame].concat())
        .await
        .expect("sent");
    let head = client.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    assert!(head.contains(accept), "{head}");
    client.read_until("early").await.expect("the echo");
}

#[tokio::test]
async fn an_upgrade_that_the_server_declines_is_an_ordinary_answer() {
    let server = Server::http1().await;
    let proxy = web_proxy(server.address).await;
    let mut client = Http1::connect(proxy.address("clear")).await;
    let mut asked = Http1::request("/bytes/5");
    for (name, value) in [("connection", "upgrade"), ("upgrade", "websocket")] {
        asked
            .headers_mut()
            .insert(name, value.parse().expect("a value"));
    }
    let response = client.send(asked).await.expect("a head");
    let reply = Http1::whole(response).await.expect("a body");
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 5));
    assert_eq!(client.get("/").await.expect("a reply").text(), "ok");
}

#[tokio::test]
async fn tcp_passes_large_bodies_both_ways_and_the_end() {
    const SIZE: usize = 8 * 1024 * 1024;
    let server = Server::tcp().await;
    let proxy = tcp_proxy(server.address).await;
    let all = pattern(SIZE);
    for tls in [false, true] {
        let (mut read, mut write) = if tls {
            let wire = proxy.certificate().connect_raw(proxy.address("tls")).await;
            tokio::io::split(wire)
        } else {
            let wire = crate::support::clients::connect(proxy.address("clear"));
            tokio::io::split(wire.await)
        };
        let sent = all.clone();
        let sending = tokio::spawn(async move {
            write.write_all(&sent).await.expect("sent");
            write.shutdown().await.expect("FIN");
            write
        });
        let mut echo = Vec::new();
        within("the echo", read.read_to_end(&mut echo))
            .await
            .expect("an end in order");
        assert!(echo == all, "{} bytes, tls: {tls}", echo.len());
        sending.await.expect("the sender");
    }
    server
        .desk
        .until("both ends", |seen| seen.finished == 2 && seen.open == 0)
        .await;
}

#[tokio::test]
async fn tcp_passes_the_client_s_half_close_on() {
    let server = Script::tcp(async |mut socket| {
        let mut all = String::new();
        socket.read_to_string(&mut all).await.expect("its end");
        let answer = format!("you said {all}");
        socket.write_all(answer.as_bytes()).await.expect("sent");
    })
    .await;
    let proxy = tcp_proxy(server.address).await;
    let mut client = TcpStream::connect(proxy.address("clear"))
        .await
        .expect("connect");
    client.write_all(b"hello").await.expect("sent");
    client.shutdown().await.expect("FIN");
    let mut answer = String::new();
    within("the answer", client.read_to_string(&mut answer))
        .await
        .expect("an end in order");
    assert_eq!(answer, "you said hello");
}

#[tokio::test]
async fn tcp_passes_the_server_s_half_close_on() {
    let (heard, mut hear) = mpsc::unbounded_channel();
    let server = Script::tcp(move |mut socket| {
        let heard = heard.clone();
        async move {
            socket.write_all(b"bye").await.expect("sent");
            socket.shutdown().await.expect("FIN");
            let mut rest = String::new();
            socket.read_to_string(&mut rest).await.expect("its end");
            heard.send(rest).expect("the test");
        }
    })
    .await;
    let proxy = tcp_proxy(server.address).await;
    let mut client = TcpStream::connect(proxy.address("clear"))
        .await
        .expect("connect");
    let mut said = String::new();
    within("the server's end", client.read_to_string(&mut said))
        .await
        .expect("an end in order");
    assert_eq!(said, "bye");
    client.write_all(b"one more thing").await.expect("sent");
    client.shutdown().await.expect("FIN");
    let rest = within("the rest", hear.recv()).await;
    assert_eq!(rest.as_deref(), Some("one more thing"));
}

#[tokio::test]
async fn tcp_without_a_server_ends_at_once() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = gone.local_addr().expect("address");
    drop(gone);
    let proxy = tcp_proxy(address).await;
    for _ in 0..5 {
        let client = Raw::connect(proxy.address("clear")).await;
        assert_eq!(client.rest().await.0, b"");
    }
}
