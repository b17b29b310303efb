//! Listening sockets that come from outside: from a predecessor, or from
//! systemd.
//!
//! However many come, each is served: a queue that no worker accepts from is
//! clients that wait for ever. More than workers: some workers serve several.
//! Fewer: workers share them, which costs a needless wake-up now and then. The
//! group is not filled up: clients would be given to the new sockets at once,
//! and lost with them if the one who adopts dies before it serves.
//!
//! Invariant: a socket that is adopted listens where the config says; any
//! other is refused, and nothing is changed on it.
//! Deliberately absent: where they come from.

use super::{Bound, Gates, bind};
use crate::config as model;
use crate::proxy::error::{Error, Result};
use socket2::{SockRef, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// Take over sockets that are a listener's alone from here on, so that a
/// drain shuts and closes them as if they had been bound. Without any it is
/// the same as [`bind`].
///
/// # Errors
/// [`Error::Adopt`] for one that is no listening TCP socket at the listener's
/// address; [`Error::Bind`] if the system does not let them be used.
pub fn adopt(
    listener: &model::Listener,
    sockets: Vec<TcpListener>,
    workers: usize,
) -> Result<Bound> {
    let Some(address) = checked(listener, &sockets)? else {
        return bind(listener, workers);
    };
    let failed = failed(listener, address);
    let gates = Gates::of(&listener.name, &sockets).map_err(&failed)?;
    let sockets = shared(sockets, workers).map_err(failed)?;
    Ok(Bound {
        address,
        sockets,
        gates,
    })
}

/// Accept from sockets that another holds too, and goes on holding: who comes
/// when this process has left waits in their queue for the next one. So a
/// drain leaves them open, and none is added that would close.
///
/// # Errors
/// As [`adopt`]; [`Error::Adopt`] also if there is none.
pub fn borrow(
    listener: &model::Listener,
    sockets: Vec<TcpListener>,
    workers: usize,
) -> Result<Bound> {
    let Some(address) = checked(listener, &sockets)? else {
        return Err(wrong(listener, "there is none".to_owned()));
    };
    let failed = failed(listener, address);
    let gates = Gates::left_open(&listener.name, &sockets).map_err(&failed)?;
    let sockets = shared(sockets, workers).map_err(failed)?;
    Ok(Bound {
        address,
        sockets,
        gates,
    })
}

/// Whether all are what the listener needs: where they listen. Only then are
/// they made fit for use.
fn checked(listener: &model::Listener, sockets: &[TcpListener]) -> Result<Option<SocketAddr>> {
    let mut found = None;
    for socket in sockets {
        let at = place(socket).map_err(|reason| wrong(listener, reason))?;
        if !fits(listener.listen, at) {
            let wanted = listener.listen;
            let reason =
                format!("it listens on {at}, the config says {wanted}; let both say the same");
            return Err(wrong(listener, reason));
        }
        match found {
            Some(other) if other != at => {
                let reason = format!("one listens on {other}, another on {at}");
                return Err(wrong(listener, reason));
            }
            _ => found = Some(at),
        }
    }
    if let Some(address) = found {
        let ready = sockets.iter().try_for_each(make_ready);
        ready.map_err(failed(listener, address))?;
    }
    Ok(found)
}

/// Port 0 is any port: the one that the kernel chose for whom it comes from.
fn fits(wanted: SocketAddr, at: SocketAddr) -> bool {
    wanted.ip() == at.ip() && (wanted.port() == 0 || wanted.port() == at.port())
}

/// Where a socket listens, or what it is instead.
fn place(socket: &TcpListener) -> Result<SocketAddr, String> {
    let seen = SockRef::from(socket);
    if seen.r#type().ok() != Some(Type::STREAM) {
        return Err("it is no TCP socket".to_owned());
    }
    if !seen.is_listener().unwrap_or(false) {
        return Err("it does not listen".to_owned());
    }
    // A Unix socket has no such address.
    let address = seen.local_addr().ok().and_then(|at| at.as_socket());
    address.ok_or_else(|| "it is no TCP socket".to_owned())
}

fn make_ready(socket: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(socket);
    // Programs of hooks must not keep it open.
    socket.set_cloexec(true)?;
    socket.set_nonblocking(true)?;
    // From one who died in its drain; there is seldom any to take off.
    let _ = socket.detach_filter();
    Ok(())
}

/// At least one for each worker.
fn shared(mut sockets: Vec<TcpListener>, workers: usize) -> io::Result<Vec<TcpListener>> {
    let own = sockets.len();
    for index in own..workers {
        let again = sockets[index % own].try_clone()?;
        sockets.push(again);
    }
    Ok(sockets)
}

fn wrong(listener: &model::Listener, reason: String) -> Error {
    Error::Adopt {
        listener: Arc::clone(&listener.name),
        reason,
    }
}

fn failed(listener: &model::Listener, address: SocketAddr) -> impl Fn(io::Error) -> Error {
    let listener = Arc::clone(&listener.name);
    move |cause| Error::Bind {
        listener: Arc::clone(&listener),
        address,
        cause,
    }
}

#[cfg(test)]
mod tests;
