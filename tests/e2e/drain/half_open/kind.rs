//! The places where a client can stop on its way to a request.

use crate::support::clients::Frame;

/// A header of version 1.
pub(super) const LINE: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";

/// One of version 2 that names the same client.
pub(super) const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x12\x67\x01\xbb";

/// The client that they name.
pub(super) const NAMED: &str = "192.0.2.7:4711";

pub(super) const REQUEST: &str = "GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Where a client stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// TCP, and no byte.
    Silent,
    /// The same where TLS is awaited.
    SilentTls,
    HalfRecord,
    HalfHello,
    /// Our `ServerHello` has been read, and not answered.
    NoFinished,
    HalfPreface,
    HalfPrefaceTls,
    /// The 24 bytes of the preface, but not the SETTINGS.
    NoSettings,
    NoSettingsTls,
    HalfHead,
    HalfHeadTls,
    /// On a connection that has served a request.
    SecondHead,
    SecondHeadTls,
    /// In a PROXY header of version 1, where HTTP is served.
    HalfLine,
    /// The same before a tunnel.
    HalfLineTunnel,
    /// In one of version 2, where TLS is to follow.
    HalfBinaryTls,
    /// After a whole header.
    Named,
}

impl Kind {
    pub(super) const ALL: [Self; 17] = [
        Self::Silent,
        Self::SilentTls,
        Self::HalfRecord,
        Self::HalfHello,
        Self::NoFinished,
        Self::HalfPreface,
        Self::HalfPrefaceTls,
        Self::NoSettings,
        Self::NoSettingsTls,
        Self::HalfHead,
        Self::HalfHeadTls,
        Self::SecondHead,
        Self::SecondHeadTls,
        Self::HalfLine,
        Self::HalfLineTunnel,
        Self::HalfBinaryTls,
        Self::Named,
    ];

    /// How operators see it.
    pub(super) fn state(self) -> &'static str {
        match self {
            Self::Silent | Self::SilentTls | Self::Named => "accepted",
            Self::HalfLine | Self::HalfLineTunnel | Self::HalfBinaryTls => "proxy_header",
            Self::HalfRecord | Self::HalfHello | Self::NoFinished => "tls_handshake",
            Self::HalfPreface | Self::HalfPrefaceTls | Self::NoSettings | Self::NoSettingsTls => {
                "preface"
            }
            Self::HalfHead | Self::HalfHeadTls | Self::SecondHead | Self::SecondHeadTls => "head",
        }
    }

    /// How its farewell is counted.
    pub(super) fn farewell(self) -> &'static str {
        match self.state() {
            "tls_handshake" => "tls_alert",
            "head" => "half_head",
            _ => "fin",
        }
    }

    /// Where it goes.
    pub(super) fn listener(self) -> &'static str {
        match self {
            Self::HalfLine | Self::Named => "proxied",
            Self::HalfLineTunnel => "tunnel",
            Self::HalfBinaryTls => "proxied_secure",
            _ if self.secure() => "secure",
            _ => "web",
        }
    }

    /// The PROXY header that it begins with, and how much of that is sent.
    pub(super) fn header(self) -> Option<(&'static [u8], usize)> {
        match self {
            Self::HalfLine | Self::HalfLineTunnel => Some((LINE.as_bytes(), 20)),
            Self::HalfBinaryTls => Some((BINARY, 20)),
            Self::Named => Some((LINE.as_bytes(), LINE.len())),
            _ => None,
        }
    }

    pub(super) fn secure(self) -> bool {
        matches!(
            self,
            Self::SilentTls
                | Self::HalfRecord
                | Self::HalfHello
                | Self::NoFinished
                | Self::HalfPrefaceTls
                | Self::NoSettingsTls
                | Self::HalfHeadTls
                | Self::SecondHeadTls
        )
    }

    pub(super) fn http2(self) -> bool {
        self.state() == "preface"
    }

    /// Whether its connection has served a request.
    pub(super) fn second(self) -> bool {
        matches!(self, Self::SecondHead | Self::SecondHeadTls)
    }

    /// What begins its request, once it may be sent.
    pub(super) fn bytes(self) -> &'static [u8] {
        if self.http2() {
            Frame::PREFACE.as_bytes()
        } else {
            REQUEST.as_bytes()
        }
    }

    /// How much of that is sent.
    pub(super) fn stops_at(self) -> usize {
        match self {
            Self::HalfPreface | Self::HalfPrefaceTls => 10,
            Self::NoSettings | Self::NoSettingsTls => 24,
            Self::HalfHead | Self::HalfHeadTls | Self::SecondHead | Self::SecondHeadTls => 20,
            _ => 0,
        }
    }
}
