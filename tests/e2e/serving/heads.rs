//! What a head gains and loses on the way.

use super::client::get;
use super::field::{CLEAR, Field, Speaks, client, pairs};
use super::script::Script;
use crate::support::clients::{Ended, Raw};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;
use http::HeaderValue;

#[tokio::test]
async fn the_server_is_told_who_asked_and_how() {
    let field = Field::new().await;
    for (speaks, site) in pairs(&Speaks::ALL, &Field::SITES) {
        let mut client = field.client(speaks).await;
        client.ask(get(site, "/")).await.expect("a reply");
        let head = field.last_head(site);
        let scheme = if speaks.secure() { "https" } else { "http" };
        let via = match speaks {
            Speaks::Http1 | Speaks::Http1Tls => "1.1 ebbtide",
            Speaks::Http2 | Speaks::Http2Tls => "2 ebbtide",
        };
        for line in [
            "x-forwarded-for: 127.0.0.1".to_owned(),
            format!("x-forwarded-proto: {scheme}"),
            format!("x-forwarded-host: {site}.test"),
            format!("via: {via}"),
        ] {
            let line = format!("\n{line}\n");
            assert!(
                head.contains(&line),
                "{speaks:?} to {site}: {line:?} {head}"
            );
        }
        // The host arrives where the version has it.
        let host = if site.starts_with("h1") {
            format!("\nhost: {site}.test\n")
        } else {
            format!("//{site}.test/ HTTP/2.0\n")
        };
        assert!(head.contains(&host), "{speaks:?} to {site}: {head}");
    }
}

#[tokio::test]
async fn what_proxies_before_said_is_kept_and_added_to() {
    let field = Field::new().await;
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let mut client = field.client(speaks).await;
        let mut asked = get(site, "/");
        for (name, value) in [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-for", "192.0.2.8"),
            ("x-forwarded-host", "shop.example"),
            ("via", "1.0 edge"),
        ] {
            let value = HeaderValue::from_static(value);
            asked.headers_mut().append(name, value);
        }
        client.ask(asked).await.expect("a reply");
        let head = field.last_head(site);
        let all = "\nx-forwarded-for: 192.0.2.7, 192.0.2.8, 127.0.0.1\n";
        assert!(head.contains(all), "{head}");
        assert!(
            head.contains("\nx-forwarded-host: shop.example\n"),
            "{head}"
        );
        assert!(head.contains("\nvia: 1.0 edge, "), "{head}");
    }
}

#[tokio::test]
async fn fields_of_one_connection_are_not_passed_to_the_server() {
    let field = Field::new().await;
    for site in Field::SITES {
        let mut client = Raw::connect(field.proxy.address("clear")).await;
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {site}.test\r\nConnection: keep-alive, X-Secret\r\n\
             Connection: x-other\r\nX-Secret: 1\r\nX-Other: 1\r\nX-Kept: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers, gzip\r\n\r\n"
        );
        client.send(head).await.expect("sent");
        let answer = client.head().await.expect("a head");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{site}: {answer}");
        let head = field.last_head(site);
        for gone in ["x-secret", "x-other", "connection:", "keep-alive:"] {
            assert!(!head.contains(gone), "{site}: {gone} in {head}");
        }
        assert!(head.contains("\nx-kept: 1\n"), "{head}");
        assert!(head.contains("\nte: trailers\n"), "{head}");
    }
}

#[tokio::test]
async fn keep_alive_without_connection_is_not_passed_to_the_server() {
    let field = Field::new().await;
    for site in Field::SITES {
        let mut client = Raw::connect(field.proxy.address("clear")).await;
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {site}.test\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        );
        client.send(head).await.expect("sent");
        let answer = client.head().await.expect("a head");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{site}: {answer}");
        let head = field.last_head(site);
        for gone in ["keep-alive:", "upgrade:", "http2-settings:"] {
            assert!(!head.contains(gone), "{site}: {gone} in {head}");
        }
    }
}

#[tokio::test]
async fn fields_of_one_connection_are_not_passed_to_the_client() {
    let answers = [
        "Connection: keep-alive, X-Secret\r\nConnection: x-other\r\nX-Secret: 1\r\nX-Other: 1\r\nKeep-Alive: timeout=5\r\n",
        "Keep-Alive: timeout=5\r\n",
        "Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\n",
    ];
    for answer in answers {
        let h1 = Script::http1(move |mut wire: Raw| async move {
            while wire.head().await.is_ok() {
                let head =
                    format!("HTTP/1.1 200 OK\r\nX-Kept: 1\r\n{answer}Content-Length: 2\r\n\r\nok");
                wire.send(head).await.expect("sent");
            }
        })
        .await;
        let proxy = Script::proxy("", &h1, &h1).await;
        for speaks in Speaks::ALL {
            let mut client = client(&proxy, speaks).await;
            let reply = client.ask(get("h1", "/")).await;
            let reply = reply.unwrap_or_else(|error| panic!("{speaks:?} {answer:?}: {error}"));
            assert_eq!(reply.text(), "ok", "{speaks:?}");
            assert_eq!(reply.header("x-kept"), Some("1"));
            for gone in [
                "x-secret",
                "x-other",
                "keep-alive",
                "proxy-connection",
                "upgrade",
            ] {
                assert_eq!(reply.header(gone), None, "{speaks:?} {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn cookies_that_http2_splits_are_one_field_for_http1() {
    let field = Field::new().await;
    let mut client = field.client(Speaks::Http2).await;
    let mut asked = get("h1", "/");
    for crumb in ["a=1", "b=2"] {
        let crumb = HeaderValue::from_static(crumb);
        asked.headers_mut().append("cookie", crumb);
    }
    client.ask(asked).await.expect("a reply");
    let head = field.last_head("h1");
    assert!(head.contains("\ncookie: a=1; b=2\n"), "{head}");
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_told_so() {
    let server = Server::http1().await;
    let address = server.address;
    let proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nlimits = {{ head_time = \"300ms\" }}\n\
         routes = [{{ upstream = \"site\" }}]\n\n[upstream.site]\nservers = [\"{address}\"]\n"
    ))
    .await;
    // The first head of a connection, and a later one.
    let slow = Raw::connect(proxy.address("web")).await;
    let mut later = Raw::connect(proxy.address("web")).await;
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    later.send(request).await.expect("sent");
    later.read_until("\r\n\r\nok").await.expect("an answer");
    for mut client in [slow, later] {
        client.send(&request[..20]).await.expect("sent");
        let (answer, end) = client.rest().await;
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(end, Ended::Fin);
    }
}
