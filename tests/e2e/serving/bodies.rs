//! Bodies that are large, or slow to be read, or overtaken by the answer.

use super::client::{Client, Received, full, get, nothing, open, piece, request, whole};
use super::field::{CLEAR, Field, Speaks, pairs};
use super::script::Script;
use crate::support::clients::{Http2, connect};
use crate::support::servers::bulk::{Check, pour};
use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;
use http_body::Frame;
use tokio::sync::watch;

const LARGE: usize = 32 * 1024 * 1024;
/// More than all buffers on the way hold, those of the kernel included.
const MORE: usize = 64 * 1024 * 1024;

/// Read a body to its end; how many bytes of the pattern it had.
async fn drink(mut body: Received) -> usize {
    let mut check = Check::default();
    while let Some(bytes) = piece(&mut body).await {
        let bytes = bytes.expect("no break");
        assert!(check.take(&bytes), "differs after {}", check.right);
    }
    check.right
}

#[tokio::test]
async fn a_large_download_arrives_whole() {
    let field = Field::new().await;
    let tls = (Speaks::Http1Tls, "h1s");
    let tls2 = (Speaks::Http2Tls, "h2s");
    let all = pairs(&Speaks::CLEAR, &CLEAR).chain([tls, tls2]);
    for (speaks, site) in all {
        let mut client = field.client(speaks).await;
        let asked = get(site, &format!("/flood/{LARGE}"));
        let response = client.send(asked).await.expect("a head");
        let right = drink(response.into_body()).await;
        assert_eq!(right, LARGE, "{speaks:?} to {site}");
    }
}

#[tokio::test]
async fn a_large_upload_arrives_whole() {
    let field = Field::new().await;
    let tls = (Speaks::Http1Tls, "h1s");
    let tls2 = (Speaks::Http2Tls, "h2s");
    let all = pairs(&Speaks::CLEAR, &CLEAR).chain([tls, tls2]);
    for (number, (speaks, site)) in all.enumerate() {
        let mut client = field.client(speaks).await;
        let (frames, body) = open();
        tokio::spawn(pour(frames, LARGE, |_| {}));
        let mut asked = request(Method::POST, site, "/sink", body);
        // By turns with a declared length and without.
        if number % 2 == 0 {
            asked.headers_mut().insert(CONTENT_LENGTH, LARGE.into());
        }
        let reply = client.ask(asked).await.expect("a reply");
        let says = format!("whole {LARGE}");
        assert_eq!(reply.text(), says, "{speaks:?} to {site}");
    }
}

#[tokio::test]
async fn a_slow_reader_holds_the_server_back() {
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let field = Field::new().await;
        let mut client = field.client(speaks).await;
        let asked = get(site, &format!("/flood/{MORE}"));
        let response = client.send(asked).await.expect("a head");
        let server = &field.server(site).desk;
        let seen = server
            .until("a server that cannot write on, or is through", |seen| {
                !seen.reasons.is_empty() || seen.finished > 0
            })
            .await;
        assert_eq!(seen.finished, 0, "all of it is buffered somewhere");
        let right = drink(response.into_body()).await;
        assert_eq!(right, MORE, "{speaks:?} to {site}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_holds_the_client_back() {
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let field = Field::new().await;
        let mut client = field.client(speaks).await;
        let (note, mut blocked) = watch::channel(None);
        let (frames, body) = open();
        tokio::spawn(async move {
            let note = &note;
            let poured = pour(frames, MORE, |at| {
                note.send_replace(Some(at));
            });
            if poured.await.is_some() && note.borrow().is_none() {
                note.send_replace(Some(MORE));
            }
        });
        let asked = request(Method::POST, site, "/sink/held", body);
        let reply = tokio::spawn(async move { client.ask(asked).await });
        let at = crate::support::within("a client that cannot write on", async {
            *blocked.wait_for(Option::is_some).await.expect("the client")
        });
        let at = at.await.unwrap_or_default();
        assert!(at < MORE, "all of it is buffered somewhere");
        field.server(site).desk.release();
        let reply = reply.await.expect("the client").expect("a reply");
        assert_eq!(
            reply.text(),
            format!("whole {MORE}"),
            "{speaks:?} to {site}"
        );
    }
}

#[tokio::test]
async fn one_slow_reader_does_not_hold_back_its_siblings() {
    let field = Field::new().await;
    // Room on the connection is the client's to give.
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(16 * 1024 * 1024);
    let wire = connect(field.proxy.address("clear")).await;
    let mut client = Client::Http2(Http2::with(builder, wire).await);
    for site in CLEAR {
        let asked = get(site, &format!("/flood/{MORE}"));
        let slow = client.send(asked).await.expect("a head");
        for _ in 0..20 {
            // More than a stream's window, through the same connection.
            let reply = client.ask(get(site, "/bytes/200000")).await;
            assert_eq!(reply.expect("a reply").body.len(), 200_000, "{site}");
        }
        drop(slow);
    }
}

#[tokio::test]
async fn both_directions_flow_at_once() {
    let field = Field::new().await;
    for (speaks, site) in pairs(&Speaks::ALL, &Field::SITES) {
        let mut client = field.client(speaks).await;
        let (frames, body) = open();
        let say = async |text: &'static str| {
            let frame = Frame::data(Bytes::from_static(text.as_bytes()));
            frames.send(Ok(frame)).await.expect("it is taken");
        };
        say("first").await;
        let asked = request(Method::POST, site, "/echo", body);
        // The answer begins, and goes on, while the request does.
        let mut body = client.send(asked).await.expect("a head").into_body();
        let what = format!("{speaks:?} to {site}");
        assert_eq!(piece(&mut body).await, Some(Ok("first".into())), "{what}");
        say("second").await;
        assert_eq!(piece(&mut body).await, Some(Ok("second".into())), "{what}");
        drop(frames);
        assert_eq!(piece(&mut body).await, None, "{what}");
    }
}

#[tokio::test]
async fn an_answer_that_overtakes_the_upload_arrives_whole() {
    let h1 = Script::http1(async |mut wire| {
        wire.head().await.expect("a head");
        let answer =
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!";
        wire.send(answer).await.expect("sent");
        wire.finish().await.expect("FIN");
        wire.rest().await;
    })
    .await;
    let h2 = Script::http2(async |request, mut respond| {
        let response = http::Response::builder().status(413).body(());
        let mut stream = respond
            .send_response(response.expect("a response"), false)
            .expect("sent");
        stream.send_data("no!".into(), true).expect("sent");
        drop(request);
    })
    .await;
    let proxy = Script::proxy("", &h1, &h2).await;
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let mut client = super::field::client(&proxy, speaks).await;
        let (frames, body) = open();
        let pouring = tokio::spawn(pour(frames, usize::MAX, |_| {}));
        let asked = request(Method::POST, site, "/upload", body);
        let response = client.send(asked).await;
        let response = response.unwrap_or_else(|error| panic!("{speaks:?} to {site}: {error}"));
        assert_eq!(response.status(), 413, "{speaks:?} to {site}");
        let reply = whole(response).await;
        let reply = reply.unwrap_or_else(|error| panic!("{speaks:?} to {site}: {error}"));
        assert_eq!(reply.text(), "no!", "{speaks:?} to {site}");
        pouring.abort();
        // The next exchange is not disturbed by what was left unread.
        let mut next = super::field::client(&proxy, speaks).await;
        let asked = request(Method::POST, site, "/upload", full("x"));
        assert_eq!(next.ask(asked).await.expect("a reply").status, 413);
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_told_to_the_server() {
    for (speaks, site) in pairs(&Speaks::ALL, &Field::SITES) {
        let field = Field::new().await;
        let what = format!("{speaks:?} to {site}");
        let mut client = field.client(speaks).await;
        let response = client.send(get(site, "/events")).await.expect("a head");
        let mut body = response.into_body();
        piece(&mut body).await.expect("an event").expect("an event");
        drop((body, client));
        left(&field, site, 1, &what).await;
        // Also while there is no answer yet.
        let mut client = field.client(speaks).await;
        let asked = tokio::spawn(async move { client.send(get(site, "/hold")).await.map(drop) });
        field
            .server(site)
            .desk
            .until(&what, |seen| seen.requests == 2)
            .await;
        asked.abort();
        left(&field, site, 2, &what).await;
        let mut other = field.client(speaks).await;
        let asked = request(Method::GET, site, "/", nothing());
        assert_eq!(other.ask(asked).await.expect("a reply").text(), "ok");
    }
}

/// Wait until the server of `site` has seen `number` clients leave.
async fn left(field: &Field, site: &str, number: usize, what: &str) {
    let desk = &field.server(site).desk;
    if site.starts_with("h2") {
        let cancel = |seen: &crate::support::seen::Seen| seen.reasons.len() == number;
        let seen = desk.until(what, cancel).await;
        assert!(
            seen.reasons.iter().all(|reason| reason == "CANCEL"),
            "{seen:?}"
        );
    } else {
        desk.until(what, |seen| seen.open == 0).await;
    }
    desk.until(what, |seen| seen.cancelled == number).await;
}
