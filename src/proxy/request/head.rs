//! Reading a request's head strictly: who is asked, and for what.
//!
//! The two places that can name the host must agree; what is not a plain
//! request to a service (CONNECT, a missing host) is refused with its status,
//! save for the one CONNECT that is: to a WebSocket (RFC 8441).
//! Nothing is repaired on the way.

use crate::config::Limits;
use crate::drain::Protocol;
use crate::proxy::body::{is_no_name, is_padded};
use crate::proxy::request::answered::has_odd_length;
use crate::proxy::request::grpc;
use http::header::{CONNECTION, HOST, HeaderName, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Version};

/// The protocol of an exchange, by its head.
pub(super) fn protocol(head: &Parts) -> Protocol {
    if head.method == Method::CONNECT && connects(head) == Some("websocket") {
        Protocol::WebSocket
    } else if grpc::is_request(&head.headers) {
        Protocol::Grpc
    } else if head.version == Version::HTTP_2 {
        Protocol::Http2
    } else if is_websocket(head) {
        Protocol::WebSocket
    } else {
        Protocol::Http1
    }
}

/// What an extended CONNECT asks to speak (RFC 8441, section 4).
fn connects(head: &Parts) -> Option<&str> {
    let protocol = head.extensions.get::<h2::ext::Protocol>()?;
    Some(protocol.as_str())
}

/// A WebSocket handshake of HTTP/1.1 (RFC 6455, section 4.1).
fn is_websocket(head: &Parts) -> bool {
    let upgrades = head
        .headers
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    upgrades
        && head.method == Method::GET
        && head.version == Version::HTTP_11
        && lists(&head.headers, "upgrade")
}

/// Whether `Connection` lists an option.
pub(super) fn lists(headers: &HeaderMap, option: &str) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|listed| listed.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

/// Whether a client of HTTP/1 asks for no more after this (RFC 9112, section
/// 9.3).
pub(super) fn is_last(head: &Parts) -> bool {
    let old = head.version == Version::HTTP_10;
    (old && !lists(&head.headers, "keep-alive")) || lists(&head.headers, "close")
}

/// Whether the fields of an HTTP/2 head are as they must be; those of HTTP/1
/// were looked at before its engine saw them. Blanks at the ends of a value
/// are cut off by one reader and kept by another (RFC 9113, section 8.2.1).
pub(super) fn fields(head: &Parts, limits: &Limits) -> Result<(), (StatusCode, &'static str)> {
    if head.version != Version::HTTP_2 {
        return Ok(());
    }
    if let Some(target) = head.uri.path_and_query() {
        if target.as_str().len() > limits.uri {
            return Err((StatusCode::URI_TOO_LONG, "the request target is too long"));
        }
        if !is_path(target) {
            return Err((StatusCode::BAD_REQUEST, "the path begins without a slash"));
        }
    }
    if head.headers.len() > limits.headers {
        return Err((
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too many header fields",
        ));
    }
    if head.headers.values().any(is_padded) {
        return Err((
            StatusCode::BAD_REQUEST,
            "a value begins or ends with white space",
        ));
    }
    if head
        .headers
        .keys()
        .any(|name| is_disguised(name) || is_no_name(name))
    {
        return Err((
            StatusCode::BAD_REQUEST,
            "a name that some servers read as another",
        ));
    }
    if has_odd_length(&head.headers) {
        return Err((StatusCode::BAD_REQUEST, "an odd Content-Length, or several"));
    }
    if head.uri.path() == "*" && head.method != Method::OPTIONS {
        return Err((StatusCode::BAD_REQUEST, "only OPTIONS may ask for *"));
    }
    Ok(())
}

/// Whether a target begins as it must. The engine puts a slash before a query,
/// and cuts a fragment off. What is nothing then it shows like the root, which
/// it is not equal to, and would write as nothing.
fn is_path(target: &PathAndQuery) -> bool {
    match target.as_str() {
        "/" => *target == PathAndQuery::from_static("/"),
        "*" => true,
        other => other.starts_with('/'),
    }
}

/// Whether a server that takes `_` for `-`, as whatever stands behind CGI's
/// variables does, would read the name as one that frames the message.
fn is_disguised(name: &HeaderName) -> bool {
    matches!(name.as_str(), "content_length" | "transfer_encoding")
}

/// The host that is asked, without its port, or why the request is refused.
pub(super) fn host(head: &Parts) -> Result<&str, (StatusCode, &'static str)> {
    if head.method == Method::CONNECT {
        match connects(head) {
            Some("websocket") => {}
            Some(_) => {
                let says = "of extended CONNECT only :protocol websocket is served here";
                return Err((StatusCode::NOT_IMPLEMENTED, says));
            }
            None => return Err((StatusCode::NOT_IMPLEMENTED, "CONNECT is not served here")),
        }
    }
    let mut named = head.headers.get_all(HOST).iter();
    let field = match (named.next(), named.next()) {
        (_, Some(_)) => return Err((StatusCode::BAD_REQUEST, "Host is given twice")),
        (None, None) => None,
        (Some(value), None) => Some(
            value
                .to_str()
                .map_err(|_| (StatusCode::BAD_REQUEST, "Host is not text"))?,
        ),
    };
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    match (authority, field) {
        (Some(authority), Some(field)) if !authority.eq_ignore_ascii_case(field) => Err((
            StatusCode::BAD_REQUEST,
            "Host and the request's authority differ",
        )),
        (Some(authority), _) if authority.contains('@') => Err((
            StatusCode::BAD_REQUEST,
            "the authority has user information",
        )),
        (Some(named), _) | (None, Some(named)) => Ok(without_port(named)),
        (None, None) if head.version == Version::HTTP_2 => {
            Err((StatusCode::BAD_REQUEST, "no :authority and no Host"))
        }
        (None, None) => Ok(""),
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        // The colons inside of brackets are an IPv6 address's own.
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, host: Option<&str>) -> Parts {
        let mut request = http::Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_host_is_read_from_either_place() {
        assert_eq!(host(&parts("/x", Some("a.b:80"))), Ok("a.b"));
        assert_eq!(host(&parts("http://a.b:80/x", None)), Ok("a.b"));
        assert_eq!(host(&parts("/x", Some("[::1]:80"))), Ok("[::1]"));
        assert_eq!(host(&parts("/x", Some("[::1]"))), Ok("[::1]"));
    }

    #[test]
    fn fields_of_http2_are_bounded_and_bare() {
        let with = |version, value: &'static str| {
            let mut head = parts("http://a/x", None);
            head.version = version;
            head.headers.append("x", value.parse().expect("a value"));
            head.headers.append("y", "z".parse().expect("a value"));
            head
        };
        let refused = |head: &Parts, most| {
            let limits = Limits {
                headers: most,
                uri: 10,
                ..Limits::default()
            };
            fields(head, &limits).map_err(|(code, _)| code.as_u16())
        };
        let mut long = with(Version::HTTP_2, "a b");
        long.uri = "http://a/23456789?b".parse().expect("a target");
        assert_eq!(refused(&long, 2), Err(414));
        assert_eq!(refused(&with(Version::HTTP_2, "a b"), 2), Ok(()));
        assert_eq!(refused(&with(Version::HTTP_2, "a b"), 1), Err(431));
        for padded in [" a", "a ", "\ta", "a\t"] {
            assert_eq!(refused(&with(Version::HTTP_2, padded), 2), Err(400));
        }
        let mut disguised = with(Version::HTTP_2, "a");
        let five = http::HeaderValue::from_static("5");
        disguised.headers.insert("content_length", five);
        assert_eq!(refused(&disguised, 3), Err(400));
        let mut quoted = with(Version::HTTP_2, "a");
        let name = HeaderName::from_lowercase(b"x\"").expect("taken by the engine");
        quoted.headers.insert(name, "1".parse().expect("a value"));
        assert_eq!(refused(&quoted, 3), Err(400));
        for lengths in [&[""][..], &["05"], &["5", "5"], &["+5"]] {
            let mut odd = with(Version::HTTP_2, "a");
            for length in lengths {
                let length = length.parse().expect("a value");
                odd.headers.append("content-length", length);
            }
            assert_eq!(refused(&odd, 4), Err(400), "{lengths:?}");
        }
        // Those of HTTP/1 have been looked at.
        assert_eq!(refused(&with(Version::HTTP_11, " a"), 1), Ok(()));
    }

    #[test]
    fn two_hosts_are_refused() {
        assert!(host(&parts("http://a/x", Some("b"))).is_err());
        assert!(host(&parts("http://u@a/x", None)).is_err());
        let mut head = parts("/x", Some("a"));
        head.method = Method::CONNECT;
        let refused = host(&head).map_err(|(code, _)| code);
        assert_eq!(refused, Err(StatusCode::NOT_IMPLEMENTED));
    }

    #[test]
    fn an_extended_connect_is_served_to_a_websocket_only() {
        let connect = |protocol: Option<&'static str>| {
            let mut head = parts("https://a/x", None);
            head.method = Method::CONNECT;
            head.version = Version::HTTP_2;
            if let Some(protocol) = protocol {
                let protocol = h2::ext::Protocol::from_static(protocol);
                head.extensions.insert(protocol);
            }
            let refused = host(&head).map_err(|(code, _)| code.as_u16());
            (super::protocol(&head), refused.map(str::to_owned))
        };
        assert_eq!(
            connect(Some("websocket")),
            (Protocol::WebSocket, Ok("a".to_owned()))
        );
        assert_eq!(connect(Some("connect-udp")), (Protocol::Http2, Err(501)));
        assert_eq!(connect(None), (Protocol::Http2, Err(501)));
    }

    #[test]
    fn a_last_request_is_known() {
        let last = |version, options: &[&'static str]| {
            let mut head = parts("/x", Some("a"));
            head.version = version;
            for option in options {
                let option = option.parse().expect("a value");
                head.headers.append(CONNECTION, option);
            }
            is_last(&head)
        };
        assert!(!last(Version::HTTP_11, &[]));
        assert!(!last(Version::HTTP_11, &["x", "keep-alive"]));
        assert!(last(Version::HTTP_11, &["x, Close"]));
        assert!(last(Version::HTTP_10, &[]));
        assert!(!last(Version::HTTP_10, &["Keep-Alive"]));
        assert!(last(Version::HTTP_10, &["keep-alive", "close"]));
    }

    #[test]
    fn a_websocket_is_told_by_both_fields() {
        let mut head = parts("/x", Some("a"));
        head.headers
            .insert(UPGRADE, "WebSocket".parse().expect("a value"));
        assert_eq!(protocol(&head), Protocol::Http1);
        head.headers
            .insert(CONNECTION, "keep-alive, Upgrade".parse().expect("a value"));
        assert_eq!(protocol(&head), Protocol::WebSocket);
    }
}
