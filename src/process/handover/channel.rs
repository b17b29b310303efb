//! Lines and descriptors between two processes, over a Unix socket.
//!
//! A message is one line of JSON. Descriptors travel beside its first byte
//! (`SCM_RIGHTS`, unix(7)), so they are there by the time that the line is.
//!
//! Invariant: what was read is kept: waiting for a message can be given up and
//! begun again. A line and what waits to be taken are bounded.
//!
//! Deliberately absent: what is said (see `message`).

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// Descriptors in one message; the kernel takes 253.
pub(super) const BATCH: usize = 64;

/// The longest line.
const LINE: usize = 64 * 1024;

/// Descriptors that may wait to be taken.
const UNTAKEN: usize = 1024;

/// One end.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    unread: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    pub(super) const fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            unread: Vec::new(),
            descriptors: VecDeque::new(),
        }
    }

    /// The socket itself, for whoever is to read on.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.stream.as_fd().try_clone_to_owned()
    }

    /// Say something, with no more than [`BATCH`] descriptors.
    ///
    /// # Errors
    /// What the system said; `BrokenPipe` if nobody listens any more.
    pub(super) async fn send(
        &mut self,
        message: &impl Serialize,
        descriptors: &[OwnedFd],
    ) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let stream = &self.stream;
        let once = || send_once(stream, &line, descriptors);
        let sent = stream.async_io(Interest::WRITABLE, once).await?;
        self.stream.write_all(&line[sent..]).await
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// What the system said; `InvalidData` for what is no such message.
    pub(super) async fn receive<M: DeserializeOwned>(&mut self) -> io::Result<Option<M>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread) {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| io::Error::new(ErrorKind::InvalidData, error));
            }
            if self.unread.len() > LINE || self.descriptors.len() > UNTAKEN {
                self.unread.clear();
                self.descriptors.clear();
                return Err(io::Error::new(ErrorKind::InvalidData, "too much at once"));
            }
            let (unread, descriptors) = (&mut self.unread, &mut self.descriptors);
            let stream = &self.stream;
            let mut once = || receive_once(stream, unread, descriptors);
            if stream.async_io(Interest::READABLE, &mut once).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Take descriptors that came with a message.
    ///
    /// # Errors
    /// If there are fewer.
    pub(super) fn take(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        if count > self.descriptors.len() {
            let text = "descriptors were lost on the way; is their number limited too low?";
            return Err(io::Error::other(text));
        }
        Ok(self.descriptors.drain(..count).collect())
    }
}

fn send_once(stream: &UnixStream, line: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
    let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    let sent = sendmsg(
        stream,
        &[IoSlice::new(line)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(sent)
}

fn receive_once(
    stream: &UnixStream,
    unread: &mut Vec<u8>,
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 4096];
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            descriptors.extend(came);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        let text = "descriptors were lost: this process may open no more";
        return Err(io::Error::other(text));
    }
    unread.extend_from_slice(&bytes[..received.bytes]);
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn sockets(count: usize) -> (Vec<OwnedFd>, Vec<std::net::SocketAddr>) {
        let bind = |_| TcpListener::bind("127.0.0.1:0").expect("bound");
        let sockets: Vec<_> = (0..count).map(bind).collect();
        let addresses = sockets.iter().map(|one| one.local_addr().expect("known"));
        let addresses = addresses.collect();
        (sockets.into_iter().map(OwnedFd::from).collect(), addresses)
    }

    #[tokio::test]
    async fn descriptors_come_with_their_message_and_in_order() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let (mut near, mut far) = (Channel::new(near), Channel::new(far));
        let (first, mut expected) = sockets(BATCH);
        let (second, more) = sockets(3);
        expected.extend(more);
        near.send(&"first", &first).await.expect("sent");
        near.send(&"second", &second).await.expect("sent");
        drop((first, second, near));
        let mut came = Vec::new();
        for (text, count) in [("first", BATCH), ("second", 3)] {
            let said: Option<String> = far.receive().await.expect("received");
            assert_eq!(said.as_deref(), Some(text));
            came.extend(far.take(count).expect("they came"));
        }
        let came = came.into_iter().map(TcpListener::from);
        let came: Vec<_> = came.map(|one| one.local_addr().expect("known")).collect();
        assert_eq!(came, expected);
        assert_eq!(far.receive::<String>().await.expect("the end"), None);
        assert!(far.take(1).is_err());
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_nothing() {
        let (mut near, far) = UnixStream::pair().expect("a pair");
        let mut far = Channel::new(far);
        near.write_all(b"\"one").await.expect("written");
        let waited =
            tokio::time::timeout(std::time::Duration::from_millis(5), far.receive::<String>());
        assert!(waited.await.is_err(), "half a line");
        near.write_all(b" line\"\n").await.expect("written");
        let said: Option<String> = far.receive().await.expect("received");
        assert_eq!(said.as_deref(), Some("one line"));
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused_and_what_follows_is_read() {
        let (mut near, far) = UnixStream::pair().expect("a pair");
        let mut far = Channel::new(far);
        near.write_all(b"noise\n\"sound\"\n")
            .await
            .expect("written");
        let noise = far.receive::<String>().await.expect_err("no JSON");
        assert_eq!(noise.kind(), ErrorKind::InvalidData);
        let said: Option<String> = far.receive().await.expect("received");
        assert_eq!(said.as_deref(), Some("sound"));
        let mut near = Channel::new(near);
        let flood = "x".repeat(LINE + 4096);
        let sending = tokio::spawn(async move { near.send(&flood, &[]).await });
        let endless = far.receive::<String>().await.expect_err("too long");
        assert_eq!(endless.kind(), ErrorKind::InvalidData);
        drop(far);
        let _ = sending.await.expect("no panic");
    }
}
