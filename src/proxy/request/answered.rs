//! Reading the head of an HTTP/1.1 server's answer strictly: whether it is one
//! to the request, and where it ends.
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
//! Deliberately absent: HTTP/2, whose frames end a message.

use crate::proxy::error::{Error, Result};
use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
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

fn framing(headers: &HeaderMap) -> Result<()> {
    let length = headers.get(CONTENT_LENGTH);
    let Some(coding) = headers.get(TRANSFER_ENCODING) else {
        return length.map_or(Ok(()), |length| one_length(headers, length));
    };
    if length.is_some() {
        return Err(Error::Malformed("Content-Length with Transfer-Encoding"));
    }
    let only = headers.get_all(TRANSFER_ENCODING).iter().nth(1).is_none();
    if only && coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    Err(Error::Malformed("Transfer-Encoding other than chunked"))
}

fn one_length(headers: &HeaderMap, length: &HeaderValue) -> Result<()> {
    let plain = match length.as_bytes() {
        [] => false,
        [digit] => digit.is_ascii_digit(),
        // A leading zero makes it octal to some.
        digits => digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    if plain && headers.get_all(CONTENT_LENGTH).iter().nth(1).is_none() {
        return Ok(());
    }
    Err(Error::Malformed("an odd Content-Length, or several"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
