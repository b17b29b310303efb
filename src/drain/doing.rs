//! What a connection or an exchange is doing, as far as it matters when it is
//! ended: it decides which farewell it can get, and tells the operator why it
//! was still there.
//!
//! Invariant: each exchange does one of these at any moment; the first six
//! belong to connections without one.
//!
//! Deliberately absent: how far it is. Bytes and times stand beside it.

use serde::{Deserialize, Serialize};

/// What is being done.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Doing {
    /// Connected, and no byte has come.
    Silent,
    /// A PROXY header has come in part.
    ProxyHeader,
    /// In the TLS handshake.
    TlsHandshake,
    /// The HTTP/2 preface has come in part.
    Preface,
    /// A request head has come in part.
    HalfHead,
    /// Open, with nothing in flight.
    Idle,
    /// The server has not answered, or is not connected to yet.
    Awaiting,
    /// A response has begun and is on its way.
    Sending,
    /// An event stream is open.
    Events,
    /// The client does not take what is sent: its window, or its socket, is
    /// full.
    Blocked,
    /// A tunnel is open.
    Tunnel,
}

impl Doing {
    /// Everything that can be done; the position is `doing as usize`.
    pub const ALL: [Self; 11] = [
        Self::Silent,
        Self::ProxyHeader,
        Self::TlsHandshake,
        Self::Preface,
        Self::HalfHead,
        Self::Idle,
        Self::Awaiting,
        Self::Sending,
        Self::Events,
        Self::Blocked,
        Self::Tunnel,
    ];

    /// The name used in receipts, forecasts and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::ProxyHeader => "proxy_header",
            Self::TlsHandshake => "tls_handshake",
            Self::Preface => "preface",
            Self::HalfHead => "half_head",
            Self::Idle => "idle",
            Self::Awaiting => "awaiting",
            Self::Sending => "sending",
            Self::Events => "events",
            Self::Blocked => "blocked",
            Self::Tunnel => "tunnel",
        }
    }

    /// The same in words for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Silent => "had sent nothing",
            Self::ProxyHeader => "in its PROXY header",
            Self::TlsHandshake => "in its TLS handshake",
            Self::Preface => "in its HTTP/2 preface",
            Self::HalfHead => "in a request head",
            Self::Idle => "idle",
            Self::Awaiting => "awaiting the server",
            Self::Sending => "sending",
            Self::Events => "open event stream",
            Self::Blocked => "client not reading",
            Self::Tunnel => "open tunnel",
        }
    }

    /// What stands at this position; `None` beyond the last.
    #[must_use]
    pub fn at(position: u8) -> Option<Self> {
        Self::ALL.get(usize::from(position)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_names_agree_with_serde() {
        for (position, doing) in Doing::ALL.into_iter().enumerate() {
            assert_eq!(doing as usize, position);
            assert_eq!(Doing::at(doing as u8), Some(doing));
            let written = serde_json::to_string(&doing).expect("a plain enum");
            assert_eq!(written, format!("\"{}\"", doing.as_str()));
        }
        assert_eq!(Doing::at(11), None);
    }
}
