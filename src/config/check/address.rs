//! Addresses: what may be listened on, and what may be dialled.
//!
//! Purpose: read `IP:port`, `host:port` and `unix:PATH`, and answer what is
//! almost right.
//!
//! Invariant: an address to listen on never depends on a resolver: which
//! interfaces a socket is bound to must be readable from the file.
//!
//! Deliberately absent: binding and dialling, and service names for ports.

use super::super::report::{Fault, quote};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The longest path of a Unix socket in bytes (`sun_path` of unix(7), without
/// its final zero).
const UNIX_PATH: usize = 107;

/// An address as it is written.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Written {
    Inet(SocketAddr),
    Host(String, u16),
    Unix(PathBuf),
}

/// Reads an IP address and port to listen on.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = |help: String| {
        Fault::new(
            format!("{} is not an address to listen on", quote(text)),
            help,
        )
    };
    if text.starts_with("unix:") {
        let what = "a listener on a Unix socket is not available in this version";
        return Err(Fault::new(
            what,
            "write an IP address and port, e.g. `\"127.0.0.1:8080\"`",
        ));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    if let ("" | "*", Ok(port)) = (host, port.parse::<u16>()) {
        return Err(wrong(format!(
            "write `\"0.0.0.0:{port}\"` for all IPv4 addresses, or `\"[::]:{port}\"` for all addresses"
        )));
    }
    if let ("localhost", Ok(port)) = (host, port.parse::<u16>()) {
        return Err(wrong(format!(
            "write `\"127.0.0.1:{port}\"`; a listener's host is an IP address"
        )));
    }
    Err(wrong(almost(text).unwrap_or_else(|| {
        "write an IP address and port, e.g. `\"0.0.0.0:8080\"` or `\"[::]:8080\"`".into()
    })))
}

/// Reads the address of a server.
pub(super) fn server(text: &str) -> Result<Written, Fault> {
    let wrong = |help: String| {
        Fault::new(
            format!("{} is not the address of a server", quote(text)),
            help,
        )
    };
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(Written::Unix);
    }
    let host = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|_| host_name(host))?;
        Some(Written::Host(host.to_ascii_lowercase(), port))
    };
    let inet = text.parse().ok().map(Written::Inet);
    let Some(written) = inet.or_else(|| host(text)) else {
        return Err(wrong(almost(text).unwrap_or_else(|| {
            "write `\"IP:port\"`, `\"host:port\"` or `\"unix:PATH\"`, e.g. `\"10.0.0.11:8080\"`"
                .into()
        })));
    };
    match &written {
        Written::Inet(address) if address.port() == 0 => {}
        Written::Host(_, 0) => {}
        Written::Inet(address) if address.ip().is_unspecified() => {
            return Err(wrong(format!(
                "nothing can be sent to {}; write the server's own address",
                address.ip()
            )));
        }
        _ => return Ok(written),
    }
    Err(wrong(
        "port 0 cannot be dialled; write the server's port".into(),
    ))
}

/// Reads the path of a Unix socket.
pub(super) fn unix(path: &str) -> Result<PathBuf, Fault> {
    if path.is_empty() || path.contains('\0') {
        let what = format!("{} is not the path of a Unix socket", quote(path));
        return Err(Fault::new(what, "for example `\"unix:/run/app.sock\"`"));
    }
    Ok(PathBuf::from(path))
}

/// Refuses a resolved path that does not fit into a socket address.
pub(super) fn unix_fits(path: PathBuf) -> Result<PathBuf, Fault> {
    let length = path.as_os_str().len();
    if length > UNIX_PATH {
        let what = format!("the path of this Unix socket has {length} bytes");
        return Err(Fault::new(
            what,
            format!("the kernel takes {UNIX_PATH} at most; move the socket up"),
        ));
    }
    Ok(path)
}

/// Reads a network (`IP/bits`), or one address.
pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    let wrong = |help: String| Fault::new(format!("{} is not a network", quote(text)), help);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let Ok(network) = text.parse::<IpNet>() else {
        let help = if text.parse::<SocketAddr>().is_ok() {
            "write the address without its port; a balancer's changes with each connection"
        } else {
            "write `\"IP/bits\"` or an IP address, e.g. `\"10.0.0.0/8\"` or `\"::1\"`"
        };
        return Err(wrong(help.into()));
    };
    // Whether the bits or the address are meant cannot be known.
    if network.trunc() != network {
        let (whole, one) = (network.trunc(), network.addr());
        return Err(wrong(format!(
            "write `\"{whole}\"` for the network, or `\"{one}\"` for the one address"
        )));
    }
    Ok(network)
}

/// How to mend something that is not quite an address.
fn almost(text: &str) -> Option<String> {
    if let Some((_, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or_default();
        return Some(format!(
            "this is a URL; write host and port alone, e.g. `\"{rest}\"`"
        ));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        // Whether the last group was meant as the port cannot be known.
        return Some(
            "an IPv6 address stands in brackets before its port, e.g. `\"[::1]:8080\"`".into(),
        );
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Some(format!("the port is missing, e.g. `\"{text}:8080\"`"));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if port.is_empty() && (host_name(host) || host.starts_with('[')) {
        return Some(format!("the port is missing, e.g. `\"{host}:8080\"`"));
    }
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Some("the port is a number from 1 to 65535".into());
    }
    if host.contains(':') && !host.starts_with('[') {
        return Some(format!(
            "an IPv6 address stands in brackets: `\"[{host}]:{port}\"`"
        ));
    }
    None
}

/// Whether `text` may be a host name (RFC 1123, section 2.1; underscores are
/// let through, as resolvers do). A last label of digits is a mistyped IP
/// address, never a name.
pub(super) fn host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len())
            && label.chars().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let number = |label: &str| label.chars().all(|c| c.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help<T: std::fmt::Debug>(read: Result<T, Fault>) -> String {
        read.expect_err("must be refused").help
    }

    #[test]
    fn what_can_be_listened_on_is_read() {
        for text in ["0.0.0.0:443", "[::]:443", "127.0.0.1:0", "[fe80::1%2]:80"] {
            assert_eq!(listen(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_listened_on_is_answered() {
        let cases = [
            (":443", "`\"0.0.0.0:443\"` for all IPv4"),
            ("*:443", "`\"[::]:443\"` for all addresses"),
            ("443", "`\"0.0.0.0:443\"`"),
            ("localhost:80", "`\"127.0.0.1:80\"`"),
            ("10.0.0.1", "`\"10.0.0.1:8080\"`"),
            ("::1:443", "brackets"),
            ("10.0.0.1:99999", "from 1 to 65535"),
            ("http://10.0.0.1:80/x", "`\"10.0.0.1:80\"`"),
            ("web.internal:80", "IP address and port"),
            ("", "IP address and port"),
        ];
        for (text, part) in cases {
            let help = help(listen(text));
            assert!(help.contains(part), "{text}: {help}");
        }
    }

    #[test]
    fn servers_are_read() {
        let host = |name: &str, port| Written::Host(name.into(), port);
        assert_eq!(server("DB.internal:5432"), Ok(host("db.internal", 5432)));
        assert_eq!(server("a_b:1"), Ok(host("a_b", 1)));
        assert_eq!(
            server("unix:run/a.sock"),
            Ok(Written::Unix("run/a.sock".into()))
        );
        assert!(matches!(server("[::1]:80"), Ok(Written::Inet(_))));
    }

    #[test]
    fn what_is_no_server_is_answered() {
        let cases = [
            ("10.0.0.256:80", "IP:port"),
            ("10.0.0.11", "`\"10.0.0.11:8080\"`"),
            ("db.internal", "`\"db.internal:8080\"`"),
            ("db.internal:", "port is missing"),
            ("10.0.0.1:0", "port 0"),
            ("0.0.0.0:80", "nothing can be sent"),
            ("https://site.internal", "`\"site.internal\"`"),
            ("unix:", "unix:/run/app.sock"),
            ("a b:80", "IP:port"),
        ];
        for (text, part) in cases {
            let help = help(server(text));
            assert!(help.contains(part), "{text}: {help}");
        }
    }

    #[test]
    fn networks_are_read() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32"] {
            assert_eq!(network(text).expect(text).to_string(), text);
        }
        assert_eq!(network("10.0.0.7").expect("one").to_string(), "10.0.0.7/32");
        assert_eq!(network("::1").expect("one").to_string(), "::1/128");
    }

    #[test]
    fn what_is_no_network_is_answered() {
        let cases = [
            ("10.0.0.7/8", "`\"10.0.0.0/8\"` for the network"),
            ("10.0.0.7/8", "`\"10.0.0.7\"` for the one address"),
            ("10.0.0.7:443", "without its port"),
            ("10.0.0.0/33", "IP/bits"),
            ("balancer.internal", "IP/bits"),
            ("", "IP/bits"),
        ];
        for (text, part) in cases {
            let help = help(network(text));
            assert!(help.contains(part), "{text}: {help}");
        }
    }

    #[test]
    fn a_socket_path_must_fit() {
        assert!(unix_fits(PathBuf::from("x".repeat(107))).is_ok());
        assert!(unix_fits(PathBuf::from("x".repeat(108))).is_err());
    }
}
