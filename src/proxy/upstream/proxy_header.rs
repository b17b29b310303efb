//! The PROXY header that begins a connection to a server: who the client is.
//!
//! It is written in the clear before anything else, TLS included, by the
//! connector itself, so that whatever is spoken afterwards needs to know nothing
//! of it (the PROXY protocol, section 2).
//!
//! Invariant: a connection that nobody's request is on, a health check, says so
//! (`LOCAL`, `UNKNOWN`) and names no client. The two addresses are of one family,
//! as the form demands; where they are not, both are written as IPv6.
//!
//! Deliberately absent: extensions (TLVs), and which connection is whose: that is
//! the pool's.

use crate::config::ProxyVersion;
use crate::proxy::registry::Ends;
use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::ext;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::{Error, ErrorType, OrErr, Result};
use std::net::{IpAddr, SocketAddr as InetAddr};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The connector that sends this header first.
pub(super) fn first(
    version: ProxyVersion,
    client: Option<&Ends>,
) -> Arc<dyn L4Connect + Send + Sync> {
    Arc::new(First(written(version, client)))
}

/// Connects, and sends a header first.
#[derive(Debug)]
struct First(Vec<u8>);

#[async_trait]
impl L4Connect for First {
    async fn connect(&self, server: &SocketAddr) -> Result<Stream> {
        let failed = "PROXY header";
        match server {
            SocketAddr::Inet(address) => {
                let mut socket = ext::connect(address, None).await?;
                let sent = socket.write_all(&self.0).await;
                sent.or_err(ErrorType::WriteError, failed)?;
                Ok(socket.into())
            }
            SocketAddr::Unix(address) => {
                let Some(path) = address.as_pathname() else {
                    return Error::e_explain(ErrorType::ConnectError, "a socket without a path");
                };
                let mut socket = ext::connect_uds(path).await?;
                let sent = socket.write_all(&self.0).await;
                sent.or_err(ErrorType::WriteError, failed)?;
                Ok(socket.into())
            }
        }
    }
}

/// The header for this client, or for nobody.
pub(in crate::proxy) fn written(version: ProxyVersion, client: Option<&Ends>) -> Vec<u8> {
    let ends = client.map(|ends| alike(ends.source, ends.destination));
    match version {
        ProxyVersion::V1 => line(ends).into_bytes(),
        ProxyVersion::V2 => binary(ends),
    }
}

/// Two addresses of one family.
fn alike(source: InetAddr, destination: InetAddr) -> (InetAddr, InetAddr) {
    let canonical = |address: InetAddr| InetAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (canonical(source), canonical(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let six = |address: InetAddr| match address.ip() {
        IpAddr::V4(four) => InetAddr::new(four.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (six(source), six(destination))
}

/// Version 1 (section 2.1).
fn line(ends: Option<(InetAddr, InetAddr)>) -> String {
    let Some((source, destination)) = ends else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    )
}

/// Version 2 (section 2.2).
fn binary(ends: Option<(InetAddr, InetAddr)>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some((source, destination)) = ends else {
        header.extend([0x20, 0x00, 0, 0]);
        return header;
    };
    header.push(0x21);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.extend([0x11, 0, 12]);
            header.extend(source.octets());
            header.extend(destination.octets());
        }
        (source, destination) => {
            header.extend([0x21, 0, 36]);
            for address in [source, destination] {
                let six = match address {
                    IpAddr::V4(four) => four.to_ipv6_mapped(),
                    IpAddr::V6(six) => six,
                };
                header.extend(six.octets());
            }
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, destination: &str) -> Ends {
        Ends {
            source: source.parse().expect(source),
            destination: destination.parse().expect(destination),
        }
    }

    #[test]
    fn a_line_names_the_client() {
        let cases = [
            (
                ends("192.0.2.7:4711", "192.0.2.1:443"),
                "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n",
            ),
            (
                ends("[2001:db8::7]:4711", "[2001:db8::1]:443"),
                "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n",
            ),
            (
                ends("[::ffff:192.0.2.7]:4711", "[::ffff:192.0.2.1]:443"),
                "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n",
            ),
            (
                ends("[2001:db8::7]:4711", "192.0.2.1:443"),
                "PROXY TCP6 2001:db8::7 ::ffff:192.0.2.1 4711 443\r\n",
            ),
        ];
        for (ends, line) in cases {
            let written = written(ProxyVersion::V1, Some(&ends));
            assert_eq!(String::from_utf8_lossy(&written), line);
        }
    }

    #[test]
    fn a_binary_header_names_the_client() {
        let four = written(
            ProxyVersion::V2,
            Some(&ends("192.0.2.7:4711", "192.0.2.1:443")),
        );
        let rest = b"\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x12\x67\x01\xbb";
        assert_eq!(four, [SIGNATURE, rest].concat());
        let six = written(
            ProxyVersion::V2,
            Some(&ends("[2001:db8::7]:4711", "192.0.2.1:443")),
        );
        let rest = b"\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\
            \0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01\x12\x67\x01\xbb";
        assert_eq!(six, [SIGNATURE, rest].concat());
    }

    #[test]
    fn who_speaks_for_nobody_says_so() {
        assert_eq!(written(ProxyVersion::V1, None), b"PROXY UNKNOWN\r\n");
        let local = [SIGNATURE, b"\x20\0\0\0"].concat();
        assert_eq!(written(ProxyVersion::V2, None), local);
    }
}
