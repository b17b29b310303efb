//! The name in a `ClientHello` (SNI, RFC 6066, section 3), read in passing.
//!
//! A [`Hello`] takes what a client sends first and says whether it is TLS and
//! which name it asks for. Nothing is answered: the handshake is between the
//! client and a server, and every byte is kept for that server.
//!
//! Invariant: what comes of the bytes does not depend on how they were cut into
//! segments, and no more than [`MOST`] of them are looked at. What breaks the
//! form of a `ClientHello`, as by two names in one, is refused and never
//! guessed at: the server behind might read another name. What is no name of a
//! host, as an address, counts as none, and a dot at its end does not count.
//!
//! Deliberately absent: sockets and time (see `named`), the ciphers that are
//! offered, and encrypted hellos, whose outer name counts. A client that knows
//! nothing above TLS 1.1 is refused, as where TLS ends here.

use bytes::{Bytes, BytesMut};
use rustls::server::Acceptor;
use rustls::{Error, InvalidMessage};
use std::io::Write;

/// The longest `ClientHello` in bytes, its record headers included. Usual ones
/// have two thousand, those with large keys of new kinds some more.
pub(super) const MOST: usize = 16 * 1024;

/// The type of a record that carries a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// `decode_error` (RFC 8446, section 6.2).
const DECODE_ERROR: u8 = 50;

/// What a client's first bytes say.
#[derive(Debug)]
pub(super) enum Said {
    /// It speaks TLS, and asks for this name or for none.
    Name(Option<Box<str>>),
    /// It speaks something else.
    NoTls,
    /// It cannot be understood, and is told so by these bytes.
    Broken(Error, Vec<u8>),
}

/// The beginning of a connection, as far as it has come.
#[derive(Default)]
pub(super) struct Hello {
    seen: BytesMut,
    acceptor: Box<Acceptor>,
}

impl Hello {
    /// How many bytes have come.
    pub(super) fn seen(&self) -> usize {
        self.seen.len()
    }

    /// All of them, for the server.
    pub(super) fn into_bytes(self) -> Bytes {
        self.seen.freeze()
    }

    /// Take the next bytes; `None` if more are needed. To be asked no more
    /// once it has said something.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<Said> {
        self.seen.extend_from_slice(bytes);
        if self.seen.first().is_some_and(|first| *first != HANDSHAKE) {
            return Some(Said::NoTls);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.acceptor.read_tls(&mut rest).is_err() {
                return Some(overlong());
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(Box::from);
                    return Some(Said::Name(name));
                }
                Err((error, mut told)) => {
                    let mut alert = Vec::new();
                    // Writing into memory cannot fail.
                    let _ = told.write_all(&mut alert as &mut dyn Write);
                    return Some(Said::Broken(error, alert));
                }
            }
        }
        (self.seen.len() > MOST).then(overlong)
    }
}

fn overlong() -> Said {
    let error = Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge);
    Said::Broken(error, alert(DECODE_ERROR).to_vec())
}

/// A fatal alert in clear text.
pub(super) const fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::crypto::aws_lc_rs;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use rustls_pki_types::ServerName;
    use std::sync::Arc;

    /// What a client that asks for `name` sends first.
    fn hello(name: &'static str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name).expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut hello = Vec::new();
        client.write_tls(&mut hello).expect("a ClientHello");
        hello
    }

    fn named(said: Option<Said>) -> Option<String> {
        match said {
            Some(Said::Name(name)) => name.map(String::from),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_name_is_found_and_no_byte_is_lost() {
        let hello = hello("a.example.com");
        let mut whole = Hello::default();
        let more = [&hello[..], b"and more"].concat();
        assert_eq!(named(whole.take(&more)).as_deref(), Some("a.example.com"));
        assert_eq!(whole.into_bytes(), more);
        let mut single = Hello::default();
        let (last, first) = hello.split_last().expect("bytes");
        for byte in first {
            assert!(single.take(&[*byte]).is_none());
        }
        let said = single.take(&[*last]);
        assert_eq!(named(said).as_deref(), Some("a.example.com"));
        assert_eq!(single.into_bytes(), hello);
    }

    #[test]
    fn an_address_is_no_name() {
        let mut asks = Hello::default();
        assert_eq!(named(asks.take(&hello("127.0.0.1"))), None);
    }

    #[test]
    fn what_is_no_tls_is_known_by_its_first_byte() {
        for other in [&b"G"[..], b"SSH-2.0-x\r\n", b"\0\0\0\x08\x04\xd2\x16\x2f"] {
            let said = Hello::default().take(other);
            assert!(matches!(said, Some(Said::NoTls)), "{other:?}");
        }
    }

    #[test]
    fn two_names_are_refused_by_an_alert() {
        // The name's extension once more, and the lengths around it.
        let hello = hello("a.example.com");
        let at = hello.windows(13).position(|it| it == b"a.example.com");
        let at = at.expect("the name") - 9;
        let extension = hello[at..at + 22].to_vec();
        let mut doubled = hello.clone();
        doubled.splice(at..at, extension);
        let grow = |bytes: &mut [u8]| {
            let (high, low) = (bytes[0], bytes[1]);
            let sum = u16::from_be_bytes([high, low]) + 22;
            bytes.copy_from_slice(&sum.to_be_bytes());
        };
        grow(&mut doubled[3..5]);
        grow(&mut doubled[7..9]);
        // Past version, random, identifier and ciphers.
        let after_id = 43 + 1 + usize::from(doubled[43]);
        let ciphers = usize::from(u16::from_be_bytes([
            doubled[after_id],
            doubled[after_id + 1],
        ]));
        let extensions = after_id + 2 + ciphers + 2;
        grow(&mut doubled[extensions..extensions + 2]);
        match Hello::default().take(&doubled) {
            Some(Said::Broken(_, alert)) => assert_eq!(alert[..6], [21, 3, 3, 0, 2, 2]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hello_without_an_end_is_cut_short() {
        let mut asks = Hello::default();
        // A ClientHello of 65535 bytes, in records of 1024.
        let mut begun = vec![1, 0, 0xff, 0xff];
        begun.resize(1024, 0);
        let mut said = None;
        for _ in 0..20 {
            let record = [&[HANDSHAKE, 3, 1, 4, 0][..], &begun].concat();
            said = asks.take(&record);
            if said.is_some() {
                break;
            }
            begun.fill(0);
        }
        assert!(matches!(said, Some(Said::Broken(..))), "{said:?}");
        assert!(asks.seen() <= MOST + 2 * 1029, "{}", asks.seen());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut asks = Hello::default();
            let _ = asks.take(&bytes);
            prop_assert_eq!(&asks.into_bytes()[..], &bytes[..]);
        }

        /// The server behind is asked the same way, or refuses too.
        #[test]
        fn a_damaged_hello_has_one_reading(at in 0_usize..200, value in any::<u8>(), cut in 1_usize..200) {
            let mut damaged = hello("a.example.com");
            let at = at % damaged.len();
            damaged[at] = value;
            let once = Hello::default().take(&damaged);
            let mut pieces = Hello::default();
            let mut twice = pieces.take(&damaged[..cut]);
            if twice.is_none() {
                twice = pieces.take(&damaged[cut..]);
            }
            let reading = |said: &Option<Said>| match said {
                None => "more".to_owned(),
                Some(Said::NoTls) => "no TLS".to_owned(),
                Some(Said::Broken(..)) => "broken".to_owned(),
                Some(Said::Name(name)) => format!("{name:?}"),
            };
            prop_assert_eq!(reading(&once), reading(&twice));
        }
    }
}
