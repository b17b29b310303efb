//! What a proxy owes to the meaning of a message (RFC 9110), whichever versions
//! it stands between.

use crate::serving::client::{Client, get, nothing, open, request};
use crate::serving::field::{CLEAR, Field, Speaks, client, pairs};
use crate::serving::script::Script;
use crate::support::clients::{Frame, Raw, block};
use crate::support::proxy::Proxy;
use crate::support::within;
use bytes::Bytes;
use http::header::{DATE, HeaderValue, IF_RANGE, MAX_FORWARDS, RANGE};
use http::uri::{Parts, PathAndQuery, Uri};
use http::{Method, Request, StatusCode};
use http_body::Frame as Piece;
use std::fmt::Write as _;
use std::future::poll_fn;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// The request line that the server of `site` saw last, and how many it saw.
fn seen(field: &Field, site: &str) -> (String, usize) {
    let seen = field.server(site).desk.seen();
    let line = seen.heads.last().and_then(|head| head.lines().next());
    (line.unwrap_or_default().to_owned(), seen.heads.len())
}

/// Sections 7.1 and 9.3.7; RFC 9112, section 3.2.4; RFC 9113, section 8.3.1.
#[tokio::test]
async fn options_of_the_server_as_a_whole_arrive_as_such() {
    let field = Field::new().await;
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        match field.client(speaks).await {
            Client::Http1(_) => {
                let mut raw = Raw::connect(field.proxy.address("clear")).await;
                let asked = format!("OPTIONS * HTTP/1.1\r\nHost: {site}.test\r\n\r\n");
                raw.send(asked).await.expect("sent");
                let head = raw.head().await.expect("a head");
                assert!(head.starts_with("HTTP/1.1 200 "), "{site}: {head}");
            }
            Client::Http2(client) => {
                let mut uri = Parts::default();
                uri.scheme = Some(http::uri::Scheme::HTTP);
                uri.authority = Some(format!("{site}.test").parse().expect("an authority"));
                uri.path_and_query = Some(PathAndQuery::from_static("*"));
                let mut asked = Request::new(());
                *asked.method_mut() = Method::OPTIONS;
                *asked.uri_mut() = Uri::from_parts(uri).expect("a target");
                let (answer, _) = client.open(asked, true).await.expect("a stream");
                let answer = within("an answer", answer).await.expect("an answer");
                assert_eq!(answer.status(), 200, "{site}");
            }
        }
        let (line, _) = seen(&field, site);
        let arrived = match site {
            "h1" => line == "OPTIONS * HTTP/1.1",
            _ => line.starts_with("OPTIONS ") && line.ends_with("* HTTP/2.0"),
        };
        assert!(arrived, "{speaks:?} to {site}: {line}");
    }
}

/// RFC 9112, section 3.2.2.
#[tokio::test]
async fn an_absolute_target_takes_the_form_that_its_server_knows() {
    let field = Field::new().await;
    for (site, target, arrives) in [
        ("h1", "http://h1.test/a?b=c", "GET /a?b=c HTTP/1.1"),
        ("h1", "http://h1.test", "GET / HTTP/1.1"),
        ("h1", "HTTP://h1.test?b", "GET /?b HTTP/1.1"),
        (
            "h2",
            "http://h2.test/a?b=c",
            "GET http://h2.test/a?b=c HTTP/2.0",
        ),
        ("h2", "http://h2.test", "GET http://h2.test/ HTTP/2.0"),
    ] {
        let mut raw = Raw::connect(field.proxy.address("clear")).await;
        let asked = format!("GET {target} HTTP/1.1\r\nHost: {site}.test\r\n\r\n");
        raw.send(asked).await.expect("sent");
        let head = raw.head().await.expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}");
        assert_eq!(seen(&field, site).0, arrives, "{target}");
    }
}

/// Section 7.6.2.
#[tokio::test]
async fn max_forwards_is_counted_and_obeyed() {
    let field = Field::new().await;
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let mut client = field.client(speaks).await;
        let mut ask = async |method: Method, forwards: &'static str| {
            let before = seen(&field, site).1;
            let mut asked = request(method, site, "/", nothing());
            let forwards = HeaderValue::from_static(forwards);
            asked.headers_mut().insert(MAX_FORWARDS, forwards);
            let reply = client.ask(asked).await.expect("a reply");
            let passed = seen(&field, site).1 > before;
            let left = passed.then(|| {
                let head = field.last_head(site);
                let line = head
                    .lines()
                    .find_map(|line| line.strip_prefix("max-forwards: "));
                line.expect("the field").to_owned()
            });
            (reply, left)
        };
        for (method, before, after) in [
            (Method::OPTIONS, "3", "2"),
            (Method::TRACE, "1", "0"),
            (Method::GET, "0", "0"),
        ] {
            let (reply, left) = ask(method.clone(), before).await;
            assert_eq!(reply.status, 200, "{method}, {speaks:?} to {site}");
            assert_eq!(left.as_deref(), Some(after), "{method}");
        }
        // HTTP/1.1 connections end with a refusal, so the last comes last.
        let (method, status) = match speaks {
            Speaks::Http1 => (Method::OPTIONS, 200),
            _ => (Method::TRACE, 405),
        };
        let (reply, left) = ask(method, "0").await;
        assert_eq!((reply.status.as_u16(), left), (status, None), "{speaks:?}");
        assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
}

/// Section 7.6.3: a route that leads back to its own listener.
#[tokio::test]
async fn a_request_that_goes_in_a_circle_is_ended() {
    let (tell, told) = watch::channel(None);
    let back = Script::tcp(move |mut here: TcpStream| {
        let address = *told.borrow();
        async move {
            let address = address.expect("the proxy's address");
            let mut there = TcpStream::connect(address).await.expect("connect");
            // Either may leave first.
            let _ = copy_bidirectional(&mut here, &mut there).await;
        }
    })
    .await;
    let proxy = Script::proxy("", &back, &back).await;
    tell.send_replace(Some(proxy.address("clear")));
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let before = back.connections();
        let mut client = client(&proxy, speaks).await;
        let reply = client.ask(get(site, "/")).await.expect("a reply");
        assert_eq!(reply.status, 508, "{speaks:?} to {site}");
        let rounds = back.connections() - before;
        assert!(rounds <= 8, "{rounds} rounds for {speaks:?} to {site}");
    }
}

/// Section 10.1.1: the body is wanted, and the server need not be asked.
#[tokio::test]
async fn who_expects_100_is_told_at_once_and_the_server_is_not_asked() {
    let field = Field::new().await;
    for site in CLEAR {
        let Client::Http2(client) = field.client(Speaks::Http2).await else {
            panic!("another client");
        };
        let mut asked = Request::post(format!("http://{site}.test/echo"))
            .body(())
            .expect("a request");
        let expects = HeaderValue::from_static("100-continue");
        asked.headers_mut().insert("expect", expects);
        let (mut answer, mut body) = client.open(asked, false).await.expect("a stream");
        let go_on = poll_fn(|cx| answer.poll_informational(cx));
        let go_on = within("100", go_on).await.expect("an answer");
        assert_eq!(go_on.expect("100").status(), StatusCode::CONTINUE, "{site}");
        body.send_data(Bytes::from_static(b"hello"), true)
            .expect("sent");
        let answer = within("an answer", answer).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{site}");
        let head = field.last_head(site);
        assert!(!head.contains("\nexpect:"), "{head}");
    }
}

#[tokio::test]
async fn who_cannot_be_served_is_not_told_to_go_on() {
    let field = Field::new().await;
    let mut raw = Raw::connect(field.proxy.address("clear")).await;
    let expects = "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let asked = format!("POST / HTTP/1.1\r\nHost: nowhere.test\r\n{expects}");
    raw.send(asked).await.expect("sent");
    let head = raw.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    // HTTP/1.0 knows no interim answer.
    let mut raw = Raw::connect(field.proxy.address("clear")).await;
    let asked = format!("POST /echo HTTP/1.0\r\nHost: h1.test\r\n{expects}hello");
    raw.send(asked).await.expect("sent");
    let head = raw.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    // What else may be expected is nothing that a proxy must know.
    let mut raw = Raw::connect(field.proxy.address("clear")).await;
    let asked = "GET / HTTP/1.1\r\nHost: h1.test\r\nExpect: the-unexpected\r\n\r\n";
    raw.send(asked).await.expect("sent");
    let head = raw.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

/// A server of either version that answers with `status`, these `fields` and
/// `ok`, or without a body.
async fn servers(
    status: u16,
    fields: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> (Proxy, [Script; 2]) {
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in fields {
        write!(head, "{name}: {value}\r\n").expect("text");
    }
    let h1 = Script::http1(move |mut wire: Raw| {
        let says = format!("{head}\r\n{body}");
        async move {
            while wire.head().await.is_ok() {
                wire.send(&says).await.expect("sent");
            }
        }
    })
    .await;
    let h2 = Script::http2(move |_, mut respond| async move {
        let mut response = http::Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let response = response.body(()).expect("a response");
        let sent = respond.send_response(response, body.is_empty());
        if !body.is_empty() {
            let mut stream = sent.expect("sent");
            stream.send_data(body.into(), true).expect("sent");
        }
    })
    .await;
    (Script::proxy("", &h1, &h2).await, [h1, h2])
}

/// Section 14: a range is a matter between client and server.
#[tokio::test]
async fn ranges_pass_untouched() {
    const PART: &[(&str, &str)] = &[("content-range", "bytes 0-1/10"), ("etag", "\"x\"")];
    const NONE: &[(&str, &str)] = &[("content-range", "bytes */10")];
    let field = Field::new().await;
    let (part, _part) = servers(206, PART, "ok").await;
    let (none, _none) = servers(416, NONE, "no").await;
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let mut asked = get(site, "/");
        let headers = asked.headers_mut();
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-1, 5-,-3"));
        headers.insert(IF_RANGE, HeaderValue::from_static("\"x\""));
        let mut asking = field.client(speaks).await;
        asking.ask(asked).await.expect("a reply");
        let head = field.last_head(site);
        assert!(head.contains("\nrange: bytes=0-1, 5-,-3\n"), "{head}");
        assert!(head.contains("\nif-range: \"x\"\n"), "{head}");
        for (proxy, status, range, body) in [
            (&part, 206, "bytes 0-1/10", "ok"),
            (&none, 416, "bytes */10", "no"),
        ] {
            let mut asking = client(proxy, speaks).await;
            let reply = asking.ask(get(site, "/")).await.expect("a reply");
            assert_eq!((reply.status.as_u16(), reply.text()), (status, body));
            assert_eq!(reply.header("content-range"), Some(range));
        }
    }
}

/// Section 6.6.1.
#[tokio::test]
async fn an_answer_has_one_date_and_it_is_its_servers_if_that_gave_one() {
    const DATED: &[(&str, &str)] = &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")];
    let (with, _one) = servers(200, DATED, "ok").await;
    let (without, _other) = servers(200, &[], "ok").await;
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let mut asking = client(&with, speaks).await;
        let reply = asking.ask(get(site, "/")).await.expect("a reply");
        let dates: Vec<_> = reply.headers.get_all(DATE).iter().collect();
        assert_eq!(dates, ["Sun, 06 Nov 1994 08:49:37 GMT"], "{speaks:?}");
        let mut asking = client(&without, speaks).await;
        // An answer of the proxy's own, too.
        for (site, status) in [(site, 200), ("nowhere", 404)] {
            let reply = asking.ask(get(site, "/")).await.expect("a reply");
            assert_eq!(reply.status, status);
            let dates = reply.headers.get_all(DATE).iter().count();
            assert_eq!(dates, 1, "{speaks:?} to {site}");
            let date = reply.header("date").expect("a date");
            assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
        }
    }
}

/// Sections 15.3.6 and 15.4.5, and what else has no body.
#[tokio::test]
async fn answers_without_a_body_keep_the_connection() {
    for status in [204, 205, 304] {
        let (proxy, servers) = if status == 205 {
            servers(status, &[], "").await
        } else {
            let bare = Script::http1(move |mut wire: Raw| async move {
                while wire.head().await.is_ok() {
                    let says = format!("HTTP/1.1 {status} X\r\n\r\n");
                    wire.send(says).await.expect("sent");
                }
            })
            .await;
            let h2 = Script::http2(move |_, mut respond| async move {
                let response = http::Response::builder().status(status).body(());
                respond
                    .send_response(response.expect("a response"), true)
                    .expect("sent");
            })
            .await;
            (Script::proxy("", &bare, &h2).await, [bare, h2])
        };
        for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
            let mut asking = client(&proxy, speaks).await;
            for _ in 0..3 {
                let reply = asking.ask(get(site, "/")).await.expect("a reply");
                assert_eq!(reply.status, status, "{speaks:?} to {site}");
                assert!(reply.body.is_empty(), "{speaks:?} to {site}");
                let length = reply.header("content-length");
                let fits = matches!((status, length), (205, Some("0")) | (_, None));
                assert!(fits, "{status}, {speaks:?} to {site}: {length:?}");
            }
        }
        for server in &servers {
            assert!(server.connections() <= 2, "one for each client's worker");
        }
    }
}

/// Section 6.5.1; RFC 9113, section 8.2.2.
#[tokio::test]
async fn trailers_that_frame_a_message_are_left_out() {
    let field = Field::new().await;
    for site in CLEAR {
        let mut raw = Raw::connect(field.proxy.address("clear")).await;
        let asked = format!(
            "POST /echo HTTP/1.1\r\nHost: {site}.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
             Trailer: x-check, content-length, transfer-encoding, connection, host\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Check: sum\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\
             Connection: close\r\nHost: other\r\n\r\n"
        );
        raw.send(asked).await.expect("sent");
        let head = raw.head().await.expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{site}: {head}");
        let rest = raw.read_until("x-check: sum\r\n\r\n").await;
        let rest = rest.expect("the trailers");
        assert!(rest.ends_with("\r\n0\r\nx-check: sum\r\n\r\n"), "{rest}");
        // Nothing is left of it, and the connection goes on.
        let next = format!("GET / HTTP/1.1\r\nHost: {site}.test\r\n\r\n");
        raw.send(next).await.expect("sent");
        raw.read_until("\nok").await.expect("an answer");
    }
}

/// Trailers that were not announced still reach a server that can take them.
#[tokio::test]
async fn trailers_need_no_announcement_between_frames() {
    let field = Field::new().await;
    for speaks in [Speaks::Http2, Speaks::Http2Tls] {
        for site in ["h2", "h2s"] {
            let (frames, body) = open();
            tokio::spawn(async move {
                let data = Piece::data(Bytes::from_static(b"hello"));
                frames.send(Ok(data)).await.expect("it is taken");
                let mut trailers = http::HeaderMap::new();
                trailers.insert("x-check", HeaderValue::from_static("sum"));
                let trailers = Piece::trailers(trailers);
                frames.send(Ok(trailers)).await.expect("it is taken");
            });
            let asked = request(Method::POST, site, "/echo", body);
            let mut asking = field.client(speaks).await;
            let reply = asking.ask(asked).await.expect("a reply");
            assert_eq!(reply.trailer("x-check"), Some("sum"), "{speaks:?} {site}");
        }
    }
}

/// A name that stands for another behind CGI's variables frames nothing here,
/// and might there.
#[tokio::test]
async fn a_disguised_name_is_refused_over_frames_too() {
    let wire = super::Wire::new().await;
    for name in ["content_length", "transfer_encoding"] {
        let before = wire.seen();
        let mut client = wire.frames().await;
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", "/bad"),
            (name, "5"),
        ];
        client.send(Frame::headers(1, block(&fields), false)).await;
        let answer = client.until(Frame::HEADERS).await;
        // 400, in the static table.
        assert_eq!(answer.payload[0], 0x8c, "{name}");
        client.get(3, "/honest").await;
        assert_eq!(client.answer(3).await, b"ok", "{name}");
        let seen = wire.seen();
        assert_eq!(seen.heads.len(), before.heads.len() + 1, "{name}");
    }
    wire.over().await;
}
