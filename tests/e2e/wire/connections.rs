//! How connections are kept and ended between versions (RFC 9112, sections 6.3
//! and 9).

use crate::drain::scene::until_connections;
use crate::serving::client::get;
use crate::serving::field::{CLEAR, Field, Speaks, client};
use crate::serving::script::Script;
use crate::support::clients::{Ended, Raw};
use std::fmt::Write as _;

/// Everything up to the end, as text; an interim answer aside, which asks
/// whether the client is still there.
async fn rest(raw: Raw) -> (String, Ended) {
    let (bytes, end) = raw.rest().await;
    let text = String::from_utf8(bytes).expect("text");
    (text.replace("HTTP/1.1 100 Continue\r\n\r\n", ""), end)
}

/// Section 9.3, and appendix C.2.2 of RFC 9112.
#[tokio::test]
async fn http_1_0_keeps_its_connection_if_it_asks_to() {
    let field = Field::new().await;
    for site in Field::SITES {
        let mut raw = Raw::connect(field.proxy.address("clear")).await;
        for _ in 0..3 {
            let asked = format!(
                "HEAD /length/7 HTTP/1.0\r\nHost: {site}.test\r\nConnection: keep-alive\r\n\r\n"
            );
            raw.send(asked).await.expect("sent");
            let head = raw.head().await.expect("a head").to_ascii_lowercase();
            assert!(head.starts_with("http/1.0 200 "), "{site}: {head}");
            assert!(head.contains("\r\nconnection: keep-alive\r\n"), "{head}");
            assert!(head.contains("\r\ncontent-length: 7\r\n"), "{head}");
        }
        // It does not ask this time.
        let asked = format!("HEAD /length/7 HTTP/1.0\r\nHost: {site}.test\r\n\r\n");
        raw.send(asked).await.expect("sent");
        let (last, end) = rest(raw).await;
        assert!(last.starts_with("HTTP/1.0 200 "), "{site}: {last}");
        assert!(!last.to_ascii_lowercase().contains("keep-alive"), "{last}");
        assert_eq!(end, Ended::Fin, "{site}");
    }
}

/// Section 6.3: without a length and without chunks, the end of the connection
/// is the end of the body, whatever was asked for.
#[tokio::test]
async fn http_1_0_learns_of_an_end_by_the_end_of_the_connection() {
    let field = Field::new().await;
    for site in Field::SITES {
        let mut raw = Raw::connect(field.proxy.address("clear")).await;
        let asked = format!(
            "GET /bytes/300 HTTP/1.0\r\nHost: {site}.test\r\nConnection: keep-alive\r\n\r\n"
        );
        raw.send(asked).await.expect("sent");
        let head = raw.head().await.expect("a head").to_ascii_lowercase();
        assert!(!head.contains("chunked"), "{site}: {head}");
        assert!(!head.contains("keep-alive"), "{site}: {head}");
        let (body, end) = raw.rest().await;
        assert_eq!((body.len(), end), (300, Ended::Fin), "{site}");
    }
}

/// Section 9.6.
#[tokio::test]
async fn a_client_that_says_close_gets_its_answer_and_the_end() {
    let field = Field::new().await;
    for site in Field::SITES {
        let mut raw = Raw::connect(field.proxy.address("clear")).await;
        let asked = format!("GET / HTTP/1.1\r\nHost: {site}.test\r\nConnection: close\r\n\r\n");
        // What comes behind it is not served.
        raw.send(asked.repeat(2)).await.expect("sent");
        let (answer, end) = rest(raw).await;
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.contains("\nok"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert_eq!(end, Ended::Fin, "{site}");
        let seen = field.server(site).desk.seen();
        assert_eq!(seen.requests, 1, "{site}: {seen:?}");
    }
}

/// A client that has said all it had to say, and waits.
#[tokio::test]
async fn a_client_that_has_ended_its_side_gets_its_answer() {
    for site in CLEAR {
        for version in ["1.1", "1.0"] {
            let field = Field::new().await;
            let desk = &field.server(site).desk;
            let host = format!("Host: {site}.test\r\n");
            let mut at_once = Raw::connect(field.proxy.address("clear")).await;
            let asked =
                format!("POST /echo HTTP/{version}\r\n{host}Content-Length: 5\r\n\r\nhello");
            at_once.send(asked).await.expect("sent");
            at_once.finish().await.expect("FIN");
            let (answer, end) = rest(at_once).await;
            let what = format!("HTTP/{version} to {site}: {answer}");
            assert!(
                answer.starts_with(&format!("HTTP/{version} 200 ")),
                "{what}"
            );
            assert!(answer.contains("hello"), "{what}");
            assert_eq!(end, Ended::Fin, "{what}");
            // Also where the answer takes its time, before and amid.
            for (path, says) in [("/hold", "held"), ("/begin", "begun")] {
                let before = desk.seen().requests;
                let mut later = Raw::connect(field.proxy.address("clear")).await;
                let asked = format!("GET {path} HTTP/{version}\r\n{host}\r\n");
                later.send(asked).await.expect("sent");
                later.finish().await.expect("FIN");
                desk.until("the request", |seen| seen.requests > before)
                    .await;
                if path == "/begin" {
                    later.read_until("begun").await.expect("the beginning");
                }
                desk.release();
                let (answer, end) = rest(later).await;
                let what = format!("{path}, HTTP/{version} to {site}: {answer}");
                let whole = if path == "/hold" { says } else { "done" };
                assert!(answer.contains(whole), "{what}");
                assert_eq!(end, Ended::Fin, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_gets_all_its_answers() {
    let field = Field::new().await;
    for site in CLEAR {
        for count in [2, 3, 20] {
            let mut raw = Raw::connect(field.proxy.address("clear")).await;
            let asked = format!("GET / HTTP/1.1\r\nHost: {site}.test\r\n\r\n");
            raw.send(asked.repeat(count)).await.expect("sent");
            raw.finish().await.expect("FIN");
            let (answers, end) = rest(raw).await;
            assert_eq!(answers.matches("HTTP/1.1 200 ").count(), count, "{answers}");
            assert_eq!(answers.matches("\nok").count(), count, "{answers}");
            assert_eq!(end, Ended::Fin, "{site}");
        }
    }
    until_connections(&field.proxy, "nobody", <[_]>::is_empty).await;
}

/// Section 6.3: the end of the server's connection is the end of its body.
#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole() {
    for version in ["1.0", "1.1"] {
        let server = Script::http1(move |mut wire: Raw| async move {
            wire.head().await.expect("a head");
            let says = format!("HTTP/{version} 200 OK\r\nX-Kept: 1\r\n\r\nwhole");
            wire.send(says).await.expect("sent");
            wire.finish().await.expect("FIN");
            wire.rest().await;
        })
        .await;
        let proxy = Script::proxy("", &server, &server).await;
        for speaks in Speaks::ALL {
            let mut client = client(&proxy, speaks).await;
            for _ in 0..2 {
                let reply = client.ask(get("h1", "/")).await.expect("a reply");
                assert_eq!(reply.text(), "whole", "HTTP/{version} to {speaks:?}");
                assert_eq!(reply.header("x-kept"), Some("1"));
            }
        }
        assert_eq!(server.connections(), 8, "each is used once");
    }
}

/// Section 9.3: a server's connection is used again if its answer lets it be.
#[tokio::test]
async fn a_servers_connection_is_kept_as_the_server_says() {
    for (head, kept) in [
        ("HTTP/1.1 200 OK\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n", false),
        ("HTTP/1.0 200 OK\r\n", false),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", false),
    ] {
        let server = Script::http1(move |mut wire: Raw| async move {
            while wire.head().await.is_ok() {
                let says = format!("{head}Content-Length: 2\r\n\r\nok");
                if wire.send(says).await.is_err() {
                    return;
                }
            }
        })
        .await;
        let proxy = Script::proxy("", &server, &server).await;
        for speaks in Speaks::CLEAR {
            let before = server.connections();
            let mut client = client(&proxy, speaks).await;
            for _ in 0..5 {
                let reply = client.ask(get("h1", "/")).await.expect("a reply");
                assert_eq!(reply.text(), "ok", "{head}");
            }
            let made = server.connections() - before;
            let fits = if kept { made <= 1 } else { made == 5 };
            assert!(fits, "{made} connections for {speaks:?}: {head}");
        }
    }
}

/// Requests that came together are answered in their order, whoever answers
/// (section 9.3.2).
#[tokio::test]
async fn a_pipeline_over_all_servers_keeps_its_order() {
    let field = Field::new().await;
    let mut raw = Raw::connect(field.proxy.address("clear")).await;
    let sites = [Field::SITES, Field::SITES].concat();
    let mut all = String::new();
    for (number, site) in sites.iter().enumerate() {
        let body = format!("body {number}");
        write!(
            all,
            "POST /echo HTTP/1.1\r\nHost: {site}.test\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("text");
    }
    raw.send(all).await.expect("sent");
    for number in 0..sites.len() {
        let head = raw.head().await.expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let body = raw.read_until("0\r\n\r\n").await.expect("a body");
        assert!(body.contains(&format!("body {number}")), "{body}");
    }
}
