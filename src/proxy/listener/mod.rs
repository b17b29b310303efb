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
//! served; one whose last segment is still on its way gets its time for that.
//! Deliberately absent: what is spoken on it.

mod adopt;
mod gates;
mod half_done;
mod queue;
mod room;

pub use adopt::{adopt, borrow};
pub use gates::Gates;
pub use room::{Place, Room, Rooms, by_descriptors};

use super::error::{Error, Result};
use super::handshake;
use super::registry::{AcceptGuard, Registry, Scope};
use super::request::Sites;
use crate::config as model;
use crate::drain::Orders;
use queue::Queue;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::net::TcpStream;

/// Connections that may wait to be accepted, per socket; the kernel's own
/// limit (`net.core.somaxconn`) may be lower.
const BACKLOG: i32 = 4096;

/// The sockets of one listener.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that the kernel chose if it was 0.
    pub address: SocketAddr,
    /// One socket per worker, or more: the one at an index belongs to the
    /// worker at that index, counted round.
    pub sockets: Vec<TcpListener>,
    /// The hold on them.
    pub gates: Gates,
}

/// Bind one socket per worker to a listener's address.
///
/// # Errors
/// [`Error::Bind`] with what the system said.
pub fn bind(listener: &model::Listener, workers: usize) -> Result<Bound> {
    let failed = |cause| Error::Bind {
        listener: Arc::clone(&listener.name),
        address: listener.listen,
        cause,
    };
    let first = socket(listener.listen).map_err(failed)?;
    let address = first.local_addr().map_err(failed)?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(socket(address).map_err(failed)?);
    }
    let gates = Gates::of(&listener.name, &sockets).map_err(failed)?;
    Ok(Bound {
        address,
        sockets,
        gates,
    })
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

/// One worker's share of a listener.
#[derive(Debug)]
pub struct Port {
    /// The socket.
    pub socket: TcpListener,
    /// Where its requests go.
    pub sites: Arc<Sites>,
    /// Shared by all workers: how many connections there may be.
    pub rooms: Rooms,
    /// What they belong to.
    pub scope: Arc<Scope>,
    /// Where its connections are entered.
    pub registry: Arc<Registry>,
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
            sites,
            rooms,
            scope,
            registry,
            accepting,
        } = self;
        let door = Door {
            sites,
            scope,
            registry,
        };
        let enter = |stream, peer, place| door.enter(stream, peer, place);
        let mut queue = Queue::new(socket, &door.scope, enter)?;
        tokio::select! {
            () = queue.admit(Some(&rooms)) => {}
            () = door.until(Orders::draining) => {}
        }
        if door.scope.orders().handed_over {
            queue.let_go();
            return Ok(());
        }
        // Who is accepted past a deadline would only be told to leave.
        let hopeless = door.until(|orders| !orders.farewell.is_empty());
        queue.empty(hopeless).await;
        // Only now may anyone conclude that nobody is left.
        drop(accepting);
        Ok(())
    }
}

struct Door {
    sites: Arc<Sites>,
    scope: Arc<Scope>,
    registry: Arc<Registry>,
}

impl Door {
    /// Wait until the orders are so.
    async fn until(&self, so: impl Fn(&Orders) -> bool) {
        let mut seen = 0;
        loop {
            let (orders, version) = self.scope.changed(seen).await;
            if so(&orders) {
                return;
            }
            seen = version;
        }
    }

    fn enter(&self, stream: TcpStream, peer: SocketAddr, place: Option<Place>) {
        let guard = self.registry.enter(&self.scope, peer);
        let handshakes = self.sites.look().listener().limits.handshakes;
        self.scope.hold_half_open(handshakes);
        // Answers are written whole; waiting for more only delays them.
        let _ = stream.set_nodelay(true);
        let sites = Arc::clone(&self.sites);
        tokio::spawn(async move {
            handshake::run(sites, guard, stream).await;
            drop(place);
        });
    }
}
