//! The datagram socket on which systemd listens (`sd_notify(3)`).
//!
//! Invariant: telling never holds the process up for longer than [`PATIENCE`],
//! and one that is not told is logged, once.
//!
//! Deliberately absent: what is told.

use rustix::io::Errno;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};
use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// How long a full queue is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

/// Descriptors in one message; the kernel takes 253 (`SCM_MAX_FD`).
pub(super) const DESCRIPTORS: usize = 64;

/// A way to tell the service manager.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddrUnix,
    failed: Cell<bool>,
}

impl Notifier {
    /// To the socket of this name: a path, or `@` and an abstract name.
    pub(super) fn to(name: &OsStr) -> io::Result<Self> {
        let manager = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            [b'/', ..] => SocketAddrUnix::new(name)?,
            _ => return Err(Errno::AFNOSUPPORT.into()),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            manager,
            failed: Cell::new(false),
        })
    }

    /// Tell it these lines, and hand it these descriptors, which stay ours
    /// too; [`DESCRIPTORS`] at most.
    pub(super) fn tell(&self, lines: &str, descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            beside.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let text = [IoSlice::new(lines.as_bytes())];
        let flags = SendFlags::NOSIGNAL;
        let sent = sendmsg_addr(&self.socket, &self.manager, &text, &mut beside, flags);
        match sent {
            Ok(_) => self.failed.set(false),
            Err(error) if !self.failed.replace(true) => {
                let error = io::Error::from(error);
                tracing::warn!(event = "systemd", %error, "systemd cannot be told");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    fn heard(manager: &UnixDatagram) -> String {
        let mut space = [0; 1024];
        let length = manager.recv(&mut space).expect("a message");
        String::from_utf8_lossy(&space[..length]).into_owned()
    }

    #[test]
    fn it_reaches_a_path_and_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        let notifier = Notifier::to(path.as_os_str()).expect("a path");
        notifier.tell("READY=1", &[]);
        assert_eq!(heard(&manager), "READY=1");

        let name = format!("ebbtide-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("bound");
        let notifier = Notifier::to(OsStr::new(&format!("@{name}"))).expect("a name");
        notifier.tell("READY=1\nSTATUS=serving", &[]);
        assert_eq!(heard(&manager), "READY=1\nSTATUS=serving");
    }

    #[test]
    fn nobody_there_is_no_reason_to_fail() {
        let folder = tempfile::tempdir().expect("a folder");
        let nobody = folder.path().join("notify");
        let notifier = Notifier::to(nobody.as_os_str()).expect("a path");
        notifier.tell("READY=1", &[]);
        assert!(notifier.failed.get());
        let manager = UnixDatagram::bind(&nobody).expect("bound");
        notifier.tell("WATCHDOG=1", &[]);
        assert_eq!(heard(&manager), "WATCHDOG=1");
        assert!(!notifier.failed.get());
        Notifier::to(OsStr::new("vsock:2:1")).expect_err("no such socket here");
    }
}
