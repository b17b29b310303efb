//! gRPC, on the `h2` crate itself: [`ECHO`] returns its message, [`COUNT`]
//! sends [`COUNTED`] of them, [`WATCH`] sends them without an end, [`NEVER`]
//! answers nothing.
//!
//! Framing as in gRPC over HTTP/2: length-prefixed messages in DATA, the
//! status in trailers. A message is opaque here.

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::interval;

pub(crate) const ECHO: &str = "/storm.Lines/Echo";
pub(crate) const COUNT: &str = "/storm.Lines/Count";
pub(crate) const WATCH: &str = "/storm.Lines/Watch";
pub(crate) const NEVER: &str = "/storm.Lines/Never";
/// How many messages [`COUNT`] sends.
pub(crate) const COUNTED: usize = 10;
/// A length-prefixed message of four bytes.
pub(crate) const MESSAGE: &[u8] = b"\0\0\0\0\x04line";

const PAUSE: Duration = Duration::from_millis(20);

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
    if method == NEVER {
        return poll_fn(|cx| respond.poll_reset(cx)).await.map(drop);
    }
    let mut head = Response::new(());
    let kind = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert(CONTENT_TYPE, kind);
    let mut stream = respond.send_response(head, false)?;
    match method.as_str() {
        ECHO => stream.send_data(message, false)?,
        COUNT => send(&mut stream, COUNTED).await?,
        WATCH => send(&mut stream, usize::MAX).await?,
        _ => return stream.send_trailers(status("12")),
    }
    stream.send_trailers(status("0"))
}

async fn send(stream: &mut SendStream<Bytes>, number: usize) -> Result<(), h2::Error> {
    let mut pause = interval(PAUSE);
    for _ in 0..number {
        tokio::select! {
            _ = pause.tick() => stream.send_data(Bytes::from_static(MESSAGE), false)?,
            gone = poll_fn(|cx| stream.poll_reset(cx)) => return gone.map(drop),
        }
    }
    Ok(())
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
