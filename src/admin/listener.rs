//! The socket that the admin interface is reached by: TCP or Unix.
//!
//! Invariant: a Unix socket's file is there exactly as long as somebody
//! listens. A file that a crashed process left behind is replaced; one that
//! somebody still answers on is not.
//!
//! A process that hands over leaves the file to its successor.
//!
//! Deliberately absent: sharing the socket with workers.

use super::{Error, Result};
use crate::config::AdminAddr;
use socket2::SockRef;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// What the kernel takes of an answer that is not read, in bytes; it takes about
/// double. Left to itself it takes megabytes, and who reads events slowly would
/// see what was long ago.
const UNREAD: usize = 64 * 1024;

/// Who may connect to a Unix socket: its owner and its group.
const UNIX_MODE: u32 = 0o660;

/// A bound admin socket.
#[derive(Debug)]
pub struct AdminListener {
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, File),
}

/// The file of a Unix socket.
#[derive(Debug)]
struct File {
    path: PathBuf,
    left: Arc<AtomicBool>,
    /// It is neither ours nor a predecessor's.
    lent: bool,
}

/// A listening socket that another holds too, and goes on holding.
#[derive(Debug)]
pub enum LentSocket {
    /// Of TCP.
    Tcp(std::net::TcpListener),
    /// Of a Unix stream.
    Unix(std::os::unix::net::UnixListener),
}

/// A hold on an admin socket, for a successor to have.
#[derive(Debug)]
pub struct AdminHold {
    /// Where it is.
    pub address: AdminAddr,
    descriptor: OwnedFd,
    left: Arc<AtomicBool>,
}

impl AdminHold {
    /// The socket once more.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.descriptor.try_clone()
    }

    /// The successor has it, and with it the file.
    pub fn leave(&self) {
        self.left.store(true, Relaxed);
    }
}

/// Any accepted connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl AdminListener {
    /// Bind `address`; port 0 asks the kernel for a free one.
    ///
    /// # Errors
    /// [`Error::Bind`] with what the system said.
    pub async fn bind(address: &AdminAddr) -> Result<Self> {
        let bound = match address {
            AdminAddr::Inet(inet) => TcpListener::bind(inet).await.map(Socket::Tcp),
            AdminAddr::Unix(path) => bind_unix(path).await,
        };
        match bound {
            Ok(socket) => Ok(Self { socket }),
            Err(cause) => Err(Error::Bind {
                address: address.clone(),
                cause,
            }),
        }
    }

    /// Take over a socket that a predecessor has bound to `address`; port 0 is
    /// whatever the kernel chose for it. A file is the predecessor's until
    /// [`AdminListener::own`] says otherwise.
    ///
    /// # Errors
    /// [`Error::Bind`] if it is no such socket.
    pub fn adopt(address: &AdminAddr, descriptor: OwnedFd) -> Result<Self> {
        let adopted = match address {
            AdminAddr::Inet(_) => tcp(descriptor).map(Socket::Tcp),
            AdminAddr::Unix(path) => {
                let file = File::ours(path);
                file.left.store(true, Relaxed);
                unix(descriptor).map(|listener| Socket::Unix(listener, file))
            }
        };
        match adopted {
            Ok(socket) => Ok(Self { socket }),
            Err(cause) => Err(Error::Bind {
                address: address.clone(),
                cause,
            }),
        }
    }

    /// Listen on a socket that was bound by another, at `address`, and stays its.
    /// To be called on a runtime.
    ///
    /// # Errors
    /// [`Error::Lent`] if it listens elsewhere, [`Error::Bind`] if the system
    /// does not let it be used.
    pub fn lent(socket: LentSocket, address: &AdminAddr) -> Result<Self> {
        let at = place(&socket).map_err(|cause| Error::Bind {
            address: address.clone(),
            cause,
        })?;
        let fits = match (&at, address) {
            (Some(AdminAddr::Inet(at)), AdminAddr::Inet(wanted)) => {
                at.ip() == wanted.ip() && (wanted.port() == 0 || at.port() == wanted.port())
            }
            (at, wanted) => at.as_ref() == Some(wanted),
        };
        if !fits {
            return Err(Error::Lent {
                address: address.clone(),
            });
        }
        let mut listener = Self::adopt(address, socket.into())?;
        if let Socket::Unix(_, file) = &mut listener.socket {
            file.lent = true;
        }
        Ok(listener)
    }

    /// The predecessor has no use for it any more.
    pub fn own(&self) {
        if let Socket::Unix(_, file) = &self.socket
            && !file.lent
        {
            file.left.store(false, Relaxed);
        }
    }

    /// A hold on it, for a successor to have.
    ///
    /// # Errors
    /// What the system said.
    pub fn hold(&self) -> io::Result<AdminHold> {
        let (descriptor, left) = match &self.socket {
            Socket::Tcp(listener) => (listener.as_fd(), Arc::default()),
            Socket::Unix(listener, file) => (listener.as_fd(), Arc::clone(&file.left)),
        };
        Ok(AdminHold {
            address: self.address()?,
            descriptor: descriptor.try_clone_to_owned()?,
            left,
        })
    }

    /// Where it can be reached.
    ///
    /// # Errors
    /// What the system said when it was asked.
    pub fn address(&self) -> io::Result<AdminAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(AdminAddr::Inet),
            Socket::Unix(_, file) => Ok(AdminAddr::Unix(file.path.clone())),
        }
    }

    /// The next connection, and whether it came by TCP.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, bool)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small and written at once.
                stream.set_nodelay(true)?;
                SockRef::from(&stream).set_send_buffer_size(UNREAD)?;
                Ok((Box::new(stream), true))
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), false))
            }
        }
    }
}

impl File {
    fn ours(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            left: Arc::default(),
            lent: false,
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if !self.left.load(Relaxed) {
            // Gone already is as good.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn tcp(descriptor: OwnedFd) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::from(descriptor);
    socket.local_addr()?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

fn unix(descriptor: OwnedFd) -> io::Result<UnixListener> {
    let socket = std::os::unix::net::UnixListener::from(descriptor);
    socket.local_addr()?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

impl From<LentSocket> for OwnedFd {
    fn from(socket: LentSocket) -> Self {
        match socket {
            LentSocket::Tcp(socket) => socket.into(),
            LentSocket::Unix(socket) => socket.into(),
        }
    }
}

/// Where a socket listens, if that can be written in a config.
fn place(socket: &LentSocket) -> io::Result<Option<AdminAddr>> {
    match socket {
        LentSocket::Tcp(socket) => socket.local_addr().map(|at| Some(AdminAddr::Inet(at))),
        LentSocket::Unix(socket) => {
            let at = socket.local_addr()?;
            Ok(at.as_pathname().map(|path| AdminAddr::Unix(path.into())))
        }
    }
}

async fn bind_unix(path: &Path) -> io::Result<Socket> {
    let bound = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_over(path).await => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    };
    let socket = Socket::Unix(bound?, File::ours(path));
    fs::set_permissions(path, fs::Permissions::from_mode(UNIX_MODE))?;
    Ok(socket)
}

/// Whether nobody listens on the socket of this file any more.
async fn is_left_over(path: &Path) -> bool {
    let connected = UnixStream::connect(path).await;
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_left_over_file_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("admin.sock");
        let address = AdminAddr::Unix(path.clone());
        // What a crash leaves: the file of a socket that nobody listens on.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let first = AdminListener::bind(&address).await.expect("replaced");
        assert_eq!(first.address().expect("known"), address);
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, UNIX_MODE);
        let second = AdminListener::bind(&address).await;
        let text = second.expect_err("somebody listens").to_string();
        assert!(text.contains("admin.sock"), "{text}");
        drop(first);
        assert!(!path.exists(), "the file goes with the listener");
    }

    #[tokio::test]
    async fn a_lent_socket_is_used_where_it_listens_and_its_file_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("admin.sock");
        let address = AdminAddr::Unix(path.clone());
        let lent = || {
            let _ = fs::remove_file(&path);
            LentSocket::Unix(std::os::unix::net::UnixListener::bind(&path).expect("bound"))
        };
        let elsewhere = AdminAddr::Unix(directory.path().join("other.sock"));
        let text = AdminListener::lent(lent(), &elsewhere).expect_err("elsewhere");
        assert!(text.to_string().contains("other.sock"), "{text}");
        let listener = AdminListener::lent(lent(), &address).expect("used");
        assert_eq!(listener.address().expect("known"), address);
        let client = UnixStream::connect(&path);
        let (accepted, connected) = tokio::join!(listener.accept(), client);
        assert!(accepted.is_ok() && connected.is_ok());
        listener.own();
        drop(listener);
        assert!(path.exists(), "the file is another's");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        AdminListener::lent(LentSocket::Tcp(tcp), &address).expect_err("another kind");
    }
}
