//! The strict reading, by example: what passes to the byte, what waits, and
//! what is refused because it can be read two ways. Every example is also fed
//! one byte at a time, which must not change the verdict.

use super::*;

fn feed(bytes: &[u8]) -> Result<Vec<usize>, Refusal> {
    let mut framing = Framing::new(1024, 10);
    let mut rest = bytes;
    let mut passed = Vec::new();
    while !rest.is_empty() {
        match framing.advance(rest) {
            Step::Pass(n) => {
                passed.push(n);
                rest = &rest[n..];
            }
            Step::More => break,
            Step::Refuse(refusal) => return Err(refusal),
        }
    }
    Ok(passed)
}

/// The same bytes, one more at a time, must be read the same way.
fn trickle(bytes: &[u8]) -> Result<usize, Refusal> {
    let mut framing = Framing::new(1024, 10);
    let (mut from, mut passed) = (0, 0);
    for to in 1..=bytes.len() {
        while from < to {
            match framing.advance(&bytes[from..to]) {
                Step::Pass(n) => {
                    from += n;
                    passed += n;
                }
                Step::More => break,
                Step::Refuse(refusal) => return Err(refusal),
            }
        }
    }
    Ok(passed)
}

fn both(bytes: &[u8]) -> Result<usize, Refusal> {
    let whole = feed(bytes).map(|parts| parts.iter().sum());
    assert_eq!(whole, trickle(bytes), "{}", bytes.escape_ascii());
    whole
}

#[test]
fn whole_requests_pass_to_the_byte() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(both(get), Ok(get.len()));
    let pipelined = [&get[..], b"\r\n", get].concat();
    assert_eq!(both(&pipelined), Ok(pipelined.len()));
    let post =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /x HTTP/1.0\r\n\r\n";
    assert_eq!(both(post), Ok(post.len()));
    let chunked = b"POST / HTTP/1.1\r\nhost:a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(both(chunked), Ok(chunked.len()));
}

#[test]
fn half_a_head_waits() {
    assert_eq!(both(b"GET / HTTP/1.1\r\nHost: a\r\n"), Ok(0));
    assert_eq!(both(b"GET / HTTP/1.1\r\nHost: a\r\n\r"), Ok(0));
}

#[test]
fn two_readings_are_refused() {
    let bad: [(&[u8], Refusal); 24] = [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Malformed),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Refusal::Malformed),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", Refusal::Malformed),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", Refusal::Malformed),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", Refusal::TooLarge),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Refusal::UnknownCoding),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Malformed),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.1\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.1\nHost: a\n\n", Refusal::Malformed),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Refusal::Malformed),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Malformed),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refusal::Version),
        (b"GET / HTTQ/1.1\r\nHost: a\r\n\r\n", Refusal::Malformed),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", Refusal::Malformed),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n", Refusal::Malformed),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX", Refusal::Malformed),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n", Refusal::Malformed),
    ];
    for (bytes, refusal) in bad {
        assert_eq!(both(bytes), Err(refusal), "{}", bytes.escape_ascii());
    }
}

#[test]
fn limits_hold() {
    let long = [b"GET /".as_slice(), &[b'a'; 1100]].concat();
    assert_eq!(both(&long), Err(Refusal::TargetTooLong));
    let wide = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 1100]].concat();
    assert_eq!(both(&wide), Err(Refusal::HeadTooLarge));
    let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"X: y\r\n".repeat(11)].concat();
    assert_eq!(both(&many), Err(Refusal::HeadTooLarge));
}
