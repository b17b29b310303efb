//! Holding new connections off before a socket closes.
//!
//! A filter on each listening socket drops what would begin a TCP handshake
//! and passes what completes one. It is attached to every socket of every
//! `SO_REUSEPORT` group before any of them closes: the kernel would give a
//! closing socket's share of new connections to its siblings.
//!
//! Invariant: a socket without the filter is spoken of, in the log and in the
//! receipt, since a client may then be lost between its last accept and its
//! close. Deliberately absent: the accepts.

use crate::drain::AcceptFilter;
use socket2::{SockFilter, SockRef};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A hold on every socket of one listener, to keep new connections out.
#[derive(Debug)]
pub struct Gates {
    listener: Arc<str>,
    sockets: Vec<TcpListener>,
    left_open: bool,
}

impl Gates {
    /// Take hold of a listener's sockets.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(super) fn of(listener: &Arc<str>, sockets: &[TcpListener]) -> io::Result<Self> {
        let sockets = sockets.iter().map(TcpListener::try_clone);
        Ok(Self {
            listener: Arc::clone(listener),
            sockets: sockets.collect::<io::Result<_>>()?,
            left_open: false,
        })
    }

    /// No filter to come: another keeps the sockets open, and new connections
    /// wait in their queue for who comes next.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(super) fn left_open(listener: &Arc<str>, sockets: &[TcpListener]) -> io::Result<Self> {
        Ok(Self {
            left_open: true,
            ..Self::of(listener, sockets)?
        })
    }

    /// The sockets once more, for a successor.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        let again = |socket: &TcpListener| socket.as_fd().try_clone_to_owned();
        self.sockets.iter().map(again).collect()
    }

    /// The sockets that are the listener's alone; none that another holds too.
    #[must_use]
    pub fn sockets(&self) -> &[TcpListener] {
        if self.left_open { &[] } else { &self.sockets }
    }

    /// Whether another holds the sockets too.
    #[must_use]
    pub const fn is_left_open(&self) -> bool {
        self.left_open
    }

    /// Drop new SYNs on every socket that is ours alone, then let go of them. Where the kernel
    /// does not take the filter, closing goes on without: what arrives
    /// between a socket's last accept and its close is then lost.
    #[must_use = "it is to be said whether clients may be lost"]
    pub fn shut(self) -> AcceptFilter {
        if self.left_open {
            return AcceptFilter::LeftOpen;
        }
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
        let mut became = AcceptFilter::Attached;
        let listener = &self.listener;
        for socket in &self.sockets {
            if let Err(error) = SockRef::from(socket).attach_filter(&program) {
                became = AcceptFilter::Unavailable;
                tracing::warn!(
                    event = "accept_filter",
                    %listener,
                    %error,
                    "new connections cannot be held off; accepting until the queue is empty instead"
                );
            }
        }
        became
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::time::Duration;

    /// Drop the segment that completes a handshake: for the client, whom our
    /// SYN-ACK reaches, it is done then.
    pub(in super::super) fn drop_last_segments(listener: &TcpListener) {
        let program = [
            SockFilter::new(0x30, 0, 0, 13),
            SockFilter::new(0x54, 0, 0, 0x12),
            SockFilter::new(0x15, 0, 1, 0x10),
            SockFilter::new(0x06, 0, 0, 0),
            SockFilter::new(0x06, 0, 0, u32::MAX),
        ];
        let socket = SockRef::from(listener);
        socket.attach_filter(&program).expect("attached");
    }

    fn gates(socket: TcpListener) -> Gates {
        Gates::of(&"web".into(), &[socket]).expect("held")
    }

    #[test]
    fn shut_gates_keep_new_clients_out_and_let_go_of_the_socket() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = socket.local_addr().expect("known");
        let before = TcpStream::connect(address).expect("connected");
        let gates = gates(socket.try_clone().expect("cloned"));
        assert_eq!(gates.shut(), AcceptFilter::Attached);
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(100));
        assert_eq!(late.expect_err("no").kind(), io::ErrorKind::TimedOut);
        let (_, peer) = socket.accept().expect("it waits");
        assert_eq!(peer, before.local_addr().expect("known"));
        drop(socket);
        let refused = TcpStream::connect(address).expect_err("closed");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_filter_that_is_not_taken_is_said() {
        let file = tempfile::tempfile().expect("a file");
        let no_socket = TcpListener::from(OwnedFd::from(file));
        assert_eq!(gates(no_socket).shut(), AcceptFilter::Unavailable);
    }
}
