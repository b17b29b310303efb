//! Reading the head of a server's answer strictly: whether it is one to the
//! request, and where it ends.
//!
//! The engine is lenient where a server contradicts itself: it takes
//! `Transfer-Encoding` before `Content-Length`, the last of several codings,
//! and the first of several equal lengths. What it took is not what another
//! reader takes, the client behind it among them, and a coding that is not
//! undone would be passed on as if it were none (RFC 9112, section 6). So what
//! does not say in one way where it ends is an error, and its connection is
//! closed. So is 101 to a request that asked for no upgrade: what follows it is
//! not HTTP any more.
//!
//! The frames of HTTP/2 end a message, but its client may have to be told where
//! in HTTP/1: what is odd in a length, a name or a value is refused there too.
//! Content where there can be none reaches nobody.
//!
//! Deliberately absent: what else the fields say.

use crate::proxy::body::{Body, is_no_name, is_padded};
use crate::proxy::error::{Error, Result};
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, StatusCode};

/// Whether an answer can be passed on; `upgrade` if the request asked for one.
///
/// # Errors
/// [`Error::Malformed`], with what is wrong.
pub(super) fn check(head: &Parts, upgrade: bool) -> Result<()> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS && !upgrade {
        return Err(Error::Malformed("101 to a request for no upgrade"));
    }
    framing(&head.headers)
}

/// The same of an answer of HTTP/2.
///
/// # Errors
/// [`Error::Malformed`], with what is wrong.
pub(super) fn check_http2(head: &Parts) -> Result<()> {
    if head.headers.keys().any(is_no_name) {
        return Err(Error::Malformed("a name that is none"));
    }
    if head.headers.values().any(is_padded) {
        return Err(Error::Malformed("a value with white space around it"));
    }
    length(&head.headers)
}

/// The content of an answer of HTTP/2: none of it, if its status allows none
/// (RFC 9110, section 6.4.1). Such an answer ends with its head, as over HTTP/1.
pub(super) fn content(head: &Parts, stream: RecvStream) -> Body {
    match head.status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Body::Empty,
        _ => Body::Http2(stream),
    }
}

fn framing(headers: &HeaderMap) -> Result<()> {
    let Some(coding) = headers.get(TRANSFER_ENCODING) else {
        return length(headers);
    };
    if headers.contains_key(CONTENT_LENGTH) {
        return Err(Error::Malformed("Content-Length with Transfer-Encoding"));
    }
    let only = headers.get_all(TRANSFER_ENCODING).iter().nth(1).is_none();
    if only && coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    Err(Error::Malformed("Transfer-Encoding other than chunked"))
}

fn length(headers: &HeaderMap) -> Result<()> {
    if has_odd_length(headers) {
        return Err(Error::Malformed("an odd Content-Length, or several"));
    }
    Ok(())
}

/// Whether `Content-Length` is there, and is not one number in the one way to
/// write it.
pub(super) fn has_odd_length(headers: &HeaderMap) -> bool {
    let Some(length) = headers.get(CONTENT_LENGTH) else {
        return false;
    };
    let plain = match length.as_bytes() {
        [] => false,
        [digit] => digit.is_ascii_digit(),
        // A leading zero makes it octal to some.
        digits => digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    !plain || headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn an_answer_of_http2_can_be_said_in_http1() {
        let of = |name: &str, value: &str| {
            let response = http::Response::builder();
            let name = http::HeaderName::from_lowercase(name.as_bytes()).expect("a name");
            let response = response.header(name, value).body(());
            check_http2(&response.expect("a response").into_parts().0).is_ok()
        };
        assert!(of("content-length", "5") && of("x-one", "1"));
        assert!(!of("content-length", "") && !of("content-length", "05"));
        assert!(!of("x\"", "1"));
        assert!(!of("x-one", " 1") && !of("x-one", "1\t"));
    }

    fn read(fields: &[(&str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        framing(&headers).is_ok()
    }

    #[test]
    fn nobody_switches_protocols_unasked() {
        let response = http::Response::builder().status(101).body(());
        let (head, ()) = response.expect("a response").into_parts();
        assert!(check(&head, true).is_ok());
        assert!(check(&head, false).is_err());
    }

    #[test]
    fn an_answer_ends_in_one_way() {
        const LENGTH: &str = "content-length";
        const CODING: &str = "transfer-encoding";
        for good in [
            &[][..],
            &[(LENGTH, "0")],
            &[(LENGTH, "10")],
            &[(CODING, "chunked")],
            &[(CODING, "Chunked")],
        ] {
            assert!(read(good), "{good:?}");
        }
        for bad in [
            &[(LENGTH, "5"), (LENGTH, "5")][..],
            &[(LENGTH, "")],
            &[(LENGTH, "x")],
            &[(LENGTH, "5, 5")],
            &[(LENGTH, "05")],
            &[(LENGTH, "00")],
            &[(LENGTH, "5"), (CODING, "chunked")],
            &[(LENGTH, "5"), (CODING, "identity")],
            &[(CODING, "gzip, chunked")],
            &[(CODING, "gzip")],
            &[(CODING, "chunked"), (CODING, "chunked")],
        ] {
            assert!(!read(bad), "{bad:?}");
        }
    }
}
