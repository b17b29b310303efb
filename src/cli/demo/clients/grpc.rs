//! gRPC clients, over HTTP/2 with prior knowledge.
//!
//! A call is completed when its trailers say status 0 and its messages are
//! those that were expected. Status 14 (UNAVAILABLE) with a message that names
//! the drain is the farewell that gRPC has. A stream that just ends, or is
//! reset, is lost.
//!
//! Deliberately absent: retries, which a gRPC library would do for a status 14.

use super::super::account::{Account, End};
use super::http2::{self, Connection, collect};
use super::{Permit, Target, patiently};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// A length-prefixed message of five bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";
/// The bytes before each message: a flag and its length.
const PREFIX: usize = 5;

/// A method, and how many messages it answers with.
#[derive(Clone, Copy)]
pub(in crate::cli::demo) struct Call {
    pub(in crate::cli::demo) method: &'static str,
    pub(in crate::cli::demo) messages: usize,
}

/// Make `call` again and again, `pause` apart, until nothing new may be begun;
/// then wait for the server to end the connection.
pub(in crate::cli::demo) async fn calls(
    account: Arc<Account>,
    target: Target,
    call: Call,
    pause: Duration,
    mut permit: Permit,
) {
    while permit.granted() {
        let Connection { sender, driver } = match http2::connect(&target).await {
            Ok(connection) => connection,
            Err(error) => {
                account.begin().end(End::Lost(error));
                sleep(pause * 10).await;
                continue;
            }
        };
        while permit.granted() {
            let Ok(ready) = sender.clone().ready().await else {
                permit.retire();
                break;
            };
            let operation = account.begin();
            operation.end(make(ready, call).await);
            sleep(pause).await;
        }
        drop(sender);
        let _ = driver.await;
    }
}

/// Open a stream that its server never ends, and stay on it.
pub(in crate::cli::demo) async fn watch(
    account: Arc<Account>,
    target: Target,
    method: &'static str,
) {
    let operation = account.begin();
    let end = match http2::connect(&target).await {
        Ok(connection) => {
            let endless = Call {
                method,
                messages: usize::MAX,
            };
            make(connection.sender, endless).await
        }
        Err(error) => End::Lost(error),
    };
    operation.end(end);
}

async fn make(sender: SendRequest<Bytes>, call: Call) -> End {
    match exchange(sender, call.method).await {
        Ok((status, messages)) => judge(&status, messages, call.messages),
        Err(error) => End::Lost(error),
    }
}

/// One call: where its status stands, and how many messages came.
async fn exchange(
    mut sender: SendRequest<Bytes>,
    method: &str,
) -> Result<(HeaderMap, usize), String> {
    let request = Request::post(format!("http://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| error.to_string())?;
    let (response, mut stream) = sender
        .send_request(request, false)
        .map_err(|error| error.to_string())?;
    stream
        .send_data(Bytes::from_static(MESSAGE), true)
        .map_err(|error| error.to_string())?;
    let (head, mut body) = patiently(response).await?.into_parts();
    let (bytes, trailers) = patiently(collect(&mut body)).await?;
    // Without trailers the status stands in the head: "trailers-only".
    Ok((trailers.unwrap_or(head.headers), count(&bytes)?))
}

fn count(mut bytes: &[u8]) -> Result<usize, String> {
    let mut messages = 0;
    while let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        bytes = rest.get(length as usize..).ok_or("a message is cut off")?;
        messages += 1;
    }
    if bytes.is_empty() {
        Ok(messages)
    } else {
        Err("a message is cut off".to_owned())
    }
}

fn judge(status: &HeaderMap, messages: usize, expected: usize) -> End {
    let field = |name| status.get(name).and_then(|value| value.to_str().ok());
    let message = field("grpc-message").unwrap_or_default();
    match field("grpc-status") {
        Some("0") if messages == expected => End::Completed,
        Some("0") => End::Lost(format!("{messages} messages, not {expected}")),
        Some("14") if message.contains("drain") => End::Told(format!(
            "grpc-status 14 UNAVAILABLE, \"{}\"",
            message.replace("%20", " ")
        )),
        Some(code) => End::Lost(format!("grpc-status {code} {message}")),
        None => End::Lost("no grpc-status".to_owned()),
    }
}
