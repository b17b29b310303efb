//! What a server says it has not looked at is sent again, whatever it is
//! (RFC 9113, sections 6.8 and 8.7).

use crate::support::clients::{Frame, Frames, Http1, Raw};
use crate::support::proxy::Proxy;
use bytes::Bytes;
use h2::Reason;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::net::{TcpListener, TcpStream};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn config(server: SocketAddr) -> String {
    format!(
        r#"
[listener.web]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[upstream.site]
servers = ["{server}"]
http = "h2"
"#
    )
}

/// An echo server that refuses every stream but each third.
async fn refusing(listener: TcpListener, asked: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&asked)));
    }
}

async fn serve(stream: TcpStream, asked: Arc<AtomicUsize>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if !asked.fetch_add(1, SeqCst).is_multiple_of(3) {
            respond.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut all = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                all.extend_from_slice(&data);
            }
            let answer = Response::builder().status(StatusCode::OK).body(());
            if let Ok(mut sink) = respond.send_response(answer.expect("a response"), false) {
                let _ = sink.send_data(all.into(), true);
            }
        });
    }
}

async fn post(client: &mut Http1, body: Bytes) -> (u16, Bytes) {
    let mut request = Http1::request("/echo");
    *request.method_mut() = http::Method::POST;
    *request.body_mut() = Full::new(body).boxed_unsync();
    let response = client.send(request).await.expect("a head");
    let reply = Http1::whole(response).await.expect("a body");
    (reply.status.as_u16(), reply.body)
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_with_its_body() {
    let (listener, address) = listen().await;
    let asked = Arc::new(AtomicUsize::new(1));
    tokio::spawn(refusing(listener, Arc::clone(&asked)));
    let proxy = Proxy::start(&config(address)).await;
    let mut client = Http1::connect(proxy.address("web")).await;
    for size in [0, 5, 40_000] {
        let body = Bytes::from(vec![b'x'; size]);
        let (status, echo) = post(&mut client, body.clone()).await;
        assert_eq!((status, echo.len()), (200, size));
        assert_eq!(echo, body);
    }
    assert!(asked.load(SeqCst) >= 9, "each was refused twice");
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_not_sent_again() {
    let (listener, address) = listen().await;
    let asked = Arc::new(AtomicUsize::new(1));
    tokio::spawn(late(listener, Arc::clone(&asked)));
    let proxy = Proxy::start(&config(address)).await;
    let mut client = Http1::connect(proxy.address("web")).await;
    let (status, _) = post(&mut client, Bytes::from(vec![b'x'; 100_000])).await;
    assert_eq!(status, 502);
    assert_eq!(asked.load(SeqCst), 2, "asked once");
}

/// Refuses a stream when all of it has come.
async fn late(listener: TcpListener, asked: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(mut connection) = h2::server::handshake(stream).await else {
            continue;
        };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            asked.fetch_add(1, SeqCst);
            tokio::spawn(async move {
                let mut body = request.into_body();
                while let Some(Ok(data)) = body.data().await {
                    let _ = body.flow_control().release_capacity(data.len());
                }
                respond.send_reset(Reason::REFUSED_STREAM);
            });
        }
    }
}

#[tokio::test]
async fn a_stream_above_the_last_of_a_goaway_is_sent_again() {
    let (listener, address) = listen().await;
    let asked = Arc::new(AtomicUsize::new(0));
    tokio::spawn(leaving(listener, Arc::clone(&asked)));
    let proxy = Proxy::start(&config(address)).await;
    let mut client = Http1::connect(proxy.address("web")).await;
    let (status, echo) = post(&mut client, Bytes::from_static(b"hello")).await;
    assert_eq!((status, &*echo), (200, &b"hello"[..]));
}

/// Its first connection ends at once: GOAWAY, having processed nothing.
async fn leaving(listener: TcpListener, asked: Arc<AtomicUsize>) {
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut first = Raw::over(Box::new(stream));
    first.read_until("SM\r\n\r\n").await.expect("a preface");
    let mut first = Frames::begun(first);
    first.send(Frame::new(Frame::SETTINGS, 0, 0, [])).await;
    first.until(Frame::HEADERS).await;
    // No stream was processed; NO_ERROR.
    first.send(Frame::new(Frame::GOAWAY, 0, 0, [0; 8])).await;
    let (stream, _) = listener.accept().await.expect("another connection");
    serve(stream, asked).await;
    drop(first);
}

/// Answers each with a head of more than 64 KiB, which frames of that size do
/// not hold: a field in the dynamic table, and many that name it.
async fn wide(listener: TcpListener, asked: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut server = Raw::over(Box::new(stream));
        server.read_until("SM\r\n\r\n").await.expect("a preface");
        let mut server = Frames::begun(server);
        server.send(Frame::new(Frame::SETTINGS, 0, 0, [])).await;
        let asked = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok(frame) = server.frame().await {
                if frame.kind != Frame::HEADERS {
                    continue;
                }
                asked.fetch_add(1, SeqCst);
                // `:status: 200`; a field of 1,000 bytes (RFC 7541, section 6.2.1).
                let mut block = b"\x88\x40\x01x\x7f\xe9\x06".to_vec();
                block.extend([b'y'; 1_000]);
                block.extend([0xbe; 80]);
                server
                    .send(Frame::headers(frame.stream, block, false))
                    .await;
            }
        });
    }
}

/// The engine's own words for it are those for a stream that was refused.
#[tokio::test]
async fn an_answer_whose_head_is_too_large_is_not_asked_for_again() {
    let (listener, address) = listen().await;
    let asked = Arc::new(AtomicUsize::new(0));
    tokio::spawn(wide(listener, Arc::clone(&asked)));
    let proxy = Proxy::start(&config(address)).await;
    let mut client = Http1::connect(proxy.address("web")).await;
    let (status, _) = post(&mut client, Bytes::from_static(b"once")).await;
    assert_eq!(status, 502);
    assert_eq!(asked.load(SeqCst), 1, "it was processed");
}
