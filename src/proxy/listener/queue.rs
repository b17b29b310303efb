//! The accept queue: taken from while all is well, emptied at the end.
//!
//! The end is the delicate part. With new connections held off (see `gates`)
//! three things can still be on their way: connections that nobody has
//! accepted, handshakes of which the client's last segment is missing, and a
//! runtime that has not yet been told of either. So the end waits for a moment,
//! longer if anybody comes in it, and as long as the kernel knows of such
//! handshakes, within [`LAST_HANDSHAKES`]; then it asks the socket itself, not
//! the runtime, until it has nobody left, and closes it in the same turn.
//!
//! Room is asked for with a client in hand, one at a time: with a place held
//! by a worker that nobody comes to, another worker's clients would wait for
//! ever. Everybody else waits in the kernel's queue.
//!
//! Invariant: an error of accept loses nobody. What concerns the process (no
//! descriptors, no memory) is waited out, at the end too, until there is no
//! hope for who would be accepted.
//!
//! Deliberately absent: what becomes of a connection.

use super::{BACKLOG, Place, Rooms, half_done};
use crate::clock;
use crate::proxy::registry::{Limit, Scope};
use pingora_core::protocols::l4::ext::get_tcp_info;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long new connections are held off at least: a segment that was being
/// taken in when the filter came is known to the kernel by then.
const GLANCE: Duration = Duration::from_millis(1);

/// The same for a listener to which somebody came in that time, or of which
/// the kernel tells nothing. Longer would make a client wait for its SYN's
/// retransmission, a second, only to be refused then.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// How long handshakes that were half done get to complete: a round trip to
/// anywhere on earth, and well within the machine's limit for refusing.
const LAST_HANDSHAKES: Duration = Duration::from_millis(500);

/// How long to leave a socket alone that cannot accept for want of
/// descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A listening socket, and what becomes of who is accepted on it.
pub(super) struct Queue<'a, F> {
    socket: tokio::net::TcpListener,
    scope: &'a Scope,
    enter: F,
    /// Accepted, and waiting for room.
    in_hand: Option<(TcpStream, SocketAddr)>,
    /// How many have been accepted.
    taken: u64,
}

impl<'a, F> Queue<'a, F>
where
    F: Fn(TcpStream, SocketAddr, Option<Place>),
{
    /// Take over a socket that does not block.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub(super) fn new(socket: TcpListener, scope: &'a Scope, enter: F) -> io::Result<Self> {
        Ok(Self {
            socket: tokio::net::TcpListener::from_std(socket)?,
            scope,
            enter,
            in_hand: None,
            taken: 0,
        })
    }

    /// Accept for ever; a full listener leaves clients in the kernel's queue.
    pub(super) async fn admit(&mut self, rooms: Option<&Rooms>) {
        loop {
            if let Err(error) = self.admit_one(rooms).await {
                self.scope.limited(Limit::Descriptors);
                let listener = &**self.scope.listener();
                tracing::warn!(listener, %error, "cannot accept; backing off");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }

    async fn admit_one(&mut self, rooms: Option<&Rooms>) -> io::Result<()> {
        match self.socket.accept().await {
            Ok(accepted) => {
                self.taken += 1;
                self.in_hand = Some(accepted);
            }
            Err(error) if of_one_connection(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        let place = match rooms {
            Some(rooms) => {
                self.scope.eased().await;
                rooms.enter(self.scope).await
            }
            None => None,
        };
        self.pass_in(place);
        Ok(())
    }

    fn pass_in(&mut self, place: Option<Place>) {
        if let Some((stream, peer)) = self.in_hand.take() {
            (self.enter)(stream, peer, place);
        }
    }

    /// Accept everyone who came before the gates were shut, and those whose
    /// handshake completes in the last moment; then close. Who has waited for
    /// room has waited enough. Gives up when `hopeless` says so.
    pub(super) async fn empty(mut self, hopeless: impl Future<Output = ()>) {
        self.pass_in(None);
        self.last_handshakes().await;
        match self.socket.into_std() {
            Ok(socket) => {
                let last = Last {
                    socket,
                    listener: self.scope.listener(),
                    enter: self.enter,
                };
                last.empty(pin!(hopeless)).await;
            }
            Err(error) => {
                let listener = &**self.scope.listener();
                tracing::error!(listener, %error, "connections in the accept queue are lost");
            }
        }
    }

    /// Close, and leave who waits to the successor, who has the same socket.
    pub(super) fn let_go(mut self) {
        self.pass_in(None);
    }

    async fn last_handshakes(&mut self) {
        let address = self.socket.local_addr();
        let mut since = clock::now();
        let (taken, mut wait, mut left) = (self.taken, GLANCE, LAST_HANDSHAKES);
        while !wait.is_zero() {
            tokio::select! {
                biased;
                () = tokio::time::sleep(wait) => {}
                () = self.admit(None) => {}
            }
            left = left.saturating_sub(wait);
            let under_way = address
                .as_ref()
                .ok()
                .and_then(|at| half_done::any(*at, since).ok());
            since = clock::now();
            wait = match under_way {
                Some(true) => (wait * 2).max(FIRST_WAIT).min(left),
                // Nobody has come, nobody is coming.
                Some(false) if self.taken == taken => Duration::ZERO,
                _ if wait < FIRST_WAIT => FIRST_WAIT,
                _ => Duration::ZERO,
            };
        }
    }
}

/// The same socket without the runtime, which would learn of a connection a
/// turn after the kernel: that turn is when one would be lost.
struct Last<'a, F> {
    socket: TcpListener,
    listener: &'a str,
    enter: F,
}

impl<F> Last<'_, F>
where
    F: Fn(TcpStream, SocketAddr, Option<Place>),
{
    async fn empty<H: Future<Output = ()>>(self, mut hopeless: Pin<&mut H>) {
        let mut said = false;
        while let Err(error) = self.sweep() {
            if !said {
                said = true;
                let (listener, waiting) = (self.listener, self.waiting());
                tracing::warn!(listener, %error, waiting, "cannot accept who waits; backing off");
            }
            tokio::select! {
                () = tokio::time::sleep(BACK_OFF) => {}
                () = hopeless.as_mut() => {
                    let (listener, waiting) = (self.listener, self.waiting());
                    tracing::error!(listener, %error, waiting, "connections in the accept queue are lost");
                    return;
                }
            }
        }
    }

    /// Accept until nobody is left, but no more than the queue can hold:
    /// where new connections could not be held off, they would go on for ever.
    fn sweep(&self) -> io::Result<()> {
        for _ in 0..=BACKLOG {
            match accept(&self.socket) {
                Ok((stream, peer)) => (self.enter)(stream, peer, None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if of_one_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Connections that wait to be accepted.
    fn waiting(&self) -> Option<u32> {
        // For a listening socket that is what the field means.
        let info = get_tcp_info(self.socket.as_raw_fd()).ok()?;
        Some(info.tcpi_unacked)
    }
}

fn accept(socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = socket.accept()?;
    stream.set_nonblocking(true)?;
    Ok((TcpStream::from_std(stream)?, peer))
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

#[cfg(test)]
mod tests;
