//! Bound sockets: accept, and stop accepting without losing anyone.
//!
//! Each worker has a socket of its own in one `SO_REUSEPORT` group, so that
//! the kernel spreads connections and no worker wakes for another's. To stop,
//! three steps: [`Gates::shut`] makes the kernel drop new SYNs on *every*
//! socket of the group, each worker then accepts what has completed its TCP
//! handshake, and only then are the sockets closed. Without the first step a
//! client is always between the last accept and the close.
//!
//! Invariant: a connection whose TCP handshake was done is accepted and
//! served. Deliberately absent: what is spoken on it.

use super::error::{Error, Result};
use super::handshake;
use super::registry::{AcceptGuard, Registry, Scope};
use super::request::Site;
use crate::config as model;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that may wait to be accepted, per socket; the kernel's own
/// limit (`net.core.somaxconn`) may be lower.
const BACKLOG: i32 = 4096;

/// How long SYNs are dropped before the socket closes: handshakes that were
/// half done get this long to complete. Longer would make a client wait for
/// its SYN's retransmission, a second, only to be refused then.
const LAST_HANDSHAKES: Duration = Duration::from_millis(20);

/// How long to leave a listener alone that cannot accept for want of
/// descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The sockets of one listener, one per worker.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that the kernel chose if it was 0.
    pub address: SocketAddr,
    /// One socket per worker.
    pub sockets: Vec<TcpListener>,
}

/// Bind one socket per worker to a listener's address.
///
/// # Errors
/// [`Error::Bind`] with what the system said.
pub fn bind(listener: &model::Listener, workers: usize) -> Result<Bound> {
    let failed = |source| Error::Bind {
        listener: Arc::clone(&listener.name),
        address: listener.listen,
        source,
    };
    let first = socket(listener.listen).map_err(failed)?;
    let address = first.local_addr().map_err(failed)?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(socket(address).map_err(failed)?);
    }
    Ok(Bound { address, sockets })
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A hold on every socket of one listener, to keep new connections out.
#[derive(Debug)]
pub struct Gates {
    listener: Arc<str>,
    sockets: Vec<TcpListener>,
}

impl Gates {
    /// Take hold of a listener's sockets.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn of(listener: &Arc<str>, bound: &Bound) -> io::Result<Self> {
        let sockets = bound.sockets.iter().map(TcpListener::try_clone);
        Ok(Self {
            listener: Arc::clone(listener),
            sockets: sockets.collect::<io::Result<_>>()?,
        })
    }

    /// Drop new SYNs on every socket, then let go of them. Where the kernel
    /// does not take the filter, closing goes on without: what arrives
    /// between a socket's last accept and its close is then lost.
    pub fn shut(self) {
        // "TCP flags & (SYN|ACK) == SYN": drop; anything else, above all the
        // ACK that completes a handshake: pass. Offsets count from the TCP
        // header.
        let program = [
            SockFilter::new(0x30, 0, 0, 13),
            SockFilter::new(0x54, 0, 0, 0x12),
            SockFilter::new(0x15, 0, 1, 0x02),
            SockFilter::new(0x06, 0, 0, 0),
            SockFilter::new(0x06, 0, 0, u32::MAX),
        ];
        let listener = &self.listener;
        for socket in &self.sockets {
            if let Err(error) = socket2::SockRef::from(socket).attach_filter(&program) {
                tracing::warn!(
                    event = "syn_filter",
                    %listener,
                    %error,
                    "new connections cannot be held off; accepting until the queue is empty instead"
                );
            }
        }
    }
}

/// One worker's share of a listener.
#[derive(Debug)]
pub struct Port {
    /// The socket.
    pub socket: TcpListener,
    /// Where its requests go.
    pub site: Arc<Site>,
    /// TLS settings, if it has any.
    pub tls: Option<Arc<ServerConfig>>,
    /// Shared by all workers: how many connections the listener may have.
    pub room: Option<Arc<Semaphore>>,
    /// Where its connections are entered.
    pub registry: Arc<Registry>,
    /// What they belong to.
    pub scope: Arc<Scope>,
    /// Held until the last connection is accepted.
    pub accepting: AcceptGuard,
}

impl Port {
    /// Accept until the scope's orders say to refuse, then empty the queue
    /// and close. Connections go on in tasks of their own.
    ///
    /// # Errors
    /// When the runtime cannot watch the socket.
    pub async fn accept(self) -> io::Result<()> {
        let Self {
            socket,
            site,
            tls,
            room,
            registry,
            scope,
            accepting,
        } = self;
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let door = Door {
            site,
            tls,
            registry,
            scope,
        };
        tokio::select! {
            () = door.admit(&socket, room) => {}
            () = door.refused() => {}
        }
        door.empty(&socket).await;
        drop(socket);
        // Only now may anyone conclude that nobody is left.
        drop(accepting);
        Ok(())
    }
}

struct Door {
    site: Arc<Site>,
    tls: Option<Arc<ServerConfig>>,
    registry: Arc<Registry>,
    scope: Arc<Scope>,
}

impl Door {
    async fn refused(&self) {
        let mut seen = 0;
        loop {
            let (orders, version) = self.scope.changed(seen).await;
            if orders.draining() {
                return;
            }
            seen = version;
        }
    }

    /// Accept for ever; a full listener leaves clients in the kernel's queue.
    async fn admit(&self, socket: &tokio::net::TcpListener, room: Option<Arc<Semaphore>>) {
        loop {
            let permit = match &room {
                Some(room) => Arc::clone(room).acquire_owned().await.ok(),
                None => None,
            };
            match socket.accept().await {
                Ok((stream, peer)) => self.enter(stream, peer, permit),
                Err(error) if of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(listener = %self.site.name(), %error, "cannot accept; backing off");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// Serve everyone who came before the gates were shut, and those whose
    /// handshake completes in the last moment.
    async fn empty(&self, socket: &tokio::net::TcpListener) {
        let last = tokio::time::sleep(LAST_HANDSHAKES);
        tokio::pin!(last);
        loop {
            tokio::select! {
                biased;
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => self.enter(stream, peer, None),
                    Err(error) if of_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(listener = %self.site.name(), %error, "connections in the accept queue are lost");
                        return;
                    }
                },
                () = &mut last => return,
            }
        }
    }

    fn enter(
        &self,
        stream: tokio::net::TcpStream,
        peer: SocketAddr,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let guard = self.registry.enter(&self.scope, peer);
        // Answers are written whole; waiting for more only delays them.
        let _ = stream.set_nodelay(true);
        let (site, tls) = (Arc::clone(&self.site), self.tls.clone());
        tokio::spawn(async move {
            handshake::run(site, tls, guard, stream).await;
            drop(permit);
        });
    }
}

/// Errors that concern the connection that was about to be accepted, not the
/// listener (accept(2)).
fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
