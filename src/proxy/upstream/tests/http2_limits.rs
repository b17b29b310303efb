//! HTTP/2 against servers that change how many streams they allow (RFC 9113,
//! section 5.1.2), by frames written by hand: no stream too many ever comes.

use super::http2_wire::{ask, greet, quiet, read, write};
use super::*;
use crate::config::UpstreamHttp::H2;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

/// `SETTINGS_MAX_CONCURRENT_STREAMS`.
fn allows(streams: u8) -> [u8; 6] {
    [0, 3, 0, 0, 0, streams]
}

/// Say how many streams are allowed, and read until that is heard; the streams
/// that were opened before.
async fn allow(far: &mut TcpStream, streams: u8) -> Vec<u8> {
    write(far, SETTINGS, 0, 0, &allows(streams)).await;
    let mut opened = Vec::new();
    loop {
        match read(far).await {
            (SETTINGS, ACK, _) => return opened,
            (HEADERS, ..) => opened.push(HEADERS),
            _ => {}
        }
    }
}

/// Answer a stream: HEADERS with `END_STREAM` and `END_HEADERS`, `:status: 200`.
async fn answer(far: &mut TcpStream, stream: u8) {
    write(far, HEADERS, 5, stream, &[0x88]).await;
}

/// A connection whose handshake is through, both ways.
async fn connected() -> (Arc<super::super::multiplex::Multiplexer>, TcpStream) {
    let (listener, address) = listen().await;
    // Without the parameter there is no limit but our own.
    let ((connection, _), mut far) = tokio::join!(quiet(address), greet(&listener, &[]));
    while read(&mut far).await.0 != SETTINGS {}
    while !matches!(read(&mut far).await, (SETTINGS, ACK, _)) {}
    (connection, far)
}

#[tokio::test]
async fn a_limit_that_changes_is_obeyed() {
    let (connection, mut far) = connected().await;
    assert_eq!(connection.slots(), 128);
    let first = connection.reserve().expect("a slot");
    allow(&mut far, 1).await;
    until("the change", || connection.slots() == 1).await;
    assert!(connection.reserve().is_none());
    drop(first);
    assert!(connection.reserve().is_some());
}

#[tokio::test]
async fn streams_above_a_limit_that_fell_run_on_and_none_is_added_before_there_is_room() {
    let (connection, mut far) = connected().await;
    let mut streams: Vec<_> = (0..5).map(|_| ask(&connection)).collect();
    for _ in 0..5 {
        assert_eq!(read(&mut far).await.0, HEADERS);
    }
    allow(&mut far, 2).await;
    until("the change", || connection.slots() == 2).await;
    // Stream by stream: with three left and with two there is no room yet.
    for (index, left) in [4, 3, 2].into_iter().enumerate() {
        assert!(connection.reserve().is_none());
        answer(&mut far, u8::try_from(2 * index + 1).unwrap()).await;
        let (lease, response) = streams.remove(0);
        let response = timeout(LIMIT, response).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        drop((lease, response));
        assert_eq!(streams.len(), left);
    }
    assert!(connection.reserve().is_none());
    answer(&mut far, 7).await;
    drop((streams.remove(0), ()).0.1.await.unwrap());
    let (sixth, _answer) = ask(&connection);
    assert_eq!(read(&mut far).await.0, HEADERS, "there is room for one");
    assert!(connection.reserve().is_none());
    drop((sixth, streams));
    assert!(connection.reserve().is_some());
}

#[tokio::test]
async fn a_stream_that_was_begun_is_opened_though_a_lower_limit_has_come() {
    let (connection, mut far) = connected().await;
    let (_first, _answer) = ask(&connection);
    assert_eq!(read(&mut far).await.0, HEADERS);
    // Two sockets have something at one look of the runtime, and this task is
    // run first: the connection's has not read yet.
    let (mut bell, mut rope) = UnixStream::pair().unwrap();
    write(&mut far, SETTINGS, 0, 0, &allows(0)).await;
    rope.write_all(b"!").await.unwrap();
    bell.read_exact(&mut [0]).await.unwrap();
    let (_second, _other) = ask(&connection);
    assert_eq!(connection.slots(), 128);
    let next = timeout(LIMIT, read(&mut far)).await.expect("its head");
    assert_eq!(next.0, HEADERS, "it had its slot before");
    until("the change", || connection.slots() == 0).await;
    assert!(connection.reserve().is_none());
}

#[tokio::test]
async fn a_limit_of_nothing_holds_until_it_is_raised() {
    let (connection, mut far) = connected().await;
    let (lease, response) = ask(&connection);
    assert_eq!(read(&mut far).await.0, HEADERS);
    allow(&mut far, 0).await;
    until("the change", || connection.slots() == 0).await;
    assert!(connection.reserve().is_none());
    assert!(!connection.is_useless(), "a stream is on it");
    allow(&mut far, 3).await;
    until("the change", || connection.slots() == 3).await;
    let (_second, _answer) = ask(&connection);
    assert_eq!(read(&mut far).await.0, HEADERS);
    answer(&mut far, 1).await;
    assert_eq!(response.await.unwrap().status(), 200);
    drop(lease);
}

#[tokio::test]
async fn what_is_reset_frees_its_slot_and_never_one_too_many() {
    let (connection, mut far) = connected().await;
    allow(&mut far, 2).await;
    until("the change", || connection.slots() == 2).await;
    let mut held = std::collections::VecDeque::from([ask(&connection), ask(&connection)]);
    // The server counts open streams as they come and go.
    let mut open = 0;
    for round in 0..50 {
        let mut opened = 0;
        while opened < if round == 0 { 2 } else { 1 } {
            match read(&mut far).await.0 {
                HEADERS => {
                    open += 1;
                    opened += 1;
                    assert!(open <= 2, "{open} streams at once");
                }
                RST_STREAM => open -= 1,
                _ => {}
            }
        }
        // Dropped before it is answered: CANCEL, and another one at once.
        assert!(connection.reserve().is_none());
        drop(held.pop_front());
        held.push_back(ask(&connection));
        assert!(connection.reserve().is_none());
    }
}

#[tokio::test]
async fn connections_that_allow_nothing_any_more_are_not_collected() {
    let (listener, address) = listen().await;
    let pool = pool(&config(&[address], H2));
    let one = allows(1);
    let (first, mut far) = tokio::join!(lease(&pool), greet(&listener, &one));
    drop(first);
    while read(&mut far).await.0 != SETTINGS {}
    while !matches!(read(&mut far).await, (SETTINGS, ACK, _)) {}
    allow(&mut far, 0).await;
    let (second, _far) = tokio::join!(lease(&pool), greet(&listener, &one));
    assert_eq!(pool.http2_connections(0), 1, "the first one is of no use");
    drop(second);
    let mut last = (0, 0, Vec::new());
    while last.0 != GOAWAY {
        last = read(&mut far).await;
    }
}
