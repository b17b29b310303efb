//! A new program on the same sockets, while clients notice nothing.
//!
//! The successor asks the running process over a Unix socket for everything
//! that it listens on, proves itself, and says so; the predecessor gives the
//! word, the successor accepts, and only then does the predecessor drain: it
//! refuses nobody, since who comes is the successor's, and what it has in
//! flight stays with it for `handover_finish`.
//!
//! ```text
//! successor    hello    received..  ready            serving
//! predecessor    sockets..  offered      (the word) go       drains, tells how
//! ```
//!
//! Invariant: both hold the sockets from the first message to the last, so
//! that no client is lost whoever dies; until the successor serves the
//! predecessor accepts as if nobody had come.
//!
//! Deliberately absent: what the conductor makes of it, and passing on
//! connections: they stay with whom they have.

mod channel;
mod give;
mod message;
mod start;
mod take;

pub(super) use give::{Ask, Door, Heir, Offer, Thing, Word};
pub(super) use message::{Found, Kind};
pub(super) use start::ask as have_started;
pub(super) use take::{Claim, Inheritance, Links, News, ask};

use crate::config::{AdminAddr, Config, HandoverSocket};
use std::env;
use std::path::{Path, PathBuf};

/// Where successors of a process with this config ask; `None` if nowhere.
pub(super) fn place(config: &Config) -> Option<PathBuf> {
    let path = match &config.handover.socket {
        HandoverSocket::Off => None,
        HandoverSocket::Path(path) => Some(path.clone()),
        HandoverSocket::Auto => beside(&config.admin.listen, &runtime_directory()?),
    };
    // Compared by processes that may stand in different directories.
    path.map(|path| absolute(&path))
}

/// The path from the root.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Beside the admin socket, or under its address.
fn beside(admin: &AdminAddr, directory: &Path) -> Option<PathBuf> {
    match admin {
        AdminAddr::Unix(path) => {
            let mut beside = path.clone().into_os_string();
            beside.push(".handover");
            Some(beside.into())
        }
        // Nobody could know it.
        AdminAddr::Inet(address) if address.port() == 0 => None,
        AdminAddr::Inet(address) => {
            let name = format!("ebbtide-{}-{}.handover", address.ip(), address.port());
            Some(directory.join(name))
        }
    }
}

/// What systemd made for the service, what the login made for the user, or
/// the system's own.
fn runtime_directory() -> Option<PathBuf> {
    let given = |name| env::var_os(name).filter(|value| !value.is_empty());
    let service = given("RUNTIME_DIRECTORY").and_then(|all| {
        let all = all.into_string().ok()?;
        all.split(':').next().map(PathBuf::from)
    });
    let user = || given("XDG_RUNTIME_DIR").map(PathBuf::from);
    let system = || Some(PathBuf::from("/run"));
    service.or_else(user).or_else(system)
}

/// Where a process that handed over is still reached: beside the socket on
/// which it was asked.
pub(super) fn admin_after(door: &Path) -> AdminAddr {
    let mut path = door.as_os_str().to_owned();
    path.push(format!(".{}", std::process::id()));
    AdminAddr::Unix(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_look_in_the_same_place() {
        let run = Path::new("/run/ebbtide");
        let beside = |admin: AdminAddr| beside(&admin, run);
        let unix = AdminAddr::Unix("/var/lib/e/admin.sock".into());
        let expected = Path::new("/var/lib/e/admin.sock.handover");
        assert_eq!(beside(unix).as_deref(), Some(expected));
        let inet = |text: &str| AdminAddr::Inet(text.parse().expect("an address"));
        let expected = Path::new("/run/ebbtide/ebbtide-127.0.0.1-9900.handover");
        assert_eq!(beside(inet("127.0.0.1:9900")).as_deref(), Some(expected));
        assert_eq!(beside(inet("127.0.0.1:0")), None);
    }
}
