//! The clients: one request after the other, none repeated, each on the books.

use super::books::Books;
use super::servers::grpc::{Line, SERVICE};
use bytes::Bytes;
use fastrand::Rng;
use h2::client::SendRequest as Streams;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request as Call, Status};
use tonic_prost::ProstCodec;

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages in a stream of gRPC.
const MESSAGES: u32 = 5;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get1,
    Post1,
    Get2,
    Post2,
    Unary,
    Stream,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Get1,
        Self::Post1,
        Self::Get2,
        Self::Post2,
        Self::Unary,
        Self::Stream,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get1 => "GET over HTTP/1.1",
            Self::Post1 => "POST over HTTP/1.1",
            Self::Get2 => "GET over HTTP/2",
            Self::Post2 => "POST over HTTP/2",
            Self::Unary => "unary call",
            Self::Stream => "stream of gRPC",
        }
    }

    const fn posts(self) -> bool {
        matches!(self, Self::Post1 | Self::Post2)
    }
}

/// When it is enough.
#[derive(Clone)]
pub(crate) struct Enough {
    stop: Arc<AtomicBool>,
    left: Arc<AtomicU64>,
}

impl Enough {
    /// Once so many were asked for, or it is said.
    pub(crate) fn after(requests: u64) -> Self {
        Self {
            stop: Arc::default(),
            left: Arc::new(AtomicU64::new(requests)),
        }
    }

    /// Once it is said.
    pub(crate) fn said() -> Self {
        Self::after(u64::MAX)
    }

    /// Say it.
    pub(crate) fn say(&self) {
        self.stop.store(true, Relaxed);
    }

    fn one_more(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        !self.stop.load(Relaxed) && self.left.fetch_update(Relaxed, Relaxed, less).is_ok()
    }
}

/// What all clients of a case have.
#[derive(Clone)]
pub(crate) struct Crowd {
    pub(crate) address: SocketAddr,
    pub(crate) books: Books,
    pub(crate) enough: Enough,
    /// Up to so long between two requests of a client.
    pub(crate) pause: Duration,
    pub(crate) seed: u64,
}

impl Crowd {
    /// So many clients of each kind, until it is enough and each has its answer.
    pub(crate) async fn run(&self, kinds: &[Kind], each: u64) {
        let mut clients = JoinSet::new();
        for (kind, number) in kinds.iter().zip(0..) {
            for client in 0..each {
                let seed = self.seed ^ (number * 1000 + client).wrapping_mul(0x9e37_79b9);
                clients.spawn(self.clone().client(*kind, Rng::with_seed(seed)));
            }
        }
        clients.join_all().await;
    }

    async fn client(self, kind: Kind, mut rng: Rng) {
        let mut wire = Wire::None;
        while self.enough.one_more() {
            let began = Instant::now();
            let asked = timeout(PATIENCE, wire.ask(self.address, kind, &mut rng)).await;
            let came = asked.unwrap_or_else(|_| Err(format!("nothing for {PATIENCE:?}")));
            if came.is_err() {
                // Whatever it was: the next request is not to suffer from it.
                wire = Wire::None;
            }
            self.books.enter(kind.name(), began.elapsed(), came);
            let most = u64::try_from(self.pause.as_micros()).unwrap_or(u64::MAX);
            if most > 0 {
                sleep(Duration::from_micros(rng.u64(..=most))).await;
            }
        }
    }
}

/// A client's connection to the proxy.
enum Wire {
    None,
    Http1(SendRequest<Full<Bytes>>),
    Http2(Streams<Bytes>),
    Grpc(Grpc<Channel>),
}

impl Wire {
    async fn open(address: SocketAddr, kind: Kind) -> Result<Self, String> {
        if matches!(kind, Kind::Unary | Kind::Stream) {
            let target = Channel::from_shared(format!("http://{address}"));
            let target = target.map_err(|error| error.to_string())?;
            let channel = target.connect().await.map_err(|error| error.to_string())?;
            return Ok(Self::Grpc(Grpc::new(channel)));
        }
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| format!("connecting: {error}"))?;
        // An option that could not be set costs speed, nothing else.
        let _ = stream.set_nodelay(true);
        if matches!(kind, Kind::Get1 | Kind::Post1) {
            let (sender, connection) = handshake(TokioIo::new(stream))
                .await
                .map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            return Ok(Self::Http1(sender));
        }
        let (sender, connection) = h2::client::handshake(stream)
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Self::Http2(sender))
    }

    async fn ask(&mut self, address: SocketAddr, kind: Kind, rng: &mut Rng) -> Result<(), String> {
        let closed = match self {
            Self::None => true,
            Self::Http1(sender) => sender.ready().await.is_err(),
            _ => false,
        };
        if closed {
            *self = Self::open(address, kind).await?;
        }
        let body = if kind.posts() {
            Bytes::from(vec![b'a' + rng.u8(..26); rng.usize(1..20_000)])
        } else {
            Bytes::new()
        };
        match self {
            Self::None => Err("no connection".to_owned()),
            Self::Http1(sender) => http1(sender, kind, body).await,
            Self::Http2(sender) => http2(sender.clone(), kind, body).await,
            Self::Grpc(calls) => {
                let called = call(calls.clone(), kind).await;
                called.map_err(|status| format!("status {}", i32::from(status.code())))
            }
        }
    }
}

fn request<B>(kind: Kind, body: B) -> Result<Request<B>, String> {
    let request = if kind.posts() {
        Request::post("http://localhost/echo")
    } else {
        Request::get("http://localhost/get")
    };
    let request = request.header("host", "localhost").body(body);
    request.map_err(|error| error.to_string())
}

fn judge(status: StatusCode, came: &[u8], sent: &[u8]) -> Result<(), String> {
    let wanted = if sent.is_empty() { b"ok" } else { sent };
    match status {
        StatusCode::OK if came == wanted => Ok(()),
        StatusCode::OK => Err("another body".to_owned()),
        other => Err(other.as_u16().to_string()),
    }
}

async fn http1(
    sender: &mut SendRequest<Full<Bytes>>,
    kind: Kind,
    body: Bytes,
) -> Result<(), String> {
    let sent = sender.send_request(request(kind, Full::new(body.clone()))?);
    let (head, came) = sent.await.map_err(|error| error.to_string())?.into_parts();
    let came = came
        .collect()
        .await
        .map_err(|_| "half an answer".to_owned())?;
    judge(head.status, &came.to_bytes(), &body)
}

async fn http2(sender: Streams<Bytes>, kind: Kind, body: Bytes) -> Result<(), String> {
    let words = |error: h2::Error| error.to_string();
    let mut sender = sender.ready().await.map_err(words)?;
    let mut request = request(kind, ())?;
    request.headers_mut().remove("host");
    if body.len().is_multiple_of(2) {
        // Or not: then it is chunks to a server of HTTP/1.1.
        let length = HeaderValue::from(body.len());
        request.headers_mut().insert("content-length", length);
    }
    let (response, mut stream) = sender
        .send_request(request, body.is_empty())
        .map_err(words)?;
    if !body.is_empty() {
        stream.send_data(body.clone(), true).map_err(words)?;
    }
    let (head, mut answer) = response.await.map_err(words)?.into_parts();
    let mut came = Vec::new();
    while let Some(data) = answer.data().await {
        let data = data.map_err(|_| "half an answer".to_owned())?;
        came.extend_from_slice(&data);
        answer
            .flow_control()
            .release_capacity(data.len())
            .map_err(words)?;
    }
    judge(head.status, &came, &body)
}

async fn call(mut calls: Grpc<Channel>, kind: Kind) -> Result<(), Status> {
    calls
        .ready()
        .await
        .map_err(|error| Status::unknown(error.to_string()))?;
    let line = Line {
        text: "line".to_owned(),
        number: MESSAGES,
    };
    let codec = ProstCodec::<Line, Line>::default();
    let path = |method: &str| {
        let path = format!("/{SERVICE}/{method}").parse();
        path.map_err(|_| Status::internal("the path"))
    };
    if kind == Kind::Unary {
        let came = calls
            .unary(Call::new(line.clone()), path("Echo")?, codec)
            .await?;
        let same = came.into_inner() == line;
        return same
            .then_some(())
            .ok_or_else(|| Status::data_loss("another line"));
    }
    let came = calls
        .server_streaming(Call::new(line), path("Count")?, codec)
        .await?;
    let mut lines = came.into_inner();
    let mut number = 0;
    while lines.message().await?.is_some() {
        number += 1;
    }
    (number == MESSAGES)
        .then_some(())
        .ok_or_else(|| Status::data_loss("too few lines"))
}
