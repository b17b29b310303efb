//! A response that is broken off is never made to look complete.

use super::client::{get, piece};
use super::field::{Speaks, client};
use super::script::Script;
use crate::support::clients::{Ended, Raw};
use crate::support::proxy::Proxy;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use socket2::SockRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Servers that break off, in the way that the path says, when the test has
/// read what came before.
struct Breaking {
    go: Arc<Notify>,
    proxy: Proxy,
    _servers: [Script; 2],
}

impl Breaking {
    async fn new() -> Self {
        let go = Arc::new(Notify::new());
        let (one, two) = (Arc::clone(&go), Arc::clone(&go));
        let h1 = Script::tcp(move |socket| break_http1(socket, Arc::clone(&one))).await;
        let h2 =
            Script::http2(move |request, respond| break_http2(request, respond, Arc::clone(&two)))
                .await;
        let proxy = Script::proxy("", &h1, &h2).await;
        Self {
            go,
            proxy,
            _servers: [h1, h2],
        }
    }
}

async fn break_http1(mut socket: TcpStream, go: Arc<Notify>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await.expect("a head") == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).expect("text");
    let path = head.split(' ').nth(1).expect("a path");
    let (framing, before, after) = match path {
        "/length" => ("Content-Length: 100\r\n", "half", ""),
        "/chunk" => ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n", ""),
        "/in-chunk" => ("Transfer-Encoding: chunked\r\n", "64\r\nhalf", ""),
        "/bad-chunk" => ("Transfer-Encoding: chunked\r\n", "4\r\nhalf", "XX"),
        // The end of the connection is the end of the body, but a reset is
        // no end.
        "/reset" => ("", "half", ""),
        other => panic!("{other}"),
    };
    let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n{before}");
    socket.write_all(answer.as_bytes()).await.expect("sent");
    go.notified().await;
    socket.write_all(after.as_bytes()).await.expect("sent");
    if path == "/reset" {
        let linger = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        linger.expect("SO_LINGER");
    }
}

async fn break_http2(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    go: Arc<Notify>,
) {
    let mut response = Response::builder();
    let path = request.uri().path().to_owned();
    if path == "/length" {
        response = response.header("content-length", 100);
    }
    let response = response.body(()).expect("a response");
    let mut stream = respond.send_response(response, false).expect("sent");
    stream.send_data("half".into(), false).expect("sent");
    go.notified().await;
    match path.as_str() {
        // Too short is malformed (RFC 9113, section 8.1.1).
        "/length" => stream.send_data(Bytes::new(), true).expect("sent"),
        "/no-error" => stream.send_reset(Reason::NO_ERROR),
        "/cancel" => stream.send_reset(Reason::CANCEL),
        "/internal" => stream.send_reset(Reason::INTERNAL_ERROR),
        other => panic!("{other}"),
    }
}

const H1: [&str; 5] = ["/length", "/chunk", "/in-chunk", "/bad-chunk", "/reset"];
const H2: [&str; 4] = ["/length", "/no-error", "/cancel", "/internal"];

#[tokio::test]
async fn a_response_that_is_broken_off_is_broken_off_for_the_client() {
    let breaking = Breaking::new().await;
    let all = H1.map(|path| ("h1", path)).into_iter();
    let all = all.chain(H2.map(|path| ("h2", path)));
    for (site, path) in all {
        for speaks in Speaks::ALL {
            let what = format!("{speaks:?} to {site}{path}");
            let mut client = client(&breaking.proxy, speaks).await;
            let response = client.send(get(site, path)).await.expect("a head");
            assert_eq!(response.status(), 200, "{what}");
            let mut body = response.into_body();
            let first = piece(&mut body).await;
            assert_eq!(first, Some(Ok("half".into())), "{what}");
            breaking.go.notify_one();
            let next = piece(&mut body).await;
            assert!(matches!(next, Some(Err(_))), "{what}: {next:?}");
        }
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_sees_a_break_as_a_reset() {
    let breaking = Breaking::new().await;
    for (site, path) in [("h1", "/chunk"), ("h1", "/reset"), ("h2", "/internal")] {
        let mut client = Raw::connect(breaking.proxy.address("clear")).await;
        let head = format!("GET {path} HTTP/1.0\r\nHost: {site}.test\r\n\r\n");
        client.send(head).await.expect("sent");
        client.read_until("half").await.expect("the beginning");
        breaking.go.notify_one();
        let (_, ended) = client.rest().await;
        assert_eq!(ended, Ended::Reset, "{site}{path}");
    }
}

#[tokio::test]
async fn a_broken_stream_leaves_its_siblings_alone() {
    let breaking = Breaking::new().await;
    let mut client = client(&breaking.proxy, Speaks::Http2).await;
    let mut bodies = Vec::new();
    for path in ["/internal", "/length"] {
        let response = client.send(get("h2", path)).await.expect("a head");
        let mut body = response.into_body();
        let first = piece(&mut body).await;
        assert_eq!(first, Some(Ok("half".into())), "{path}");
        bodies.push(body);
    }
    for body in &mut bodies {
        breaking.go.notify_one();
        assert!(matches!(piece(body).await, Some(Err(_))));
    }
    let again = client.send(get("h2", "/cancel")).await;
    assert_eq!(again.expect("a head").status(), 200);
}
