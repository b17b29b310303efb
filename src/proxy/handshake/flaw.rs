//! What a failed TLS handshake failed by.
//!
//! Purpose: from the TLS library's errors to the few reasons that operators
//! tell apart: a client that is too old, one without a certificate, one that
//! does not accept ours, noise.
//!
//! Deliberately absent: counting, and telling the client (see `shake`).

use crate::proxy::registry::HandshakeFlaw;
use rustls::{Error, InvalidMessage, PeerIncompatible};
use std::io;

/// The flaw behind what a handshake ended with.
pub(super) fn of(error: &io::Error) -> HandshakeFlaw {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(error) => of_tls(error),
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => HandshakeFlaw::Left,
            io::ErrorKind::InvalidData => HandshakeFlaw::Malformed,
            _ => HandshakeFlaw::Other,
        },
    }
}

/// Whether a message of the handshake was longer than may be.
pub(super) fn is_overlong(error: &Error) -> bool {
    let message = InvalidMessage::HandshakePayloadTooLarge;
    *error == Error::InvalidMessage(message)
}

/// The same of what a socket says.
pub(super) fn is_overlong_in(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.is_some_and(is_overlong)
}

/// The flaw behind an error of the library.
pub(super) fn of_tls(error: &Error) -> HandshakeFlaw {
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => HandshakeFlaw::NotTls,
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => HandshakeFlaw::Malformed,
        Error::PeerIncompatible(why) if is_version(why) => HandshakeFlaw::Version,
        Error::PeerIncompatible(_) => HandshakeFlaw::Parameters,
        Error::NoApplicationProtocol => HandshakeFlaw::Protocol,
        Error::NoCertificatesPresented => HandshakeFlaw::CertificateMissing,
        Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => {
            HandshakeFlaw::Certificate
        }
        Error::AlertReceived(_) => HandshakeFlaw::Alert,
        _ => HandshakeFlaw::Other,
    }
}

fn is_version(why: &PeerIncompatible) -> bool {
    matches!(
        why,
        PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // Older clients cannot send what 1.2 added.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, CertificateError};

    #[test]
    fn errors_have_the_reasons_that_operators_tell_apart() {
        let tls = |error: Error| of(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, flaw) in [
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                HandshakeFlaw::NotTls,
            ),
            (
                Error::InvalidMessage(InvalidMessage::MissingData("x")),
                HandshakeFlaw::Malformed,
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled),
                HandshakeFlaw::Version,
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                HandshakeFlaw::Parameters,
            ),
            (Error::NoApplicationProtocol, HandshakeFlaw::Protocol),
            (
                Error::NoCertificatesPresented,
                HandshakeFlaw::CertificateMissing,
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                HandshakeFlaw::Certificate,
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                HandshakeFlaw::Alert,
            ),
            (Error::HandshakeNotComplete, HandshakeFlaw::Other),
        ] {
            assert_eq!(tls(error.clone()), flaw, "{error}");
        }
        let gone = io::ErrorKind::ConnectionReset.into();
        assert_eq!(of(&gone), HandshakeFlaw::Left);
    }
}
