//! Without a good header nobody is served, whatever they say.

use super::{Header, SIGNATURE, Scene, binary};
use crate::support::clients::{Ended, Raw};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

const CASES: [(&str, &[u8]); 8] = [
    ("missing", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("missing", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("missing", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
    ("missing", b"\0"),
    ("malformed", b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n"),
    ("malformed", b"PROXY TCP6 192.0.2.7 192.0.2.1 4711 443\r\n"),
    ("malformed", b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\nGET"),
    ("malformed", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b"),
];

impl Scene {
    /// Send this, and more behind it, and be ended in order.
    async fn refuses(&self, listener: &str, bytes: &[u8]) {
        // What follows waits unread as the end comes, and must not turn it
        // into a reset.
        let bytes = [bytes, &[b'x'; 10_000]].concat();
        let stream = self.send(listener, &bytes).await;
        let peer = stream.local_addr().expect("an address").to_string();
        let end = Raw::over(Box::new(stream)).rest().await;
        assert_eq!(end, (Vec::new(), Ended::Fin), "{listener}");
        let told = |line: &Value| line["balancer"] == peer.as_str() && line["listener"] == listener;
        let line = self.proxy.until_event("proxy_header", told).await;
        assert_eq!(line["level"], "WARN", "{line}");
    }
}

#[tokio::test]
async fn what_is_no_header_is_ended_with_fin_and_counted() {
    let scene = Scene::start("true").await;
    let overlong = [b"PROXY UNKNOWN ", &[b'x'; 100][..]].concat();
    let oversize = [SIGNATURE, b"\x21\x11\xff\xff"].concat();
    let further = [("overlong", &overlong[..]), ("overlong", &oversize)];
    for listener in ["web", "secure", "db"] {
        for flaw in ["missing", "malformed", "overlong"] {
            let before = scene.refused(listener, flaw).await;
            assert_eq!(before, 0);
            let of_it = CASES.into_iter().chain(further);
            let mut count = 0;
            for (_, bytes) in of_it.filter(|(name, _)| *name == flaw) {
                scene.refuses_quietly(listener, bytes).await;
                count += 1;
            }
            assert_eq!(scene.refused(listener, flaw).await, count, "{flaw}");
        }
        assert_eq!(scene.refused(listener, "incomplete").await, 0);
    }
    assert_eq!(scene.http1.desk.seen().requests, 0);
    assert_eq!(scene.tcp.desk.seen().connections, 0);
    scene.gone().await;
}

#[tokio::test]
async fn the_log_says_who_sent_what_and_where_it_went_wrong() {
    let scene = Scene::start("true").await;
    scene.refuses("web", b"GET / HTTP/1.1\r\n\r\n").await;
    scene.refuses("db", CASES[5].1).await;
    let said = |flaw: &'static str| {
        scene
            .proxy
            .until_event("proxy_header", move |line| line["flaw"] == flaw)
    };
    let line = said("missing").await;
    assert_eq!(line["why"], "this is no PROXY header, at byte 1", "{line}");
    let line = said("malformed").await;
    let why = "an address is not one of its family, at byte 41";
    assert_eq!(line["why"], why, "{line}");
}

#[tokio::test]
async fn a_flood_of_them_is_counted_whole_and_logged_in_part() {
    let scene = Scene::start("true").await;
    for _ in 0..60 {
        scene.refuses_quietly("web", b"\0").await;
    }
    assert_eq!(scene.refused("web", "missing").await, 60);
    let lines = |log: &[Value]| {
        let mut counts = (0, 0);
        for line in log.iter().filter(|line| line["event"] == "proxy_header") {
            counts.0 += 1;
            counts.1 += line["held_back"].as_u64().expect("a number");
        }
        counts
    };
    let ten = |log: &[Value]| lines(log).0 >= 10;
    scene.proxy.until("ten lines", ten).await;
    let (logged, held) = lines(&scene.proxy.log());
    assert!(logged + held <= 60, "{logged} and {held}");
}

#[tokio::test]
async fn an_end_within_a_header_is_counted_and_one_before_it_is_not() {
    let scene = Scene::start("true").await;
    for (bytes, count) in [(&b""[..], 0), (b"PROXY TC", 1), (SIGNATURE, 2)] {
        let mut stream = scene.send("web", bytes).await;
        stream.shutdown().await.expect("FIN sent");
        let end = Raw::over(Box::new(stream)).rest().await;
        assert_eq!(end, (Vec::new(), Ended::Fin));
        scene.gone().await;
        assert_eq!(scene.refused("web", "incomplete").await, count);
    }
}

#[tokio::test]
async fn a_header_of_the_most_extensions_is_taken() {
    let scene = Scene::start("true").await;
    let rest = [&Header::binary().bytes[16..28], &[0xea; 4096 - 28]].concat();
    let header = binary(0x21, 0x11, &rest);
    assert_eq!(header.len(), 4096);
    let bytes = [&header, &b"hello"[..]].concat();
    let mut raw = Raw::over(Box::new(scene.send("db", &bytes).await));
    assert_eq!(raw.read_until("hello").await.expect("an echo"), "hello");
}

impl Scene {
    /// The same without a look into the log, which tells of some only.
    async fn refuses_quietly(&self, listener: &str, bytes: &[u8]) {
        let bytes = [bytes, &[b'x'; 10_000]].concat();
        let stream = self.send(listener, &bytes).await;
        let end = Raw::over(Box::new(stream)).rest().await;
        assert_eq!(end, (Vec::new(), Ended::Fin), "{listener}");
    }
}
