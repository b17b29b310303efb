//! The protocols that a drain tells apart, and sets of them.
//!
//! A drain treats two exchanges differently only if their protocol has its own
//! deadline or its own farewell; that is the whole list here. gRPC stands
//! beside HTTP/2 because it can be ended with a status that its client
//! understands.
//!
//! Deliberately absent: TLS, and the ways to find out what a client speaks.

use serde::{Deserialize, Serialize};

/// What is spoken in an exchange.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2, other than gRPC.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// WebSocket, after its upgrade.
    WebSocket,
    /// Opaque bytes: a TCP listener, CONNECT, or an upgrade to anything else.
    Tcp,
}

impl Protocol {
    /// Every protocol; the position is `protocol as usize`.
    pub const ALL: [Self; 5] = [
        Self::Http1,
        Self::Http2,
        Self::Grpc,
        Self::WebSocket,
        Self::Tcp,
    ];

    /// The name used in metrics, receipts and the admin interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
            Self::WebSocket => "websocket",
            Self::Tcp => "tcp",
        }
    }
}

/// A set of protocols.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub struct Protocols(u8);

impl Protocols {
    /// No protocol.
    pub const EMPTY: Self = Self(0);
    /// Every protocol.
    pub const ALL: Self = Self((1 << Protocol::ALL.len()) - 1);

    /// Whether `protocol` is in the set.
    #[must_use]
    pub const fn contains(self, protocol: Protocol) -> bool {
        self.0 & (1 << protocol as u8) != 0
    }

    /// The set, and `protocol` in it.
    #[must_use]
    pub const fn with(self, protocol: Protocol) -> Self {
        Self(self.0 | (1 << protocol as u8))
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether everything in this set is in `other`.
    #[must_use]
    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in the set, in the order of [`Protocol::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Protocol> {
        Protocol::ALL
            .into_iter()
            .filter(move |protocol| self.contains(*protocol))
    }

    /// The set as a number, one bit per protocol, for an atomic to hold.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set that [`Protocols::bits`] made a number of; other bits are
    /// ignored.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = Protocols::EMPTY
            .with(Protocol::Grpc)
            .union(Protocols::EMPTY.with(Protocol::Http1));
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [Protocol::Http1, Protocol::Grpc]
        );
        assert!(set.is_subset_of(Protocols::ALL) && !Protocols::ALL.is_subset_of(set));
        assert_eq!(Protocols::from_bits(set.bits()), set);
        assert_eq!(Protocols::from_bits(u8::MAX), Protocols::ALL);
        assert!(Protocols::EMPTY.is_empty() && !set.is_empty());
    }

    #[test]
    fn positions_and_names_agree_with_serde() {
        for (position, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, position);
            let written = serde_json::to_string(&protocol).expect("a plain enum");
            assert_eq!(written, format!("\"{}\"", protocol.as_str()));
        }
    }
}
