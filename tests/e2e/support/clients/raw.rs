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

/// An HTTP/2 frame (RFC 9113, section 4.1), for clients that want each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const ACK: u8 = 1;
    /// What a client opens with: the preface and empty SETTINGS.
    pub(crate) const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a short frame");
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
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

    /// Read one HTTP/2 frame.
    pub(crate) async fn frame(&mut self) -> io::Result<Frame> {
        let head = self.read_exactly(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let payload = self.read_exactly(length as usize).await?;
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        })
    }

    async fn read_exactly(&mut self, size: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < size {
            if self.read_some().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.ahead.split_off(size);
        Ok(std::mem::replace(&mut self.ahead, rest))
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
