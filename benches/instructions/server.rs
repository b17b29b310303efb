//! The servers behind the proxy: HTTP/1.1 that says `ok`, and gRPC that says what
//! it was told.

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::{io, thread};

/// A message of 100 bytes, with its length before it.
pub(super) const MESSAGE: &[u8] = b"\0\0\0\0\x64\
    ebbtideebbtideebbtideebbtideebbtideebbtideebbtideebb\
    tideebbtideebbtideebbtideebbtideebbtideebbtideeb";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

/// Where they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Servers {
    pub(super) http1: SocketAddr,
    pub(super) grpc: SocketAddr,
}

/// Start them on threads of their own; they end with the process.
pub(super) fn start() -> Result<Servers> {
    let http1 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let grpc = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let servers = Servers {
        http1: http1.local_addr()?,
        grpc: grpc.local_addr()?,
    };
    thread::spawn(move || {
        for stream in http1.incoming().map_while(io::Result::ok) {
            thread::spawn(|| say_ok(stream));
        }
    });
    grpc.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || runtime.block_on(calls(grpc)));
    Ok(servers)
}

/// Requests have no bodies here.
fn say_ok(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let mut some = [0; 4096];
    loop {
        let read = stream.read(&mut some)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&some[..read]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            stream.write_all(ANSWER)?;
        }
    }
}

async fn calls(listener: TcpListener) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await?;
            while let Some(call) = connection.accept().await {
                let (request, answer) = call?;
                tokio::spawn(echo(request.into_body(), answer));
            }
            anyhow::Ok(())
        });
    }
}

async fn echo(mut body: h2::RecvStream, mut answer: h2::server::SendResponse<Bytes>) -> Result<()> {
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    let head = Response::builder().header("content-type", "application/grpc");
    let mut stream = answer.send_response(head.body(())?, false)?;
    stream.send_data(Bytes::from_static(MESSAGE), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Ok(stream.send_trailers(trailers)?)
}
