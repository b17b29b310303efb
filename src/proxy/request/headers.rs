//! Making a head fit for the next hop.
//!
//! Connection-specific fields are removed, those that `Connection` nominates
//! with them (RFC 9110, section 7.6.1); `X-Forwarded-*` and `Via` are added;
//! and a head of one version takes the shape of the other. Standard names are
//! constants: no field is looked up by a string at run time but the nominated.

use super::hops;
use crate::proxy::registry::{FORWARDED_CLIENT_CERT, Record, forget_claims};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Request, Version};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What concerns one connection, beside what `Connection` nominates.
static OF_ONE_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    KEEP_ALIVE,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_CONNECTION,
];

/// What no trailer may be.
static FRAMING: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Remove what concerns one connection only.
fn strip(headers: &mut HeaderMap) {
    // Most heads have none of it, and to look through their few names is
    // cheaper than to look up each of these.
    if !headers.keys().any(|name| OF_ONE_CONNECTION.contains(name)) {
        return;
    }
    if headers.get_all(CONNECTION).iter().nth(1).is_some() {
        // Several fields are one list (RFC 9110, section 5.2).
        let all: Vec<_> = headers.get_all(CONNECTION).iter().cloned().collect();
        for value in &all {
            strip_nominated(headers, value);
        }
    }
    if let Some(only) = headers.remove(CONNECTION) {
        strip_nominated(headers, &only);
    }
    // Also where nothing nominates it: an HTTP/2 peer would have to take the
    // message for malformed (RFC 9113, section 8.2.2).
    headers.remove(KEEP_ALIVE);
    headers.remove(TRANSFER_ENCODING);
    headers.remove(UPGRADE);
    headers.remove(PROXY_CONNECTION);
}

/// The usual values nominate nothing that is not removed anyway.
fn strip_nominated(headers: &mut HeaderMap, connection: &HeaderValue) {
    let options = connection.as_bytes().split(|byte| *byte == b',');
    for option in options.map(<[u8]>::trim_ascii) {
        let usual = ["keep-alive", "close", "upgrade", "te"]
            .iter()
            .any(|usual| usual.as_bytes().eq_ignore_ascii_case(option));
        if usual {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(option) {
            // What says where a request goes cannot be nominated away.
            if name != HOST && name != CONTENT_LENGTH {
                headers.remove(name);
            }
        }
    }
}

/// Prepare a request's head for a server, but for its version's shape; whether
/// its client waits to be told to send the body (RFC 9110, section 10.1.1).
pub(super) fn request(head: &mut Parts, record: &Record, secure: bool, websocket: bool) -> bool {
    let version = match head.version {
        Version::HTTP_2 => "2 ebbtide",
        Version::HTTP_10 => "1.0 ebbtide",
        _ => "1.1 ebbtide",
    };
    let trailers = head.headers.get(TE).is_some_and(|te| {
        te.as_bytes()
            .windows(8)
            .any(|word| word.eq_ignore_ascii_case(b"trailers"))
    });
    hops::count(head);
    let headers = &mut head.headers;
    strip(headers);
    headers.remove(HTTP2_SETTINGS);
    let waits = headers
        .remove(EXPECT)
        .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(TE);
    }
    if websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    name_certificate(headers, record.client.certificate());
    append(headers, FORWARDED_FOR, record.client.forwarded_for());
    let scheme = if secure { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    append(headers, VIA, &HeaderValue::from_static(version));
    if !headers.contains_key(FORWARDED_HOST) {
        let asked = match head.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => headers.get(HOST).cloned(),
        };
        if let Some(asked) = asked {
            headers.insert(FORWARDED_HOST, asked);
        }
    }
    waits
}

/// Remove from trailers what frames or routes a message: nobody may take it
/// from there (RFC 9110, section 6.5.1), and an HTTP/2 peer would have to take
/// the message for malformed (RFC 9113, section 8.2.2).
pub(super) fn trailers(trailers: &mut HeaderMap) {
    if trailers.keys().any(|name| FRAMING.contains(name)) {
        for name in &FRAMING {
            trailers.remove(name);
        }
    }
}

/// Say which certificate the client showed, in place of whatever it says
/// itself: also where it showed none.
fn name_certificate(headers: &mut HeaderMap, shown: Option<&HeaderValue>) {
    forget_claims(headers);
    if let Some(shown) = shown {
        headers.insert(FORWARDED_CLIENT_CERT, shown.clone());
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    let mut before = headers.get_all(&name).iter();
    let Some(first) = before.next() else {
        headers.insert(name, value.clone());
        return;
    };
    let mut list = first.as_bytes().to_vec();
    for more in before.chain([value]) {
        list.extend_from_slice(b", ");
        list.extend_from_slice(more.as_bytes());
    }
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(name, list);
    }
}

/// Prepare a response's head for a client.
pub(super) fn response(headers: &mut HeaderMap, set: &[(HeaderName, HeaderValue)]) {
    strip(headers);
    for (name, value) in set {
        headers.insert(name.clone(), value.clone());
    }
}

/// Give a request the shape of HTTP/1.1: origin form, and the host as a field.
pub(super) fn to_http1<B>(request: &mut Request<B>) {
    if request.version() == Version::HTTP_2 {
        join_cookies(request.headers_mut());
    }
    *request.version_mut() = Version::HTTP_11;
    if request.uri().authority().is_none() {
        return;
    }
    let uri = std::mem::take(request.uri_mut()).into_parts();
    if let Some(host) = uri
        .authority
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
    {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = Uri::from(
        uri.path_and_query
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
    );
}

/// Name the server where a client named no host, as HTTP/1.0 allows: a request
/// of a later version must have one (RFC 9112, section 3.2).
pub(super) fn name_host<B>(request: &mut Request<B>, server: &str) {
    if request.uri().authority().is_none() && !request.headers().contains_key(HOST) {
        let named = HeaderValue::from_str(server).ok();
        let named = named.filter(|_| !server.starts_with("unix:"));
        let host = named.unwrap_or(HeaderValue::from_static("localhost"));
        request.headers_mut().insert(HOST, host);
    }
}

/// Say how a body ends whose length is not declared. The engine would work it
/// out, but takes for granted that GET and HEAD have no body, and then drops
/// what was sent with them: the server would get another request.
pub(super) fn frame_http1(headers: &mut HeaderMap) {
    if !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// HTTP/2 may split cookies into fields; HTTP/1.1 knows one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(http::header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut whole = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(whole) = HeaderValue::from_bytes(&whole) {
        headers.insert(http::header::COOKIE, whole);
    }
}

/// Give a request the shape of HTTP/2: no `Host`, all of it in the target.
/// `None` if its host cannot stand in an authority.
pub(super) fn to_http2<B>(request: &mut Request<B>, secure: bool) -> Option<()> {
    *request.version_mut() = Version::HTTP_2;
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    let host = request.headers_mut().remove(HOST);
    if uri.authority.is_none() {
        let host = host?;
        uri.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    }
    uri.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    if uri.path_and_query.is_none() {
        uri.path_and_query = Some(PathAndQuery::from_static("/"));
    }
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Orders;
    use crate::proxy::registry::Registry;

    fn prepared(fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).expect("a request").into_parts().0;
        let registry = Registry::new();
        let scope = registry.scope("web".into(), Orders::default());
        let guard = registry.enter(&scope, ([10, 0, 0, 9], 1).into());
        super::request(&mut head, &guard, true, false);
        head
    }

    #[test]
    fn nominated_fields_are_removed() {
        let head = prepared(&[
            ("host", "a"),
            ("connection", "close, x-secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, Trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
        ]);
        for gone in [
            "connection",
            "x-secret",
            "x-other",
            "keep-alive",
            "upgrade",
            "http2-settings",
        ] {
            assert!(!head.headers.contains_key(gone), "{gone}");
        }
        assert_eq!(head.headers[TE], "trailers");
        assert_eq!(head.headers[HOST], "a");
    }

    #[test]
    fn a_response_loses_what_any_connection_field_nominates() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (CONNECTION, "x-one"),
            (CONNECTION, "keep-alive, \u{e9}, x-two"),
            (HeaderName::from_static("x-one"), "1"),
            (HeaderName::from_static("x-two"), "2"),
            (HeaderName::from_static("x-kept"), "3"),
        ] {
            headers.append(
                name,
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            );
        }
        response(&mut headers, &[]);
        assert_eq!(headers.len(), 1, "{headers:?}");
        headers.insert(KEEP_ALIVE, HeaderValue::from_static("timeout=5"));
        response(&mut headers, &[]);
        assert_eq!(headers.len(), 1, "without Connection: {headers:?}");
    }

    #[test]
    fn trailers_frame_nothing() {
        let mut map = HeaderMap::new();
        for name in ["content-length", "transfer-encoding", "connection", "x-sum"] {
            map.insert(name, HeaderValue::from_static("1"));
        }
        trailers(&mut map);
        assert_eq!(map.len(), 1, "{map:?}");
        assert!(map.contains_key("x-sum"));
    }

    #[test]
    fn a_body_without_a_length_is_framed_whatever_the_method() {
        let mut headers = HeaderMap::new();
        frame_http1(&mut headers);
        assert_eq!(headers[TRANSFER_ENCODING], "chunked");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        frame_http1(&mut headers);
        assert!(!headers.contains_key(TRANSFER_ENCODING));
    }

    #[test]
    fn the_host_cannot_be_nominated_away() {
        let head = prepared(&[
            ("host", "a"),
            ("connection", "host, content-length"),
            ("content-length", "3"),
        ]);
        assert_eq!(head.headers[HOST], "a");
        assert_eq!(head.headers["content-length"], "3");
    }

    #[test]
    fn the_way_is_recorded() {
        let head = prepared(&[
            ("host", "a"),
            ("x-forwarded-for", "1.1.1.1"),
            ("via", "1.0 edge"),
        ]);
        assert_eq!(head.headers[FORWARDED_FOR], "1.1.1.1, 10.0.0.9");
        assert_eq!(head.headers[VIA], "1.0 edge, 1.1 ebbtide");
        assert_eq!(head.headers[FORWARDED_PROTO], "https");
        assert_eq!(head.headers[FORWARDED_HOST], "a");
    }

    #[test]
    fn a_client_cannot_say_which_certificate_it_showed() {
        let forged = [
            ("host", "a"),
            ("x-forwarded-client-cert", "Hash=1"),
            ("X-Forwarded-Client-Cert", "Hash=2"),
            ("x_forwarded_client_cert", "Hash=3"),
            ("x-forwarded_client-cert", "Hash=4"),
        ];
        let head = prepared(&forged);
        let left: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        assert!(!left.iter().any(|name| name.contains("cert")), "{left:?}");
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_CLIENT_CERT, HeaderValue::from_static("Hash=1"));
        name_certificate(&mut headers, Some(&HeaderValue::from_static("Hash=ours")));
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[FORWARDED_CLIENT_CERT], "Hash=ours");
    }

    #[test]
    fn a_request_without_a_host_names_the_server() {
        for (server, named) in [("10.0.0.1:80", "10.0.0.1:80"), ("unix:/s", "localhost")] {
            let mut request = Request::from_parts(prepared(&[]), ());
            name_host(&mut request, server);
            assert_eq!(request.headers()[HOST], named);
            name_host(&mut request, "other");
            assert_eq!(request.headers()[HOST], named);
        }
    }

    #[test]
    fn cookies_are_joined_where_http2_split_them() {
        for (version, joined) in [(Version::HTTP_2, 1), (Version::HTTP_11, 2)] {
            // Neither names the host in its target.
            let fields = [("host", "a"), ("cookie", "a=1"), ("cookie", "b=2")];
            let mut request = Request::from_parts(prepared(&fields), ());
            *request.version_mut() = version;
            to_http1(&mut request);
            let cookies = request.headers().get_all("cookie").iter();
            assert_eq!(cookies.count(), joined, "{version:?}");
        }
    }

    #[test]
    fn the_shapes_convert_into_each_other() {
        let mut request = Request::from_parts(prepared(&[("host", "a:81")]), ());
        to_http2(&mut request, false).expect("a host");
        assert_eq!(*request.uri(), "http://a:81/x");
        assert!(!request.headers().contains_key(HOST));
        request
            .headers_mut()
            .append("cookie", "a=1".parse().expect("a value"));
        request
            .headers_mut()
            .append("cookie", "b=2".parse().expect("a value"));
        to_http1(&mut request);
        assert_eq!(*request.uri(), "/x");
        assert_eq!(request.headers()[HOST], "a:81");
        assert_eq!(request.headers()["cookie"], "a=1; b=2");
    }
}
