//! Who may ask.
//!
//! Two checks, neither of which depends on the other: the bearer token (RFC
//! 6750, section 2.1) where one is configured, and that nothing is changed at
//! the wish of a web page. A page that somebody looks at on this machine can
//! send requests to loopback addresses; it cannot keep its browser from saying
//! so in `Origin` (RFC 6454, section 7).
//!
//! Invariant: the time that a wrong token takes tells nothing of the right
//! one but its length.
//!
//! Deliberately absent: users, roles, and TLS client certificates.

use super::problem::Problem;
use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderMap, Method};
use std::hint::black_box;

/// Whether the request carries the token.
pub(super) fn authorize(headers: &HeaderMap, token: Option<&str>) -> Result<(), Problem> {
    let Some(token) = token else {
        return Ok(());
    };
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let credentials = match (given.next(), given.next()) {
        (Some(only), None) => bearer(only.as_bytes()),
        _ => None,
    };
    match credentials {
        Some(credentials) if same(credentials, token.as_bytes()) => Ok(()),
        _ => Err(Problem::unauthorized()),
    }
}

/// Whether a change may be asked for by this kind of client.
pub(super) fn refuse_pages(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if method.is_safe() || !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    Err(Problem::forbidden(
        "a web page may not change anything here (the request has an Origin field)",
    ))
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| rest.trim_ascii())
}

fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| {
        // Kept from being turned into an early exit.
        black_box(sum | (a ^ b))
    });
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_the_one_token_opens() {
        let token = Some("s3cret");
        assert!(authorize(&with(&["Bearer s3cret"]), token).is_ok());
        assert!(authorize(&with(&["bearer  s3cret "]), token).is_ok());
        for wrong in [
            &[][..],
            &["Bearer s3creT"],
            &["Bearer s3cre"],
            &["Bearer s3cret1"],
            &["Bearer "],
            &["Basic s3cret"],
            &["s3cret"],
            &["Bearer s3cret", "Bearer s3cret"],
        ] {
            let problem = authorize(&with(wrong), token).expect_err("refused");
            assert_eq!(problem.status, 401, "{wrong:?}");
        }
        assert!(authorize(&with(&[]), None).is_ok());
    }

    #[test]
    fn pages_may_look_and_not_touch() {
        let mut page = HeaderMap::new();
        page.insert(ORIGIN, HeaderValue::from_static("http://elsewhere.example"));
        assert!(refuse_pages(&Method::GET, &page).is_ok());
        assert!(refuse_pages(&Method::POST, &page).is_err());
        assert!(refuse_pages(&Method::DELETE, &page).is_err());
        assert!(refuse_pages(&Method::POST, &HeaderMap::new()).is_ok());
    }
}
