//! Bodies too large to be held, and what only their size is told of:
//!
//! | path | answer |
//! |---|---|
//! | `/flood/N` | N bytes of the pattern; a wait for the client is noted |
//! | `/sink` | reads the request's body, answers how many bytes were right |
//! | `/sink/held` | the same, but reads nothing until released |
//! | `/length/N` | `Content-Length: N` and no body, as for HEAD |
//! | `/unchanged` | 304 with the length that a 200 would have |

use super::super::seen::{Desk, Exchange};
use super::answer::{Body, Frames, feed, pattern, piece};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use std::sync::OnceLock;
use std::time::Duration;

/// How long the next hop may take nothing before that is noted. Too short
/// under load only makes the note come early.
const BLOCKED: Duration = Duration::from_millis(300);
/// The pattern repeats after this many bytes.
const PERIOD: usize = 251;
const BLOCK: usize = 256 * PERIOD;

fn block() -> &'static Bytes {
    static WHOLE: OnceLock<Bytes> = OnceLock::new();
    WHOLE.get_or_init(|| pattern(BLOCK))
}

/// Bytes of the pattern from `at` on: some, not more than `left`.
fn from(at: usize, left: usize) -> Bytes {
    let start = at % PERIOD;
    block().slice(start..BLOCK.min(start + left))
}

/// Compares what comes with the pattern, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Check {
    /// Bytes that were right.
    pub(crate) right: usize,
}

impl Check {
    /// Whether `bytes` go on where the last ones ended.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = from(self.right, bytes.len());
            let (these, rest) = bytes.split_at(expected.len());
            if these != expected {
                return false;
            }
            self.right += these.len();
            bytes = rest;
        }
        true
    }
}

/// Send `size` bytes of the pattern; the first wait for the receiver is told
/// to `blocked` with what was sent before it. `None` if the receiver is gone.
pub(crate) async fn pour(
    frames: Frames,
    size: usize,
    mut blocked: impl FnMut(usize) + Send,
) -> Option<()> {
    let (mut at, mut told) = (0, false);
    while at < size {
        let next = from(at, size - at);
        let length = next.len();
        let mut sending = std::pin::pin!(piece(&frames, next));
        if let Ok(sent) = tokio::time::timeout(BLOCKED, &mut sending).await {
            sent?;
        } else {
            if !told {
                blocked(at);
                told = true;
            }
            sending.await?;
        }
        at += length;
    }
    Some(())
}

pub(super) fn has(path: &str) -> bool {
    matches!(path, "/sink" | "/sink/held" | "/unchanged")
        || number(path, "/flood/").is_some()
        || number(path, "/length/").is_some()
}

fn number(path: &str, prefix: &str) -> Option<usize> {
    path.strip_prefix(prefix)?.parse().ok()
}

pub(super) async fn answer<B>(path: &str, body: B, exchange: Exchange, desk: Desk) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    if let Some(size) = number(path, "/flood/") {
        return feed(exchange, move |frames| {
            pour(frames, size, move |at| {
                desk.note(|seen| seen.reasons.push(format!("blocked at {at}")));
            })
        });
    }
    if path.starts_with("/sink") {
        if path == "/sink/held" {
            desk.released().await;
        }
        return sink(body, exchange).await;
    }
    exchange.finish();
    let mut response = Response::new(Empty::new().boxed_unsync());
    let length = number(path, "/length/").unwrap_or(1234);
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    if path == "/unchanged" {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let etag = HeaderValue::from_static("\"same\"");
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

async fn sink<B>(mut body: B, exchange: Exchange) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut check = Check::default();
    let (mut all, mut whole) = (true, true);
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => all = all && check.take(&data),
            Ok(Err(_)) => {}
            Err(_) => whole = false,
        }
    }
    if whole {
        exchange.finish();
    }
    all &= whole;
    let says = if all { "whole" } else { "broken" };
    let says = format!("{says} {}", check.right);
    Response::new(Full::new(Bytes::from(says)).boxed_unsync())
}
