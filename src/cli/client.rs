//! A small client of the admin interface: HTTP/1.1 over TCP, TLS or a Unix
//! socket, one connection for each request.
//!
//! Invariant: an error says what was tried, against which address, and what
//! to do about it where that can be guessed. A request that asks to wait has
//! no limit on time; any other has [`ANSWER_TIME`].
//!
//! Deliberately absent: redirects and keep-alive.

use super::args::{Address, Remote};
use super::secure;
use crate::admin::Problem;
use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long an answer may take that need not wait for anything.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(500);

/// However long a look takes, the next one is not further off.
const FAR: Duration = Duration::from_secs(10);

/// Whether the answer may take as long as a drain does.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Patience {
    Short,
    Endless,
}

/// Ask the admin interface, and return the body of its answer.
///
/// # Errors
/// If it cannot be reached, or answers with a problem.
pub(super) fn ask(
    remote: &Remote,
    method: Method,
    path: &str,
    patience: Patience,
) -> anyhow::Result<Bytes> {
    ask_with(remote, method, path, String::new(), patience)
}

/// The same, with a JSON body.
///
/// # Errors
/// If it cannot be reached, or answers with a problem.
pub(super) fn ask_with(
    remote: &Remote,
    method: Method,
    path: &str,
    body: String,
    patience: Patience,
) -> anyhow::Result<Bytes> {
    runtime()?.block_on(exchange(remote, method, path, body, patience))
}

/// What a command waits in.
///
/// # Errors
/// If the system refuses it.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// How long to leave a process alone after a look that took this long: looking
/// takes no more than a fifth of its time.
pub(super) fn pause(took: Duration) -> Duration {
    took.saturating_mul(4).clamp(LOOK, FAR)
}

/// As [`ask_with`], where something else is waited for as well.
///
/// # Errors
/// If it cannot be reached, or answers with a problem.
pub(super) async fn exchange(
    remote: &Remote,
    method: Method,
    path: &str,
    body: String,
    patience: Patience,
) -> anyhow::Result<Bytes> {
    let request = request(remote, method, path, body)?;
    let sending = async {
        match &remote.admin {
            Address::Host(host) => {
                let stream = connect(remote, TcpStream::connect(host)).await?;
                send(TokioIo::new(stream), request).await
            }
            Address::Secure(host) => {
                let stream = connect(remote, TcpStream::connect(host)).await?;
                let shaken = secure::shake_hands(remote, host, stream);
                send(TokioIo::new(shaken.await?), request).await
            }
            Address::Named { name, at } => {
                let stream = connect(remote, TcpStream::connect(at)).await?;
                let shaken = secure::shake_hands(remote, name, stream);
                send(TokioIo::new(shaken.await?), request).await
            }
            Address::Unix(path) => {
                let stream = connect(remote, UnixStream::connect(path)).await?;
                send(TokioIo::new(stream), request).await
            }
        }
    };
    let limit = match patience {
        Patience::Short => CONNECT_TIME + ANSWER_TIME,
        Patience::Endless => Duration::MAX,
    };
    let late = || anyhow!("{} did not answer in time", remote.admin);
    let (status, body) = timeout(limit, sending).await.map_err(|_| late())??;
    judge(status, body)
}

async fn connect<S>(
    remote: &Remote,
    connecting: impl Future<Output = io::Result<S>>,
) -> anyhow::Result<S> {
    let connected = timeout(CONNECT_TIME, connecting).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    connected.with_context(|| {
        let address = &remote.admin;
        format!("no proxy answers on {address}; is it running, and is that its admin address")
    })
}

fn request(
    remote: &Remote,
    method: Method,
    path: &str,
    body: String,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let host = match &remote.admin {
        Address::Host(host) | Address::Secure(host) => host.as_str(),
        Address::Named { name, .. } => name.as_str(),
        Address::Unix(_) => "localhost",
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .body(Full::new(Bytes::from(body)))?;
    if let Some(token) = &remote.token {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .context("the token has characters that a header cannot carry")?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)>
where
    S: Read + Write + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    let driving = tokio::spawn(connection);
    let answered = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>((status, body))
    };
    let answer = answered
        .await
        .context("the connection ended before the answer came");
    driving.abort();
    answer
}

fn judge(status: StatusCode, body: Bytes) -> anyhow::Result<Bytes> {
    if status.is_success() {
        return Ok(body);
    }
    let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
        bail!("the answer is {status}, and not in the words of an admin interface");
    };
    if status == StatusCode::UNAUTHORIZED {
        bail!("{} (set EBBTIDE_TOKEN, or --token)", problem.detail);
    }
    bail!("{}", problem.detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_answers_slowly_is_asked_less_often() {
        for (took, left_alone) in [(0, 500), (100, 500), (1_000, 4_000), (15_000, 10_000)] {
            let took = Duration::from_millis(took);
            assert_eq!(pause(took), Duration::from_millis(left_alone), "{took:?}");
        }
    }

    #[test]
    fn problems_are_told_in_their_own_words() {
        let body = r#"{"title":"Conflict","status":409,"detail":"no drain is under way"}"#;
        let error = judge(StatusCode::CONFLICT, body.into()).expect_err("a problem");
        assert_eq!(error.to_string(), "no drain is under way");
        let body = r#"{"title":"Unauthorized","status":401,"detail":"this needs a token"}"#;
        let error = judge(StatusCode::UNAUTHORIZED, body.into()).expect_err("a problem");
        assert!(error.to_string().contains("EBBTIDE_TOKEN"), "{error}");
        let error = judge(StatusCode::BAD_GATEWAY, "<html>".into()).expect_err("no proxy");
        assert!(error.to_string().contains("502"), "{error}");
    }
}
