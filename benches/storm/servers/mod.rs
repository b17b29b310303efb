//! The servers behind the proxy, one per kind of traffic, each on a port that
//! the kernel chose.
//!
//! They answer at once, slowly, in pieces or never, as the path says, and know
//! nothing of drains: an upstream learns of one by its connections ending.
//! One set of them serves all drains of a lane, as a service outlives the
//! proxies before it.
//!
//! Deliberately absent: faults. What servers do wrong is tested elsewhere.

mod grpc;
mod http;
mod tunnel;

pub(crate) use grpc::{COUNT, COUNTED, ECHO, MESSAGE, NEVER, WATCH};
pub(crate) use http::{pattern, pieces};

use crate::script::Servers;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};

/// Start them on the runtime of the caller; they end with it.
pub(crate) async fn start() -> io::Result<Servers> {
    Ok(Servers {
        http: serve(http::connection).await?,
        grpc: serve(grpc::connection).await?,
        websocket: serve(tunnel::websocket).await?,
        tcp: serve(tunnel::tcp).await?,
    })
}

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
