//! The last step of a drain: connections to servers end in order, in time.

use super::*;
use crate::serving::script::Script;
use crate::support::BoxWire;
use crate::support::certificate::Certificate;
use crate::support::clients::{Ended, Frame, Frames, Raw};
use crate::support::proxy::Signal;
use std::future::pending;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// How a strict server saw a connection end: the last stream of its GOAWAY, if
/// there was one, and whether the rest came in order.
#[derive(Debug, PartialEq, Eq)]
struct End {
    goaway: Option<u32>,
    more: Vec<u8>,
    how: Ended,
}

/// Answer one request over HTTP/1.1, and see the end. Over TLS an end without
/// `close_notify` is one out of order (RFC 8446, section 6.1).
async fn http1(mut wire: Raw) -> End {
    wire.head().await.expect("a request");
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    wire.send(answer).await.expect("sent");
    let (more, how) = wire.rest().await;
    End {
        goaway: None,
        more,
        how,
    }
}

/// Answer one stream, and see the end.
async fn http2(wire: Raw) -> End {
    let mut frames = begun(wire).await;
    let stream = frames.until(Frame::HEADERS).await.stream;
    frames.send(Frame::headers(stream, [0x88], false)).await;
    let last = frames.goaway().await;
    let (more, how) = frames.rest().await;
    End {
        goaway: Some(last),
        more,
        how,
    }
}

/// HTTP/2 from the server's side.
async fn begun(mut wire: Raw) -> Frames {
    wire.read_until("SM\r\n\r\n").await.expect("a preface");
    let mut frames = Frames::begun(wire);
    frames.send(Frame::new(Frame::SETTINGS, 0, 0, [])).await;
    frames
        .send(Frame::new(Frame::SETTINGS, Frame::ACK, 0, []))
        .await;
    frames
}

/// A server that does this to each connection and tells of its end.
async fn strict<F>(
    tls: Option<Arc<rustls::ServerConfig>>,
    connection: fn(Raw) -> F,
) -> (Script, mpsc::UnboundedReceiver<End>)
where
    F: Future<Output = End> + Send + 'static,
{
    let (told, ends) = mpsc::unbounded_channel();
    let script = Script::tcp(move |stream: TcpStream| {
        let (told, tls) = (told.clone(), tls.clone());
        async move {
            let wire: BoxWire = match tls {
                None => Box::new(stream),
                Some(tls) => Box::new(TlsAcceptor::from(tls).accept(stream).await.expect("TLS")),
            };
            told.send(connection(Raw::over(wire)).await).expect("heard");
        }
    });
    (script.await, ends)
}

/// Serve one request, drain, and see how the connection to the server ended.
async fn drained(
    (server, mut ends): (Script, mpsc::UnboundedReceiver<End>),
    keys: &str,
    pool: &str,
) -> End {
    let mut proxy = Proxy::start(&site(server.address, keys, pool)).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    proxy.signal(Signal::TERM);
    assert!(proxy.exit().await.success());
    let late = proxy
        .log()
        .iter()
        .any(|line| line["event"] == "upstream_not_closed");
    assert!(!late, "it waited for nothing");
    within("the end", ends.recv()).await.expect("told")
}

#[tokio::test]
async fn every_connection_ends_in_its_own_protocol() {
    let certificate = Certificate::new();
    let directory = tempfile::tempdir().expect("a directory");
    certificate.write(directory.path());
    let ca = directory.path().join("site.pem");
    let tls = format!("tls = {{ sni = \"localhost\", ca = \"{}\" }}", ca.display());
    let in_order = |goaway| End {
        goaway,
        more: Vec::new(),
        how: Ended::Fin,
    };
    // A server's streams are none here, so the last one is 0.
    let goaway = in_order(Some(0));
    let keys = "http = \"h2\"";
    assert_eq!(drained(strict(None, http2).await, keys, "").await, goaway);
    let keys = format!("http = \"h2\"\n{tls}");
    let server = strict(Some(certificate.server(&["h2"])), http2).await;
    assert_eq!(drained(server, &keys, "").await, goaway);
    let end = drained(strict(None, http1).await, "", "").await;
    assert_eq!(end, in_order(None));
    let server = strict(Some(certificate.server(&["http/1.1"])), http1).await;
    assert_eq!(drained(server, &tls, "").await, in_order(None));
}

#[tokio::test]
async fn a_server_that_never_closes_holds_up_nothing() {
    // It has its GOAWAY, and keeps its end of the socket open for ever.
    let (told, mut heard) = mpsc::unbounded_channel();
    let server = Script::http1(move |wire: Raw| {
        let told = told.clone();
        async move {
            let mut frames = begun(wire).await;
            let stream = frames.until(Frame::HEADERS).await.stream;
            frames.send(Frame::headers(stream, [0x88], false)).await;
            told.send(frames.goaway().await).expect("heard");
            pending::<()>().await;
        }
    })
    .await;
    let text = site(server.address, "http = \"h2\"", "close = \"1h\"");
    let mut proxy = Proxy::start(&text).await;
    assert_eq!(get(&proxy, "/").await.status, 200);
    proxy.signal(Signal::TERM);
    assert!(proxy.exit().await.success());
    assert_eq!(within("GOAWAY", heard.recv()).await, Some(0));
}

/// A server that lets a client send without end on a stream, and takes none of it.
async fn stuck() -> Script {
    Script::http1(|mut wire: Raw| async move {
        wire.read_until("SM\r\n\r\n").await.expect("a preface");
        let mut frames = Frames::begun(wire);
        // SETTINGS_INITIAL_WINDOW_SIZE, and the connection's window.
        let window = 0x7fff_ffff_u32.to_be_bytes();
        let settings = [&[0, 4][..], &window].concat();
        frames
            .send(Frame::new(Frame::SETTINGS, 0, 0, settings))
            .await;
        let more = (0x7fff_ffff_u32 - 65_535).to_be_bytes();
        frames
            .send(Frame::new(Frame::WINDOW_UPDATE, 0, 0, more))
            .await;
        frames
            .send(Frame::new(Frame::SETTINGS, Frame::ACK, 0, []))
            .await;
        frames.until(Frame::HEADERS).await;
        pending::<()>().await;
    })
    .await
}

/// A proxy whose one connection to a server is idle, full of what that does not
/// take. The first request on it was given up.
async fn clogged(server: &Script, close: &str) -> Proxy {
    let pool = format!("close = \"{close}\", ping = false");
    let text = site(server.address, "http = \"h2\"", &pool)
        .replace(
            "{ upstream = \"site\" }",
            "{ upstream = \"site\", timeout = \"1s\" }",
        )
        .replace("announce = \"0s\"", "grace = \"2h\"\nannounce = \"0s\"");
    let proxy = Proxy::start(&text).await;
    let mut client = Raw::connect(proxy.address("web")).await;
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n";
    client.send(head).await.expect("sent");
    let piece = vec![b'x'; 1 << 20];
    let sent = async {
        // Until nobody takes more, or the request is given up.
        while client.send(&piece).await.is_ok() {}
    };
    tokio::select! {
        () = sent => {}
        () = until_idle(&proxy, 1) => {}
    }
    until_idle(&proxy, 1).await;
    proxy
}

#[tokio::test]
async fn a_server_that_takes_nothing_holds_up_the_exit_for_no_longer_than_it_may() {
    let server = stuck().await;
    let mut proxy = clogged(&server, "300ms").await;
    proxy.signal(Signal::TERM);
    let line = proxy.until_event("upstream_not_closed", |_| true).await;
    assert_eq!(
        (&line["upstream"], &line["left"]),
        (&"site".into(), &1.into())
    );
    assert!(proxy.exit().await.success());
}

#[tokio::test]
async fn who_interrupts_again_waits_for_no_server() {
    let server = stuck().await;
    let mut proxy = clogged(&server, "1h").await;
    proxy.signal(Signal::INT);
    proxy.until_event("SHUTDOWN_COMPLETED", |_| true).await;
    proxy.signal(Signal::INT);
    assert!(proxy.exit().await.success());
}
