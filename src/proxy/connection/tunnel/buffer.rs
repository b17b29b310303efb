//! The bytes that a tunnel holds between a read and the write that follows.
//!
//! Invariant: a buffer without bytes has no memory while its tunnel waits. It
//! borrows a block when there is something to read and gives it back when
//! there is nothing in hand, so that ten thousand silent tunnels cost what
//! one costs, and a busy one keeps using the block that is still in the cache.
//!
//! Spare blocks are kept per thread, a few of them, because giving 64 KiB back
//! to the allocator and asking for it again on every wake costs page faults.
//!
//! Deliberately absent: growing. A full buffer means that nothing more is read
//! until it is written: that is the backpressure.

use bytes::Bytes;
use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// How much is read at once, in bytes.
pub(super) const BLOCK: usize = 64 * 1024;

/// How many blocks without a user a thread keeps.
const SPARES: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read and are not written yet.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    written: usize,
}

impl Buffer {
    /// A buffer that begins with these bytes in hand.
    pub(super) fn holding(bytes: Bytes) -> Self {
        Self {
            bytes: bytes.into(),
            written: 0,
        }
    }

    /// What is in hand.
    pub(super) fn in_hand(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Put these bytes after what is in hand.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Drop all of what is in hand but the first `length` bytes.
    pub(super) fn keep(&mut self, length: usize) {
        self.bytes.truncate(self.written + length);
    }

    /// Read once. Nothing may be in hand. Zero bytes are the source's end.
    pub(super) fn poll_read<R>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
    ) -> Poll<io::Result<usize>>
    where
        R: AsyncRead + Unpin,
    {
        debug_assert!(self.in_hand().is_empty(), "bytes in hand would be lost");
        self.borrow_block();
        // The future keeps nothing from one poll to the next, so a new one
        // each time is as good, and it can fill memory that was never zeroed.
        let poll = pin!(from.read_buf(&mut self.bytes)).poll(cx);
        if !matches!(poll, Poll::Ready(Ok(1..))) {
            self.release();
        }
        poll
    }

    /// Write until nothing is in hand.
    pub(super) fn poll_write<W>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while !self.in_hand().is_empty() {
            let wrote = ready!(Pin::new(&mut *to).poll_write(cx, self.in_hand()))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += wrote;
        }
        Poll::Ready(Ok(()))
    }

    /// Give the memory back, and with it what is in hand.
    pub(super) fn release(&mut self) {
        let mut block = std::mem::take(&mut self.bytes);
        self.written = 0;
        if block.capacity() != BLOCK {
            return;
        }
        block.clear();
        // A thread that is ending has no spares any more; the block is freed.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARES {
                spare.push(block);
            }
        });
    }

    fn borrow_block(&mut self) {
        self.bytes.clear();
        self.written = 0;
        // Early bytes come in memory of any size, last words make it grow.
        if self.bytes.capacity() != BLOCK {
            self.bytes = SPARE
                .try_with(|spare| spare.borrow_mut().pop())
                .ok()
                .flatten()
                .unwrap_or_else(|| Vec::with_capacity(BLOCK));
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncWriteExt, duplex};

    #[tokio::test]
    async fn a_waiting_buffer_has_no_memory() {
        let (mut near, mut far) = duplex(BLOCK);
        let mut buffer = Buffer::default();
        let waiting = poll_fn(|cx| Poll::Ready(buffer.poll_read(cx, &mut near).is_pending())).await;
        assert!(waiting);
        assert_eq!(buffer.bytes.capacity(), 0);
        far.write_all(b"something").await.expect("open");
        let read = poll_fn(|cx| buffer.poll_read(cx, &mut near)).await;
        assert_eq!(read.expect("open"), 9);
        assert_eq!(buffer.in_hand(), b"something");
        assert_eq!(buffer.bytes.capacity(), BLOCK);
    }

    #[test]
    fn a_thread_keeps_few_spares() {
        let mut buffers: Vec<_> = (0..3 * SPARES).map(|_| Buffer::default()).collect();
        buffers.iter_mut().for_each(Buffer::borrow_block);
        drop(buffers);
        SPARE.with_borrow(|spare| assert_eq!(spare.len(), SPARES));
    }

    #[tokio::test]
    async fn early_bytes_do_not_make_later_reads_small() {
        let (mut near, mut far) = duplex(BLOCK);
        let mut buffer = Buffer::holding(Bytes::from_static(b"early"));
        let (mut to, _from) = duplex(64);
        poll_fn(|cx| buffer.poll_write(cx, &mut to))
            .await
            .expect("room");
        far.write_all(&[7; 3000]).await.expect("open");
        let read = poll_fn(|cx| buffer.poll_read(cx, &mut near)).await;
        assert_eq!(read.expect("open"), 3000);
    }

    #[tokio::test]
    async fn keep_and_append_mind_what_is_written() {
        let mut buffer = Buffer::holding(Bytes::from_static(b"abcdef"));
        let (mut to, _from) = duplex(2);
        let stuck = poll_fn(|cx| Poll::Ready(buffer.poll_write(cx, &mut to).is_pending())).await;
        assert!(stuck);
        assert_eq!(buffer.in_hand(), b"cdef");
        buffer.keep(2);
        buffer.append(b"!");
        assert_eq!(buffer.in_hand(), b"cd!");
    }
}
