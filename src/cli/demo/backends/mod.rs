//! The servers that the demo brings with it: what stands behind the proxy.
//!
//! Four of them, one per kind of traffic, each on a free loopback port, each
//! written on the plainest library for its protocol. They answer quickly,
//! slowly, in pieces, or never to the end, as their clients ask.
//!
//! Deliberately absent: any cooperation with the drain. A server learns of it
//! as it would in production, by its connections ending.

mod grpc;
mod http;
mod tcp;
mod websocket;

pub(super) use grpc::{COUNT, COUNTED, ECHO, WATCH};
pub(super) use http::{STREAMED_CHUNK, STREAMED_CHUNKS};

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};

/// Where the servers listen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) http: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) websocket: SocketAddr,
    pub(super) tcp: SocketAddr,
}

/// Start all servers on the runtime of the caller; they end with it.
pub(super) async fn start() -> io::Result<Addresses> {
    Ok(Addresses {
        http: serve(http::connection).await?,
        grpc: serve(grpc::connection).await?,
        websocket: serve(websocket::connection).await?,
        tcp: serve(tcp::connection).await?,
    })
}

/// Accept on a free port and run each connection on a task of its own.
async fn serve<F>(connection: fn(TcpStream) -> F) -> io::Result<SocketAddr>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // An option that could not be set costs speed, nothing else.
            let _ = stream.set_nodelay(true);
            tokio::spawn(connection(stream));
        }
    });
    Ok(address)
}
