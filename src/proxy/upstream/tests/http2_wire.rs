//! HTTP/2 against servers that no well-behaved library would be: silent,
//! mute, or not speaking it at all. Frames are written by hand (RFC 9113,
//! section 4.1).

use super::super::connections::{Connections, Count, Life, Lot, Stream};
use super::super::http2::handshake;
use super::super::lifetime::Closed;
use super::super::multiplex::{Multiplexer, Origin};
use super::super::silence::Silence;
use super::*;
use crate::clock;
use crate::config::UpstreamHttp::H2;
use crate::proxy::Error;
use std::future::pending;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;

pub(super) async fn write(stream: &mut TcpStream, kind: u8, flags: u8, id: u8, payload: &[u8]) {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, id];
    frame.extend(payload);
    stream.write_all(&frame).await.unwrap();
}

pub(super) async fn read(stream: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.unwrap();
    (head[3], head[4], payload)
}

/// Accept, read the preface, send SETTINGS with these parameters.
pub(super) async fn greet(listener: &TcpListener, settings: &[u8]) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    write(&mut stream, SETTINGS, 0, 0, settings).await;
    stream
}

/// A connection, and what is counted of it.
async fn connect(address: SocketAddr, silence: Silence) -> (Arc<Multiplexer>, Arc<Connections>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = pingora_core::protocols::l4::stream::Stream::from(stream);
    let origin = Origin {
        name: "quiet".into(),
        server: 0,
        generation: 0,
        standing: crate::proxy::upstream::standing::Standing::new(None),
    };
    let connections = Arc::new(Connections::default());
    let count = Count::new(&connections, &Arc::default());
    let life = Life::begin(&count, Lot::Pooled, clock::now(), &config::Pool::default());
    let stream = Stream::new(Box::new(stream), life);
    let made = handshake(stream, origin, 128, Some(silence)).await;
    (made.unwrap(), connections)
}

/// The same, and its silence is borne.
pub(super) async fn quiet(address: SocketAddr) -> (Arc<Multiplexer>, Arc<Connections>) {
    let silence = Silence {
        after: LIMIT,
        ..SOON
    };
    connect(address, silence).await
}

/// How many ended for want of an answer to a PING.
fn found_gone(connections: &Connections) -> u64 {
    connections.closed(Closed::Ping)
}

pub(super) fn ask(
    connection: &Arc<Multiplexer>,
) -> (super::super::Http2Lease, h2::client::ResponseFuture) {
    let mut lease = connection.reserve().expect("a slot");
    let mut head = Request::new(());
    *head.uri_mut() = Uri::from_static("http://site/");
    let (response, _) = lease.send(head, true).unwrap();
    (lease, response)
}

const SOON: Silence = Silence {
    after: Duration::from_millis(40),
    answer: Duration::from_millis(40),
    again: Duration::from_secs(3600),
};

#[tokio::test]
async fn a_silent_connection_that_answers_no_ping_is_closed() {
    let (listener, address) = listen().await;
    let ((connection, connections), mut far) =
        tokio::join!(connect(address, SOON), greet(&listener, &[]));
    let (lease, response) = ask(&connection);
    let pinged = async {
        while read(&mut far).await.0 != PING {}
        pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = timeout(LIMIT, response) => ended.expect("closed"),
        () = pinged => unreachable!(),
    };
    assert!(ended.is_err());
    until("its end", || found_gone(&connections) == 1).await;
    assert!(connection.retired());
    assert!(connection.reserve().is_none());
    drop(lease);
}

#[tokio::test]
async fn a_quiet_connection_that_answers_its_ping_lives() {
    let (listener, address) = listen().await;
    let patient = Silence {
        answer: LIMIT,
        ..SOON
    };
    let ((connection, _), mut far) = tokio::join!(connect(address, patient), greet(&listener, &[]));
    let (_lease, response) = ask(&connection);
    let server = async {
        let payload = loop {
            let (kind, _, payload) = read(&mut far).await;
            if kind == PING {
                break payload;
            }
        };
        write(&mut far, PING, ACK, 0, &payload).await;
        // Silent again for longer than `after`, and not asked again so soon.
        let next = timeout(5 * SOON.after, read(&mut far)).await;
        assert!(next.is_err(), "{next:?}");
        // HEADERS with END_STREAM and END_HEADERS: `:status: 200`.
        write(&mut far, HEADERS, 5, 1, &[0x88]).await;
    };
    let (response, ()) = tokio::join!(timeout(LIMIT, response), server);
    assert_eq!(response.unwrap().unwrap().status(), 200);
    assert!(!connection.retired());
}

#[tokio::test]
async fn a_connection_without_streams_is_asked_once() {
    let (listener, address) = listen().await;
    let patient = Silence {
        answer: LIMIT,
        ..SOON
    };
    let ((connection, connections), mut far) =
        tokio::join!(connect(address, patient), greet(&listener, &[]));
    let payload = loop {
        let (kind, _, payload) = read(&mut far).await;
        if kind == PING {
            break payload;
        }
    };
    write(&mut far, PING, ACK, 0, &payload).await;
    let next = timeout(5 * SOON.after, read(&mut far)).await;
    assert!(next.is_err(), "{next:?}");
    assert!(connection.reserve().is_some());
    assert_eq!(found_gone(&connections), 0);
}

#[tokio::test]
async fn a_connection_without_streams_that_answers_no_ping_is_closed() {
    let (listener, address) = listen().await;
    let ((connection, connections), mut far) =
        tokio::join!(connect(address, SOON), greet(&listener, &[]));
    let mut rest = Vec::new();
    // Read to the end, and answered by nothing.
    timeout(LIMIT, far.read_to_end(&mut rest))
        .await
        .expect("closed")
        .unwrap();
    until("its end", || found_gone(&connections) == 1).await;
    assert!(connection.reserve().is_none());
    assert_eq!(connections.open(), 0);
}

#[tokio::test]
async fn a_stream_on_a_connection_that_was_asked_before_is_no_trap() {
    let (listener, address) = listen().await;
    let ((connection, connections), mut far) =
        tokio::join!(connect(address, SOON), greet(&listener, &[]));
    let payload = loop {
        let (kind, _, payload) = read(&mut far).await;
        if kind == PING {
            break payload;
        }
    };
    write(&mut far, PING, ACK, 0, &payload).await;
    // From here on nothing comes back any more.
    let (_lease, response) = ask(&connection);
    let ended = timeout(LIMIT, response).await.expect("told");
    assert!(ended.is_err());
    until("its end", || found_gone(&connections) == 1).await;
}

#[tokio::test]
async fn a_server_that_does_not_speak_http2_is_found_out_at_once() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        pending::<()>().await;
    });
    let pool = pool(&config(&[address], H2));
    match timeout(LIMIT, pool.lease(None, &mut Search::new()))
        .await
        .unwrap()
    {
        Err(Error::Connect { reason, .. }) => assert!(reason.starts_with("HTTP/2"), "{reason}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("leased"),
    }
}

#[tokio::test]
async fn a_server_that_sends_no_settings_times_out() {
    let (_listener, address) = listen().await;
    let mut config = config(&[address], H2);
    config.connect_timeout = Duration::from_millis(50);
    let error = timeout(LIMIT, pool(&config).lease(None, &mut Search::new()))
        .await
        .unwrap()
        .err()
        .unwrap();
    match error {
        Error::ConnectTimeout { limit, .. } => assert_eq!(limit, config.connect_timeout),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_server_that_allows_no_streams_is_an_error_and_not_a_loop() {
    let (listener, address) = listen().await;
    // SETTINGS_MAX_CONCURRENT_STREAMS (3) = 0.
    tokio::spawn(async move {
        let _stream = greet(&listener, &[0, 3, 0, 0, 0, 0]).await;
        pending::<()>().await;
    });
    let pool = pool(&config(&[address], H2));
    match timeout(LIMIT, pool.lease(None, &mut Search::new()))
        .await
        .unwrap()
    {
        Err(Error::Connect { reason, .. }) => assert_eq!(reason, "HTTP/2: it allows no streams"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("leased"),
    }
}
