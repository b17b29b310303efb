//! Streams over two engines and a pipe between them.

use super::*;
use crate::drain::Protocol;
use crate::proxy::connection::tunnel::scene::{Scene, ended, read, read_all, settle, silent, soon};
use crate::proxy::connection::tunnel::{Early, opaque};
use std::future::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// A stream as its server has it, and as a client whose window is so large.
async fn streams(window: u32) -> (Stream, Stream) {
    let (near, far) = duplex(1 << 20);
    let mut builder = h2::client::Builder::new();
    let (client, server) = tokio::join!(
        builder.initial_window_size(window).handshake(far),
        h2::server::Builder::new()
            .initial_window_size(window)
            .handshake(near),
    );
    let (mut sender, driver) = client.expect("a handshake");
    let mut server = server.expect("a handshake");
    tokio::spawn(driver);
    let asked = http::Request::post("http://a/")
        .body(())
        .expect("a request");
    let (answer, up) = sender.send_request(asked, false).expect("a stream");
    let (asked, mut respond) = soon(server.accept())
        .await
        .expect("a stream")
        .expect("a stream");
    let down = respond.send_response(http::Response::new(()), false);
    let near = Stream::new(asked.into_body(), down.expect("it is open"));
    tokio::spawn(async move { while server.accept().await.is_some() {} });
    let answer = soon(answer).await.expect("an answer");
    (near, Stream::new(answer.into_body(), up))
}

#[tokio::test]
async fn a_write_takes_what_the_window_allows() {
    let (mut near, mut far) = streams(10).await;
    assert_eq!(soon(near.write(b"0123456789abcdef")).await.ok(), Some(10));
    let blocked = poll_fn(|cx| Poll::Ready(Pin::new(&mut near).poll_write(cx, b"a").is_pending()));
    assert!(blocked.await);
    // Half of it is read: half of it may be sent, once the engine says so.
    assert_eq!(read(&mut far, 5).await, b"01234");
    assert!(
        soon(near.write(b"abcdef"))
            .await
            .is_ok_and(|sent| sent <= 5)
    );
    near.shutdown().await.expect("it is open");
    assert!(read_all(&mut far).await.starts_with(b"56789a"));
}

#[tokio::test]
async fn the_window_is_given_back_as_bytes_are_handed_out() {
    let (mut near, far) = streams(64).await;
    let Stream {
        mut sink,
        source: _source,
        ..
    } = far;
    sink.send_data(Bytes::from_static(&[7; 64]), false)
        .expect("it fits");
    sink.reserve_capacity(64);
    assert_eq!(read(&mut near, 1).await, [7]);
    settle().await;
    assert_eq!(sink.capacity(), 1, "what is in hand counts as taken");
    assert_eq!(read(&mut near, 63).await, [7; 63]);
    settle().await;
    assert_eq!(sink.capacity(), 64);
}

#[tokio::test]
async fn ends_are_half_closes_and_a_drop_is_a_reset() {
    let (mut near, mut far) = streams(100).await;
    near.write_all(b"bye").await.expect("room");
    near.shutdown().await.expect("it is open");
    assert_eq!(read_all(&mut far).await, b"bye");
    far.write_all(b"late").await.expect("room");
    assert_eq!(read(&mut near, 4).await, b"late");
    assert!(silent(&mut near).await);
    drop(far);
    let mut byte = [0];
    let error = soon(near.read(&mut byte)).await.expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_is_noticed_by_a_flush_alone() {
    let (mut near, mut far) = streams(100).await;
    far.shutdown().await.expect("it is open");
    assert_eq!(read_all(&mut near).await, b"");
    near.flush().await.expect("it is open");
    far.sink.send_reset(Reason::CANCEL);
    let gone = poll_fn(|cx| match Pin::new(&mut near).poll_flush(cx) {
        Poll::Ready(Ok(())) => Poll::Pending,
        poll => poll,
    });
    let error = soon(gone).await.expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// Once it was told the end, it says what it has to say and breaks off.
struct Breaks {
    says: Option<&'static [u8]>,
    told: bool,
}

impl AsyncRead for Breaks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.told {
            // Woken by the end, which is heard in the same task.
            return Poll::Pending;
        }
        let says = self.says.take().ok_or(io::ErrorKind::ConnectionReset);
        Poll::Ready(says.map(|says| buf.put_slice(says)).map_err(Into::into))
    }
}

impl AsyncWrite for Breaks {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.told = true;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_came_before_a_break_is_sent_before_the_reset() {
    let scene = Scene::new(Protocol::Tcp);
    let (near, mut far) = streams(100).await;
    let server = Breaks {
        says: Some(b"so far"),
        told: false,
    };
    let task = tokio::spawn(opaque(scene.exchange(), near, server, Early::default()));
    far.shutdown().await.expect("it is open");
    let mut all = Vec::new();
    let error = soon(far.read_to_end(&mut all)).await.expect_err("a reset");
    assert_eq!(all, b"so far");
    let reason = error.get_ref().and_then(|error| error.downcast_ref());
    assert_eq!(reason.and_then(h2::Error::reason), Some(Reason::CANCEL));
    ended(task).await;
}
