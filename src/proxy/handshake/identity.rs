//! A client's certificate in words, for the server behind.
//!
//! The form is that of `X-Forwarded-Client-Cert`, which Envoy began and many
//! servers read: `Hash` (SHA-256 of the certificate), `Subject` (RFC 4514), and
//! the URIs and DNS names that it is for.
//!
//! Invariant: of a certificate that an authority has vouched for, however odd,
//! comes one value whose parts cannot be mistaken: what could end a part is
//! quoted, what cannot stand in a field is escaped. `Hash` is always there, and
//! alone where the rest would be too long.
//!
//! Deliberately absent: judging the certificate (see `tls`), and the chain.

use http::HeaderValue;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls_pki_types::CertificateDer;
use std::fmt::Write as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The longest value in bytes: a quarter of what many servers allow of a head.
const MOST: usize = 4096;

/// Short names of attributes (RFC 4514, section 3).
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// What is said of a certificate.
pub(super) fn of(certificate: &CertificateDer<'_>) -> HeaderValue {
    let mut said = String::from("Hash=");
    hex(&mut said, &sha256(certificate));
    let hash = said.len();
    if let Ok((_, read)) = X509Certificate::from_der(certificate) {
        let _ = write!(said, ";Subject=\"{}\"", subject(read.subject()));
        let names = read.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.as_slice());
        for name in names.unwrap_or_default() {
            match name {
                GeneralName::URI(uri) => part(&mut said, "URI", uri),
                GeneralName::DNSName(dns) => part(&mut said, "DNS", dns),
                _ => {}
            }
        }
    }
    if said.len() > MOST {
        said.truncate(hash);
    }
    HeaderValue::try_from(said).unwrap_or(HeaderValue::from_static("Hash="))
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13();
    suite.map_or_else(Vec::new, |suite| {
        suite.common.hash_provider.hash(bytes).as_ref().to_vec()
    })
}

fn hex(to: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(to, "{byte:02x}");
    }
}

/// Add `;KEY=VALUE`, quoted where it must be.
fn part(to: &mut String, key: &str, value: &str) {
    let plain = |c: char| c.is_ascii_graphic() && !",;=\"\\".contains(c);
    let quote = if value.chars().all(plain) { "" } else { "\"" };
    let _ = write!(to, ";{key}={quote}");
    for c in value.chars() {
        visible(to, c);
    }
    to.push_str(quote);
}

/// A character of a value in quotes. A quote or a backslash is never left as it
/// is: readers differ in what ends a quoted value.
fn visible(to: &mut String, c: char) {
    match c {
        '"' | '\\' => escaped(to, c),
        ' '..='~' => to.push(c),
        _ => escaped(to, c),
    }
}

/// A character as the hexadecimal digits of its bytes (RFC 4514, section 2.4).
fn escaped(to: &mut String, c: char) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        let _ = write!(to, "\\{byte:02X}");
    }
}

/// A name as RFC 4514 writes it: the last part first.
fn subject(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let attributes: Vec<_> = part.iter().map(attribute).collect();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(one: &AttributeTypeAndValue<'_>) -> String {
    let oid = one.attr_type().to_id_string();
    let short = SHORT.iter().find(|(known, _)| *known == oid);
    match (short, one.as_str()) {
        (Some((_, name)), Ok(value)) => format!("{name}={}", value_of(value)),
        (short, _) => {
            let mut text = format!("{}=#", short.map_or(oid.as_str(), |(_, name)| name));
            hex(&mut text, one.as_slice());
            text
        }
    }
}

/// A value with what has a meaning in a name escaped (RFC 4514, section 2.4).
fn value_of(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let at_end = (at == 0 && (c == ' ' || c == '#')) || (at == last && c == ' ');
        match c {
            '+' | ',' | ';' | '<' | '>' | '=' => {
                text.push('\\');
                text.push(c);
            }
            _ if at_end => escaped(&mut text, c),
            _ => visible(&mut text, c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate(
        subject: &[(DnType, &str)],
        uris: &[&str],
        dns: &[&str],
    ) -> CertificateDer<'static> {
        let dns: Vec<_> = dns.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(dns).expect("names");
        for uri in uris {
            let uri = SanType::URI((*uri).try_into().expect("a URI"));
            params.subject_alt_names.push(uri);
        }
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().clone()
    }

    /// What follows the hash.
    fn said(certificate: &CertificateDer<'_>) -> String {
        let value = of(certificate);
        let text = value.to_str().expect("visible characters");
        let (hash, rest) = text.split_at("Hash=".len() + 64);
        assert!(hash.starts_with("Hash="), "{text}");
        assert!(hash[5..].bytes().all(|byte| byte.is_ascii_hexdigit()));
        rest.to_owned()
    }

    #[test]
    fn a_certificate_is_said_in_one_value() {
        let made = certificate(
            &[
                (DnType::OrganizationName, "Example, Inc."),
                (DnType::CommonName, "billing"),
            ],
            &["spiffe://example.com/billing"],
            &["billing.example.com"],
        );
        assert_eq!(
            said(&made),
            ";Subject=\"CN=billing,O=Example\\, Inc.\"\
             ;DNS=billing.example.com;URI=spiffe://example.com/billing"
        );
    }

    #[test]
    fn the_hash_is_that_of_the_certificate() {
        // SHA-256 of "abc" (FIPS 180-4, its example).
        let value = of(&CertificateDer::from(b"abc".to_vec()));
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(value, format!("Hash={hash}"));
    }

    #[test]
    fn no_name_can_forge_another_part() {
        let forging = "x\";URI=spiffe://admin,Hash=0";
        let made = certificate(&[(DnType::CommonName, forging)], &["a:b;DNS=x,Hash=1"], &[]);
        assert_eq!(
            said(&made),
            ";Subject=\"CN=x\\22\\;URI\\=spiffe://admin\\,Hash\\=0\";URI=\"a:b;DNS=x,Hash=1\""
        );
    }

    #[test]
    fn what_is_too_long_is_left_to_the_hash() {
        let long = "x".repeat(MOST);
        let made = certificate(&[(DnType::CommonName, &long)], &[], &[]);
        assert_eq!(said(&made), "");
    }

    proptest! {
        #[test]
        fn any_name_makes_a_value(name in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let made = certificate(&[(DnType::CommonName, &name)], &[], &[]);
            let rest = said(&made);
            prop_assert!(rest.starts_with(";Subject=\"CN="));
            prop_assert!(rest.ends_with('"'));
        }

        #[test]
        fn damaged_certificates_are_survived(at in 0_usize..300, value in any::<u8>()) {
            let made = certificate(&[(DnType::CommonName, "x")], &["a:b"], &["x.y"]);
            let mut damaged = made.to_vec();
            let at = at % damaged.len();
            damaged[at] = value;
            let _ = of(&CertificateDer::from(damaged));
        }
    }
}
