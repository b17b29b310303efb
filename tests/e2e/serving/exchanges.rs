//! One request, one answer, between every two versions.

use super::client::{full, get, nothing, open, request};
use super::field::{CLEAR, Field, Speaks, pairs};
use crate::support::clients::Raw;
use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, ETAG};
use http_body::Frame;
use std::fmt::Write as _;

#[tokio::test]
async fn a_get_is_answered_between_every_two_versions() {
    let field = Field::new().await;
    for speaks in Speaks::ALL {
        let mut client = field.client(speaks).await;
        for site in Field::SITES {
            let reply = client.ask(get(site, "/bytes/100000?q=1")).await;
            let reply = reply.unwrap_or_else(|error| panic!("{speaks:?} to {site}: {error}"));
            assert_eq!(reply.status, 200, "{speaks:?} to {site}");
            assert_eq!(reply.body.len(), 100_000, "{speaks:?} to {site}");
            let head = field.last_head(site);
            let version = if site.starts_with("h1") {
                "HTTP/1.1"
            } else {
                "HTTP/2.0"
            };
            let line = head.lines().next().unwrap_or_default();
            assert!(line.ends_with(version), "{speaks:?} to {site}: {head}");
            assert!(line.contains("/bytes/100000?q=1"), "{head}");
        }
    }
}

#[tokio::test]
async fn a_post_keeps_its_content_length() {
    let field = Field::new().await;
    for (speaks, site) in pairs(&Speaks::ALL, &Field::SITES) {
        let mut client = field.client(speaks).await;
        let mut asked = request(Method::POST, site, "/echo", full("hello"));
        asked.headers_mut().insert(CONTENT_LENGTH, 5.into());
        let reply = client.ask(asked).await.expect("a reply");
        assert_eq!(reply.text(), "hello", "{speaks:?} to {site}");
        let head = field.last_head(site);
        assert!(head.contains("\ncontent-length: 5\n"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
    }
}

#[tokio::test]
async fn an_empty_post_keeps_its_content_length() {
    let field = Field::new().await;
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let mut client = field.client(speaks).await;
        let mut asked = request(Method::POST, site, "/", nothing());
        asked.headers_mut().insert(CONTENT_LENGTH, 0.into());
        let reply = client.ask(asked).await.expect("a reply");
        assert_eq!(reply.text(), "ok", "{speaks:?} to {site}");
        let head = field.last_head(site);
        assert!(head.contains("\ncontent-length: 0\n"), "{head}");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_passes_piece_by_piece() {
    let field = Field::new().await;
    // GET too: a body is unusual there, and dropping it would change it.
    for method in [Method::POST, Method::DELETE, Method::GET] {
        for (speaks, site) in pairs(&Speaks::ALL, &Field::SITES) {
            let mut client = field.client(speaks).await;
            let (frames, body) = open();
            let sending = tokio::spawn(async move {
                for piece in ["one ", "two ", "three"] {
                    let frame = Frame::data(Bytes::from_static(piece.as_bytes()));
                    frames.send(Ok(frame)).await.expect("it is taken");
                }
            });
            let mut asked = request(method.clone(), site, "/echo", body);
            if speaks == Speaks::Http1 || speaks == Speaks::Http1Tls {
                let chunked = "chunked".parse().expect("a value");
                asked.headers_mut().insert("transfer-encoding", chunked);
            }
            let reply = client.ask(asked).await.expect("a reply");
            assert_eq!(
                reply.text(),
                "one two three",
                "{method} {speaks:?} to {site}"
            );
            sending.await.expect("it was sent");
            let head = field.last_head(site);
            assert!(!head.contains("content-length"), "{head}");
            let chunked = head.contains("\ntransfer-encoding: chunked\n");
            assert_eq!(chunked, site.starts_with("h1"), "{head}");
        }
    }
}

#[tokio::test]
async fn what_has_no_body_keeps_its_length_and_the_connection() {
    let field = Field::new().await;
    for (speaks, site) in pairs(&Speaks::ALL, &Field::SITES) {
        let mut client = field.client(speaks).await;
        let asked = request(Method::HEAD, site, "/length/70000", nothing());
        let reply = client.ask(asked).await.expect("a reply");
        assert_eq!(reply.status, 200, "HEAD, {speaks:?} to {site}");
        assert_eq!(reply.header("content-length"), Some("70000"));
        assert!(reply.body.is_empty());
        let reply = client.ask(get(site, "/status/204")).await.expect("a reply");
        assert_eq!(reply.status, 204, "{speaks:?} to {site}");
        assert_eq!(reply.header("content-length"), None);
        let reply = client.ask(get(site, "/unchanged")).await.expect("a reply");
        assert_eq!(reply.status, 304, "{speaks:?} to {site}");
        assert_eq!(reply.headers[ETAG], "\"same\"");
        // It may be left out (RFC 9110, section 15.4.5), but not be another.
        let length = reply.header("content-length");
        assert!(matches!(length, None | Some("1234")), "{length:?}");
        assert!(reply.body.is_empty());
        let reply = client.ask(get(site, "/")).await.expect("a reply");
        assert_eq!(reply.text(), "ok", "afterwards, {speaks:?} to {site}");
    }
}

#[tokio::test]
async fn connections_are_used_again_on_both_sides() {
    // A client's connection stays with one worker, which has one pool.
    let field = Field::new().await;
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let mut client = field.client(speaks).await;
        let before = field.server(site).desk.seen().connections;
        for _ in 0..20 {
            let reply = client.ask(get(site, "/")).await.expect("a reply");
            assert_eq!(reply.text(), "ok");
        }
        let made = field.server(site).desk.seen().connections - before;
        assert!(made <= 1, "{made} for {speaks:?} to {site}");
    }
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it() {
    let field = Field::new().await;
    for site in Field::SITES {
        let mut client = Raw::connect(field.proxy.address("clear")).await;
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: {site}.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        );
        client.send(head).await.expect("sent");
        let go_on = client.head().await.expect("a head");
        assert!(go_on.starts_with("HTTP/1.1 100 "), "{site}: {go_on}");
        client.send("hello").await.expect("sent");
        let head = client.head().await.expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{site}: {head}");
        client.read_until("hello").await.expect("the echo");
    }
}

#[tokio::test]
async fn http_1_0_gets_no_chunks_and_the_connections_end() {
    let field = Field::new().await;
    for site in Field::SITES {
        let mut client = Raw::connect(field.proxy.address("clear")).await;
        let head = format!("GET /bytes/300 HTTP/1.0\r\nHost: {site}.test\r\n\r\n");
        client.send(head).await.expect("sent");
        let head = client.head().await.expect("a head").to_ascii_lowercase();
        assert!(!head.contains("chunked"), "{site}: {head}");
        let (body, _) = client.rest().await;
        assert_eq!(body.len(), 300, "{site}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let field = Field::new().await;
    let mut client = Raw::connect(field.proxy.address("clear")).await;
    let mut all = String::new();
    for (number, site) in (1..).zip(Field::SITES) {
        write!(
            all,
            "HEAD /length/{number} HTTP/1.1\r\nHost: {site}.test\r\n\r\n"
        )
        .expect("a string takes all");
    }
    client.send(all).await.expect("sent");
    for number in 1..=Field::SITES.len() {
        let head = client.head().await.expect("a head").to_ascii_lowercase();
        let length = format!("\r\ncontent-length: {number}\r\n");
        assert!(head.contains(&length), "{number}: {head}");
    }
}
