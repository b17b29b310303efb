//! The DNS names in a certificate, and its number.
//!
//! Purpose: find the names that a certificate is for, so that SNI can choose
//! among several, and the number that an OCSP response calls it by.
//!
//! Invariant: whatever the bytes are, reading ends and never panics; what is
//! not understood has no names. rustls has accepted the certificate before.
//!
//! Deliberately absent: validation, other kinds of names, and the common
//! name, which clients have not looked at for years (RFC 9110, section 4.3.4).

use super::der::{children, find};

/// The DNS names of `subjectAltName` (RFC 5280, section 4.2.1.6), lower case.
pub(super) fn dns_names(certificate: &[u8]) -> Vec<String> {
    const DNS_NAME: u8 = 0x82;
    let names = alt_names(certificate).map(children).unwrap_or_default();
    let names = names.into_iter().filter(|name| name.tag == DNS_NAME);
    let names = names.filter_map(|name| std::str::from_utf8(name.content).ok());
    names.map(str::to_ascii_lowercase).collect()
}

/// The serial number (RFC 5280, section 4.1.2.2), as it is encoded.
pub(super) fn serial(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    find(find(find(certificate, SEQUENCE)?, SEQUENCE)?, INTEGER)
}

/// The content of the extension `subjectAltName`.
fn alt_names(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const EXTENSIONS: u8 = 0xa3;
    const OBJECT_ID: u8 = 0x06;
    const OCTETS: u8 = 0x04;
    const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
    let certificate = find(certificate, SEQUENCE)?;
    let body = find(certificate, SEQUENCE)?;
    let extensions = find(find(body, EXTENSIONS)?, SEQUENCE)?;
    let mut extensions = children(extensions).into_iter();
    let found = extensions.find(|it| find(it.content, OBJECT_ID) == Some(&SUBJECT_ALT_NAME))?;
    find(find(found.content, OCTETS)?, SEQUENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Vec<u8> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        made.cert.der().to_vec()
    }

    #[test]
    fn names_are_found() {
        let made = certificate(&["Site.example", "*.example.com", "10.0.0.1"]);
        assert_eq!(dns_names(&made), ["site.example", "*.example.com"]);
        assert!(dns_names(&certificate(&["10.0.0.1"])).is_empty());
    }

    #[test]
    fn the_serial_number_is_found() {
        let mut params = rcgen::CertificateParams::default();
        params.serial_number = Some(vec![0x11, 0x22, 0x33].into());
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        assert_eq!(serial(made.der()), Some(&[0x11, 0x22, 0x33][..]));
        assert_eq!(serial(b"\x30\x02\x30\x00"), None);
    }

    #[test]
    fn damaged_certificates_are_survived() {
        let made = certificate(&["site.example"]);
        for length in 0..made.len() {
            assert!(dns_names(&made[..length]).is_empty(), "cut to {length}");
        }
        for position in 0..made.len() {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = made.clone();
                damaged[position] = value;
                assert!(dns_names(&damaged).len() <= made.len());
            }
        }
    }
}
