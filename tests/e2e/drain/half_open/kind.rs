//! The places where a client can stop on its way to a request.

use crate::support::clients::Frame;

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
}

impl Kind {
    pub(super) const ALL: [Self; 13] = [
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
    ];

    /// How operators see it.
    pub(super) fn state(self) -> &'static str {
        match self {
            Self::Silent | Self::SilentTls => "accepted",
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
