//! Who asks: so many requests, by so many at once, each asking again as soon as it
//! is answered.
//!
//! The proxy is far slower under callgrind than they are, so that all of them wait
//! for it whenever it looks. That makes what it does in one go, and so its cost,
//! the same each time.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;
use tokio::task::JoinSet;

/// Ask so many times.
pub(super) type Load = fn(SocketAddr, u64) -> Result<()>;

const PATIENCE: Duration = Duration::from_secs(60);
/// Connections of HTTP/1.1.
const CLIENTS: u64 = 4;
/// Connections of HTTP/2, and the streams on each.
const CONNECTIONS: u64 = 2;
const STREAMS: u64 = 16;

/// HTTP/1.1, GET.
pub(super) fn http1(address: SocketAddr, requests: u64) -> Result<()> {
    let clients = (0..CLIENTS).map(|_| thread::spawn(move || client(address, requests / CLIENTS)));
    for client in clients.collect::<Vec<_>>() {
        client.join().ok().context("a client panicked")??;
    }
    Ok(())
}

fn client(address: SocketAddr, requests: u64) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nUser-Agent: bench\r\n\r\n");
    let mut answer = [0; 4096];
    for _ in 0..requests {
        stream.write_all(request.as_bytes())?;
        let mut read = 0;
        while !answer[..read].ends_with(b"\r\n\r\nok") {
            let more = stream.read(&mut answer[read..])?;
            ensure!(more > 0, "an answer is cut short");
            read += more;
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "no 200");
    }
    Ok(())
}

/// HTTP/2, GET.
pub(super) fn http2(address: SocketAddr, requests: u64) -> Result<()> {
    streams(address, requests, || {
        let request = Request::get("http://localhost/").header("user-agent", "bench");
        (request, None)
    })
}

/// A unary call.
pub(super) fn grpc(address: SocketAddr, requests: u64) -> Result<()> {
    streams(address, requests, || {
        let request = Request::post("http://localhost/arena.Echo/Unary")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        (request, Some(Bytes::from_static(super::server::MESSAGE)))
    })
}

type Made = (http::request::Builder, Option<Bytes>);

fn streams(address: SocketAddr, requests: u64, made: fn() -> Made) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let each = requests / CONNECTIONS / STREAMS;
    runtime.block_on(async {
        let mut streams = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let (sender, connection) = h2::client::handshake(stream).await?;
            tokio::spawn(connection);
            for _ in 0..STREAMS {
                streams.spawn(ask(sender.clone(), each, made));
            }
        }
        while let Some(asked) = streams.join_next().await {
            asked??;
        }
        Ok(())
    })
}

async fn ask(sender: SendRequest<Bytes>, times: u64, made: fn() -> Made) -> Result<()> {
    for _ in 0..times {
        let mut sender = sender.clone().ready().await?;
        let (request, body) = made();
        let (answer, mut stream) = sender.send_request(request.body(())?, body.is_none())?;
        if let Some(body) = body {
            stream.send_data(body, true)?;
        }
        let (head, mut body) = tokio::time::timeout(PATIENCE, answer).await??.into_parts();
        ensure!(head.status == StatusCode::OK, "no 200");
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data?.len())?;
        }
        body.trailers().await?;
    }
    Ok(())
}
