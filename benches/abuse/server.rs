//! The server behind the proxy: `/bytes/N` is N bytes, a WebSocket is agreed to,
//! anything else reads its request to the end and is answered `ok`.

use anyhow::Result;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// As many connections may wait to be accepted as Linux allows by itself: an attack
/// that opens hundreds of requests at once is to be measured, not a queue of 128.
const QUEUE: u32 = 4096;

/// Start it on a thread of its own; it ends with the process.
pub(crate) fn start() -> Result<SocketAddr> {
    let (tell, address) = mpsc::channel();
    thread::spawn(move || super::runtime()?.block_on(serve(&tell)));
    Ok(address.recv()?)
}

async fn serve(tell: &mpsc::Sender<SocketAddr>) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(QUEUE)?;
    tell.send(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // An option that could not be set costs speed, nothing else.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async {
            let connection = http1::Builder::new();
            // How it ends is for its client to judge.
            let _ = connection
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .with_upgrades()
                .await;
        });
    }
}

/// Agree to a WebSocket over which this side says nothing.
fn agree(request: Request<Incoming>, key: &HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    let fields = [
        (CONNECTION, Ok(HeaderValue::from_static("upgrade"))),
        (UPGRADE, Ok(HeaderValue::from_static("websocket"))),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    for (name, value) in fields {
        if let Ok(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    tokio::spawn(async {
        let mut space = vec![0; 1024];
        if let Ok(socket) = hyper::upgrade::on(request).await {
            let mut socket = TokioIo::new(socket);
            // Until its end, whatever is said.
            while matches!(socket.read(&mut space).await, Ok(1..)) {}
        }
    });
    response
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).cloned() {
        return Ok(agree(request, &key));
    }
    let size = request.uri().path().strip_prefix("/bytes/");
    let size = size.and_then(|size| size.parse().ok());
    let whole = request.into_body().collect().await.is_ok();
    let body = match size {
        Some(size) => Bytes::from(vec![b'x'; size]),
        None if whole => Bytes::from_static(b"ok"),
        None => Bytes::new(),
    };
    Ok(Response::new(Full::new(body)))
}
