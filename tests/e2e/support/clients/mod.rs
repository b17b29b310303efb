//! The clients before the proxy, one per protocol.

mod frames;
mod grpc;
mod http1;
mod http2;
mod raw;
mod websocket;

pub(crate) use frames::{Frame, Frames, block};
pub(crate) use grpc::{Grpc, channel, channel_tls};
pub(crate) use http1::Http1;
pub(crate) use http2::{GoAway, Http2};
pub(crate) use raw::{Ended, Raw};
pub(crate) use websocket::WebSocket;

use super::{BoxWire, within};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// A header field, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A trailer field, as text.
    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name)?.to_str().ok()
    }
}

/// A connection in clear text.
pub(crate) async fn connect(address: SocketAddr) -> BoxWire {
    let stream = within("a connection", TcpStream::connect(address))
        .await
        .expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    Box::new(stream)
}
