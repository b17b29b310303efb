//! An HTTP/2 stream as a transport: what CONNECT makes of it.
//!
//! DATA frames are the bytes and `END_STREAM` is the half-close, either way
//! (RFC 9113, section 8.5; RFC 8441, section 5). A reset fails both ways, and
//! dropping a stream that has not ended resets it with CANCEL, so that what
//! was cut short never looks complete.
//!
//! Invariant: nothing waits in a queue. A write takes what the peer's window
//! allows and no more, so a shut window holds back whoever writes; the peer
//! gets its own window back byte by byte as its bytes are handed out.
//!
//! Deliberately absent: trailers, which a tunnel does not have, and a flush
//! that waits: what the window allowed leaves without being asked to.

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The two halves of a stream, as bytes.
#[derive(Debug)]
pub(in crate::proxy::connection) struct Stream {
    source: RecvStream,
    sink: SendStream<Bytes>,
    /// Came, and was not handed out yet: less than one frame.
    hand: Bytes,
}

impl Stream {
    pub(in crate::proxy::connection) fn new(source: RecvStream, sink: SendStream<Bytes>) -> Self {
        Self {
            source,
            sink,
            hand: Bytes::new(),
        }
    }

    /// Room for some of `wanted` bytes.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        // Capacity that was granted before is not announced again.
        let granted = self.sink.capacity();
        if granted > 0 {
            return Poll::Ready(Ok(granted));
        }
        self.sink.reserve_capacity(wanted);
        loop {
            match ready!(self.sink.poll_capacity(cx)) {
                Some(Ok(0)) => {}
                Some(Ok(room)) => return Poll::Ready(Ok(room)),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.hand.is_empty() {
            match ready!(this.source.poll_data(cx)) {
                Some(Ok(data)) => this.hand = data,
                // All was said; only what we still send is not wanted (RFC
                // 9113, section 8.1).
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => break,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => break,
            }
        }
        let taken = this.hand.split_to(this.hand.len().min(buf.remaining()));
        buf.put_slice(&taken);
        // An error means that the stream is over already and nobody counts.
        let _ = this.source.flow_control().release_capacity(taken.len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let this = self.get_mut();
        let room = ready!(this.poll_room(cx, bytes.len()))?;
        let taken = &bytes[..room.min(bytes.len())];
        this.sink
            .send_data(Bytes::copy_from_slice(taken), false)
            .map_err(broken)?;
        Poll::Ready(Ok(taken.len()))
    }

    /// Nothing is held back. Asked again and again, it notices a reset even
    /// while there is nothing to be read or written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().sink.poll_reset(cx) {
            Poll::Pending => Poll::Ready(Ok(())),
            Poll::Ready(Ok(_)) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(broken(error))),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.get_mut().sink.send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(broken))
    }
}

#[cfg(test)]
mod tests;
