//! What a sink is told of its source's end.

use super::Direction;
use crate::drain::Protocol;
use crate::proxy::connection::tunnel::scene::{Scene, ended, read, read_all, tcp};
use crate::proxy::connection::tunnel::{Early, Opaque, opaque};
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

/// Notes whether it was told the end, or merely dropped.
struct Told(DuplexStream, Arc<AtomicBool>);

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Told {
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
        self.1.store(true, Relaxed);
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn only_an_end_is_passed_on_as_an_end() {
    for (linger, told) in [(Some(Duration::ZERO), false), (None, true)] {
        let scene = Scene::new(Protocol::Tcp);
        let (mut client, near) = duplex(64);
        let (mut server, far) = tcp().await;
        let end = Arc::new(AtomicBool::new(false));
        let near = Told(near, Arc::clone(&end));
        let task = tokio::spawn(opaque(scene.exchange(), near, far, Early::default()));
        server.write_all(b"so far").await.expect("open");
        assert_eq!(read(&mut client, 6).await, b"so far");
        let socket = socket2::SockRef::from(&server);
        socket.set_linger(linger).expect("open");
        drop(server);
        assert_eq!(read_all(&mut client).await, b"");
        drop(client);
        ended(task).await;
        assert_eq!(end.load(Relaxed), told, "{linger:?}");
    }
}

#[tokio::test]
async fn bytes_move_when_they_come_and_when_they_are_taken() {
    let mut way = Direction::new(Opaque, Bytes::from_static(b"early"));
    let (mut source, mut from) = duplex(64);
    let (mut to, mut sink) = duplex(2);
    let mut moves = async || {
        poll_fn(|cx| Poll::Ready(way.poll_pass(cx, &mut from, &mut to).is_ready())).await;
        way.take_moved()
    };
    assert!(moves().await, "two of the early bytes were taken");
    assert!(!moves().await, "nobody takes more");
    assert_eq!(read(&mut sink, 2).await, b"ea");
    assert!(moves().await, "there was room for two more");
    assert_eq!(read(&mut sink, 2).await, b"rl");
    assert!(moves().await);
    assert_eq!(read(&mut sink, 1).await, b"y");
    assert!(!moves().await, "nothing is left");
    source.write_all(b"!").await.expect("open");
    assert!(moves().await, "one more came");
}
