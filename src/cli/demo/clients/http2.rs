//! HTTP/2 clients: many streams at a time on one connection.
//!
//! After a GOAWAY the engine opens no further stream; those that are open run
//! on. When the last has ended the client connects again, if it may.
//!
//! Deliberately absent: repeating a stream that the server did not process.
//! A draining proxy promises to serve what raced its GOAWAY, so a refused one
//! goes on the books as lost.

use super::super::account::{Account, End};
use super::{Permit, Target, http1::Question, judge, patiently};
use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::SendRequest;
use h2::{RecvStream, client};
use http::{HeaderMap, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// An HTTP/2 connection and the task that drives it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) driver: JoinHandle<()>,
}

/// Ask `question` on `streams` streams at a time, `pause` apart, until nothing
/// new may be begun; then wait for the server to end the connection.
pub(in crate::cli::demo) async fn multiplexed(
    account: Arc<Account>,
    target: Target,
    question: Question,
    streams: usize,
    pause: Duration,
    mut permit: Permit,
) {
    while permit.granted() {
        let connection = match connect(&target).await {
            Ok(connection) => connection,
            Err(error) => {
                account.begin().end(End::Lost(error));
                sleep(pause * 10).await;
                continue;
            }
        };
        let one = || stream(&account, &connection.sender, &question, pause, &permit);
        let retired = join_all((0..streams).map(|_| one())).await;
        if retired.contains(&true) {
            permit.retire();
        }
        drop(connection.sender);
        let _ = connection.driver.await;
    }
}

/// One stream after the other; whether the connection took no more of them.
async fn stream(
    account: &Arc<Account>,
    sender: &SendRequest<Bytes>,
    question: &Question,
    pause: Duration,
    permit: &Permit,
) -> bool {
    while permit.granted() {
        // Refused here, nothing was begun: the connection is retired.
        let Ok(ready) = sender.clone().ready().await else {
            return true;
        };
        let operation = account.begin();
        operation.end(match ask(ready, question).await {
            Ok(end) => end,
            Err(error) => End::Lost(error),
        });
        sleep(pause).await;
    }
    false
}

async fn ask(mut sender: SendRequest<Bytes>, question: &Question) -> Result<End, String> {
    let request = Request::get(format!("https://localhost{}", question.path))
        .body(())
        .map_err(|error| error.to_string())?;
    let (response, _) = sender
        .send_request(request, true)
        .map_err(|error| error.to_string())?;
    let (head, mut body) = patiently(response).await?.into_parts();
    let (bytes, _) = patiently(collect(&mut body)).await?;
    Ok(judge(
        head.status,
        &head.headers,
        &bytes,
        &question.expected,
    ))
}

/// A body to its end, and its trailers.
pub(super) async fn collect(
    body: &mut RecvStream,
) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((bytes, body.trailers().await?))
}

pub(super) async fn connect(target: &Target) -> Result<Connection, String> {
    let stream = patiently(target.connect()).await?;
    let (sender, connection) = patiently(client::handshake(stream)).await?;
    let driver = tokio::spawn(async move {
        // An error fails the streams in flight, which is where it counts.
        let _ = connection.await;
    });
    Ok(Connection { sender, driver })
}
