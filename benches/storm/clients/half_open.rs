//! Clients that connect and stop half-way, at one place or another, and wait
//! to be told that their time is over.
//!
//! Deliberately absent: counting as an exchange. Nothing that the receipt's
//! books hold as a request was begun.

use super::super::books::End;
use super::{Client, Connected, PATIENCE};
use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// Where the client stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Before its first byte: FIN.
    Silent,
    /// In its first request's head: 503.
    Head,
    /// In the HTTP/2 preface: FIN.
    Preface,
    /// In the TLS handshake: an alert.
    Hello,
}

/// Connect some time after the start, stop there, and wait for the end.
pub(crate) async fn half_open(client: Client, stop: Stop) {
    sleep(client.pause).await;
    // Its TLS is not to be shaken hands with.
    let tls = client.target.tls.clone();
    let mut plain = client.clone();
    plain.target.tls = None;
    let Some(Connected { mut wire, port }) = plain.connect().await else {
        return;
    };
    let operation = client.books.begin(client.kind, None, port);
    let first = match stop {
        Stop::Silent => Vec::new(),
        Stop::Head => b"GET /bytes/1 HTTP/1.1\r\nHost: loc".to_vec(),
        Stop::Preface => b"PRI * HTTP/2.0\r\n".to_vec(),
        Stop::Hello => match tls.map(half_hello) {
            Some(Ok(bytes)) => bytes,
            _ => return operation.end(Err("no TLS to begin".to_owned())),
        },
    };
    if let Err(error) = wire.write_all(&first).await {
        return operation.end(Err(format!("writing: {error}")));
    }
    let mut heard = Vec::new();
    let ended = timeout(PATIENCE, wire.read_to_end(&mut heard)).await;
    operation.end(match ended {
        Err(_) => Err(format!("nothing for {PATIENCE:?}")),
        Ok(Err(error)) => Err(format!("after {} bytes: {error}", heard.len())),
        Ok(Ok(_)) => told(stop, &heard),
    });
}

/// The half of a first flight.
fn half_hello(config: Arc<rustls::ClientConfig>) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut hello = Vec::new();
    let name = ServerName::try_from("localhost")?;
    ClientConnection::new(config, name)?.write_tls(&mut hello)?;
    hello.truncate(hello.len() / 2);
    Ok(hello)
}

fn told(stop: Stop, heard: &[u8]) -> Result<End, String> {
    /// The type of a TLS record that carries an alert (RFC 8446, section 5.1).
    const ALERT: u8 = 21;
    let words = match stop {
        Stop::Silent | Stop::Preface if heard.is_empty() => "FIN",
        Stop::Head if heard.starts_with(b"HTTP/1.1 503 ") => "503",
        Stop::Hello if heard.first() == Some(&ALERT) => "a TLS alert",
        _ => return Err(format!("heard {:?}", String::from_utf8_lossy(heard))),
    };
    Ok(End::Told(words.to_owned()))
}
