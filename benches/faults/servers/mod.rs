//! The servers behind the proxy, and what makes them fail.
//!
//! Those that only have to be up and to fail in words run on a thread of this
//! program; those that are to die are processes: nginx, or this program once more.

pub(crate) mod app;
pub(crate) mod grpc;
pub(crate) mod namespace;
pub(crate) mod nginx;
pub(crate) mod process;
pub(crate) mod raw;

use anyhow::{Context as _, Result};
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Handle};

/// As many connections may wait to be accepted as Linux allows by itself.
const QUEUE: u32 = 4096;

/// A thread for servers; they end with the program.
pub(crate) fn thread() -> Result<Handle> {
    let (tell, handle) = mpsc::channel();
    thread::spawn(move || -> Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        tell.send(runtime.handle().clone())?;
        runtime.block_on(pending::<Result<()>>())
    });
    handle.recv().context("no thread for servers")
}

/// A free address that no outgoing connection can have in the meantime: those
/// come from 127.0.0.1.
pub(crate) fn address() -> Result<SocketAddr> {
    let own = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    Ok(std::net::TcpListener::bind((own, 0))?.local_addr()?)
}

/// Listen there, also right after another one did.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket.listen(QUEUE)?)
}
