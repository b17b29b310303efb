//! What an HTTP server of the tests answers, by the path that is asked for,
//! whichever version carries it:
//!
//! | path | answer |
//! |---|---|
//! | `/hold` | nothing until released, then `held` |
//! | `/begin` | `begun`, then nothing until released, then `done` and a trailer |
//! | `/echo` | the request's body and trailers, as they come |
//! | `/bytes/N` | N bytes of [`pattern`] |
//! | `/status/N` | that status, no body |
//! | `/busy` | `ok`, after 5 ms of work; four are worked on at once, in this process |
//! | `/events` | an event stream without an end |
//! | `/events/half` | an event and a half of another, the rest and more when released |
//! | what [`bulk`] has | bodies too large to be held |
//! | anything else | `ok` |

use super::super::seen::{Desk, Exchange};
use super::bulk;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TRAILER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Frames = mpsc::Sender<Result<Frame<Bytes>, Infallible>>;

/// The trailer of `/begin`.
const CHECK: HeaderName = HeaderName::from_static("x-check");
/// Who is worked on by `/busy`, and for how long.
static BUSY: Semaphore = Semaphore::const_new(4);
const WORK: Duration = Duration::from_millis(5);
const EVENT_PAUSE: Duration = Duration::from_millis(10);
/// The most bytes in one frame of `/bytes/N`.
const PIECE: usize = 16 * 1024;

/// `size` bytes among which a shift or a gap shows.
pub(crate) fn pattern(size: usize) -> Bytes {
    (0..size)
        .map(|at| u8::try_from(at % 251).unwrap_or_default())
        .collect()
}

pub(super) async fn answer<B>(request: Request<B>, desk: Desk) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let exchange = desk.request();
    let (head, body) = request.into_parts();
    desk.note(|seen| seen.heads.push(text(&head)));
    let path = head.uri.path();
    if let Some(size) = path
        .strip_prefix("/bytes/")
        .and_then(|size| size.parse().ok())
    {
        return feed(exchange, move |frames| bytes(frames, size));
    }
    if let Some(status) = path
        .strip_prefix("/status/")
        .and_then(|status| status.parse::<u16>().ok())
    {
        exchange.finish();
        let mut response = Response::new(Empty::new().boxed_unsync());
        *response.status_mut() = status.try_into().expect("a status");
        return response;
    }
    if bulk::has(path) {
        return bulk::answer(path, body, exchange, desk).await;
    }
    match path {
        "/hold" => {
            desk.released().await;
            exchange.finish();
            full("held")
        }
        "/busy" => {
            let place = BUSY.acquire().await.expect("never closed");
            sleep(WORK).await;
            drop(place);
            exchange.finish();
            full("ok")
        }
        "/begin" => {
            let mut response = feed(exchange, move |frames| begin(frames, desk));
            response
                .headers_mut()
                .insert(TRAILER, HeaderValue::from_static("x-check"));
            response
        }
        "/echo" => {
            let mut response = feed(exchange, move |frames| echo(frames, body));
            response
                .headers_mut()
                .insert(TRAILER, HeaderValue::from_static("x-check"));
            response
        }
        "/events" | "/events/half" => {
            let mut response = if path == "/events" {
                feed(exchange, events)
            } else {
                feed(exchange, move |frames| half_an_event(frames, desk))
            };
            let kind = HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        _ => {
            exchange.finish();
            full("ok")
        }
    }
}

pub(super) fn text(head: &Parts) -> String {
    let mut text = format!("{} {} {:?}\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        writeln!(
            text,
            "{name}: {}",
            String::from_utf8_lossy(value.as_bytes())
        )
        .expect("a string takes all");
    }
    text
}

fn full(text: &'static str) -> Response<Body> {
    Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync())
}

/// Answer with a body that `source` writes, piece by piece.
pub(super) fn feed<F>(
    exchange: Exchange,
    source: impl FnOnce(Frames) -> F + Send + 'static,
) -> Response<Body>
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let (frames, body) = mpsc::channel(1);
    tokio::spawn(async move {
        let gone = frames.clone();
        let whole = tokio::select! {
            whole = source(frames) => whole.is_some(),
            () = gone.closed() => false,
        };
        // The body's end must be seen before the exchange counts as finished.
        if whole {
            exchange.finish();
        }
    });
    Response::new(StreamBody::new(ReceiverStream::new(body)).boxed_unsync())
}

pub(super) async fn piece(frames: &Frames, bytes: impl Into<Bytes>) -> Option<()> {
    frames.send(Ok(Frame::data(bytes.into()))).await.ok()
}

async fn bytes(frames: Frames, size: usize) -> Option<()> {
    let mut all = pattern(size);
    while !all.is_empty() {
        let next = all.split_to(all.len().min(PIECE));
        piece(&frames, next).await?;
    }
    Some(())
}

async fn begin(frames: Frames, desk: Desk) -> Option<()> {
    piece(&frames, "begun").await?;
    desk.released().await;
    piece(&frames, "done").await?;
    let mut trailers = HeaderMap::new();
    trailers.insert(CHECK, HeaderValue::from_static("done"));
    frames.send(Ok(Frame::trailers(trailers))).await.ok()
}

async fn echo<B>(frames: Frames, mut body: B) -> Option<()>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        frames.send(Ok(frame.ok()?)).await.ok()?;
    }
    Some(())
}

async fn events(frames: Frames) -> Option<()> {
    let mut pause = tokio::time::interval(EVENT_PAUSE);
    for number in 0_u64.. {
        pause.tick().await;
        piece(&frames, format!("data: {number}\n\n")).await?;
    }
    None
}

async fn half_an_event(frames: Frames, desk: Desk) -> Option<()> {
    piece(&frames, "data: 0\r\n\r\ndata: ").await?;
    desk.released().await;
    piece(&frames, "1\r\n\r\ndata: 2\r\n\r\n").await?;
    // Without an end of its own.
    std::future::pending().await
}
