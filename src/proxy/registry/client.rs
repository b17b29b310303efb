//! Whose connection it is.
//!
//! Most connections are their client's own, and the other end of the socket
//! says who that is. Behind a balancer the other end is the balancer, and a
//! PROXY header says who the client is. Everything that names a client asks
//! here; only what speaks of the balancer itself asks for [`Client::socket`].
//!
//! Invariant: a client is named once, before anything that it sent is read.
//! Deliberately absent: whether the header is to be believed (see the
//! listener's `proxy_protocol`).

use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::SocketAddr;
use std::sync::OnceLock;

/// Tells servers which certificate a client showed.
pub(in crate::proxy) const FORWARDED_CLIENT_CERT: HeaderName =
    HeaderName::from_static("x-forwarded-client-cert");

/// Remove what a client says of its certificate itself, in fields or trailers,
/// also under names that a server might take for this one: a gateway interface
/// may not tell `_` from `-` (RFC 3875, section 4.1.18).
pub(in crate::proxy) fn forget_claims(fields: &mut HeaderMap) {
    let ours = FORWARDED_CLIENT_CERT;
    let ours = ours.as_str().as_bytes();
    let alike = |name: &&HeaderName| {
        let name = name.as_str().as_bytes();
        let mut pairs = name.iter().zip(ours);
        let alike = |(one, other)| one == other || (one, other) == (&b'_', &b'-');
        name.len() == ours.len() && pairs.all(alike)
    };
    while let Some(claim) = fields.keys().find(alike).cloned() {
        fields.remove(claim);
    }
}

/// The two ends of a client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// The client's own.
    pub source: SocketAddr,
    /// The one that it connected to.
    pub destination: SocketAddr,
}

/// The client of one connection.
#[derive(Debug)]
pub struct Client {
    socket: SocketAddr,
    forwarded_for: HeaderValue,
    local: OnceLock<SocketAddr>,
    proxied: OnceLock<Box<Proxied>>,
    certificate: OnceLock<Box<HeaderValue>>,
}

/// What a PROXY header said.
#[derive(Debug)]
struct Proxied {
    ends: Ends,
    forwarded_for: HeaderValue,
}

impl Client {
    pub(super) fn at(socket: SocketAddr) -> Self {
        Self {
            socket,
            forwarded_for: forwarded_for(socket),
            local: OnceLock::new(),
            proxied: OnceLock::new(),
            certificate: OnceLock::new(),
        }
    }

    /// The client's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.proxied
            .get()
            .map_or(self.socket, |said| said.ends.source)
    }

    /// The other end of the socket: the client, or the balancer before us.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// The balancer, if the client came through one that named it.
    #[must_use]
    pub fn balancer(&self) -> Option<SocketAddr> {
        self.proxied.get().map(|_| self.socket)
    }

    /// The client's IP address as `X-Forwarded-For` has it.
    #[must_use]
    pub fn forwarded_for(&self) -> &HeaderValue {
        self.proxied
            .get()
            .map_or(&self.forwarded_for, |said| &said.forwarded_for)
    }

    /// Both ends of the client's connection; `None` where our own is unknown.
    #[must_use]
    pub fn ends(&self) -> Option<Ends> {
        if let Some(said) = self.proxied.get() {
            return Some(said.ends);
        }
        let destination = *self.local.get()?;
        Some(Ends {
            source: self.socket,
            destination,
        })
    }

    /// The certificate that it showed and that was accepted, as
    /// `X-Forwarded-Client-Cert` has it.
    #[must_use]
    pub fn certificate(&self) -> Option<&HeaderValue> {
        self.certificate.get().map(AsRef::as_ref)
    }

    /// Note the certificate that it showed.
    pub(in crate::proxy) fn set_certificate(&self, shown: HeaderValue) {
        // Shown once, in the handshake.
        let _ = self.certificate.set(Box::new(shown));
    }

    /// Note our end of the socket.
    pub(in crate::proxy) fn set_local(&self, local: SocketAddr) {
        // Said once, by the task that was given the socket.
        let _ = self.local.set(local);
    }

    /// Note what a PROXY header said.
    pub(in crate::proxy) fn set_proxied(&self, ends: Ends) {
        let forwarded_for = forwarded_for(ends.source);
        // One header begins a connection; a second one would be the client's.
        let _ = self.proxied.set(Box::new(Proxied {
            ends,
            forwarded_for,
        }));
    }
}

fn forwarded_for(address: SocketAddr) -> HeaderValue {
    HeaderValue::try_from(address.ip().to_canonical().to_string())
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    #[test]
    fn without_a_header_the_socket_says_who_it_is() {
        let client = Client::at(address("[::ffff:192.0.2.7]:4711"));
        assert_eq!(client.address(), client.socket());
        assert_eq!(client.forwarded_for(), "192.0.2.7");
        assert_eq!((client.balancer(), client.ends()), (None, None));
        client.set_local(address("192.0.2.1:443"));
        let ends = client.ends().expect("both ends");
        assert_eq!(ends.source, client.socket());
        assert_eq!(ends.destination, address("192.0.2.1:443"));
    }

    #[test]
    fn what_a_header_said_counts_and_the_balancer_is_known() {
        let client = Client::at(address("10.0.0.1:9"));
        client.set_local(address("10.0.0.2:443"));
        let ends = Ends {
            source: address("[2001:db8::7]:4711"),
            destination: address("[2001:db8::1]:443"),
        };
        client.set_proxied(ends);
        assert_eq!(client.address(), ends.source);
        assert_eq!(client.forwarded_for(), "2001:db8::7");
        assert_eq!(client.ends(), Some(ends));
        assert_eq!(client.balancer(), Some(client.socket()));
    }
}
