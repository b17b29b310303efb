//! HTTP/2 frame by frame, for what no client library would send.

use super::super::BoxWire;
use super::{Ended, Raw};
use h2::Reason;
use std::io;

/// An HTTP/2 frame (RFC 9113, section 4.1), for clients that want each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
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

    /// A whole header block on `stream`, which ends it if there is no body.
    pub(crate) fn headers(stream: u32, block: impl Into<Vec<u8>>, body: bool) -> Self {
        let end = if body { 0 } else { Self::END_STREAM };
        Self::new(Self::HEADERS, end | Self::END_HEADERS, stream, block)
    }

    /// What a GOAWAY says: the last stream, and why.
    pub(crate) fn goaway(&self) -> (u32, Reason) {
        assert_eq!(self.kind, Self::GOAWAY, "{self:?}");
        (self.number(0), self.number(4).into())
    }

    /// Why a stream was reset.
    pub(crate) fn reset(&self) -> Reason {
        assert_eq!(self.kind, Self::RST_STREAM, "{self:?}");
        self.number(0).into()
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = self.payload[at..at + 4].try_into().expect("four bytes");
        u32::from_be_bytes(bytes)
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

/// A header block without compression (RFC 7541, section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).expect("a short text");
            assert!(length < 127, "more takes a second byte");
            block.push(length);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A client that speaks in frames, and answers nothing unasked.
pub(crate) struct Frames(Raw);

impl Frames {
    /// Open with the preface and empty SETTINGS.
    pub(crate) async fn over(wire: BoxWire) -> Self {
        let mut client = Self(Raw::over(wire));
        client.send_bytes(Frame::PREFACE).await.expect("sent");
        client
    }

    /// On a connection whose preface is sent.
    pub(crate) fn begun(raw: Raw) -> Self {
        Self(raw)
    }

    /// Bytes as they are.
    pub(crate) async fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.send(bytes).await
    }

    pub(crate) async fn send(&mut self, frame: Frame) {
        self.send_bytes(frame.bytes()).await.expect("sent");
    }

    /// A GET on `stream`.
    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        self.send_bytes(Self::get_bytes(stream, path))
            .await
            .expect("sent");
    }

    /// The same, to be sent with something else.
    pub(crate) fn get_bytes(stream: u32, path: &str) -> Vec<u8> {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", path),
        ];
        Frame::headers(stream, block(&fields), false).bytes()
    }

    /// Read one frame. Nothing of it is lost if that is given up.
    pub(crate) async fn frame(&mut self) -> io::Result<Frame> {
        let raw = &mut self.0;
        let head = raw.look_at(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut frame = raw.read_exactly(9 + length as usize).await?;
        let payload = frame.split_off(9);
        let stream = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]) & 0x7fff_ffff;
        Ok(Frame {
            kind: frame[3],
            flags: frame[4],
            stream,
            payload,
        })
    }

    /// Read on to a frame of this kind, answers to our own SETTINGS aside.
    pub(crate) async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().await.expect("a frame");
            // The same bit ends a stream in other frames.
            let asks = [Frame::SETTINGS, Frame::PING].contains(&kind);
            if frame.kind == kind && !(asks && frame.flags & Frame::ACK != 0) {
                return frame;
            }
        }
    }

    /// Read to the end of the answer on `stream`.
    pub(crate) async fn answer(&mut self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let frame = self.frame().await.expect("a frame");
            if frame.stream == stream && frame.kind != Frame::WINDOW_UPDATE {
                let answers = [Frame::HEADERS, Frame::DATA].contains(&frame.kind);
                assert!(answers, "{frame:?}");
                if frame.kind == Frame::DATA {
                    body.extend(&frame.payload);
                }
                if frame.flags & Frame::END_STREAM != 0 {
                    return body;
                }
            }
        }
    }

    /// The last stream of the next GOAWAY, which names no error.
    pub(crate) async fn goaway(&mut self) -> u32 {
        let frame = self.until(Frame::GOAWAY).await;
        let (last, reason) = frame.goaway();
        assert_eq!(reason, Reason::NO_ERROR);
        last
    }

    /// Answer the PING that is on its way.
    pub(crate) async fn pong(&mut self) {
        let ping = self.until(Frame::PING).await;
        let answer = Frame::new(Frame::PING, Frame::ACK, 0, ping.payload);
        self.send(answer).await;
    }

    /// Read to the end: what came, and how it ended.
    pub(crate) async fn rest(self) -> (Vec<u8>, Ended) {
        self.0.rest().await
    }
}
