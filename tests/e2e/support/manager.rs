//! A service manager as systemd is one: a socket on which a service tells how
//! it is (`sd_notify(3)`), a store for descriptors, and a start that passes
//! some (`sd_listen_fds(3)`).

use super::proxy::Proxy;
use super::within;
use command_fds::{CommandFdExt, FdMapping};
use parking_lot::Mutex;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrAny, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::Interest;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Descriptors by name.
type Store = Arc<Mutex<Vec<(String, OwnedFd)>>>;

/// A service manager.
pub(crate) struct Manager {
    /// What stands in `NOTIFY_SOCKET`.
    name: String,
    told: watch::Receiver<Vec<String>>,
    store: Store,
    reader: JoinHandle<()>,
    _folder: TempDir,
}

impl Manager {
    /// One whose socket has a path.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        Self::on(socket, path.display().to_string(), folder)
    }

    /// One whose socket has a name that is nowhere in the file system.
    pub(crate) fn abstracted() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let name = folder.path().join("notify").display().to_string();
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("bound");
        Self::on(socket, format!("@{name}"), folder)
    }

    fn on(socket: UnixDatagram, name: String, folder: TempDir) -> Self {
        socket.set_nonblocking(true).expect("set");
        let socket = tokio::net::UnixDatagram::from_std(socket).expect("watched");
        let (note, told) = watch::channel(Vec::new());
        let store = Store::default();
        let kept = Arc::clone(&store);
        let reader = tokio::spawn(async move {
            loop {
                let (text, descriptors) = message(&socket).await;
                keep(&kept, &text, descriptors);
                note.send_modify(|told| told.extend(text.lines().map(str::to_owned)));
            }
        });
        Self {
            name,
            told,
            store,
            reader,
            _folder: folder,
        }
    }

    /// The binary, to be started as its service with these variables.
    pub(crate) fn command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = Proxy::command();
        command.env("NOTIFY_SOCKET", &self.name);
        command.envs(variables.iter().copied());
        command
    }

    /// The same, and these descriptors are passed to it by name.
    pub(crate) fn passing<D: AsFd>(&self, passed: &[(&str, D)]) -> Command {
        // The id of the process is known only in it.
        let mut command = Command::new("sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]);
        command.arg(Proxy::command().as_std().get_program());
        command.env("NOTIFY_SOCKET", &self.name);
        command.env("LISTEN_FDS", passed.len().to_string());
        let names: Vec<_> = passed.iter().map(|(name, _)| *name).collect();
        command.env("LISTEN_FDNAMES", names.join(":"));
        let mappings = passed
            .iter()
            .zip(3..)
            .map(|((_, one), child_fd)| FdMapping {
                parent_fd: one.as_fd().try_clone_to_owned().expect("cloned"),
                child_fd,
            });
        command.fd_mappings(mappings.collect()).expect("no clash");
        command
    }

    /// What it was told so far, line by line.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.borrow().clone()
    }

    /// Wait until what it was told is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&[String]) -> bool) {
        let mut told = self.told.clone();
        let found = told.wait_for(|told| wanted(told));
        within(what, found).await.expect("it reads on");
    }

    /// Wait until it was told a line that begins so; returns the rest of it.
    pub(crate) async fn heard(&self, start: &str) -> String {
        let find = |told: &[String]| {
            let mut lines = told.iter();
            lines.find_map(|line| line.strip_prefix(start).map(str::to_owned))
        };
        self.until(start, |told| find(told).is_some()).await;
        find(&self.told()).expect("heard")
    }

    /// The names of what is stored.
    pub(crate) fn stored(&self) -> Vec<String> {
        let store = self.store.lock();
        store.iter().map(|(name, _)| name.clone()).collect()
    }

    /// What is stored, beside the store.
    pub(crate) fn store(&self) -> Vec<(String, OwnedFd)> {
        let store = self.store.lock();
        let again =
            |(name, one): &(String, OwnedFd)| (name.clone(), one.try_clone().expect("cloned"));
        store.iter().map(again).collect()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn message(socket: &tokio::net::UnixDatagram) -> (String, Vec<OwnedFd>) {
    let receive = || {
        let mut text = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut text)],
            &mut beside,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let _: Option<SocketAddrAny> = received.address;
        let messages = beside.drain().flat_map(|one| match one {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
            _ => Vec::new(),
        });
        let descriptors = messages.collect();
        let text = String::from_utf8_lossy(&text[..received.bytes]).into_owned();
        Ok((text, descriptors))
    };
    let received = socket.async_io(Interest::READABLE, receive).await;
    received.expect("a message")
}

/// Do what a message asks of the store.
fn keep(store: &Store, text: &str, descriptors: Vec<OwnedFd>) {
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
    let name = name.unwrap_or("stored");
    let mut store = store.lock();
    if text.lines().any(|line| line == "FDSTORE=1") {
        store.extend(descriptors.into_iter().map(|one| (name.to_owned(), one)));
    }
    if text.lines().any(|line| line == "FDSTOREREMOVE=1") {
        store.retain(|(kept, _)| kept != name);
    }
}
