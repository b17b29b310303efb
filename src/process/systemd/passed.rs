//! The sockets that systemd passes (`sd_listen_fds(3)`): from a socket unit,
//! or out of the store where an earlier process of ours kept them.
//!
//! Invariant: each socket that was passed has an owner, or nothing starts.
//!
//! Deliberately absent: descriptors that are not sockets that listen.

use super::assign::{Owner, Place, Wanted};
use crate::admin::{AdminListener, LentSocket};
use crate::config::{AdminAddr, Config, Listener};
use crate::process::Error;
use crate::proxy;
use crate::proxy::listener::{self, Bound};
use listenfd::ListenFd;
use std::collections::HashMap;
use std::env;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

/// What a socket without a name is called (`sd_listen_fds(3)`).
const UNKNOWN: &str = "unknown";

/// Passed sockets, by their owners.
#[derive(Debug, Default)]
pub(in crate::process) struct Passed {
    lent: HashMap<Arc<str>, Vec<TcpListener>>,
    stored: HashMap<Arc<str>, Vec<TcpListener>>,
    admin: Vec<LentSocket>,
    /// Listeners that are gone, and for whom some were stored.
    pub(super) gone: Vec<String>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    fn place(&self) -> io::Result<Place> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Place::Inet),
            Self::Unix(socket) => {
                let path = socket.local_addr()?.as_pathname().map(Into::into);
                Ok(Place::Unix(path))
            }
        }
    }
}

impl Passed {
    /// Take what the environment says is passed to this process.
    ///
    /// # Errors
    /// When it cannot be understood, or a socket is nobody's.
    pub(super) fn from_environment(config: &Config) -> Result<Self, Error> {
        let listeners: Vec<_> = config
            .listeners
            .iter()
            .map(|one| (Arc::clone(&one.name), one.listen))
            .collect();
        let wanted = Wanted {
            listeners: &listeners,
            admin: &config.admin.listen,
        };
        let mut passed = Self::default();
        for (name, socket) in take()? {
            let place = socket.place()?;
            let owner = wanted.owner(&name, &place).map_err(Error::Passed)?;
            passed.give(owner, socket).map_err(|()| {
                Error::Passed(format!(
                    "the socket that systemd passes as {name} listens on {place}: a listener \
                     needs a TCP socket"
                ))
            })?;
        }
        Ok(passed)
    }

    fn give(&mut self, owner: Owner, socket: Socket) -> Result<(), ()> {
        match (owner, socket) {
            (Owner::Lent(name), Socket::Tcp(socket)) => {
                self.lent.entry(name).or_default().push(socket);
            }
            (Owner::Stored(name), Socket::Tcp(socket)) => {
                self.stored.entry(name).or_default().push(socket);
            }
            (Owner::Admin, Socket::Tcp(socket)) => self.admin.push(LentSocket::Tcp(socket)),
            (Owner::Admin, Socket::Unix(socket)) => self.admin.push(LentSocket::Unix(socket)),
            (Owner::Gone(name), _) => self.gone.push(name),
            (Owner::Lent(_) | Owner::Stored(_), Socket::Unix(_)) => return Err(()),
        }
        Ok(())
    }

    /// A listener's sockets: those that are passed, or newly bound ones.
    ///
    /// # Errors
    /// When they are not what the listener needs.
    pub(in crate::process) fn bind(
        &mut self,
        listener: &Listener,
        workers: usize,
    ) -> proxy::Result<Bound> {
        let stored = self.stored.remove(&listener.name).unwrap_or_default();
        match self.lent.remove(&listener.name) {
            Some(lent) => {
                if !stored.is_empty() {
                    // The socket unit is newer than what a process had bound.
                    self.gone.push(listener.name.to_string());
                }
                listener::borrow(listener, lent, workers)
            }
            None => listener::adopt(listener, stored, workers),
        }
    }

    /// The admin interface's socket: the one that is passed, or a new one.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(in crate::process) async fn bind_admin(
        &mut self,
        address: &AdminAddr,
    ) -> Result<AdminListener, Error> {
        match (self.admin.pop(), self.admin.is_empty()) {
            (None, _) => Ok(AdminListener::bind(address).await?),
            (Some(socket), true) => Ok(AdminListener::lent(socket, address)?),
            (Some(_), false) => Err(Error::Passed(
                "systemd passes several sockets for the admin interface, which has one".to_owned(),
            )),
        }
    }
}

/// Every passed socket with its name.
fn take() -> Result<Vec<(String, Socket)>, Error> {
    let said = |key| env::var(key).ok();
    let ours = said("LISTEN_PID").and_then(|id| id.parse().ok()) == Some(std::process::id());
    if !ours {
        // It was meant for another process of the line.
        return Ok(Vec::new());
    }
    let written = said("LISTEN_FDNAMES");
    let mut passed = ListenFd::from_env();
    let names = names_of(written.as_deref(), passed.len()).map_err(Error::Passed)?;
    let numbered = names.into_iter().enumerate();
    let sockets = numbered.map(|(index, name)| {
        let socket = one(&mut passed, index).ok_or_else(|| {
            Error::Passed(format!(
                "what systemd passes as {name} is no TCP socket, and no Unix stream socket"
            ))
        })?;
        Ok((name, socket))
    });
    sockets.collect()
}

fn one(passed: &mut ListenFd, index: usize) -> Option<Socket> {
    if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
        return Some(Socket::Tcp(socket));
    }
    let unix = passed.take_unix_listener(index).ok().flatten();
    unix.map(Socket::Unix)
}

/// The names of so many descriptors.
fn names_of(written: Option<&str>, count: usize) -> Result<Vec<String>, String> {
    let Some(written) = written.filter(|names| !names.is_empty()) else {
        return Ok(vec![UNKNOWN.to_owned(); count]);
    };
    let names: Vec<_> = written.split(':').map(str::to_owned).collect();
    if names.len() == count {
        return Ok(names);
    }
    Err(format!(
        "LISTEN_FDS says {count} descriptors are passed, LISTEN_FDNAMES names {}",
        names.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_to_descriptors_one_by_one() {
        let names = |names, count| names_of(names, count).map(|names| names.join(" "));
        assert_eq!(
            names(Some("web:web:admin"), 3).as_deref(),
            Ok("web web admin")
        );
        assert_eq!(names(None, 2).as_deref(), Ok("unknown unknown"));
        assert_eq!(names(Some(""), 1).as_deref(), Ok("unknown"));
        let error = names(Some("web:db"), 3).expect_err("one is missing");
        assert!(error.contains("3 descriptors"), "{error}");
    }
}
