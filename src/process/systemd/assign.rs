//! Which passed socket is whose: by name, or by address.
//!
//! A socket named as a listener is that listener's, and one named `admin` the
//! admin interface's; any other name is systemd's own default (the name of
//! the socket unit), and the address decides. What a process had kept with
//! systemd comes back as `stored@LISTENER`.
//!
//! Invariant: a socket that nobody wants is an error: it listens, so clients
//! would connect to it and wait for ever. Only one that was stored for a
//! listener that is gone is let go of.
//!
//! Deliberately absent: the sockets.

use super::STORED;
use crate::config::AdminAddr;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The name by which the admin interface's socket is passed.
const ADMIN: &str = "admin";

/// Where a passed socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Inet(SocketAddr),
    /// `None` for one without a name in the file system.
    Unix(Option<PathBuf>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("a Unix socket without a path"),
        }
    }
}

/// Whose a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A listener's, while its socket unit holds it too.
    Lent(Arc<str>),
    /// A listener's alone: it was kept for it.
    Stored(Arc<str>),
    Admin,
    /// It was kept for a listener of this name, which is gone.
    Gone(String),
}

/// Those who may want one.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) listeners: &'a [(Arc<str>, SocketAddr)],
    pub(super) admin: &'a AdminAddr,
}

impl Wanted<'_> {
    /// Whose the socket of this name and place is.
    ///
    /// # Errors
    /// With what to do, if it is nobody's.
    pub(super) fn owner(&self, name: &str, place: &Place) -> Result<Owner, String> {
        if let Some(listener) = name.strip_prefix(STORED) {
            let known = self.named(listener);
            return Ok(known.map_or_else(|| Owner::Gone(listener.to_owned()), Owner::Stored));
        }
        if let Some(listener) = self.named(name) {
            return Ok(Owner::Lent(listener));
        }
        if name == ADMIN {
            return Ok(Owner::Admin);
        }
        let mut listeners = self.listeners.iter();
        if let Place::Inet(at) = place
            && let Some((listener, _)) = listeners.find(|(_, address)| address == at)
        {
            return Ok(Owner::Lent(Arc::clone(listener)));
        }
        match (self.admin, place) {
            (AdminAddr::Inet(admin), Place::Inet(at)) if admin == at => Ok(Owner::Admin),
            (AdminAddr::Unix(admin), Place::Unix(Some(at))) if admin == at => Ok(Owner::Admin),
            _ => Err(format!(
                "systemd passes a socket named {name} that listens on {place}, and nobody wants \
                 it: no listener has that name or address; who connects to it would wait for \
                 ever. Name it by FileDescriptorName= in its socket unit, or take it out there"
            )),
        }
    }

    fn named(&self, name: &str) -> Option<Arc<str>> {
        let mut names = self.listeners.iter().map(|(name, _)| name);
        names.find(|known| ***known == *name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn owner(admin: &AdminAddr, name: &str, place: &Place) -> Result<Owner, String> {
        let listeners = [
            ("web".into(), inet("0.0.0.0:443")),
            ("db".into(), inet("0.0.0.0:5432")),
        ];
        let listeners = &listeners;
        Wanted { listeners, admin }.owner(name, place)
    }

    fn by_default(name: &str, place: &Place) -> Result<Owner, String> {
        owner(&AdminAddr::Inet(inet("127.0.0.1:9900")), name, place)
    }

    #[test]
    fn a_name_decides_before_an_address() {
        let web = Ok(Owner::Lent("web".into()));
        let elsewhere = Place::Inet(inet("0.0.0.0:5432"));
        assert_eq!(by_default("web", &elsewhere), web);
        let admin = by_default("admin", &elsewhere);
        assert_eq!(admin, Ok(Owner::Admin));
        let db = Ok(Owner::Lent("db".into()));
        assert_eq!(by_default("ebbtide.socket", &elsewhere), db);
        let at = Place::Inet(inet("127.0.0.1:9900"));
        assert_eq!(by_default("unknown", &at), Ok(Owner::Admin));
        let unix = AdminAddr::Unix("/run/ebbtide/admin.sock".into());
        let at = Place::Unix(Some("/run/ebbtide/admin.sock".into()));
        assert_eq!(owner(&unix, "ebbtide.socket", &at), Ok(Owner::Admin));
    }

    #[test]
    fn what_was_stored_comes_back_to_its_listener_alone() {
        let at = Place::Inet(inet("0.0.0.0:443"));
        let web = Ok(Owner::Stored("web".into()));
        assert_eq!(by_default("stored@web", &at), web);
        let gone = Ok(Owner::Gone("old".into()));
        assert_eq!(by_default("stored@old", &at), gone);
    }

    #[test]
    fn a_socket_that_nobody_wants_is_refused_with_what_to_do() {
        let places = [
            Place::Inet(inet("0.0.0.0:80")),
            Place::Unix(Some("/run/other.sock".into())),
            Place::Unix(None),
        ];
        for place in places {
            let error = by_default("ebbtide.socket", &place).expect_err("nobody's");
            assert!(error.contains(&place.to_string()), "{error}");
            assert!(error.contains("FileDescriptorName="), "{error}");
        }
    }
}
