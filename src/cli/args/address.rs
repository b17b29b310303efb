//! Where an admin interface is: `HOST:PORT`, `https://HOST:PORT`, `unix:PATH`.
//!
//! Invariant: what was read can be connected to, and is shown as it was
//! written. Absent: looking names up.

use crate::config::AdminAddr;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to connect to; unlike [`AdminAddr`], a host may be a name.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(in crate::cli) enum Address {
    /// `host:port`.
    Host(String),
    /// The same, over TLS.
    Secure(String),
    /// The same at one of the addresses that `name` has.
    Named {
        /// What it has to prove.
        name: String,
        /// Where it is.
        at: SocketAddr,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("unix: needs a path, as in unix:/run/ebbtide.sock".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let (rest, address): (_, fn(String) -> Self) = match text.strip_prefix("https://") {
            Some(rest) => (rest.trim_end_matches('/'), Self::Secure),
            None => (text, Self::Host),
        };
        let port = rest
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse::<u16>()));
        match port {
            Some((host, Ok(_))) if is_host(host) => Ok(address(rest.to_owned())),
            _ => Err("this is none of HOST:PORT, https://HOST:PORT and unix:PATH".to_owned()),
        }
    }
}

/// An IPv6 address stands in brackets, as in a URL.
fn is_host(host: &str) -> bool {
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty() && (bracketed || !host.contains([':', '/']))
}

impl From<&AdminAddr> for Address {
    fn from(address: &AdminAddr) -> Self {
        match address {
            AdminAddr::Inet(inet) => Self::Host(inet.to_string()),
            AdminAddr::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Secure(host) => write!(f, "https://{host}"),
            Self::Named { at, .. } => write!(f, "https://{at}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for text in [
            "127.0.0.1:9900",
            "localhost:1",
            "[::1]:9900",
            "unix:/run/e.sock",
        ] {
            let address: Address = text.parse().expect("understood");
            assert_eq!(address.to_string(), text);
        }
    }
}
