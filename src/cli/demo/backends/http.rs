//! The HTTP/1.1 server: a quick answer, a slow one, one in pieces.
//!
//! `/` answers at once; `/slow/MS` answers after so many milliseconds;
//! `/stream` answers with a chunk every [`STREAM_PAUSE`]. Anything else is a
//! 404, so that a routing mistake shows up as one.
//!
//! Deliberately absent: HTTP/2. The proxy translates.

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Interval, interval, sleep};

/// One piece of a `/stream` answer.
pub(in crate::cli::demo) const STREAMED_CHUNK: &[u8] = b"one piece of a longer answer\n";
/// How many pieces such an answer has.
pub(in crate::cli::demo) const STREAMED_CHUNKS: usize = 20;
const STREAM_PAUSE: Duration = Duration::from_millis(50);

type Answer = Either<Full<Bytes>, Pieces>;

pub(super) async fn connection(stream: TcpStream) {
    // How a client's connection ends is the client's to judge.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path();
    if let Some(delay) = path.strip_prefix("/slow/").and_then(|ms| ms.parse().ok()) {
        sleep(Duration::from_millis(delay)).await;
        return Ok(Response::new(text("slow\n")));
    }
    Ok(match path {
        "/" => Response::new(text("ok\n")),
        "/stream" => Response::new(Either::Right(Pieces::new())),
        _ => {
            let mut response = Response::new(text("no such thing\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    })
}

fn text(text: &'static str) -> Answer {
    Either::Left(Full::new(Bytes::from_static(text.as_bytes())))
}

/// A body that takes its time.
struct Pieces {
    left: usize,
    clock: Interval,
}

impl Pieces {
    fn new() -> Self {
        Self {
            left: STREAMED_CHUNKS,
            clock: interval(STREAM_PAUSE),
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.clock.poll_tick(cx));
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(STREAMED_CHUNK)))))
    }
}
