//! HTTP/1.1. What it answers is up to the path:
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | N bytes of [`pattern`] |
//! | `/slow/MS` | `slow`, so many milliseconds later |
//! | `/pieces/N` | N pieces of [`PIECE`], one every [`PAUSE`] |
//! | `/echo` | the request's body, as it comes |
//! | `/endless` | pieces without an end |
//! | `/events` | an event stream without an end |
//! | `/never` | nothing |
//!
//! Anything else is a 404, so that a routing mistake shows up as one.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};
use tokio_stream::wrappers::ReceiverStream;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

const PIECE: &[u8] = b"data: one piece of a longer answer\n\n";
const PAUSE: Duration = Duration::from_millis(20);

/// `size` bytes among which a shift or a gap shows.
pub(crate) fn pattern(size: usize) -> Bytes {
    (0..size)
        .map(|at| u8::try_from(at % 251).unwrap_or_default())
        .collect()
}

/// What `/pieces/N` answers.
pub(crate) fn pieces(number: usize) -> Bytes {
    PIECE.repeat(number).into()
}

pub(super) async fn connection(stream: TcpStream) {
    // How a client's connection ends is the client's to judge.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').split('/');
    let what = parts.next().unwrap_or_default();
    let number = parts.next().and_then(|number| number.parse().ok());
    Ok(match (what, number) {
        ("bytes", Some(size)) => full(pattern(size)),
        ("slow", Some(millis)) => {
            sleep(Duration::from_millis(millis as u64)).await;
            full(Bytes::from_static(b"slow"))
        }
        ("pieces", Some(number)) => feed(number),
        ("echo", None) => Response::new(request.into_body().boxed_unsync()),
        ("endless", None) => feed(usize::MAX),
        ("events", None) => {
            let mut response = feed(usize::MAX);
            let kind = HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        ("never", None) => std::future::pending().await,
        _ => {
            let mut response = full(Bytes::from_static(b"no such thing"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    })
}

fn full(bytes: Bytes) -> Response<Body> {
    Response::new(
        Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync(),
    )
}

/// So many pieces, until they are at their end or nobody takes them.
fn feed(number: usize) -> Response<Body> {
    let (frames, body) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut pause = interval(PAUSE);
        for _ in 0..number {
            pause.tick().await;
            let piece = Frame::data(Bytes::from_static(PIECE));
            if frames.send(Ok(piece)).await.is_err() {
                return;
            }
        }
    });
    Response::new(StreamBody::new(ReceiverStream::new(body)).boxed_unsync())
}
