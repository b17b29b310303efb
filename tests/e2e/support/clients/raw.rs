//! Bytes on a socket, for what no client library would send.

use super::super::certificate::Certificate;
use super::super::{BoxWire, within};
use super::connect;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How the other side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In order.
    Fin,
    /// By a reset, or otherwise not in order.
    Reset,
}

/// One connection.
pub(crate) struct Raw {
    wire: BoxWire,
    /// Read, but not yet asked for.
    ahead: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(connect(address).await)
    }

    /// Over TLS, `protocol` agreed by ALPN.
    pub(crate) async fn connect_tls(
        address: SocketAddr,
        certificate: &Certificate,
        protocol: &str,
    ) -> Self {
        Self::over(certificate.connect(address, protocol).await)
    }

    pub(crate) fn over(wire: BoxWire) -> Self {
        Self {
            wire,
            ahead: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("bytes sent", self.wire.write_all(bytes.as_ref())).await?;
        within("bytes sent", self.wire.flush()).await
    }

    /// End this direction.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        within("FIN sent", self.wire.shutdown()).await
    }

    /// Read until `mark` has come; what came, with the mark.
    pub(crate) async fn read_until(&mut self, mark: &str) -> io::Result<String> {
        loop {
            let mark = mark.as_bytes();
            if let Some(at) = self
                .ahead
                .windows(mark.len())
                .position(|window| window == mark)
            {
                let rest = self.ahead.split_off(at + mark.len());
                let text = std::mem::replace(&mut self.ahead, rest);
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
            if self.read_some().await? == 0 {
                let rest = String::from_utf8_lossy(&self.ahead).into_owned();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, rest));
            }
        }
    }

    /// Read one HTTP/1.1 head.
    pub(crate) async fn head(&mut self) -> io::Result<String> {
        self.read_until("\r\n\r\n").await
    }

    /// Read this many bytes.
    pub(super) async fn read_exactly(&mut self, size: usize) -> io::Result<Vec<u8>> {
        self.look_at(size).await?;
        let rest = self.ahead.split_off(size);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// The next bytes, so many or more, which stay: who gives up has lost none.
    pub(super) async fn look_at(&mut self, size: usize) -> io::Result<&[u8]> {
        while self.ahead.len() < size {
            if self.read_some().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(&self.ahead)
    }

    /// Read to the end: what came, and how it ended.
    pub(crate) async fn rest(mut self) -> (Vec<u8>, Ended) {
        loop {
            match self.read_some().await {
                Ok(0) => return (self.ahead, Ended::Fin),
                Ok(_) => {}
                Err(_) => return (self.ahead, Ended::Reset),
            }
        }
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        within("bytes, or the end", self.wire.read_buf(&mut self.ahead)).await
    }
}
