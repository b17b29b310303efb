//! A client that stopped: what it must hear, and what it gets if it goes on.

use super::kind::{Kind, REQUEST};
use crate::support::certificate::Certificate;
use crate::support::clients::{Ended, Frame, Frames, Raw};
use h2::Reason;
use rustls::ClientConnection;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// `user_canceled` and `close_notify`, not encrypted.
const CANCEL: [u8; 14] = [21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 0];

/// How far a client is.
pub(super) enum At {
    /// In a TLS handshake, with what it has not sent of its `ClientHello`.
    Handshake(TcpStream, Box<ClientConnection>, Vec<u8>),
    /// In a PROXY header, with what it has not sent of that.
    Header(TcpStream, &'static [u8]),
    /// What it sends is the beginning of a request.
    Open(Raw),
}

/// A client that stopped.
pub(super) struct Stopped {
    pub(super) kind: Kind,
    /// Its address, as operators see it.
    pub(super) peer: String,
    pub(super) at: At,
}

impl Stopped {
    /// Whether an entry of the admin interface is about this one. Of two
    /// connections to different listeners the kernel may give both the same
    /// port.
    pub(super) fn is(&self, entry: &Value) -> bool {
        entry["peer"] == self.peer.as_str() && entry["listener"] == self.kind.listener()
    }

    /// Read to the end, which must be the farewell of this kind.
    pub(super) async fn told(self) {
        let kind = self.kind;
        match self.at {
            At::Handshake(stream, mut client, _) => {
                let (bytes, end) = Raw::over(Box::new(stream)).rest().await;
                assert_eq!(end, Ended::Fin, "{kind:?}");
                match kind {
                    Kind::SilentTls => assert_eq!(bytes, b"", "{kind:?}"),
                    Kind::NoFinished => assert!(closed(&mut client, &bytes), "{kind:?}"),
                    _ => assert_eq!(bytes, CANCEL, "{kind:?}"),
                }
            }
            At::Header(stream, _) => {
                let end = Raw::over(Box::new(stream)).rest().await;
                assert_eq!(end, (Vec::new(), Ended::Fin), "{kind:?}");
            }
            At::Open(raw) => {
                let (bytes, end) = raw.rest().await;
                let answer = String::from_utf8_lossy(&bytes);
                assert_eq!(end, Ended::Fin, "{kind:?}: {answer}");
                if kind.farewell() == "half_head" {
                    assert!(answer.starts_with("HTTP/1.1 503 "), "{kind:?}: {answer}");
                    for field in ["Retry-After: ", "Connection: close\r\n"] {
                        assert!(answer.contains(&format!("\r\n{field}")), "{answer}");
                    }
                } else {
                    assert_eq!(answer, "", "{kind:?}");
                }
            }
        }
    }

    /// Read to the end, which is that of everyday life: told alike, but for a
    /// head, which was too slow.
    pub(super) async fn bounded(self) {
        if self.kind.state() != "head" {
            return self.told().await;
        }
        let kind = self.kind;
        let At::Open(raw) = self.at else {
            panic!("{kind:?} has no head");
        };
        let (bytes, end) = raw.rest().await;
        let answer = String::from_utf8_lossy(&bytes);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{kind:?}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert_eq!(end, Ended::Fin, "{kind:?}");
    }

    /// Go on to a request, which must be answered, and be the last.
    pub(super) async fn served(self, certificate: &Certificate) {
        let kind = self.kind;
        let raw = match self.at {
            At::Handshake(mut stream, client, rest) => {
                stream.write_all(&rest).await.expect("sent");
                let wire = certificate.go_on(stream, *client, "http/1.1").await;
                let mut raw = Raw::over(wire);
                raw.send(REQUEST).await.expect("sent");
                raw
            }
            At::Header(mut stream, rest) => {
                stream.write_all(rest).await.expect("sent");
                if kind == Kind::HalfLineTunnel {
                    return tunnelled(Raw::over(Box::new(stream))).await;
                }
                let wire = if kind == Kind::HalfBinaryTls {
                    certificate.shake_hands(stream, "http/1.1").await
                } else {
                    Box::new(stream)
                };
                let mut raw = Raw::over(wire);
                raw.send(REQUEST).await.expect("sent");
                raw
            }
            At::Open(mut raw) => {
                let rest = &kind.bytes()[kind.stops_at()..];
                raw.send(rest).await.expect("sent");
                raw
            }
        };
        if kind.http2() {
            return served_http2(raw, kind).await;
        }
        let (bytes, end) = raw.rest().await;
        let answer = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        assert!(
            answer.starts_with("http/1.1 200 "),
            "{kind:?}: {answer} {end:?}"
        );
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{kind:?}: {answer}");
        assert_eq!(end, Ended::Fin, "{kind:?}");
    }
}

/// A tunnel goes on until its ends are done with it.
async fn tunnelled(mut raw: Raw) {
    raw.send("hello").await.expect("sent");
    let echo = raw.read_until("hello").await.expect("an echo");
    assert_eq!(echo, "hello");
    raw.finish().await.expect("FIN sent");
    assert_eq!(raw.rest().await, (Vec::new(), Ended::Fin));
}

async fn served_http2(raw: Raw, kind: Kind) {
    let mut client = Frames::begun(raw);
    assert_eq!(client.goaway().await, 0x7fff_ffff, "{kind:?}");
    client.get(1, "/late").await;
    client.pong().await;
    let (mut last, mut answered) = (None, false);
    while last.is_none() || !answered {
        let frame = client.frame().await.expect("a frame");
        if frame.kind == Frame::GOAWAY {
            last = Some(frame.goaway());
        }
        answered |= frame.kind == Frame::DATA && frame.payload == b"ok";
    }
    assert_eq!(last, Some((1, Reason::NO_ERROR)), "{kind:?}");
}

/// Whether what came after our `ClientHello` ends in a `close_notify`.
fn closed(client: &mut ClientConnection, mut bytes: &[u8]) -> bool {
    let mut closed = false;
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).expect("room");
        let state = client.process_new_packets().expect("no failure");
        closed = state.peer_has_closed();
    }
    closed
}
