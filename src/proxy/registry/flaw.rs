//! Why TLS handshakes fail, as metrics call it.
//!
//! Deliberately absent: finding out (see `handshake`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a TLS handshake did not come to its end, other than by a drain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum HandshakeFlaw {
    /// The first bytes are those of something else.
    NotTls,
    /// What the client sent breaks the protocol, or is longer than may be.
    Malformed,
    /// No version of TLS in common: the client knows none above 1.1.
    Version,
    /// No cipher suite, group or signature in common.
    Parameters,
    /// None of the protocols that the client offers (ALPN).
    Protocol,
    /// No route takes the name that the client asks for (SNI).
    Name,
    /// The client showed no certificate where one is needed.
    CertificateMissing,
    /// The client's certificate was not accepted.
    Certificate,
    /// The client gave up by an alert: it does not accept ours, most likely.
    Alert,
    /// The client left.
    Left,
    /// The rest did not come in time.
    Timeout,
    /// Any other reason.
    Other,
}

impl HandshakeFlaw {
    /// Every flaw.
    pub const ALL: [Self; 12] = [
        Self::NotTls,
        Self::Malformed,
        Self::Version,
        Self::Parameters,
        Self::Protocol,
        Self::Name,
        Self::CertificateMissing,
        Self::Certificate,
        Self::Alert,
        Self::Left,
        Self::Timeout,
        Self::Other,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Parameters => "parameters",
            Self::Protocol => "protocol",
            Self::Name => "name",
            Self::CertificateMissing => "certificate_missing",
            Self::Certificate => "certificate",
            Self::Alert => "alert",
            Self::Left => "left",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }
}

/// How many handshakes failed, by flaw.
#[derive(Debug, Default)]
pub(super) struct Failed([AtomicU64; HandshakeFlaw::ALL.len()]);

impl Failed {
    pub(super) fn note(&self, flaw: HandshakeFlaw) {
        self.0[flaw as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self, flaw: HandshakeFlaw) -> u64 {
        self.0[flaw as usize].load(Relaxed)
    }
}
