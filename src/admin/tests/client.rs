//! A client that writes requests by hand and reads answers of known length.

use crate::config::AdminAddr;
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// What a test waits at most for anything.
const LIMIT: Duration = Duration::from_secs(30);

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

type Connecting = Pin<Box<dyn Future<Output = std::io::Result<Box<dyn Socket>>> + Send>>;

enum Link {
    Connecting(Connecting),
    Open(Box<dyn Socket>),
}

/// One connection, made with the first request.
pub(super) struct Client {
    link: Link,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    fields: Vec<(String, String)>,
    pub(super) body: String,
}

impl Client {
    pub(super) fn to(address: &AdminAddr) -> Self {
        let address = address.clone();
        let connecting: Connecting = Box::pin(async move {
            let socket: Box<dyn Socket> = match address {
                AdminAddr::Inet(inet) => Box::new(TcpStream::connect(inet).await?),
                AdminAddr::Unix(path) => Box::new(UnixStream::connect(path).await?),
            };
            Ok(socket)
        });
        Self {
            link: Link::Connecting(connecting),
        }
    }

    async fn socket(&mut self) -> &mut Box<dyn Socket> {
        if let Link::Connecting(connecting) = &mut self.link {
            let socket = connecting.await.expect("connected");
            self.link = Link::Open(socket);
        }
        match &mut self.link {
            Link::Open(socket) => socket,
            Link::Connecting(_) => unreachable!("opened above"),
        }
    }

    pub(super) async fn ask(
        mut self,
        method: &str,
        path: &str,
        fields: &str,
        body: &str,
    ) -> Answer {
        self.send(method, path, fields, body).await;
        self.receive_answer(method == "HEAD").await
    }

    /// `fields` are whole header lines.
    pub(super) async fn send(&mut self, method: &str, path: &str, fields: &str, body: &str) {
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{fields}content-length: {length}\r\n\r\n{body}"
        );
        let socket = self.socket().await;
        socket.write_all(text.as_bytes()).await.expect("sent");
    }

    /// A request of which the end is missing.
    pub(super) async fn send_part(&mut self, part: &str) {
        let socket = self.socket().await;
        socket.write_all(part.as_bytes()).await.expect("sent");
    }

    pub(super) async fn receive(&mut self) -> Answer {
        self.receive_answer(false).await
    }

    /// The head of an answer that has no length.
    pub(super) async fn head(&mut self) -> String {
        let head = until(self.socket().await, b"\r\n\r\n");
        timeout(LIMIT, head).await.expect("answered in time")
    }

    /// The next event of an answer in chunks, each of which is one; `None` at
    /// its proper end. What comes before the chunk is passed over.
    pub(super) async fn event(&mut self) -> Option<String> {
        let socket = self.socket().await;
        let event = async {
            loop {
                let line = until(socket, b"\r\n").await;
                let Ok(size) = usize::from_str_radix(line.trim_end(), 16) else {
                    continue;
                };
                let mut chunk = vec![0; size + 2];
                socket.read_exact(&mut chunk).await.expect("a chunk");
                chunk.truncate(size);
                return (size > 0).then(|| String::from_utf8(chunk).expect("text"));
            }
        };
        timeout(LIMIT, event).await.expect("an event in time")
    }

    pub(super) async fn connect(&mut self) {
        self.socket().await;
    }

    pub(super) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = self.socket().await.read(&mut byte);
        matches!(timeout(LIMIT, read).await.expect("in time"), Ok(0) | Err(_))
    }

    async fn receive_answer(&mut self, without_body: bool) -> Answer {
        let socket = self.socket().await;
        let reading = read(socket, without_body);
        timeout(LIMIT, reading).await.expect("answered in time")
    }
}

async fn until(socket: &mut Box<dyn Socket>, mark: &[u8]) -> String {
    let mut text = Vec::new();
    while !text.ends_with(mark) {
        text.push(socket.read_u8().await.expect("more"));
    }
    String::from_utf8(text).expect("text")
}

async fn read(socket: &mut Box<dyn Socket>, without_body: bool) -> Answer {
    let head = until(socket, b"\r\n\r\n").await;
    let mut lines = head.lines();
    let first = lines.next().expect("a status line");
    let status = first.split(' ').nth(1).expect("a status");
    let fields: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().expect("a number"));
    let mut body = vec![0; if without_body { 0 } else { length }];
    socket.read_exact(&mut body).await.expect("a body");
    Answer {
        status: status.parse().expect("a number"),
        fields,
        body: String::from_utf8(body).expect("text"),
    }
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        assert_eq!(self.field("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// The JSON, which must be what the description says of it.
    pub(super) fn schema(&self, name: &str) -> Value {
        let value = self.json();
        super::schema::check(&value, name);
        value
    }

    /// The detail of a problem with this status.
    pub(super) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        let kind = self.field("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{}", self.body);
        let value: Value = serde_json::from_str(&self.body).expect("JSON");
        super::schema::check(&value, "Problem");
        assert_eq!(value["status"], status);
        value["detail"].as_str().expect("text").to_owned()
    }
}
