//! Where servers are found, and how often that is asked.
//!
//! Purpose: an upstream has servers that were written and sources of others.
//!
//! Invariant: no time between two questions is zero; `least` is not above
//! `longest`.
//!
//! Deliberately absent: asking.

use super::super::words::Word;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What is asked for servers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// What.
    pub place: Place,
    /// The zone that its servers are in, unless they say of themselves.
    pub zone: Option<Arc<str>>,
}

/// Where servers are found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// The addresses of a name (A and AAAA of RFC 1035 and 3596).
    Dns {
        /// The name, in lower case; fully qualified if it ends with a dot.
        name: Arc<str>,
        /// The port of all.
        port: u16,
        /// Which addresses.
        family: Family,
        /// The share of each.
        weight: u32,
    },
    /// The SRV records of a name (RFC 2782).
    Srv {
        /// The name, as above.
        name: Arc<str>,
        /// Which addresses of their targets.
        family: Family,
    },
    /// A file; a relative path has been resolved.
    File(PathBuf),
}

/// As it is named in logs, metrics and views.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns { name, port, .. } => write!(f, "dns:{name}:{port}"),
            Self::Srv { name, .. } => write!(f, "srv:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Which addresses of a name are servers.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum Family {
    /// All.
    #[default]
    Any,
    /// Those of IPv4.
    Ipv4,
    /// Those of IPv6.
    Ipv6,
}

impl Word for Family {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("any", Self::Any),
        ("ipv4", Self::Ipv4),
        ("ipv6", Self::Ipv6),
    ];
}

/// How servers are found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Discover {
    /// The resolvers that are asked; if there are none, those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// The shortest time from one question to the next; never zero.
    pub least: Duration,
    /// The longest time that an answer holds.
    pub longest: Duration,
    /// How long an answer may take; never zero.
    pub timeout: Duration,
    /// The first pause after a question that had no answer; never zero.
    pub retry: Duration,
    /// For how long a server must be missing before it is gone.
    pub hold: Duration,
    /// For how long there must be no server at all before the last are gone.
    pub empty: Duration,
    /// How often files are looked at; never zero.
    pub every: Duration,
}

impl Default for Discover {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            least: Duration::from_secs(1),
            longest: Duration::from_secs(300),
            timeout: Duration::from_secs(3),
            retry: Duration::from_secs(1),
            hold: Duration::ZERO,
            empty: Duration::from_secs(30),
            every: Duration::from_secs(1),
        }
    }
}
