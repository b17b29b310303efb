//! HTTP/1.1 clients: one request after the other on a kept connection.
//!
//! When an answer says `Connection: close`, or the server has closed between
//! two requests, the next request goes over a new connection. A request that
//! provably was not sent (the engine hands it back) goes over a new one too:
//! that is no repetition, since nobody saw the first.
//!
//! Deliberately absent: pipelining.

use super::super::account::{Account, End};
use super::{Permit, Target, judge, patiently};
use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What to ask for, and what must come back.
#[derive(Clone)]
pub(in crate::cli::demo) struct Question {
    pub(in crate::cli::demo) path: String,
    pub(in crate::cli::demo) expected: Vec<u8>,
}

impl Question {
    pub(in crate::cli::demo) fn new(path: impl Into<String>, expected: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            expected: expected.into(),
        }
    }
}

struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

/// Ask `question` again and again, `pause` apart, until nothing new may be
/// begun; then wait for the server to end the idle connection.
pub(in crate::cli::demo) async fn keep_alive(
    account: Arc<Account>,
    target: Target,
    question: Question,
    pause: Duration,
    mut permit: Permit,
) {
    let mut kept = None;
    while permit.granted() {
        let operation = account.begin();
        match ask(&target, &mut kept, &question).await {
            Ok((end, close)) => {
                operation.end(end);
                if close {
                    kept = None;
                    permit.retire();
                }
            }
            Err(error) => {
                operation.end(End::Lost(error));
                kept = None;
                // Whatever was lost is on the books; go on at a slower pace.
                sleep(pause * 10).await;
            }
        }
        sleep(pause).await;
    }
    if let Some(connection) = kept {
        let _ = connection.driver.await;
    }
}

/// Ask once, on a connection of its own.
pub(in crate::cli::demo) async fn one_request(
    account: Arc<Account>,
    target: Target,
    question: Question,
) {
    let operation = account.begin();
    let end = match ask(&target, &mut None, &question).await {
        Ok((end, _)) => end,
        Err(error) => End::Lost(error),
    };
    operation.end(end);
}

/// One exchange; also whether the connection is to be used no more.
async fn ask(
    target: &Target,
    kept: &mut Option<Connection>,
    question: &Question,
) -> Result<(End, bool), String> {
    let mut request = request(&question.path)?;
    let response = loop {
        let reused = kept.is_some();
        let connection = match kept {
            Some(connection) => connection,
            None => kept.insert(connect(target).await?),
        };
        if connection.sender.ready().await.is_err() && reused {
            *kept = None;
            continue;
        }
        let sent = connection.sender.try_send_request(request);
        match patiently(async { Ok::<_, String>(sent.await) }).await? {
            Ok(response) => break response,
            Err(mut unsent) => match unsent.take_message() {
                // The server closed the idle connection before it saw this.
                Some(again) if reused => (request, *kept) = (again, None),
                _ => return Err(unsent.into_error().to_string()),
            },
        }
    };
    let close = response
        .headers()
        .get(CONNECTION)
        .is_some_and(|value| value == "close");
    let (status, headers, body) = whole(response).await?;
    Ok((judge(status, &headers, &body, &question.expected), close))
}

async fn whole(
    response: Response<Incoming>,
) -> Result<(http::StatusCode, HeaderMap, Bytes), String> {
    let (head, body) = response.into_parts();
    let body = patiently(body.collect()).await?.to_bytes();
    Ok((head.status, head.headers, body))
}

fn request(path: &str) -> Result<Request<Empty<Bytes>>, String> {
    Request::get(path)
        .header(HOST, "localhost")
        .body(Empty::new())
        .map_err(|error| error.to_string())
}

async fn connect(target: &Target) -> Result<Connection, String> {
    let stream = patiently(target.connect()).await?;
    let (sender, connection) = patiently(handshake(TokioIo::new(stream))).await?;
    let driver = tokio::spawn(async move {
        // An error fails the request in flight, which is where it counts.
        let _ = connection.await;
    });
    Ok(Connection { sender, driver })
}
