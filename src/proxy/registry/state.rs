//! Where a connection stands, in one word.
//!
//! Purpose: the labels of the metrics, and what the loops and the conductor tell
//! half-open, idle and busy connections apart by.
//!
//! Invariant: the words are in the order of the flow, and part of the interface.
//! Deliberately absent: when a connection got there, which its record knows.

/// Where a connection stands. The first five are half-open: not yet able to
/// carry a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// The TCP handshake is done, no byte has come.
    Accepted,
    /// Part of a PROXY header has come.
    ProxyHeader,
    /// Between the first byte of a `ClientHello` and the end of the handshake.
    TlsHandshake,
    /// Part of the HTTP/2 preface has come, or it is awaited after ALPN.
    Preface,
    /// Part of an HTTP/1 request head has come.
    Head,
    /// Open, nothing in flight.
    Idle,
    /// A request, stream or tunnel is in flight.
    InFlight,
    /// Its last byte is sent; the peer's end is awaited.
    Closing,
}

impl State {
    /// Every state, in the order of the flow.
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::ProxyHeader,
        Self::TlsHandshake,
        Self::Preface,
        Self::Head,
        Self::Idle,
        Self::InFlight,
        Self::Closing,
    ];

    /// The name used in metrics and in the admin interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::ProxyHeader => "proxy_header",
            Self::TlsHandshake => "tls_handshake",
            Self::Preface => "preface",
            Self::Head => "head",
            Self::Idle => "idle",
            Self::InFlight => "in_flight",
            Self::Closing => "closing",
        }
    }

    /// Whether a connection in this state cannot yet carry a request.
    #[must_use]
    pub const fn half_open(self) -> bool {
        (self as u8) <= Self::Head as u8
    }

    pub(super) fn from_u8(value: u8) -> Self {
        Self::ALL
            .get(usize::from(value))
            .copied()
            .unwrap_or(Self::Closing)
    }
}
