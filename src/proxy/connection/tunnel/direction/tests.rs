//! What a sink is told of its source's end.

use crate::drain::Protocol;
use crate::proxy::connection::tunnel::scene::{Scene, ended, read, read_all, tcp};
use crate::proxy::connection::tunnel::{Early, opaque};
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
