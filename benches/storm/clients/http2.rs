//! HTTP/2 clients, on the `h2` crate itself.
//!
//! A connection takes streams until GOAWAY; those that it has are awaited,
//! then its end. A stream that raced GOAWAY must be served, so one that is
//! refused is a loss.

use super::super::books::End;
use super::http1::{Question, between_events};
use super::{Client, Connected, judge, patiently};
use bytes::Bytes;
use ebbtide::drain::Protocol;
use futures_util::future::join_all;
use h2::client::{self, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, StatusCode};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// An HTTP/2 connection, the task that drives it, and the port it comes from.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
    pub(super) port: u16,
}

/// Ask `question` on `streams` streams at a time, until a new connection is
/// refused.
pub(crate) async fn multiplexed(client: Client, question: Question, streams: usize) {
    while let Some(connection) = open(&client).await {
        let one = || async {
            // Refused here, nothing was begun: the connection is retired.
            while let Ok(sender) = connection.sender.clone().ready().await {
                if !ask(&client, sender, connection.port, &question).await {
                    return;
                }
                sleep(client.pause).await;
            }
        };
        join_all((0..streams).map(|_| one())).await;
        connection.end(&client).await;
    }
}

/// One request on one connection.
pub(crate) async fn stream_once(client: Client, question: Question) {
    sleep(client.pause).await;
    let Some(connection) = open(&client).await else {
        return;
    };
    if let Ok(sender) = connection.sender.clone().ready().await {
        ask(&client, sender, connection.port, &question).await;
    }
}

/// One request, then nothing until the proxy ends the idle connection.
pub(crate) async fn sit(client: Client, question: Question) {
    let Some(connection) = open(&client).await else {
        return;
    };
    if let Ok(sender) = connection.sender.clone().ready().await {
        ask(&client, sender, connection.port, &question).await;
    }
    connection.end(&client).await;
}

/// One exchange; whether the connection can be used on.
async fn ask(client: &Client, sender: SendRequest<Bytes>, port: u16, question: &Question) -> bool {
    let http2 = Some(Protocol::Http2);
    let operation = client.books.begin(client.kind, http2, port);
    let answer = answer(sender, question).await;
    let usable = matches!(answer, Ok(End::Finished | End::Told(_)));
    operation.end(answer);
    usable
}

async fn answer(mut sender: SendRequest<Bytes>, question: &Question) -> Result<End, String> {
    let uri = format!("https://localhost{}", question.path);
    let builder = match question.upload {
        Some(_) => Request::post(uri),
        None => Request::get(uri),
    };
    let request = builder.body(()).map_err(|error| error.to_string())?;
    let sent = sender.send_request(request, question.upload.is_none());
    let (response, mut stream) = sent.map_err(|error| error.to_string())?;
    if let Some(upload) = &question.upload {
        // The library sends what the window takes, when it takes it.
        let sent = stream.send_data(upload.clone(), true);
        sent.map_err(|error| format!("uploading: {error}"))?;
    }
    let (head, mut body) = patiently(response).await?.into_parts();
    let begun = question.endless && head.status == StatusCode::OK;
    let (bytes, whole) = patiently(async { Ok::<_, String>(collect(&mut body).await) }).await?;
    Ok(match whole {
        Ok(_) if begun => between_events(&bytes),
        Ok(_) => judge(head.status, &head.headers, &bytes, &question.expected),
        Err(error) if error.is_reset() && error.is_remote() => {
            let reason = error.reason().unwrap_or(Reason::NO_ERROR);
            End::Told(format!("RST_STREAM {reason:?}"))
        }
        Err(error) => End::Lost(format!("after {} bytes: {error}", bytes.len())),
    })
}

/// A body as far as it came, and its trailers or why there are none.
pub(super) async fn collect(
    body: &mut RecvStream,
) -> (Vec<u8>, Result<Option<HeaderMap>, h2::Error>) {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let taken = data.and_then(|data| {
            bytes.extend_from_slice(&data);
            body.flow_control().release_capacity(data.len())
        });
        if let Err(error) = taken {
            return (bytes, Err(error));
        }
    }
    let trailers = body.trailers().await;
    (bytes, trailers)
}

/// A new connection; `None` if it is refused and may be.
pub(super) async fn open(client: &Client) -> Option<Connection> {
    let Connected { wire, port } = client.connect().await?;
    match patiently(client::handshake(wire)).await {
        Ok((sender, connection)) => Some(Connection {
            sender,
            driver: tokio::spawn(connection),
            port,
        }),
        Err(error) => {
            let operation = client.books.begin(client.kind, None, port);
            operation.end(Err(format!("HTTP/2 handshake: {error}")));
            None
        }
    }
}

impl Connection {
    /// The proxy ends the connection: in order, and not before it may.
    pub(super) async fn end(self, client: &Client) {
        let Self {
            sender,
            driver,
            port,
        } = self;
        let ended = patiently(async { Ok::<_, String>(driver.await) }).await;
        drop(sender);
        let why = match ended {
            Ok(Ok(Ok(()))) if client.may_be_refused() => return,
            Ok(Ok(Ok(()))) => "ended before listeners refuse".to_owned(),
            Ok(Ok(Err(error)))
                if error.is_go_away() && error.reason() == Some(Reason::NO_ERROR) =>
            {
                return;
            }
            Ok(Ok(Err(error))) => format!("its end: {error:?}"),
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("its end: {error}"),
        };
        client.books.begin(client.kind, None, port).end(Err(why));
    }
}
