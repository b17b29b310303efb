//! The honest neighbours: one client of HTTP/1.1 and one of HTTP/2, over TLS,
//! on connections that they keep, each a request at every tick.
//!
//! Invariant: a request is late from the moment when it was due, also if the
//! one before it held it up; otherwise a stall would be seen once.

use crate::proxy::Proxy;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long an answer may take; far more than it needs.
const LIMIT: Duration = Duration::from_secs(10);

/// What became of honest requests.
#[derive(Default)]
pub(crate) struct Honest {
    took: Vec<Duration>,
    pub(crate) errors: usize,
    /// What was wrong with the first that failed.
    pub(crate) first: Option<String>,
}

impl Honest {
    /// So many of a hundred took no longer.
    pub(crate) fn part(&self, percent: usize) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(at).copied().unwrap_or_default()
    }

    fn add(&mut self, answer: Result<()>, due: Instant) {
        match answer {
            Ok(()) => self.took.push(due.elapsed()),
            Err(error) => {
                self.errors += 1;
                self.first.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Empty<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
}

impl Sender {
    async fn begin(proxy: &Proxy, http2: bool) -> Result<Self> {
        let stream = TcpStream::connect(proxy.addresses.secure).await?;
        stream.set_nodelay(true)?;
        let tls: &Arc<_> = if http2 { &proxy.tls.1 } else { &proxy.tls.0 };
        let name = ServerName::try_from("localhost")?;
        let stream: TlsStream<_> = TlsConnector::from(Arc::clone(tls))
            .connect(name, stream)
            .await?;
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            return Ok(Self::Http2(sender));
        }
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    async fn ask(&mut self) -> Result<()> {
        let request = Request::builder()
            .uri("https://localhost/honest")
            .header("host", "localhost");
        let request = request.body(Empty::new())?;
        let response = match self {
            Self::Http1(sender) => {
                let (mut head, body) = request.into_parts();
                head.uri = "/honest".parse()?;
                sender.ready().await?;
                sender.send_request(Request::from_parts(head, body)).await?
            }
            Self::Http2(sender) => {
                let (mut head, body) = request.into_parts();
                head.headers.clear();
                sender.ready().await?;
                sender.send_request(Request::from_parts(head, body)).await?
            }
        };
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success() && &*body == b"ok", "{status}");
        Ok(())
    }
}

async fn client(proxy: &Proxy, http2: bool, time: Duration, rate: u64) -> Result<Honest> {
    let mut sender = Sender::begin(proxy, http2).await?;
    let mut honest = Honest::default();
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate)?);
    // All that were due, one after the other.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    while began.elapsed() < time {
        let due = ticks.tick().await.into_std();
        let answer = timeout(LIMIT, sender.ask()).await.context("no answer");
        let answer = answer.and_then(|answer| answer);
        let failed = answer.is_err();
        honest.add(answer, due);
        if failed {
            sender = Sender::begin(proxy, http2).await?;
        }
    }
    Ok(honest)
}

/// Both of them, for so long.
pub(crate) async fn run(proxy: &Proxy, time: Duration, rate: u64) -> Result<Honest> {
    let one = client(proxy, false, time, rate);
    let (mut one, two) = tokio::try_join!(one, client(proxy, true, time, rate))?;
    one.took.extend(two.took);
    one.errors += two.errors;
    one.first = one.first.or(two.first);
    Ok(one)
}
