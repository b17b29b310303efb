//! Answers of HTTP/1 servers that cannot be read, or in two ways (RFC 9112,
//! sections 4 to 7), and bytes that answer nobody (section 9.2).
//!
//! The client is told 502, the connection is closed, and whoever comes next
//! gets its own answer: nothing is left in the pool that is not understood.

use crate::serving::client::{get, nothing, request};
use crate::serving::field::{Speaks, client};
use crate::serving::script::Script;
use crate::support::clients::Raw;
use crate::support::proxy::Proxy;
use crate::support::within;
use http::Method;
use std::sync::Arc;
use tokio::sync::watch;

/// What is odd, and what the server says.
type Case = (&'static str, &'static str);

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// RFC 9112, sections 2.3 and 4; RFC 9110, section 15.2.2.
#[rustfmt::skip]
const STATUS_LINES: [Case; 16] = [
    ("no status", "HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("nothing but a version", "HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a status below 100", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a signed status", "HTTP/1.1 +20 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("another protocol", "ICY 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("HTTP/0.9", "<html>ok</html>\r\n\r\n"),
    ("a greeting", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    ("noise", "\u{1}\u{2}\u{3}\u{4}\r\n\r\n"),
    ("a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("101 to HTTP/2", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
    ("101 to nothing", "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
];

/// RFC 9112, sections 2.2 and 5.
#[rustfmt::skip]
const LINES: [Case; 8] = [
    ("bare CR in a value", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok"),
    ("NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok"),
    ("a folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok"),
    ("a blank before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
    ("a blank after a coding's name", "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\nok"),
    ("a field without a colon", "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2\r\n\r\nok"),
    ("a field without a name", "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 2\r\n\r\nok"),
    ("a name that is no token", "HTTP/1.1 200 OK\r\nX(y): z\r\nContent-Length: 2\r\n\r\nok"),
];

/// RFC 9112, section 6.
#[rustfmt::skip]
const FRAMING: [Case; 18] = [
    ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    ("two lengths, equal", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    ("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"),
    ("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"),
    ("a length with a leading zero", "HTTP/1.1 200 OK\r\nContent-Length: 02\r\n\r\nok"),
    ("a length that is no number", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"),
    ("no length after all", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok"),
    ("a length beyond 2^64", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nok"),
    ("a length with chunked", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("chunked with a length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("a coding that nobody undoes", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"),
    ("a coding under chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("chunked in two fields", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("nearly chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\nok"),
    ("identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok"),
    ("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
];

/// A server that gives the answer under test to `/odd`, and a good one to any
/// other request, on connections that it never closes by itself.
struct Odd {
    proxy: Proxy,
    says: Arc<watch::Sender<String>>,
    /// Connections that gave the odd answer and were closed by the proxy.
    closed: watch::Receiver<usize>,
    _server: Script,
}

impl Odd {
    async fn new() -> Self {
        let says = Arc::new(watch::Sender::new(String::new()));
        let (note, closed) = watch::channel(0);
        let (odd, note) = (Arc::clone(&says), Arc::new(note));
        let server = Script::http1(move |mut wire: Raw| {
            let (odd, note) = (Arc::clone(&odd), Arc::clone(&note));
            async move {
                while let Ok(head) = wire.head().await {
                    let is_odd = head.split(' ').nth(1) == Some("/odd");
                    let says = odd.borrow().clone();
                    let says = if is_odd { says.as_str() } else { GOOD };
                    if wire.send(says).await.is_err() {
                        break;
                    }
                    if is_odd {
                        wire.rest().await;
                        note.send_modify(|closed| *closed += 1);
                        return;
                    }
                }
            }
        })
        .await;
        let proxy = Script::proxy("", &server, &server).await;
        Self {
            proxy,
            says,
            closed,
            _server: server,
        }
    }

    /// Ask for the answer under test: its status, and what followed.
    async fn ask(&mut self, speaks: Speaks, what: &str, says: &str) -> (u16, String) {
        self.says.send_replace(says.to_owned());
        let closed = *self.closed.borrow();
        let mut asking = client(&self.proxy, speaks).await;
        let reply = asking.ask(get("h1", "/odd")).await;
        let reply = reply.unwrap_or_else(|error| panic!("{what}: {error}"));
        let gone = self.closed.wait_for(|now| *now > closed);
        within(&format!("the end of {what}"), gone)
            .await
            .expect("the server");
        // More than one, or a poisoned connection might stay unseen.
        for _ in 0..3 {
            let reply = asking.ask(get("h1", "/good")).await;
            let reply = reply.unwrap_or_else(|error| panic!("after {what}: {error}"));
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"), "{what}");
        }
        (reply.status.as_u16(), reply.text().to_owned())
    }
}

#[tokio::test]
async fn a_bad_answer_is_502_and_its_connection_is_closed() {
    let mut odd = Odd::new().await;
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(1_000_000));
    let excess = [("many fields", &*many), ("a large head", &*large)];
    let groups = [&STATUS_LINES[..], &LINES, &FRAMING, &excess];
    for (what, says) in groups.into_iter().flatten() {
        for speaks in Speaks::CLEAR {
            let (status, _) = odd.ask(speaks, what, says).await;
            assert_eq!(status, 502, "{what}, for {speaks:?}");
        }
    }
}

/// RFC 9112, section 9.2: what follows an answer answers nobody.
#[tokio::test]
async fn what_is_more_than_an_answer_reaches_nobody() {
    let mut odd = Odd::new().await;
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (what, first, status, body) in [
        ("another answer", GOOD.to_owned(), 200, "ok"),
        (
            "an answer behind none",
            GOOD.replace("2\r\n\r\nok", "0\r\n\r\n"),
            200,
            "",
        ),
        (
            "a body of 204",
            "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok".into(),
            204,
            "",
        ),
        (
            "chunks of 204",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                .into(),
            204,
            "",
        ),
        (
            "a body of 304",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok".into(),
            304,
            "",
        ),
    ] {
        for speaks in Speaks::CLEAR {
            let says = first.clone() + poison;
            let (code, text) = odd.ask(speaks, what, &says).await;
            assert_eq!((code, &*text), (status, body), "{what}, for {speaks:?}");
        }
    }
}

/// Bytes that come while nothing was asked (RFC 9112, section 9.2).
#[tokio::test]
async fn an_answer_to_no_request_reaches_nobody() {
    let (go, _) = watch::channel(0);
    let (note, mut closed) = watch::channel(0);
    let (go, note) = (Arc::new(go), Arc::new(note));
    let turns = Arc::clone(&go);
    let server = Script::http1(move |mut wire: Raw| {
        let (mut turns, note) = (turns.subscribe(), Arc::clone(&note));
        async move {
            wire.head().await.expect("a head");
            turns.mark_unchanged();
            wire.send(GOOD).await.expect("sent");
            turns.changed().await.expect("the test");
            let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
            wire.send(poison).await.expect("sent");
            wire.rest().await;
            note.send_modify(|closed| *closed += 1);
        }
    })
    .await;
    let proxy = Script::proxy("", &server, &server).await;
    let mut asking = client(&proxy, Speaks::Http1).await;
    for turn in 1..=5 {
        let reply = asking.ask(get("h1", "/")).await.expect("a reply");
        assert_eq!(reply.text(), "ok", "{turn}");
        go.send_replace(turn);
        let gone = closed.wait_for(|closed| *closed == turn);
        within("the end of the connection", gone)
            .await
            .expect("the server");
    }
    assert_eq!(server.connections(), 5);
}

/// RFC 9110, section 9.3.2: the answer to HEAD ends with its head.
#[tokio::test]
async fn a_body_that_answers_head_reaches_nobody() {
    let mut odd = Odd::new().await;
    odd.says.send_replace(GOOD.to_owned());
    for speaks in Speaks::CLEAR {
        let closed = *odd.closed.borrow();
        let mut asking = client(&odd.proxy, speaks).await;
        let head = request(Method::HEAD, "h1", "/odd", nothing());
        let reply = asking.ask(head).await.expect("a reply");
        assert_eq!(reply.header("content-length"), Some("2"), "{speaks:?}");
        assert_eq!(reply.text(), "", "{speaks:?}");
        let gone = odd.closed.wait_for(|now| *now > closed);
        within("the end of the connection", gone)
            .await
            .expect("the server");
        let reply = asking.ask(get("h1", "/good")).await.expect("a reply");
        assert_eq!(reply.text(), "ok", "{speaks:?}");
    }
}

/// Also where no body is awaited, a length that is none says that nothing of the
/// answer can be trusted.
#[tokio::test]
async fn an_odd_length_is_refused_where_no_body_comes_too() {
    let odd = Odd::new().await;
    for says in [
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n",
    ] {
        odd.says.send_replace(says.to_owned());
        for speaks in Speaks::CLEAR {
            let mut asking = client(&odd.proxy, speaks).await;
            let head = request(Method::HEAD, "h1", "/odd", nothing());
            let reply = asking.ask(head).await.expect("a reply");
            assert_eq!(reply.status.as_u16(), 502, "{says}, for {speaks:?}");
            let reply = asking.ask(get("h1", "/good")).await.expect("a reply");
            assert_eq!(reply.text(), "ok", "{says}, for {speaks:?}");
        }
    }
}

/// What the RFCs let a recipient understand, and nobody reads otherwise.
#[tokio::test]
async fn what_is_odd_but_clear_is_an_answer() {
    const CLEAR: [Case; 9] = [
        ("no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
        (
            "an empty reason",
            "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
        ),
        (
            "lines that end with LF",
            "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        ),
        (
            "100 that nobody asked for",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        (
            "102",
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        (
            "103",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        (
            "extensions of a chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.0 that stays",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        ),
        (
            "blanks around a length",
            "HTTP/1.1 200 OK\r\nContent-Length:\t 2 \r\n\r\nok",
        ),
    ];
    for (what, says) in CLEAR {
        let server = Script::http1(move |mut wire: Raw| async move {
            while wire.head().await.is_ok() {
                wire.send(says).await.expect("sent");
            }
        })
        .await;
        let proxy = Script::proxy("", &server, &server).await;
        for speaks in Speaks::CLEAR {
            let mut asking = client(&proxy, speaks).await;
            for _ in 0..3 {
                let reply = asking.ask(get("h1", "/")).await;
                let reply = reply.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"), "{what}");
            }
        }
    }
}
