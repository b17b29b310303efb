//! A TLS handshake that can be called off at any of its steps.
//!
//! Futures of a TLS library own the connection's keys while they wait, and
//! with them the only way to tell the client anything after our `ServerHello`.
//! Here they are held beside the waiting instead: [`Shaking::finish`] may be
//! dropped at any moment, and what is there is enough for an alert.
//!
//! Invariant: whoever is not served hears an alert, whether it was too slow,
//! could not be understood or was overtaken by a drain. Deliberately absent:
//! time, which is the caller's.

use rustls::server::Acceptor;
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Two alerts in clear text, `user_canceled` and `close_notify`: the handshake
/// is given up for a reason that is not a failure (RFC 8446, section 6.1).
pub(super) const CANCEL: [u8; 14] = [21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 0];

/// How far a handshake is.
enum Step {
    /// The `ClientHello` is not complete; no keys are agreed.
    Hello(Box<Acceptor>),
    /// Our side has answered it.
    Answered(Box<ServerConnection>),
    /// It failed, and the client was told.
    Failed,
}

/// A handshake under way.
pub(super) struct Shaking {
    socket: TcpStream,
    step: Step,
}

/// The socket as the TLS library wants it: it never waits.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl Shaking {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            step: Step::Hello(Box::default()),
        }
    }

    /// Shake hands to the end. May be dropped and called again.
    ///
    /// # Errors
    /// What the socket says, or `InvalidData` with the reason of the alert
    /// that the client was sent.
    pub(super) async fn finish(&mut self, config: &Arc<ServerConfig>) -> io::Result<()> {
        loop {
            if self.write().await? {
                return Ok(());
            }
            self.socket.readable().await?;
            match self.read(config) {
                Ok(()) => {}
                Err(error) if would_block(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Send what there is to send; whether the handshake is then complete.
    async fn write(&mut self) -> io::Result<bool> {
        let Step::Answered(connection) = &mut self.step else {
            return Ok(false);
        };
        while connection.wants_write() {
            match connection.write_tls(&mut Now(&self.socket)) {
                Ok(_) => {}
                Err(error) if would_block(&error) => self.socket.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(!connection.is_handshaking())
    }

    /// Take what the socket has, once.
    fn read(&mut self, config: &Arc<ServerConfig>) -> io::Result<()> {
        let socket = &mut Now(&self.socket);
        match &mut self.step {
            Step::Hello(acceptor) => {
                some(acceptor.read_tls(socket))?;
                let answered = match acceptor.accept() {
                    Ok(None) => return Ok(()),
                    Ok(Some(hello)) => hello.into_connection(Arc::clone(config)),
                    Err(failed) => Err(failed),
                };
                match answered {
                    Ok(connection) => self.step = Step::Answered(Box::new(connection)),
                    Err((error, mut alert)) => {
                        // It fits an empty buffer; a peer that is gone needs none.
                        let _ = alert.write_all(socket);
                        self.step = Step::Failed;
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                }
            }
            Step::Answered(connection) => {
                some(connection.read_tls(socket))?;
                if let Err(error) = connection.process_new_packets() {
                    last_words(connection, socket);
                    self.step = Step::Failed;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
            Step::Failed => return Err(io::ErrorKind::NotConnected.into()),
        }
        Ok(())
    }

    /// Tell the client that its handshake is not awaited any more: in clear
    /// text before the keys are agreed, under them afterwards.
    pub(super) fn call_off(&mut self) {
        match &mut self.step {
            Step::Hello(_) => {
                // Fourteen bytes fit an empty socket buffer.
                let _ = self.socket.try_write(&CANCEL);
            }
            Step::Answered(connection) => {
                connection.send_close_notify();
                last_words(connection, &mut Now(&self.socket));
            }
            Step::Failed => {}
        }
    }

    /// The encrypted stream, once the handshake is complete.
    pub(super) async fn into_stream(
        self,
        config: Arc<ServerConfig>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let Step::Answered(connection) = self.step else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        // A stream begins with a connection of its own; ours, which has its
        // handshake behind it, takes that one's place.
        TlsAcceptor::from(config)
            .accept_with(self.socket, |fresh| *fresh = *connection)
            .await
    }

    /// The socket, for an end in order.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }
}

/// The end of the stream is an error to who awaits more.
fn some(read: io::Result<usize>) -> io::Result<()> {
    match read? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Send what is queued, as far as the socket takes it now.
fn last_words(connection: &mut ServerConnection, socket: &mut Now<'_>) {
    while connection.wants_write() {
        if !matches!(connection.write_tls(socket), Ok(1..)) {
            return;
        }
    }
}
