//! What a request says of who asks.
//!
//! Two checks, neither of which depends on the other: the bearer token (RFC 6750,
//! section 2.1) where one is configured; and that the interface is asked by an
//! address, or by the name that TLS has proved. A page that somebody looks at on
//! this machine can send requests to loopback addresses, and one whose name was
//! made to lead there (DNS rebinding) could read the answers too. It cannot keep
//! its browser from saying so in `Host` (RFC 9110, section 7.2). Nothing is allowed
//! to pages of other origins (CORS), so none of them can read an answer; that they
//! change nothing is a third check (see `browser`).
//!
//! Invariant: the time that a wrong token takes tells nothing of the right
//! ones but their lengths.
//!
//! Deliberately absent: users; and who may do what (see `doorman`).

use super::problem::Problem;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use std::hint::black_box;
use std::net::IpAddr;

/// What somebody may do.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Look.
    Reader,
    /// Look, and change things.
    Operator,
}

/// How a connection came.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Way {
    /// By TCP, where web pages can come too.
    pub(super) inet: bool,
    /// Over TLS: the name that was asked for has been proved.
    pub(super) tls: bool,
    /// With a client certificate that was accepted.
    pub(super) certificate: bool,
}

/// What a request carries to be let in.
#[derive(Debug)]
pub(super) enum Credentials<'a> {
    /// Nothing.
    None,
    /// A token.
    Bearer(&'a [u8]),
    /// What is no token, or several.
    Unclear,
}

impl<'a> Credentials<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        match (given.next(), given.next()) {
            (None, _) => Self::None,
            (Some(only), None) => bearer(only.as_bytes()).map_or(Self::Unclear, Self::Bearer),
            (Some(_), Some(_)) => Self::Unclear,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether it is one of these tokens; all are compared.
    pub(super) fn is_one_of(&self, tokens: &[String]) -> bool {
        let Self::Bearer(given) = self else {
            return false;
        };
        let equal = tokens.iter().map(|token| same(given, token.as_bytes()));
        equal.fold(false, |any, equal| any | equal)
    }
}

/// The role, if somebody who has it may ask so.
pub(super) fn authorize(role: Option<Role>, method: &Method) -> Result<Role, Problem> {
    match role {
        None => Err(Problem::unauthorized()),
        Some(Role::Reader) if !method.is_safe() => Err(Problem::forbidden(
            "this token may look and change nothing; use the one of `token`",
        )),
        Some(role) => Ok(role),
    }
}

/// Whether the interface is asked by a name that a web page cannot have.
///
/// Not asked over a Unix socket, which no page reaches, and not over TLS,
/// where the name was proved; nor of who `has_token`, one of those configured:
/// no page has that, but any page can make one up.
pub(super) fn refuse_rebinding(head: &Parts, way: Way, has_token: bool) -> Result<(), Problem> {
    if !way.inet || way.tls || has_token {
        return Ok(());
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let known = hosts.all(|host| host.to_str().is_ok_and(is_address));
    let asked = head.uri.authority();
    if known && asked.is_none_or(|asked| is_address(asked.as_str())) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "ask by an IP address or localhost (the Host field has another name, as \
         a web page would), or with a token",
    ))
}

/// Whether a host, perhaps with a port, is an address or `localhost`.
pub(super) fn is_address(host: &str) -> bool {
    let port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, digits)) if port(digits) => name,
        _ => host,
    };
    let bracketed = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match bracketed {
        Some(six) => six.parse().is_ok_and(|address: IpAddr| address.is_ipv6()),
        None => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse().is_ok_and(|address: IpAddr| address.is_ipv4())
        }
    }
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

    #[test]
    fn only_one_token_is_one() {
        let tokens = ["s3cret".to_owned()];
        let is = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            Credentials::of(&headers).is_one_of(&tokens)
        };
        assert!(is(&["Bearer s3cret"]));
        assert!(is(&["bearer  s3cret "]));
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
            assert!(!is(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_reader_changes_nothing() {
        let reader = Some(Role::Reader);
        assert!(authorize(reader, &Method::GET).is_ok());
        assert!(authorize(reader, &Method::HEAD).is_ok());
        for method in [Method::POST, Method::DELETE, Method::PUT, Method::PATCH] {
            let problem = authorize(reader, &method).expect_err("refused");
            assert_eq!(problem.status, 403, "{method}");
            assert!(authorize(Some(Role::Operator), &method).is_ok());
        }
        let problem = authorize(None, &Method::GET).expect_err("refused");
        assert_eq!(problem.status, 401);
    }

    fn asked(uri: &str, host: &'static str) -> Parts {
        let request = http::Request::get(uri).header(HOST, host).body(());
        request.expect("a request").into_parts().0
    }

    #[test]
    fn a_name_that_leads_here_is_no_way_in() {
        let by_tcp = Way {
            inet: true,
            ..Way::default()
        };
        let refused = |head: &Parts, way| refuse_rebinding(head, way, false).is_err();
        for good in [
            "127.0.0.1:9900",
            "127.0.0.1",
            "[::1]:9900",
            "[::1]",
            "localhost:9900",
            "LocalHost",
            "10.0.0.7:9900",
        ] {
            assert!(!refused(&asked("/", good), by_tcp), "{good}");
        }
        for bad in [
            "evil.example:9900",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:9900:evil.example",
            "[evil.example]",
            "::1",
            "",
        ] {
            assert!(refused(&asked("/", bad), by_tcp), "{bad}");
        }
        let absolute = asked("http://evil.example/", "127.0.0.1");
        assert!(refused(&absolute, by_tcp));
        let evil = asked("/", "evil.example");
        assert!(!refused(&evil, Way::default()), "a Unix socket");
        let over_tls = Way {
            tls: true,
            ..by_tcp
        };
        assert!(!refused(&evil, over_tls));
        assert!(refuse_rebinding(&evil, by_tcp, true).is_ok());
    }
}
