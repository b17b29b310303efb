//! How far a request may still go.
//!
//! A request that has been through here often enough goes in a circle: a route
//! leads back to a listener, here or by way of others. `Via` tells (RFC 9110,
//! section 7.6.3). One passage is no circle, since one Ebbtide may well stand
//! before another; so passages are counted, which needs no name of its own for
//! each process and ends circles through any number of them.
//!
//! `Max-Forwards` is for those who look for such a circle (section 7.6.2): at
//! zero, OPTIONS and TRACE are answered here. TRACE is not answered with its
//! own head, which would show the client what others added to it.
//!
//! Deliberately absent: `Max-Forwards` of any other method, which says nothing.

use http::header::{HeaderMap, HeaderValue, MAX_FORWARDS, VIA};
use http::request::Parts;
use http::{Method, StatusCode};

/// How often a request may have been through Ebbtide.
const PASSAGES: usize = 8;

/// What this proxy is called in `Via`.
const NAME: &[u8] = b"ebbtide";

/// Whether a request may go on, or the answer that it gets here.
pub(super) fn check(head: &Parts) -> Result<(), (StatusCode, &'static str)> {
    if passages(&head.headers) >= PASSAGES {
        let says = "this request goes in a circle: look at the routes on its way";
        return Err((StatusCode::LOOP_DETECTED, says));
    }
    if !is_counted(head) {
        return Ok(());
    }
    match left(&head.headers) {
        None | Some(Ok(1..)) => Ok(()),
        Some(Err(())) => Err((StatusCode::BAD_REQUEST, "Max-Forwards is no number")),
        Some(Ok(0)) if head.method == Method::TRACE => {
            let says = "TRACE is not answered by this proxy";
            Err((StatusCode::METHOD_NOT_ALLOWED, says))
        }
        Some(Ok(0)) => Err((StatusCode::OK, "answered by a proxy: Max-Forwards is zero")),
    }
}

/// Note one hop more in a request that counts them.
pub(super) fn count(head: &mut Parts) {
    if is_counted(head)
        && let Some(Ok(left)) = left(&head.headers)
    {
        let less = HeaderValue::from(left.saturating_sub(1));
        head.headers.insert(MAX_FORWARDS, less);
    }
}

fn is_counted(head: &Parts) -> bool {
    matches!(head.method, Method::OPTIONS | Method::TRACE)
}

fn left(headers: &HeaderMap) -> Option<Result<u32, ()>> {
    let mut fields = headers.get_all(MAX_FORWARDS).iter();
    let digits = fields.next()?.as_bytes();
    if fields.next().is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Some(Err(()));
    }
    // What is beyond counting may be made less.
    let number = digits.iter().fold(0_u32, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    });
    Some(Ok(number))
}

/// How often `Via` names this proxy.
fn passages(headers: &HeaderMap) -> usize {
    headers
        .get_all(VIA)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter(|hop| {
            let mut words = hop.trim_ascii().split(u8::is_ascii_whitespace);
            words.nth(1) == Some(NAME)
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, fields: &[(http::HeaderName, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/x");
        for (name, value) in fields {
            request = request.header(name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn code(head: &Parts) -> u16 {
        check(head).map_or_else(|(code, _)| code.as_u16(), |()| 0)
    }

    #[test]
    fn a_request_that_comes_back_too_often_goes_in_a_circle() {
        let seven = ["1.1 ebbtide"; 7].join(", ");
        let mut fields = vec![(VIA, &*seven), (VIA, "1.0 edge, 1.1 ebbtides")];
        assert_eq!(code(&head(Method::GET, &fields)), 0);
        fields.push((VIA, "2 ebbtide (inside)"));
        assert_eq!(code(&head(Method::GET, &fields)), 508);
    }

    #[test]
    fn max_forwards_is_for_those_who_ask_for_the_way() {
        for (method, value, expected) in [
            (Method::OPTIONS, "0", 200),
            (Method::TRACE, "0", 405),
            (Method::GET, "0", 0),
            (Method::OPTIONS, "1", 0),
            (Method::OPTIONS, "-1", 400),
            (Method::TRACE, "", 400),
            (Method::TRACE, "99999999999", 0),
        ] {
            let head = head(method.clone(), &[(MAX_FORWARDS, value)]);
            assert_eq!(code(&head), expected, "{method} {value}");
        }
        let twice = head(Method::OPTIONS, &[(MAX_FORWARDS, "1"), (MAX_FORWARDS, "1")]);
        assert_eq!(code(&twice), 400);
    }

    #[test]
    fn each_hop_counts() {
        for (method, before, after) in [
            (Method::OPTIONS, "10", "9"),
            (Method::TRACE, "99999999999", "4294967294"),
            (Method::GET, "10", "10"),
        ] {
            let mut head = head(method, &[(MAX_FORWARDS, before)]);
            count(&mut head);
            assert_eq!(head.headers[MAX_FORWARDS], after);
        }
    }
}
