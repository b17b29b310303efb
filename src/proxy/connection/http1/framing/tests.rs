//! The strict reading, by example: what passes to the byte, what waits, and
//! what is refused because it can be read two ways. Every example is also fed
//! one byte at a time, which must not change the verdict.

use super::*;

const BOUNDS: Bounds = Bounds {
    head: 1024,
    target: 500,
    fields: 10,
};

fn feed(bytes: &[u8]) -> Result<Vec<usize>, Refusal> {
    let mut framing = Framing::new(BOUNDS);
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
    let mut framing = Framing::new(BOUNDS);
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

fn get(target: &str, fields: &str) -> Result<usize, Refusal> {
    both(format!("GET {target} HTTP/1.1\r\n{fields}\r\n").as_bytes())
}

#[test]
fn a_target_has_one_of_the_forms() {
    let host = "Host: a\r\n";
    for good in [
        "/",
        "/a?b=/c",
        "//a",
        "http://a/b",
        "HTTPS://a:1",
        "http://[::1]:2?x",
    ] {
        assert!(get(good, host).is_ok(), "{good}");
    }
    for bad in [
        "a",
        "a:80",
        "*",
        "http://",
        "http:///x",
        "http://:80/",
        "http://u@a/",
        "ftp://a/",
        "/a#b",
        "http://a#b",
        "http://a b",
        "?x",
    ] {
        assert_eq!(get(bad, host), Err(Refusal::Malformed), "{bad}");
    }
    assert!(both(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    assert!(both(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
}

#[test]
fn a_host_is_a_name_and_a_port() {
    for good in ["", "a", "a.b:80", "a:", "[::1]", "[::1]:80", "1.2.3.4:5"] {
        assert!(get("/", &format!("Host: {good}\r\n")).is_ok(), "{good}");
    }
    for bad in [
        "a/b", "u@a", "a,b", "a b", "a:b", "a:1:2", "[::1", "[::1]a", "[::1]:a", "a[1]",
    ] {
        let refused = get("/", &format!("Host: {bad}\r\n"));
        assert_eq!(refused, Err(Refusal::Malformed), "{bad}");
    }
}

#[test]
fn only_chunked_ends_a_request() {
    for (value, refusal) in [
        ("gzip, chunked", Refusal::UnknownCoding),
        ("gzip,\tdeflate , chunked", Refusal::UnknownCoding),
        ("gzip", Refusal::Malformed),
        ("identity", Refusal::Malformed),
        ("xchunked", Refusal::Malformed),
        ("chunked, chunked", Refusal::Malformed),
        ("chunked, gzip", Refusal::Malformed),
        ("chunked,", Refusal::Malformed),
        (",chunked", Refusal::Malformed),
        ("chunked;x=1", Refusal::Malformed),
        ("\u{b}chunked", Refusal::Malformed),
        ("", Refusal::Malformed),
    ] {
        let fields = format!("Host: a\r\nTransfer-Encoding: {value}\r\n");
        assert_eq!(get("/", &fields), Err(refusal), "{value:?}");
    }
}

#[test]
fn limits_hold() {
    let long = [b"GET /".as_slice(), &[b'a'; 1100]].concat();
    assert_eq!(both(&long), Err(Refusal::TargetTooLong));
    for (length, verdict) in [(499, Ok(526)), (500, Err(Refusal::TargetTooLong))] {
        let target = "a".repeat(length);
        let whole = format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(both(whole.as_bytes()), verdict);
    }
    let wide = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 1100]].concat();
    assert_eq!(both(&wide), Err(Refusal::HeadTooLarge));
    let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"X: y\r\n".repeat(11)].concat();
    assert_eq!(both(&many), Err(Refusal::TooManyFields));
}

#[test]
fn a_name_that_some_read_as_framing_is_refused() {
    for name in ["Content_Length", "transfer_encoding", "TRANSFER_Encoding"] {
        let refused = get("/", &format!("Host: a\r\n{name}: 5\r\n"));
        assert_eq!(refused, Err(Refusal::Malformed), "{name}");
    }
    for name in ["Content-Lengths", "Content.Length", "X_Transfer_Coding"] {
        let passed = get("/", &format!("Host: a\r\n{name}: 5\r\n"));
        assert!(passed.is_ok(), "{name}");
    }
}

#[test]
fn extensions_of_a_chunk_follow_their_grammar() {
    let chunk = |extensions: &str| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        both(format!("{head}5{extensions}\r\nhello\r\n0\r\n\r\n").as_bytes())
    };
    for good in [
        ";x",
        ";x=y",
        ";x=y;z",
        ";x=\"a;b\"",
        ";x=\"a\\\"b\";y=z",
        "; x",
        ";\tx= y",
        ";x=\"\"",
        ";x=\"\u{e9}\"",
    ] {
        assert!(chunk(good).is_ok(), "{good}");
    }
    for bad in [
        ";",
        ";;x",
        ";x;",
        ";=y",
        ";x=",
        " ;x",
        ";x ;y",
        ";x y",
        ";x=y z",
        ";x=\"a",
        ";x=\"a\"b",
        ";x=\"a\\\"",
        ";x=\"\u{1}\"",
        ";x\u{7f}",
        ";x\u{1}",
        ";x=(y)",
    ] {
        assert_eq!(chunk(bad), Err(Refusal::Malformed), "{bad:?}");
    }
}

#[test]
fn the_longest_chunk_line_passes_however_it_is_cut() {
    let chunked = |extension: usize| {
        let name = "x".repeat(extension);
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{name}\r\na\r\n0\r\n\r\n"
        )
    };
    let longest = chunked(254);
    assert_eq!(both(longest.as_bytes()), Ok(longest.len()));
    assert_eq!(both(chunked(255).as_bytes()), Err(Refusal::Malformed));
}
