//! The wrong protocol on a port, or in a connection.

use super::{HONEST, Wire, all_of, assert_refused};
use crate::support::clients::{Ended, Frame, Frames, Raw};
use h2::Reason;
use tokio::net::TcpStream;

const ALERT: u8 = 21;

#[tokio::test]
async fn what_is_no_tls_gets_an_alert_and_fin() {
    let wire = Wire::new().await;
    let large = [HONEST, &"x".repeat(100_000)].concat();
    for (what, bytes) in [
        ("HTTP/1", HONEST),
        ("HTTP/2", Frame::PREFACE),
        ("noise", "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}"),
        ("much more than is read", &large),
        ("an empty record", "\u{16}\u{3}\u{1}\0\0"),
    ] {
        let before = wire.seen();
        let mut client = Raw::connect(wire.proxy.address("secure")).await;
        let _ = client.send(bytes).await;
        let (answer, end) = client.rest().await;
        assert_eq!(answer.first(), Some(&ALERT), "{what}: {answer:?}");
        assert_eq!((answer.len(), end), (7, Ended::Fin), "{what}");
        wire.serves_as_before(&before, what).await;
    }
    wire.over().await;
}

#[tokio::test]
async fn a_client_hello_in_clear_text_is_a_bad_request() {
    let wire = Wire::new().await;
    let before = wire.seen();
    let mut client = wire.raw().await;
    let hello = wire.proxy.certificate().client_hello();
    client.send(hello).await.expect("sent");
    assert_refused(&all_of(client, "TLS").await, 400, "TLS");
    wire.serves_as_before(&before, "TLS").await;
    wire.over().await;
}

#[tokio::test]
async fn a_client_that_speaks_nothing_of_ours_is_told() {
    let wire = Wire::new().await;
    let before = wire.seen();
    let address = wire.proxy.address("secure");
    let stream = TcpStream::connect(address).await.expect("connect");
    let refused = wire.proxy.certificate().refused(stream, "spdy/3").await;
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    wire.serves_as_before(&before, "ALPN").await;
    wire.over().await;
}

/// Once `h2` is agreed on, nothing else is spoken (RFC 9113, section 3.2).
#[tokio::test]
async fn after_alpn_a_client_keeps_its_word() {
    let wire = Wire::new().await;
    let secure = wire.proxy.address("secure");
    let certificate = wire.proxy.certificate();
    let preface = &Frame::PREFACE[..24];
    let size = [preface, "\0\0\u{5}\u{4}\0\0\0\0\0"].concat();
    let ping = [preface, "\0\0\u{8}\u{6}\0\0\0\0\0"].concat();
    for (what, bytes, reason) in [
        ("HTTP/1", HONEST, Reason::PROTOCOL_ERROR),
        (
            "another preface",
            "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
            Reason::PROTOCOL_ERROR,
        ),
        ("a PING first", &ping, Reason::PROTOCOL_ERROR),
        ("SETTINGS of 5 bytes", &size, Reason::FRAME_SIZE_ERROR),
    ] {
        let before = wire.seen();
        let mut client = Raw::connect_tls(secure, certificate, "h2").await;
        client.send(bytes).await.expect("sent");
        let mut client = Frames::begun(client);
        let settings = client.frame().await.expect("SETTINGS");
        assert_eq!(settings.kind, Frame::SETTINGS, "{what}");
        let goaway = client.frame().await.expect("GOAWAY").goaway();
        assert_eq!(goaway, (0, reason), "{what}");
        assert_eq!(client.rest().await, (Vec::new(), Ended::Fin), "{what}");
        wire.serves_as_before(&before, what).await;
    }
    let before = wire.seen();
    let mut client = Raw::connect_tls(secure, certificate, "http/1.1").await;
    client.send(Frame::PREFACE).await.expect("sent");
    assert_refused(&all_of(client, "HTTP/2").await, 505, "HTTP/2");
    wire.serves_as_before(&before, "HTTP/2").await;
    wire.over().await;
}
