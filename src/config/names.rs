//! The DNS names in a certificate.
//!
//! Purpose: find the names that a certificate is for, so that SNI can choose
//! among several.
//!
//! Invariant: whatever the bytes are, reading ends and never panics; what is
//! not understood has no names. rustls has accepted the certificate before.
//!
//! Deliberately absent: validation, other kinds of names, and the common
//! name, which clients have not looked at for years (RFC 9110, section 4.3.4).

/// The DNS names of `subjectAltName` (RFC 5280, section 4.2.1.6), lower case.
pub(super) fn dns_names(certificate: &[u8]) -> Vec<String> {
    const DNS_NAME: u8 = 0x82;
    let names = alt_names(certificate).map(children).unwrap_or_default();
    let names = names.into_iter().filter(|name| name.tag == DNS_NAME);
    let names = names.filter_map(|name| std::str::from_utf8(name.content).ok());
    names.map(str::to_ascii_lowercase).collect()
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

/// One value in DER (X.690, section 8.1).
struct Value<'a> {
    tag: u8,
    content: &'a [u8],
}

/// The content of the first value with `tag` in `bytes`.
fn find(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let found = children(bytes).into_iter().find(|value| value.tag == tag);
    found.map(|value| value.content)
}

/// The values in `bytes`, up to the first that is malformed.
fn children(bytes: &[u8]) -> Vec<Value<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(|| {
        let (value, after) = first(rest)?;
        rest = after;
        Some(value)
    })
    .collect()
}

/// The first value in `bytes`, and what follows it.
fn first(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    const LONG: u8 = 0x80;
    let (&tag, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < LONG {
        (usize::from(length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(length - LONG))?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        (
            digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit)),
            rest,
        )
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((Value { tag, content }, rest))
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
