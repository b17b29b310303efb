//! The gRPC server: HTTP/2 with prior knowledge, on the `h2` crate itself.
//!
//! Three methods: [`ECHO`] returns the message it got, [`COUNT`] sends
//! [`COUNTED`] messages and ends, [`WATCH`] sends one every [`TICK`] and never
//! ends. Framing as in gRPC over HTTP/2: a length-prefixed message in DATA,
//! the status in trailers.
//!
//! Deliberately absent: protocol buffers. A message is opaque here.

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{interval, sleep};

/// Unary: the message comes back.
pub(in crate::cli::demo) const ECHO: &str = "/demo.Echo/Echo";
/// A server stream of [`COUNTED`] messages.
pub(in crate::cli::demo) const COUNT: &str = "/demo.Echo/Count";
/// A server stream without an end.
pub(in crate::cli::demo) const WATCH: &str = "/demo.Echo/Watch";
/// How many messages [`COUNT`] sends.
pub(in crate::cli::demo) const COUNTED: usize = 10;

const TICK: Duration = Duration::from_millis(100);
const COUNT_PAUSE: Duration = Duration::from_millis(50);
/// A length-prefixed message of four bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x04tick";

pub(super) async fn connection(stream: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(async move {
            // An error here means that the client has left.
            let _ = call(request, respond).await;
        });
    }
}

async fn call(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let method = request.uri().path().to_owned();
    let message = collect(request.into_body()).await?;
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::OK;
    let kind = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    let mut stream = respond.send_response(head, false)?;
    match method.as_str() {
        ECHO => stream.send_data(message, false)?,
        COUNT => {
            for _ in 0..COUNTED {
                stream.send_data(Bytes::from_static(MESSAGE), false)?;
                sleep(COUNT_PAUSE).await;
            }
        }
        WATCH => return watch(stream).await,
        _ => return stream.send_trailers(status("12")),
    }
    stream.send_trailers(status("0"))
}

async fn watch(mut stream: SendStream<Bytes>) -> Result<(), h2::Error> {
    let mut ticks = interval(TICK);
    loop {
        tokio::select! {
            _ = ticks.tick() => stream.send_data(Bytes::from_static(MESSAGE), false)?,
            gone = std::future::poll_fn(|cx| stream.poll_reset(cx)) => return gone.map(drop),
        }
    }
}

async fn collect(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        message.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(message.into())
}

fn status(code: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    trailers
}
