//! An HTTP/2 stream of a test as a byte stream (RFC 8441).
//!
//! It sends no more than the window takes, gives back what was read, and ends
//! with `END_STREAM`, or with a reset when it is dropped before.

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) struct Stream {
    source: RecvStream,
    sink: SendStream<Bytes>,
    left: Bytes,
}

impl Stream {
    pub(crate) fn new(source: RecvStream, sink: SendStream<Bytes>) -> Self {
        Self {
            source,
            sink,
            left: Bytes::new(),
        }
    }

    /// End it by a reset.
    pub(crate) fn reset(mut self, reason: Reason) {
        self.sink.send_reset(reason);
    }
}

/// Why the peer reset the stream, if it did.
pub(crate) fn reset_of(error: &io::Error) -> Option<Reason> {
    let inner = error.get_ref()?.downcast_ref::<h2::Error>()?;
    inner.reason()
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match ready!(self.source.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(data) => self.left = data.map_err(io::Error::other)?,
            }
        }
        let size = self.left.len().min(buffer.remaining());
        buffer.put_slice(&self.left.split_to(size));
        let released = self.source.flow_control().release_capacity(size);
        Poll::Ready(released.map_err(io::Error::other))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sink.reserve_capacity(bytes.len());
        while self.sink.capacity() == 0 {
            match ready!(self.sink.poll_capacity(cx)) {
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Some(room) => room.map_err(io::Error::other)?,
            };
        }
        let size = self.sink.capacity().min(bytes.len());
        let some = Bytes::copy_from_slice(&bytes[..size]);
        let sent = self.sink.send_data(some, false).map_err(io::Error::other);
        Poll::Ready(sent.map(|()| size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.sink.send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(io::Error::other))
    }
}
