//! Request bodies of HTTP/1 whose chunks cannot be read, or in two ways (RFC
//! 9112, section 7.1).
//!
//! Their heads are good and passed on; what must not happen is that a server
//! takes the body for whole, or what follows for a request.

use super::{Wire, all_of, assert_refused};

const HEAD: &str = "POST /sink HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

const BAD: [(&str, &str); 19] = [
    ("a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
    ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
    ("an empty size", "\r\nhello\r\n0\r\n\r\n"),
    ("a size that is no number", "five\r\nhello\r\n0\r\n\r\n"),
    ("a blank before the size", " 5\r\nhello\r\n0\r\n\r\n"),
    ("a blank after the size", "5 \r\nhello\r\n0\r\n\r\n"),
    ("an underscore in the size", "0_5\r\nhello\r\n0\r\n\r\n"),
    (
        "a size of 64 bits",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "a size of 68 bits",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    ("bare LF after the size", "5\nhello\r\n0\r\n\r\n"),
    ("bare CR after the size", "5\rhello\r\n0\r\n\r\n"),
    ("bare LF after the data", "5\r\nhello\n0\r\n\r\n"),
    ("nothing after the data", "5\r\nhello0\r\n\r\n"),
    ("more data than said", "5\r\nhello, world\r\n0\r\n\r\n"),
    ("bare LF in an extension", "5;x\ny\r\nhello\r\n0\r\n\r\n"),
    ("bare LF after the last chunk", "5\r\nhello\r\n0\n\n"),
    ("a trailer that is no field", "5\r\nhello\r\n0\r\nX\r\n\r\n"),
    ("a folded trailer", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
];

#[tokio::test]
async fn a_bad_chunk_ends_the_exchange_and_nothing_after_it_is_read() {
    let wire = Wire::new().await;
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(300));
    let long_size = format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(300));
    let long_trailer = format!("0\r\nX: {}\r\n\r\n", "y".repeat(9_000));
    let more = [
        ("a long extension", &*long_extension),
        ("a size with 300 zeros", &long_size),
        ("a long trailer", &long_trailer),
    ];
    for (what, body) in BAD.into_iter().chain(more) {
        let before = wire.seen();
        let mut client = wire.raw().await;
        client.send(HEAD).await.expect("sent");
        let desk = &wire.server.desk;
        desk.until("the request", |seen| seen.requests > before.requests)
            .await;
        client.send(body).await.expect("sent");
        let _ = client.send(SMUGGLED).await;
        assert_refused(&all_of(client, what).await, 400, what);
        // The server sees that it is not whole.
        let seen = desk
            .until("its end", |seen| seen.cancelled > before.cancelled)
            .await;
        assert_eq!(seen.finished, before.finished, "{what}: {seen:?}");
        wire.serves_as_before(&seen, what).await;
    }
    wire.over().await;
}

#[tokio::test]
async fn what_is_odd_but_clear_is_passed_on() {
    let wire = Wire::new().await;
    for (what, body) in [
        ("an extension", "5;name=value\r\nhello\r\n0\r\n\r\n"),
        (
            "an extension in quotes",
            "5;name=\"a b\"\r\nhello\r\n0\r\n\r\n",
        ),
        ("zeros before the size", "0005\r\nhello\r\n000\r\n\r\n"),
        ("a trailer", "5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    ] {
        let mut client = wire.raw().await;
        let head = HEAD.replace("/sink", "/echo");
        client.send(head + body).await.expect("sent");
        let answer = client.read_until("hello\r\n").await.expect(what);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {answer}");
    }
    wire.over().await;
}

#[tokio::test]
async fn a_body_that_ends_early_is_not_taken_for_whole() {
    let wire = Wire::new().await;
    let length = "POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello";
    for (what, bytes) in [
        ("a length", length.to_owned()),
        ("a chunk", format!("{HEAD}5\r\nhel")),
        ("no last chunk", format!("{HEAD}5\r\nhello\r\n")),
        ("trailers", format!("{HEAD}5\r\nhello\r\n0\r\nX: y\r\n")),
    ] {
        let before = wire.seen();
        let mut client = wire.raw().await;
        client.send(bytes).await.expect("sent");
        client.finish().await.expect("FIN");
        let _ = client.rest().await;
        let desk = &wire.server.desk;
        let seen = desk
            .until("its end", |seen| seen.cancelled > before.cancelled)
            .await;
        assert_eq!(seen.finished, before.finished, "{what}: {seen:?}");
    }
    wire.over().await;
}
