//! Health: who is up, who is not, and who says so.

use super::*;
use crate::config::UpstreamHttp::{H1, H2};
use crate::proxy::Error;
use bytes::Bytes;
use futures_util::FutureExt;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn checked(
    servers: &[SocketAddr],
    http: config::UpstreamHttp,
    check: config::HealthCheck,
) -> Arc<Upstream> {
    let mut config = config(servers, http);
    config.health = Some(config::Health {
        every: Duration::from_millis(5),
        ..config::Health::by(check)
    });
    let upstream = fresh(&config).unwrap();
    tokio::spawn(Arc::clone(&upstream).watch_health());
    upstream
}

fn healthz() -> config::HealthCheck {
    config::HealthCheck::Http(config::HttpCheck::of("/healthz"))
}

fn up(upstream: &Upstream) -> Vec<bool> {
    upstream.servers().iter().map(|server| server.up).collect()
}

#[tokio::test]
async fn a_server_that_refuses_connections_goes_down_and_comes_back() {
    let (socket, address) = nobody();
    let upstream = checked(&[address], H1, config::HealthCheck::Tcp);
    assert_eq!(up(&upstream), [true], "until found down");
    until("the fall", || up(&upstream) == [false]).await;
    let error = upstream
        .pool()
        .lease(None, &mut Search::new())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::NoServer { .. }), "{error}");
    let error = upstream
        .pool()
        .dial(None, &mut Search::new())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::NoServer { .. }), "{error}");
    let _listener = socket.listen(8).unwrap();
    until("the rise", || up(&upstream) == [true]).await;
    upstream
        .pool()
        .lease(None, &mut Search::new())
        .await
        .unwrap();
}

#[tokio::test]
async fn only_servers_that_are_up_are_selected() {
    let (_listener, good) = listen().await;
    let (_socket, bad) = nobody();
    let upstream = checked(&[bad, good], H1, config::HealthCheck::Tcp);
    until("the fall", || up(&upstream) == [false, true]).await;
    let pool = upstream.pool();
    for _ in 0..6 {
        assert_eq!(pool.dial(None, &mut Search::new()).await.unwrap().1, 1);
    }
}

/// Answers with the status that it is told, if `Host` is its own address.
async fn web(status: Arc<AtomicU16>) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let mine = head.starts_with("get /healthz http/1.1\r\n")
                && head.contains(&format!("\r\nhost: {address}\r\n"));
            let status = if mine { status.load(Relaxed) } else { 421 };
            let response = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn an_http_check_wants_200_of_the_server_itself() {
    let statuses = [503, 200].map(|status| Arc::new(AtomicU16::new(status)));
    let servers = [
        web(Arc::clone(&statuses[0])).await,
        web(Arc::clone(&statuses[1])).await,
    ];
    let upstream = checked(&servers, H1, healthz());
    until("the fall", || up(&upstream) == [false, true]).await;
    statuses[0].store(200, Relaxed);
    until("the rise", || up(&upstream) == [true, true]).await;
    statuses[1].store(302, Relaxed);
    until("the fall", || up(&upstream) == [true, false]).await;
}

/// An HTTP/2 server: gRPC health for `service`, and 200 for `/healthz`.
async fn grpc(service: &'static str, serving: Arc<AtomicBool>) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = Arc::clone(&serving);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(verdict(request, respond, service, serving.load(Relaxed)));
                }
            });
        }
    });
    address
}

async fn verdict(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    service: &str,
    serving: bool,
) {
    let (head, mut body) = request.into_parts();
    if head.uri.path() == "/healthz" {
        let status = if serving { 200 } else { 500 };
        let response = Response::builder().status(status).body(()).unwrap();
        respond.send_response(response, true).unwrap();
        return;
    }
    assert_eq!(head.uri.path(), "/grpc.health.v1.Health/Check");
    assert_eq!(head.headers["content-type"], "application/grpc");
    let message = body.data().await.unwrap().unwrap();
    let length = u8::try_from(service.len()).unwrap();
    let mut expected = vec![0, 0, 0, 0, 2 + length, 10, length];
    expected.extend(service.as_bytes());
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    let mut trailers = HeaderMap::new();
    if message == expected {
        let status = if serving { 1 } else { 2 };
        let message = Bytes::from(vec![0, 0, 0, 0, 2, 8, status]);
        stream.send_data(message, false).unwrap();
        trailers.insert("grpc-status", 0.into());
    } else {
        trailers.insert("grpc-status", 5.into());
    }
    stream.send_trailers(trailers).unwrap();
}

#[tokio::test]
async fn a_grpc_check_wants_serving() {
    let serving = Arc::new(AtomicBool::new(true));
    let address = grpc("shop.Orders", Arc::clone(&serving)).await;
    let ask = |service: &str| {
        let service = service.to_owned();
        checked(&[address], H2, config::HealthCheck::Grpc { service })
    };
    let (known, unknown) = (ask("shop.Orders"), ask("shop.Nobody"));
    until("the fall of the unknown", || up(&unknown) == [false]).await;
    assert_eq!(up(&known), [true]);
    serving.store(false, Relaxed);
    until("the fall", || up(&known) == [false]).await;
    serving.store(true, Relaxed);
    until("the rise", || up(&known) == [true]).await;
    assert_eq!(up(&unknown), [false]);
}

#[tokio::test]
async fn an_http_check_speaks_http2_to_an_http2_upstream() {
    let serving = Arc::new(AtomicBool::new(false));
    let address = grpc("", Arc::clone(&serving)).await;
    let upstream = checked(&[address], H2, healthz());
    until("the fall", || up(&upstream) == [false]).await;
    serving.store(true, Relaxed);
    until("the rise", || up(&upstream) == [true]).await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_goes_down() {
    let (listener, address) = listen().await;
    let upstream = checked(&[address], H1, healthz());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    until("the fall", || up(&upstream) == [false]).await;
}

#[tokio::test]
async fn without_checks_health_is_taken_for_granted_for_ever() {
    let (_socket, address) = nobody();
    let upstream = fresh(&config(&[address], H1)).unwrap();
    let watch = Arc::clone(&upstream).watch_health();
    assert!(watch.now_or_never().is_none());
    assert_eq!(up(&upstream), [true]);
}
