//! Which web page may ask for a change: the one that this interface serves.
//!
//! A browser says of what its pages send which origin that page has (`Origin`,
//! RFC 6454, section 7) and how that stands to the address asked (`Sec-Fetch-Site`,
//! W3C Fetch Metadata); a page can change neither. Three things must agree, none
//! of which rests on another: the origin is the one that was asked; the browser
//! calls it the same; and there is a field that a form cannot send, and a page of
//! another origin only after asking for leave (CORS), which nobody gets here.
//! [Decision 0020](../../docs/decisions/0020-the-live-page.md) has the reasons.
//!
//! Invariant: what a browser sends for a page is refused unless all agree. A page
//! whose name was made to lead here (DNS rebinding) is of that name's origin, and
//! so agrees with itself: the name has to be proved, by TLS or by a token, or be
//! an address.
//!
//! Deliberately absent: programs. Who has neither field is none of a browser's
//! pages.

use super::auth::{Way, is_address};
use super::problem::Problem;
use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use http::request::Parts;

/// Of which page a request is, in the browser's words.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// What the page that is served here puts into each of its requests, with the
/// value [`OURS`].
const PAGE: &str = "x-ebbtide-page";
const OURS: &str = "1";

/// Whether a change may be asked for by this kind of client; `has_token` if it
/// has one of those configured, which no page of others can.
pub(super) fn refuse_pages(head: &Parts, way: Way, has_token: bool) -> Result<(), Problem> {
    let headers = &head.headers;
    let of_page = headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE);
    if head.method.is_safe() || !of_page || is_own(headers, way, has_token) {
        return Ok(());
    }
    Err(Problem::forbidden(
        "a web page may not change anything here, except the one at / (the request \
         has an Origin or a Sec-Fetch-Site field)",
    ))
}

fn is_own(headers: &HeaderMap, way: Way, has_token: bool) -> bool {
    let scheme = if way.tls { "https://" } else { "http://" };
    let (Some(host), Some(origin)) = (only(headers, HOST.as_str()), only(headers, ORIGIN.as_str()))
    else {
        return false;
    };
    let same = origin
        .strip_prefix(scheme)
        .is_some_and(|asked| asked.eq_ignore_ascii_case(host));
    // Browsers say it where what is asked for could be kept secret: over TLS and
    // on this machine. Elsewhere there is a token, or nobody is let in.
    let site = match only(headers, SEC_FETCH_SITE) {
        Some(site) => site == "same-origin",
        None => has_token && !headers.contains_key(SEC_FETCH_SITE),
    };
    let proved = way.tls || has_token || is_address(host);
    same && site && proved && only(headers, PAGE) == Some(OURS)
}

/// The value of a field that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const BY_TCP: Way = Way {
        inet: true,
        tls: false,
        certificate: false,
    };
    const OVER_TLS: Way = Way {
        tls: true,
        ..BY_TCP
    };
    const UNIX: Way = Way {
        inet: false,
        ..BY_TCP
    };

    /// What the page sends from the proxy's own address.
    const OWN: [(&str, &str); 4] = [
        ("host", "127.0.0.1:9900"),
        ("origin", "http://127.0.0.1:9900"),
        ("sec-fetch-site", "same-origin"),
        ("x-ebbtide-page", "1"),
    ];

    fn head(method: &str, fields: &[(&str, &str)]) -> Parts {
        let request = fields.iter().fold(
            Request::builder().method(method),
            |request, (name, value)| request.header(*name, *value),
        );
        request.body(()).expect("a request").into_parts().0
    }

    fn allowed(fields: &[(&str, &str)], way: Way, has_token: bool) -> bool {
        refuse_pages(&head("POST", fields), way, has_token).is_ok()
    }

    /// The same fields with one of another value, or without it.
    fn with(name: &str, value: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
        let others = OWN.into_iter().filter(|(known, _)| *known != name);
        let name = OWN.iter().find(|(known, _)| *known == name);
        let (name, _) = name.expect("one of them");
        others.chain(value.map(|value| (*name, value))).collect()
    }

    #[test]
    fn pages_of_others_may_look_and_not_touch() {
        let page = [
            ("host", "127.0.0.1"),
            ("origin", "http://elsewhere.example"),
        ];
        for method in ["GET", "HEAD"] {
            assert!(refuse_pages(&head(method, &page), BY_TCP, false).is_ok());
        }
        for method in ["POST", "DELETE", "PUT"] {
            assert!(refuse_pages(&head(method, &page), BY_TCP, false).is_err());
        }
        assert!(
            allowed(&[("host", "127.0.0.1")], BY_TCP, false),
            "a program"
        );
    }

    #[test]
    fn the_page_that_is_served_here_may_ask() {
        assert!(allowed(&OWN, BY_TCP, false));
        assert!(allowed(&OWN, UNIX, false), "forwarded to a Unix socket");
        assert!(allowed(&OWN, BY_TCP, true));
    }

    #[test]
    fn each_of_the_three_is_asked_for() {
        for (name, wrong) in [
            ("origin", "http://127.0.0.1:9901"),
            ("origin", "https://127.0.0.1:9900"),
            ("origin", "http://127.0.0.1"),
            ("origin", "http://127.0.0.1:9900.evil.example"),
            ("origin", "null"),
            ("origin", ""),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", ""),
            ("x-ebbtide-page", "0"),
            ("x-ebbtide-page", ""),
            ("host", "127.0.0.1:9901"),
        ] {
            let fields = with(name, Some(wrong));
            assert!(!allowed(&fields, BY_TCP, false), "{name}: {wrong}");
            assert!(!allowed(&fields, BY_TCP, true), "{name}: {wrong}");
        }
        for name in ["origin", "sec-fetch-site", "x-ebbtide-page", "host"] {
            assert!(!allowed(&with(name, None), BY_TCP, false), "no {name}");
            let twice = [&OWN[..], &with(name, None), &OWN[..]].concat();
            assert!(!allowed(&twice, BY_TCP, false), "{name} twice");
        }
    }

    #[test]
    fn a_name_that_leads_here_is_no_origin_of_ours() {
        let rebound = [
            ("host", "evil.example:9900"),
            ("origin", "http://evil.example:9900"),
            ("sec-fetch-site", "same-origin"),
            ("x-ebbtide-page", "1"),
        ];
        assert!(!allowed(&rebound, BY_TCP, false));
        assert!(!allowed(&rebound, UNIX, false), "also if forwarded");
        assert!(allowed(&rebound, BY_TCP, true), "no page has a token");
        let mut proved = rebound;
        proved[1].1 = "https://evil.example:9900";
        assert!(allowed(&proved, OVER_TLS, false), "TLS proves a name");
    }

    #[test]
    fn with_a_token_a_browser_that_says_nothing_is_believed() {
        let silent = with("sec-fetch-site", None);
        assert!(allowed(&silent, BY_TCP, true));
        assert!(!allowed(&silent, BY_TCP, false));
    }
}
