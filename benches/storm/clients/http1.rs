//! HTTP/1.1 clients, on hyper.
//!
//! A connection is used again until an answer says `Connection: close`, or,
//! once a drain may be under way, until it has been quiet for so long that it
//! may be closed while a request is on its way: a protocol without a word for
//! "I am about to close" leaves that to its clients (RFC 9112, section 9.5).
//!
//! Deliberately absent: pipelining, and repeating what was sent.

use super::super::books::End;
use super::super::script::Script;
use super::super::servers::{pattern, pieces};
use super::{Client, Connected, judge, patiently};
use bytes::Bytes;
use ebbtide::drain::Protocol;
use fastrand::Rng;
use http::header::{CONNECTION, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::error::Error as _;
use std::io;
use std::time::Instant;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What to ask for, and what must come back.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(super) path: String,
    pub(super) upload: Option<Bytes>,
    pub(super) expected: Bytes,
    /// Whether its client stays until it is sent away.
    pub(super) endless: bool,
}

impl Question {
    /// Something quick, or something that takes up to some 120 ms.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        match rng.u8(0..8) {
            0 => Self::get("/slow/100", Bytes::from_static(b"slow")),
            1 => {
                let number = rng.usize(1..=6);
                Self::get(&format!("/pieces/{number}"), pieces(number))
            }
            _ => {
                let size = rng.usize(0..=40_000);
                Self::get(&format!("/bytes/{size}"), pattern(size))
            }
        }
    }

    /// An upload that comes back.
    pub(crate) fn post(rng: &mut Rng) -> Self {
        let body = pattern(rng.usize(1..=60_000));
        Self {
            path: "/echo".to_owned(),
            upload: Some(body.clone()),
            expected: body,
            endless: false,
        }
    }

    /// What has no end.
    pub(crate) fn endless(path: &str) -> Self {
        Self {
            endless: true,
            ..Self::get(path, Bytes::new())
        }
    }

    fn get(path: &str, expected: Bytes) -> Self {
        Self {
            path: path.to_owned(),
            upload: None,
            expected,
            endless: false,
        }
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, String> {
        let builder = match self.upload {
            Some(_) => Request::post(&self.path),
            None => Request::get(&self.path),
        };
        builder
            .header(HOST, "localhost")
            .body(Full::new(self.upload.clone().unwrap_or_default()))
            .map_err(|error| error.to_string())
    }
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<hyper::Result<()>>,
    port: u16,
    /// When it was last used, by the time at which a request was sent.
    used: Option<Instant>,
}

/// How a connection goes on after an exchange.
#[derive(PartialEq, Eq)]
enum Next {
    Again,
    Close,
    Broken,
}

/// One request after the other on a kept connection, until a new one is
/// refused.
pub(crate) async fn keep_alive(client: Client, question: Question) {
    while let Some(mut connection) = open(&client).await {
        while connection.usable(&client) {
            let next = connection.ask(&client, &question).await;
            if next == Next::Close {
                connection.end(&client).await;
                break;
            }
            if next == Next::Broken {
                break;
            }
            sleep(client.pause).await;
        }
    }
}

/// A new connection for each request, until one is refused.
pub(crate) async fn each_anew(client: Client, question: Question) {
    while let Some(mut connection) = open(&client).await {
        connection.ask(&client, &question).await;
        drop(connection);
        sleep(client.pause).await;
    }
}

/// One request on one connection, some time after the start.
pub(crate) async fn once(client: Client, question: Question) {
    sleep(client.pause).await;
    if let Some(mut connection) = open(&client).await {
        connection.ask(&client, &question).await;
    }
}

/// One request, then nothing until the proxy ends the idle connection.
pub(crate) async fn sit(client: Client, question: Question) {
    let Some(mut connection) = open(&client).await else {
        return;
    };
    if connection.ask(&client, &question).await != Next::Broken {
        connection.end(&client).await;
    }
}

async fn collect(mut body: Incoming) -> (Vec<u8>, hyper::Result<()>) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend(frame.into_data().unwrap_or_default()),
            Err(error) => return (bytes, Err(error)),
        }
    }
    (bytes, Ok(()))
}

/// Whether it is the connection's end, in order, where more was to come.
fn is_early_end(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(one) = source {
        if let Some(error) = one.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::UnexpectedEof;
        }
        source = one.source();
    }
    error.is_incomplete_message()
}

/// An event stream came to its end: between two events, or not in order.
pub(super) fn between_events(bytes: &[u8]) -> End {
    if bytes.ends_with(b"\n\n") {
        End::Told("the end, between two events".to_owned())
    } else {
        End::Lost("an event stream ends within an event".to_owned())
    }
}

async fn open(client: &Client) -> Option<Connection> {
    let Connected { wire, port } = client.connect().await?;
    // It is this side's own: nothing goes over the wire.
    let (sender, connection) = handshake(TokioIo::new(wire)).await.ok()?;
    Some(Connection {
        sender,
        driver: tokio::spawn(connection),
        port,
        used: None,
    })
}

impl Connection {
    /// Whether the next request may go here.
    fn usable(&self, client: &Client) -> bool {
        let draining = client.asked.borrow().is_some();
        match self.used {
            Some(used) if draining => used.elapsed() < Script::reuse(),
            _ => true,
        }
    }

    async fn ask(&mut self, client: &Client, question: &Question) -> Next {
        let http1 = Some(Protocol::Http1);
        let operation = client.books.begin(client.kind, http1, self.port);
        self.used = Some(Instant::now());
        let answer = self.answer(question).await;
        let next = match &answer {
            Err(_) | Ok((End::Lost(_), _)) => Next::Broken,
            Ok((_, true)) => Next::Close,
            Ok((_, false)) => Next::Again,
        };
        operation.end(answer.map(|(end, _)| end));
        next
    }

    /// One exchange, and whether the connection is to be used no more.
    async fn answer(&mut self, question: &Question) -> Result<(End, bool), String> {
        let sent = self.sender.send_request(question.request()?);
        let (head, body) = patiently(sent).await?.into_parts();
        let close = head.headers.get(CONNECTION);
        let close = close.is_some_and(|value| value == "close");
        let begun = question.endless && head.status == StatusCode::OK;
        let (bytes, whole) = patiently(async { Ok::<_, String>(collect(body).await) }).await?;
        let end = match whole {
            Ok(()) if begun => between_events(&bytes),
            Ok(()) => judge(head.status, &head.headers, &bytes, &question.expected),
            // Never made to look complete: what its deadline came upon ends so.
            Err(error) if is_early_end(&error) => {
                End::Told("the end before the last byte".to_owned())
            }
            Err(error) => End::Lost(format!("after {} bytes: {error:?}", bytes.len())),
        };
        Ok((end, close))
    }

    /// The proxy ends the connection: in order, and not before it may.
    async fn end(self, client: &Client) {
        let Self {
            sender,
            driver,
            port,
            ..
        } = self;
        let ended = patiently(async { Ok::<_, String>(driver.await) }).await;
        drop(sender);
        let why = match ended {
            Ok(Ok(Ok(()))) if client.may_be_refused() => return,
            Ok(Ok(Ok(()))) => "closed before listeners refuse".to_owned(),
            Ok(Ok(Err(error))) => format!("its end: {error}"),
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("its end: {error}"),
        };
        client.books.begin(client.kind, None, port).end(Err(why));
    }
}
