//! The attacks: each a client that is told, sooner or later, to leave it.

use crate::proxy::Addresses;
use crate::wire::{GET, POST, PREFACE, Says, frame, hear, pour};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, sleep};

type Run = fn(Addresses) -> Pin<Box<dyn Future<Output = io::Result<String>>>>;

/// One of them, by the name of the limit that ends it.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    /// One attacker: what it was told in the end.
    pub(crate) run: Run,
}

macro_rules! attacks {
    ($($name:literal $reason:literal $run:expr,)+) => {
        pub(crate) const ATTACKS: &[Attack] = &[$(Attack {
            name: $name,
            reason: $reason,
            run: |to| Box::pin($run(to)),
        },)+];
    };
}

attacks! {
    "slow heads" "head_time" slow_head,
    "slow bodies" "body_rate" slow_body,
    "slow reads, HTTP/1" "send_idle" deaf,
    "slow reads, HTTP/2" "send_rate" sip,
    "window stalls" "send_idle" stall,
    "pipelining" "send_idle" pipelined,
    "big heads" "head" big_head,
    "big bodies" "body" big_body,
    "rapid reset" "resets" rapid_reset,
    "MadeYouReset" "malformed" made_you_reset,
    "malformed streams" "malformed" malformed,
    "SETTINGS flood" "settings" |to| flood(to, 4, 0, &[]),
    "PING flood" "pings" |to| flood(to, 6, 0, &[7; 8]),
    "PRIORITY flood" "priority" |to| flood(to, 2, 1, &[0, 0, 0, 0, 9]),
    "WINDOW_UPDATE flood" "window_updates" |to| flood(to, 8, 0, &[0, 0, 0, 1]),
    "empty DATA" "data_frames" empty_data,
    "CONTINUATION flood" "continuation" continuation,
    "HPACK bomb" "head" hpack_bomb,
    "half handshakes" "handshake_time" half_handshake,
    "handshake flood" "handshake_rate" handshakes,
    "connections of one" "per_client" connections,
    "tunnels" "tunnels" tunnels,
    "silent tunnels" "tunnel_idle" silent_tunnel,
}

/// A byte every now and then until the end; what was said by then.
async fn trickle(address: SocketAddr, first: &[u8], each: &[u8]) -> io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(first).await?;
    let (mut from, mut to) = socket.split();
    let mut pause = interval(Duration::from_millis(100));
    let send = async {
        loop {
            pause.tick().await;
            if to.write_all(each).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        told = hear(&mut from) => Ok(told),
        () = send => Ok(String::new()),
    }
}

async fn slow_head(to: Addresses) -> io::Result<String> {
    trickle(to.web, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"y").await
}

async fn slow_body(to: Addresses) -> io::Result<String> {
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
    trickle(to.web, head, b"y").await
}

/// Until the other side has had enough, which shows in what a write says.
async fn unread(address: SocketAddr, first: &[u8], more: &[u8]) -> io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(first).await?;
    loop {
        if socket.write_all(more).await.is_err() {
            return Ok("closed".to_owned());
        }
        if more.len() < 1_000 {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn deaf(to: Addresses) -> io::Result<String> {
    let asks = b"GET /bytes/20000000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    unread(to.web, asks, b"\r\n").await
}

async fn pipelined(to: Addresses) -> io::Result<String> {
    let asks = b"GET /bytes/1000 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
    unread(to.web, &asks, &asks).await
}

/// Ask with no window, then send `each`; until a stream is reset.
async fn held(to: Addresses, streams: u32, each: &[u8]) -> io::Result<String> {
    let mut socket = TcpStream::connect(to.web).await?;
    let mut first = PREFACE.to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE: nothing.
    first.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let block = [b"\x82\x86\x04\x0a/bytes/999", &b"\x41\x09localhost"[..]].concat();
    for stream in 0..streams {
        first.extend(frame(1, 5, 2 * stream + 1, &block));
    }
    socket.write_all(&first).await?;
    let mut says = Says::default();
    let mut space = [0; 4096];
    let mut pause = interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            read = socket.read(&mut space) => match read? {
                0 => return Ok("FIN".to_owned()),
                read => says.hear(&space[..read]),
            },
            _ = pause.tick() => socket.write_all(each).await?,
        }
        if let Some(told) = says.told {
            return Ok(told);
        }
    }
}

async fn sip(to: Addresses) -> io::Result<String> {
    held(to, 1, &frame(8, 0, 1, &[0, 0, 0, 1])).await
}

async fn stall(to: Addresses) -> io::Result<String> {
    held(to, 100, &[]).await
}

async fn big_head(to: Addresses) -> io::Result<String> {
    let first = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ".to_vec();
    pour(to.web, first, || vec![b'y'; 16 * 1024]).await
}

async fn big_body(to: Addresses) -> io::Result<String> {
    let first = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n";
    pour(to.web, first.to_vec(), || vec![b'y'; 16 * 1024]).await
}

/// For each of a hundred new streams, these frames.
async fn streams(to: Addresses, frames: impl Fn(u32) -> Vec<u8>) -> io::Result<String> {
    let mut next = 1;
    let more = || {
        let mut bytes = Vec::new();
        for _ in 0..100 {
            bytes.extend(frames(next));
            next += 2;
        }
        bytes
    };
    pour(to.web, PREFACE.to_vec(), more).await
}

/// CVE-2023-44487.
async fn rapid_reset(to: Addresses) -> io::Result<String> {
    streams(to, |stream| {
        [frame(1, 5, stream, GET), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    })
    .await
}

/// CVE-2025-8671: a window that is opened too far has its stream reset, by the
/// other side, after a server was asked.
async fn made_you_reset(to: Addresses) -> io::Result<String> {
    streams(to, |stream| {
        [
            frame(1, 5, stream, GET),
            frame(8, 0, stream, &[0x7f, 0xff, 0xff, 0xff]),
        ]
        .concat()
    })
    .await
}

/// Requests that have two methods.
async fn malformed(to: Addresses) -> io::Result<String> {
    let doubled = [b"\x82", GET].concat();
    streams(to, move |stream| frame(1, 5, stream, &doubled)).await
}

async fn flood(to: Addresses, kind: u8, stream: u32, payload: &'static [u8]) -> io::Result<String> {
    pour(to.web, PREFACE.to_vec(), || {
        frame(kind, 0, stream, payload).repeat(500)
    })
    .await
}

async fn empty_data(to: Addresses) -> io::Result<String> {
    let first = [PREFACE, &frame(1, 4, 1, POST)].concat();
    pour(to.web, first, || frame(0, 0, 1, &[]).repeat(500)).await
}

async fn continuation(to: Addresses) -> io::Result<String> {
    let first = [PREFACE, &frame(1, 1, 1, GET)].concat();
    pour(to.web, first, || {
        frame(9, 0, 1, b"\0\x01x\x01y").repeat(500)
    })
    .await
}

/// A field of 3 KiB in the dynamic table, and thousands that name it.
async fn hpack_bomb(to: Addresses) -> io::Result<String> {
    let value = [b'y'; 3_072];
    // Its length, 3,072, as an integer with a prefix of 7 bits.
    let entry = [&b"\x40\x01x\x7f\x81\x17"[..], &value].concat();
    let block = [GET, &entry, &[0xbe; 8_000]].concat();
    streams(to, move |stream| frame(1, 5, stream, &block)).await
}

async fn half_handshake(to: Addresses) -> io::Result<String> {
    let mut socket = TcpStream::connect(to.secure).await?;
    socket.write_all(&[22, 3, 1, 2, 0, 1, 0]).await?;
    Ok(hear(&mut socket).await)
}

/// A WebSocket as its server agreed to it; otherwise what was said instead.
async fn upgraded(to: Addresses) -> io::Result<Result<TcpStream, String>> {
    const ASKS: &[u8] = b"GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                          Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut socket = TcpStream::connect(to.web).await?;
    socket.write_all(ASKS).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let code = String::from_utf8_lossy(head.get(9..12).unwrap_or_default()).into_owned();
    Ok(if code == "101" { Ok(socket) } else { Err(code) })
}

/// Every tunnel that there may be, and on.
async fn tunnels(to: Addresses) -> io::Result<String> {
    let mut held = Vec::new();
    loop {
        match upgraded(to).await? {
            Ok(socket) => held.push(socket),
            Err(told) => return Ok(told),
        }
    }
}

/// A WebSocket over which nothing is said.
async fn silent_tunnel(to: Addresses) -> io::Result<String> {
    let mut socket = match upgraded(to).await? {
        Ok(socket) => socket,
        Err(told) => return Ok(told),
    };
    // Opcode, length, code: a Close that is not masked.
    let mut close = [0; 4];
    socket.read_exact(&mut close).await?;
    Ok(match close {
        [0x88, _, high, low] => format!("Close {}", u16::from_be_bytes([high, low])),
        other => format!("{other:?}"),
    })
}

/// Handshakes one after the other, as fast as they are answered: who only
/// begins one costs the proxy as much.
async fn handshakes(to: Addresses) -> io::Result<String> {
    let hello = hello();
    let mut socket = TcpStream::connect(to.secure).await?;
    socket.write_all(&hello).await?;
    let mut first = [0; 1];
    let read = socket.read(&mut first).await?;
    Ok(if read == 0 {
        "FIN"
    } else {
        "served in its turn"
    }
    .to_owned())
}

/// A `ClientHello` as our own clients send it.
fn hello() -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|config| {
            config
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth()
        });
    let mut bytes = Vec::new();
    let name = rustls::pki_types::ServerName::try_from("localhost");
    if let (Ok(config), Ok(name)) = (config, name)
        && let Ok(mut client) = rustls::ClientConnection::new(config.into(), name)
    {
        // Into memory, which takes all of it.
        let _ = client.write_tls(&mut bytes);
    }
    bytes
}

/// As many connections as there may be, and on.
async fn connections(to: Addresses) -> io::Result<String> {
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut socket = TcpStream::connect(to.named).await?;
        socket.write_all(header).await?;
        held.push(socket);
    }
    let mut closed = 0;
    for socket in &mut held {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(Duration::from_millis(2), socket.read(&mut byte));
        closed += usize::from(read.await.is_ok());
    }
    Ok(if closed >= 100 { "FIN" } else { "held" }.to_owned())
}
