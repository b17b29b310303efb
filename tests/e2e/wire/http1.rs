//! Request heads of HTTP/1 that cannot be read, or can be read in two ways.

use super::{HONEST, OK, Wire, all_of, assert_refused};
use crate::drain::scene::until_connections;
use crate::support::within;
use std::time::Duration;

/// What is wrong, what is sent, and the status that says so.
type Case = (&'static str, &'static str, u16);

/// Each goes on with a request that must not be taken for one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// How long is the body? (RFC 9112, section 6)
#[rustfmt::skip]
const FRAMING: [Case; 27] = [
    ("length with chunked", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked with length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    ("two lengths, equal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
    ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nh", 400),
    ("a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nh", 400),
    ("a length in hexadecimal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400),
    ("a length with a fraction", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nhello", 400),
    ("a length of two words", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello", 400),
    ("no length after all", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello", 400),
    ("a length beyond 2^63-1", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 413),
    ("a length beyond 2^64", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello", 413),
    // Read as octal by some.
    ("a length with a leading zero", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 010\r\n\r\nhello", 400),
    ("a coding before chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("another coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 400),
    ("identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400),
    ("chunked twice in one field", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked in two fields", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("identity after chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    ("nearly chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked in quotes", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
    ("a vertical tab before chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("a form feed after chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0c\r\n\r\n0\r\n\r\n", 400),
    ("chunked on the next line", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    ("a blank after the name", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
];

/// Where does a line end, and what is a field? (RFC 9112, sections 2.2 and 5)
#[rustfmt::skip]
const LINES: [Case; 17] = [
    ("bare LF in the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    ("bare LF at the end of the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    ("bare CR in the request line", "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    ("bare CR in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\rY: a\r\n\r\n", 400),
    ("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    ("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a control in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", 400),
    ("a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    ("a blank before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("a blank before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    ("a field without a name", "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", 400),
    ("a field without a colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
    ("a name that is no token", "GET / HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n", 400),
    ("an option that is no text", "GET / HTTP/1.1\r\nHost: a\r\nConnection: \u{e9}, close\r\n\r\n", 400),
];

/// Who is asked? (RFC 9112, section 3.2; RFC 9110, section 7.2)
#[rustfmt::skip]
const HOSTS: [Case; 11] = [
    ("no Host", "GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("two Hosts, equal", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("a list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    ("user information in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    ("a path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400),
    ("a port that is no number", "GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", 400),
    ("user information in the target", "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("Host against the target", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
    ("no Host beside the target", "GET http://a/ HTTP/1.1\r\n\r\n", 400),
];

/// What is asked? (RFC 9112, section 3). A version that is not ours is 505,
/// also 1.2, which others serve as 1.1: nobody sends it in good faith.
#[rustfmt::skip]
const REQUEST_LINES: [Case; 24] = [
    ("two blanks", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a blank at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("a blank at the beginning", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a blank in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("no version, as in HTTP/0.9", "GET /\r\n\r\n", 400),
    ("HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    ("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("HTTP/3.0", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ("another preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 505),
    ("a version of two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    ("a version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("another protocol", "OPTIONS sip:a SIP/2.0\r\nHost: a\r\n\r\n", 400),
    ("a method that is no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("an authority as target", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("an asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
    ("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
];

/// What is not HTTP at all.
#[rustfmt::skip]
const GARBAGE: [Case; 5] = [
    ("noise", "\u{1}\u{2}\u{3}\u{4}\u{5}\r\n\r\n", 400),
    ("a line of text", "hello\r\n\r\n", 400),
    ("SMTP", "EHLO localhost\r\n", 400),
    ("a TLS ClientHello", "\u{16}\u{3}\u{1}\0\u{4f}\u{1}\0\0\u{4b}\u{3}\u{3}", 400),
    ("the middle of something", ": x\r\n\r\n", 400),
];

#[tokio::test]
async fn every_bad_head_is_refused_and_nothing_of_it_is_passed_on() {
    let wire = Wire::new().await;
    let groups = [&FRAMING[..], &LINES, &HOSTS, &REQUEST_LINES, &GARBAGE];
    for (what, bytes, status) in groups.into_iter().flatten() {
        let before = wire.seen();
        let mut client = wire.raw().await;
        client.send(bytes).await.expect("sent");
        // May fail where the refusal is already on its way: that is its right.
        let _ = client.send(SMUGGLED).await;
        assert_refused(&all_of(client, what).await, *status, what);
        wire.serves_as_before(&before, what).await;
    }
    wire.over().await;
}

/// A request line that is longer than a head may be is 414, everything after
/// it 431 (RFC 9110, section 15.5.15; RFC 6585, section 5).
#[tokio::test]
async fn what_is_too_large_is_refused_as_soon_as_it_is() {
    let wire = Wire::new().await;
    let long = "a".repeat(9_000);
    let line = format!("X: {}\r\n", "y".repeat(1_000));
    let (many, large) = ("X: y\r\n".repeat(21), line.repeat(9));
    for (what, bytes, status) in [
        ("a long target", format!("GET /{long}"), 414),
        ("a long method", long.clone(), 414),
        (
            "a long value",
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}"),
            431,
        ),
        (
            "a long name",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{long}"),
            431,
        ),
        (
            "many fields",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{many}"),
            431,
        ),
        (
            "a large head",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{large}\r\n"),
            431,
        ),
    ] {
        let before = wire.seen();
        let mut client = wire.raw().await;
        client.send(&bytes).await.expect("sent");
        assert_refused(&all_of(client, what).await, status, what);
        wire.serves_as_before(&before, what).await;
    }
    // As large as it may be.
    let fields = "X: y\r\n".repeat(19);
    let mut client = wire.raw().await;
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    client.send(head).await.expect("sent");
    client.read_until(OK).await.expect("an answer");
    wire.over().await;
}

#[tokio::test]
async fn a_head_that_drips_is_too_slow_however_often_it_drips() {
    let wire = Wire::with(", head_time = \"300ms\"").await;
    let before = wire.seen();
    let mut client = wire.raw().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nX: ")
        .await
        .expect("sent");
    // Far longer than it may take, but each pause is short.
    let drip = async {
        loop {
            if client.send("y").await.is_err() {
                return;
            }
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(10), client.head()).await
            {
                assert_refused(&answer.expect("a head"), 408, "a slow head");
                return;
            }
        }
    };
    within("408", drip).await;
    wire.serves_as_before(&before, "a slow head").await;
    wire.over().await;
}

#[tokio::test]
async fn a_good_request_is_answered_before_the_bad_one_after_it() {
    let wire = Wire::new().await;
    let bad = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    for (what, after) in [("a bad request", bad), ("garbage", "\u{1}\u{2}\r\n")] {
        for good in [1, 3] {
            let before = wire.seen();
            let mut client = wire.raw().await;
            let bytes = HONEST.repeat(good) + after + SMUGGLED;
            client.send(bytes).await.expect("sent");
            for _ in 0..good {
                let answer = client.read_until(OK).await.expect("an answer");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {answer}");
            }
            assert_refused(&all_of(client, what).await, 400, what);
            let seen = wire.seen();
            let new = &seen.heads[before.heads.len()..];
            assert_eq!(new.len(), good, "{what}: {new:?}");
            assert!(new.iter().all(|head| head.starts_with("GET /honest ")));
        }
    }
    wire.over().await;
}

/// RFC 9112, section 9.6: the client might take a refusal for the end of its
/// answer, where that has none but the connection's.
#[tokio::test]
async fn what_follows_a_last_request_is_not_answered() {
    let wire = Wire::new().await;
    for (first, ends) in [
        ("GET /bytes/2 HTTP/1.0\r\n\r\n", "\r\n\r\n\0\u{1}"),
        ("GET / HTTP/1.0\r\n\r\n", OK),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", OK),
    ] {
        for after in ["\u{1}\u{2}\r\n", "GET / HTTP/1.1\r\n\r\n", SMUGGLED] {
            let mut client = wire.raw().await;
            let bytes = first.to_owned() + after;
            client.send(bytes).await.expect("sent");
            let answers = all_of(client, first).await;
            assert!(answers.ends_with(ends), "{first}{after}: {answers}");
        }
    }
    wire.over().await;
}

/// RFC 9110, section 7.8: a server may ignore what it is offered.
#[tokio::test]
async fn an_offer_of_h2c_is_ignored_and_not_passed_on() {
    let wire = Wire::new().await;
    let mut client = wire.raw().await;
    client
        .send(
            "GET /offer HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
        )
        .await
        .expect("sent");
    let answer = client.read_until(OK).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = wire.seen();
    let head = seen.heads.last().expect("a head");
    assert!(head.starts_with("GET /offer HTTP/1.1\n"), "{head}");
    for field in ["upgrade:", "http2-settings:", "connection:"] {
        assert!(!head.contains(&format!("\n{field}")), "{head}");
    }
    // It goes on as HTTP/1.1.
    client.send(HONEST).await.expect("sent");
    client.read_until(OK).await.expect("an answer");
    drop(client);
    wire.over().await;
}

#[tokio::test]
async fn a_client_that_leaves_amid_a_head_leaves_nothing_behind() {
    let wire = Wire::new().await;
    let before = wire.seen();
    for cut in [1, 10, 30] {
        let mut client = wire.raw().await;
        client.send(&HONEST[..cut]).await.expect("sent");
        client.finish().await.expect("FIN");
        assert_eq!(all_of(client, "half a head").await, "");
    }
    wire.serves_as_before(&before, "half a head").await;
    until_connections(&wire.proxy, "nobody", <[_]>::is_empty).await;
    wire.over().await;
}
