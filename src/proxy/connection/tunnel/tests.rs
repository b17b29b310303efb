mod silence;

use super::buffer::BLOCK;
use super::scene::{Scene, ended, read, read_all, settle, soon, tcp};
use super::*;
use crate::drain::{CutReason, Protocol};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, DuplexStream, ReadBuf, duplex};
use tokio::task::JoinHandle;

/// A tunnel over pipes of this capacity; the task, the client, the server.
fn piped(scene: &Scene, capacity: usize) -> (JoinHandle<()>, DuplexStream, DuplexStream) {
    let (client, near) = duplex(capacity);
    let (server, far) = duplex(capacity);
    let task = tokio::spawn(opaque(scene.exchange(), near, far, Early::default()));
    (task, client, server)
}

#[tokio::test]
async fn bytes_go_both_ways_and_early_ones_first() {
    let scene = Scene::new(Protocol::Tcp);
    let (mut client, near) = duplex(64);
    let (mut server, far) = duplex(64);
    let early = Early {
        from_client: Bytes::from_static(b"early "),
        from_server: Bytes::from_static(b"banner "),
    };
    let task = tokio::spawn(opaque(scene.exchange(), near, far, early));
    client.write_all(b"question").await.expect("open");
    assert_eq!(read(&mut server, 14).await, b"early question");
    server.write_all(b"answer").await.expect("open");
    assert_eq!(read(&mut client, 13).await, b"banner answer");
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.ledger().finished, 1);
}

#[tokio::test]
async fn half_closes_are_passed_on() {
    let scene = Scene::new(Protocol::Tcp);
    let ((mut client, near), (mut server, far)) = (tcp().await, tcp().await);
    let task = tokio::spawn(opaque(scene.exchange(), near, far, Early::default()));
    client.write_all(b"all I have").await.expect("open");
    client.shutdown().await.expect("open");
    assert_eq!(read_all(&mut server).await, b"all I have");
    // The other direction lives on.
    for word in ["and", "this", "is", "mine"] {
        server.write_all(word.as_bytes()).await.expect("open");
        assert_eq!(read(&mut client, word.len()).await, word.as_bytes());
    }
    assert!(!task.is_finished());
    server.shutdown().await.expect("open");
    assert_eq!(read_all(&mut client).await, b"");
    ended(task).await;
    assert_eq!(scene.ledger().finished, 1);
}

#[tokio::test]
async fn a_slow_reader_holds_the_sender_back_and_loses_nothing() {
    const TOTAL: usize = 64 << 20;
    const PIPE: usize = 16 * 1024;
    const CHUNK: usize = 40_009;
    let scene = Scene::new(Protocol::Tcp);
    let (task, mut client, mut server) = piped(&scene, PIPE);
    // A period that no power of two divides shows any shift or swap.
    let chunk: Vec<u8> = (0..253).cycle().take(CHUNK).collect();
    let pattern = chunk.repeat(2);
    let sent = Arc::new(AtomicUsize::new(0));
    let sender = {
        let (sent, pattern) = (Arc::clone(&sent), pattern.clone());
        tokio::spawn(async move {
            let mut at = 0;
            while at < TOTAL {
                let from = at % CHUNK;
                let until = (from + CHUNK).min(from + TOTAL - at);
                at += server.write(&pattern[from..until]).await.expect("open");
                sent.store(at, Relaxed);
            }
        })
    };
    settle().await;
    assert!(sent.load(Relaxed) <= BLOCK + 2 * PIPE, "nobody reads yet");
    let mut space = vec![0; 24_001];
    let mut at = 0;
    while at < TOTAL {
        let got = soon(client.read(&mut space)).await.expect("open");
        assert_ne!(got, 0, "ended after {at}");
        let from = at % CHUNK;
        assert!(
            space[..got] == pattern[from..from + got],
            "differs after {at}"
        );
        at += got;
        assert!(
            sent.load(Relaxed) - at <= BLOCK + 2 * PIPE,
            "held in memory at {at}"
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(soon(client.read(&mut space)).await.expect("open"), 0);
    drop(client);
    ended(sender).await;
    ended(task).await;
}

#[tokio::test]
async fn what_a_sink_holds_back_is_flushed() {
    let scene = Scene::new(Protocol::Tcp);
    let (mut client, near) = duplex(64);
    let (mut server, far) = duplex(64);
    let (near, far) = (BufWriter::new(near), BufWriter::new(far));
    let task = tokio::spawn(opaque(scene.exchange(), near, far, Early::default()));
    client.write_all(b"ping").await.expect("open");
    assert_eq!(read(&mut server, 4).await, b"ping");
    server.write_all(b"pong").await.expect("open");
    assert_eq!(read(&mut client, 4).await, b"pong");
    drop((client, server));
    ended(task).await;
}

#[tokio::test]
async fn a_reset_reaches_the_other_side_as_an_end() {
    let scene = Scene::new(Protocol::Tcp);
    let ((mut client, near), (mut server, far)) = (tcp().await, tcp().await);
    let task = tokio::spawn(opaque(scene.exchange(), near, far, Early::default()));
    server.write_all(b"so far").await.expect("open");
    assert_eq!(read(&mut client, 6).await, b"so far");
    let socket = socket2::SockRef::from(&server);
    socket.set_linger(Some(Duration::ZERO)).expect("open");
    drop(server);
    assert_eq!(read_all(&mut client).await, b"");
    ended(task).await;
    assert_eq!(scene.ledger().finished, 1);
}

/// Says what it has to say and takes nothing.
#[derive(Debug)]
struct Deaf(DuplexStream);

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_a_server_said_before_it_refused_more_is_delivered() {
    let scene = Scene::new(Protocol::Tcp);
    let (mut client, near) = duplex(1024);
    let (mut said, far) = duplex(1 << 20);
    let answer = vec![b'!'; 500_000];
    said.write_all(&answer).await.expect("room");
    client.write_all(b"too much").await.expect("open");
    let task = tokio::spawn(opaque(scene.exchange(), near, Deaf(far), Early::default()));
    // The server never closes: the tunnel ends all the same.
    assert_eq!(read_all(&mut client).await, answer);
    ended(task).await;
    assert_eq!(scene.ledger().finished, 1);
    drop(said);
}

/// Never runs dry, and never lets the runtime's budget tell it to wait.
#[derive(Debug)]
struct Flood(DuplexStream);

impl AsyncRead for Flood {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buf.initialize_unfilled_to(1).fill(0);
        buf.advance(1);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Takes everything at once, says what the pipe in it says.
#[derive(Debug)]
struct Drain(DuplexStream);

impl AsyncRead for Drain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Drain {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_flood_one_way_starves_neither_the_other_nor_the_orders() {
    let scene = Scene::new(Protocol::Tcp);
    let (mut client, near) = duplex(64);
    let (mut server, far) = duplex(64);
    let exchange = scene.exchange();
    let task = tokio::spawn(opaque(exchange, Flood(near), Drain(far), Early::default()));
    server.write_all(b"through").await.expect("open");
    assert_eq!(read(&mut client, 7).await, b"through");
    scene.farewell();
    assert_eq!(read_all(&mut client).await, b"");
    drop(server);
    settle().await;
    assert!(!task.is_finished(), "the flood has not ended");
    scene.cut();
    ended(task).await;
    assert_eq!(scene.ledger().cut, 1);
}

#[tokio::test]
async fn the_farewell_half_closes_both_and_waits_for_both() {
    let scene = Scene::new(Protocol::Tcp);
    let ((mut client, near), (mut server, far)) = (tcp().await, tcp().await);
    let task = tokio::spawn(opaque(scene.exchange(), near, far, Early::default()));
    client.write_all(b"hello").await.expect("open");
    assert_eq!(read(&mut server, 5).await, b"hello");
    scene.farewell();
    assert_eq!(read_all(&mut client).await, b"");
    assert_eq!(read_all(&mut server).await, b"");
    // What is said now is read and dropped, not answered with a reset.
    client
        .write_all(&vec![0; 300_000])
        .await
        .expect("still read");
    drop(client);
    settle().await;
    assert!(!task.is_finished(), "the server has not left");
    drop(server);
    ended(task).await;
    assert_eq!(scene.ledger().farewelled, 1);
    assert_eq!(scene.registry.farewells(Farewell::HalfClose), 1);
}

/// Write what there is room for, if there is any.
async fn try_write(to: &mut DuplexStream, bytes: &[u8]) -> Option<usize> {
    poll_fn(|cx| match Pin::new(&mut *to).poll_write(cx, bytes) {
        Poll::Ready(wrote) => Poll::Ready(Some(wrote.expect("open"))),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn what_is_in_hand_at_the_farewell_is_written() {
    let scene = Scene::new(Protocol::Tcp);
    let (task, mut client, mut server) = piped(&scene, 1024);
    let bytes: Vec<u8> = (0..251).cycle().take(3 * BLOCK).collect();
    // Nobody reads, so this stops with a pipe full on each side and what the
    // tunnel holds in between.
    let mut sent = 0;
    while let Some(took) = try_write(&mut client, &bytes[sent..]).await {
        sent += took;
        settle().await;
    }
    assert!(sent < bytes.len(), "somebody holds it all");
    scene.farewell();
    settle().await;
    let got = read_all(&mut server).await;
    assert!(got.len() > 1024, "more than the pipe held: {}", got.len());
    assert_eq!(got, bytes[..got.len()]);
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.ledger().farewelled, 1);
}

#[tokio::test]
async fn who_does_not_leave_is_cut() {
    let scene = Scene::new(Protocol::Tcp);
    let (task, mut client, mut server) = piped(&scene, 64);
    scene.farewell();
    assert_eq!(read_all(&mut client).await, b"");
    assert_eq!(read_all(&mut server).await, b"");
    drop(client);
    settle().await;
    assert!(!task.is_finished());
    scene.cut();
    ended(task).await;
    assert_eq!(scene.ledger().cut, 1);
    assert_eq!(scene.registry.cuts(Protocol::Tcp, CutReason::Farewell), 1);
    let closed = server.write_all(b"anybody?").await;
    assert!(closed.is_err(), "both streams are closed");
}

#[tokio::test]
async fn a_peer_that_takes_nothing_does_not_outlive_the_cut() {
    let scene = Scene::new(Protocol::Tcp);
    let (task, mut client, server) = piped(&scene, 64);
    client.write_all(&[1; 128]).await.expect("room");
    scene.farewell();
    drop(client);
    settle().await;
    assert!(!task.is_finished());
    scene.cut();
    ended(task).await;
    assert_eq!(scene.ledger().cut, 1);
    drop(server);
}

#[tokio::test]
async fn a_client_that_left_before_it_was_told_is_not_counted_as_told() {
    let scene = Scene::new(Protocol::Tcp);
    let (task, client, mut server) = piped(&scene, 64);
    server.write_all(&[1; 128]).await.expect("room");
    // Until half of it is in the client's pipe and half in hand.
    settle().await;
    scene.farewell();
    settle().await;
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.ledger().finished, 1);
}

#[tokio::test]
async fn a_spent_budget_is_no_end() {
    let (mut client, _client) = duplex(64);
    let (mut said, server) = duplex(1024);
    said.write_all(b"the last").await.expect("room");
    let mut server = Deaf(server);
    let mut up = Direction::new(Opaque, Bytes::from_static(b"refused"));
    let mut down = Direction::new(Opaque, Bytes::new());
    poll_fn(|cx| up.poll_pass(cx, &mut client, &mut server)).await;
    assert!(down.learn(&up), "the server is deaf");
    let (mut to, mut reader) = duplex(64);
    let early = poll_fn(|cx| {
        while let Poll::Ready(spend) = tokio::task::coop::poll_proceed(cx) {
            spend.made_progress();
        }
        Poll::Ready(down.poll_pass(cx, &mut server, &mut to).is_ready())
    });
    assert!(!early.await, "there was no budget left to read with");
    tokio::task::yield_now().await;
    soon(poll_fn(|cx| down.poll_pass(cx, &mut server, &mut to))).await;
    assert_eq!(read_all(&mut reader).await, b"the last");
}

#[tokio::test]
async fn a_cut_without_a_farewell_is_a_cut() {
    let scene = Scene::new(Protocol::Tcp);
    let (task, client, server) = piped(&scene, 64);
    settle().await;
    scene.cut();
    ended(task).await;
    assert_eq!(scene.ledger().cut, 1);
    drop((client, server));
}

#[tokio::test]
async fn a_tunnel_that_begins_after_its_deadline_ends() {
    let scene = Scene::new(Protocol::Tcp);
    scene.farewell();
    let (mut client, near) = duplex(64);
    let (mut server, far) = duplex(64);
    let early = Early {
        from_client: Bytes::from_static(b"early"),
        from_server: Bytes::new(),
    };
    let task = tokio::spawn(opaque(scene.exchange(), near, far, early));
    assert_eq!(read_all(&mut server).await, b"early");
    assert_eq!(read_all(&mut client).await, b"");
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.ledger().farewelled, 1);
}

#[tokio::test]
async fn another_protocols_deadline_is_not_ours() {
    let scene = Scene::new(Protocol::Tcp);
    let (task, mut client, mut server) = piped(&scene, 64);
    scene.publish(crate::drain::Orders {
        farewell: crate::drain::Protocols::EMPTY.with(Protocol::WebSocket),
        ..crate::drain::Orders::default()
    });
    settle().await;
    client.write_all(b"still here").await.expect("open");
    assert_eq!(read(&mut server, 10).await, b"still here");
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.ledger().finished, 1);
}
