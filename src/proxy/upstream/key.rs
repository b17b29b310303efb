//! The key of an exchange, where servers are chosen by a hash.
//!
//! Purpose: find it in the head of a request, or take the client's address.
//!
//! Invariant: the port of a client is no part of its key: it changes with each
//! connection. A request without the field or the cookie has no key, and servers
//! take turns with those: all of them on one server would be a burden.
//!
//! Deliberately absent: a limit on length. A head is bounded, and a key is read
//! once.

use crate::config::HashBy;
use http::HeaderMap;
use http::header::COOKIE;
use std::net::IpAddr;

/// Do something with the key of a request, if it has one.
pub(super) fn of<T>(
    by: &HashBy,
    fields: &HeaderMap,
    client: IpAddr,
    with: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    match by {
        HashBy::Client => Some(of_client(client, with)),
        HashBy::Header(name) => fields.get(name).map(|value| with(value.as_bytes())),
        HashBy::Cookie(name) => cookie(fields, name.as_bytes()).map(with),
    }
}

/// The same of a client alone.
pub(super) fn of_client<T>(client: IpAddr, with: impl FnOnce(&[u8]) -> T) -> T {
    match client.to_canonical() {
        IpAddr::V4(address) => with(&address.octets()),
        IpAddr::V6(address) => with(&address.octets()),
    }
}

/// The value of the first cookie of this name (RFC 6265, section 4.2.1).
fn cookie<'f>(fields: &'f HeaderMap, name: &[u8]) -> Option<&'f [u8]> {
    let lines = fields.get_all(COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name)?;
        value.strip_prefix(b"=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn key(by: &HashBy, lines: &[(&'static str, &'static str)], client: &str) -> Option<Vec<u8>> {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        of(
            by,
            &fields,
            client.parse().expect("an address"),
            <[u8]>::to_vec,
        )
    }

    #[test]
    fn a_client_is_its_address_however_it_is_written() {
        let four = key(&HashBy::Client, &[], "192.0.2.7");
        assert_eq!(four.as_deref(), Some(&[192, 0, 2, 7][..]));
        assert_eq!(key(&HashBy::Client, &[], "::ffff:192.0.2.7"), four);
        assert_ne!(key(&HashBy::Client, &[], "2001:db8::7"), four);
    }

    #[test]
    fn a_field_is_a_key_as_it_stands() {
        let by = HashBy::Header(http::HeaderName::from_static("x-user"));
        let found = key(&by, &[("x-user", "ada")], "::1");
        assert_eq!(found.as_deref(), Some(&b"ada"[..]));
        assert_eq!(key(&by, &[("x-other", "ada")], "::1"), None);
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let by = HashBy::Cookie("id".into());
        for lines in [
            &[("cookie", "id=7")][..],
            &[("cookie", "xid=1; id=7; id=8")],
            &[("cookie", "a=1"), ("cookie", "idx=2;id=7")],
        ] {
            assert_eq!(
                key(&by, lines, "::1").as_deref(),
                Some(&b"7"[..]),
                "{lines:?}"
            );
        }
        for lines in [&[("cookie", "xid=7; idx=7; id")][..], &[]] {
            assert_eq!(key(&by, lines, "::1"), None, "{lines:?}");
        }
    }
}
