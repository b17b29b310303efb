//! HTTP/2, by the `h2` crate itself, with an eye on the frames that come.

use super::super::stream::Stream;
use super::super::{BoxWire, within};
use super::{Frame, Reply, connect};
use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, SendStream};
use http::header::{HeaderValue, SEC_WEBSOCKET_VERSION};
use http::{Method, Request, Response, response};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long to wait between two looks at something that publishes nothing.
const LOOK: Duration = Duration::from_millis(1);

/// A GOAWAY that came (RFC 9113, section 6.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoAway {
    pub(crate) last_stream: u32,
    pub(crate) reason: Reason,
    pub(crate) debug: String,
}

/// One connection.
pub(crate) struct Http2 {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
    goaways: watch::Receiver<Vec<GoAway>>,
}

impl Http2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(connect(address).await).await
    }

    pub(crate) async fn over(wire: BoxWire) -> Self {
        Self::with(client::Builder::new(), wire).await
    }

    /// With settings of the test's own, e.g. a small window.
    pub(crate) async fn with(builder: client::Builder, wire: BoxWire) -> Self {
        let (note, goaways) = watch::channel(Vec::new());
        let tap = Tap {
            wire,
            seen: BytesMut::new(),
            note,
        };
        let (sender, connection) = within("a handshake", builder.handshake(tap))
            .await
            .expect("handshake");
        Self {
            sender,
            driver: tokio::spawn(connection),
            goaways,
        }
    }

    /// A GET for `path`.
    pub(crate) fn request(path: &str) -> Request<()> {
        Request::get(format!("http://localhost{path}"))
            .body(())
            .expect("a request")
    }

    /// An extended CONNECT to a `protocol` (RFC 8441, section 4).
    pub(crate) fn connect_to(protocol: &'static str, path: &str) -> Request<()> {
        let mut request = Self::request(path);
        *request.method_mut() = Method::CONNECT;
        let protocol = Protocol::from_static(protocol);
        request.extensions_mut().insert(protocol);
        let version = HeaderValue::from_static("13");
        request.headers_mut().insert(SEC_WEBSOCKET_VERSION, version);
        request
    }

    /// Send an extended CONNECT, once the server's SETTINGS allow it: the
    /// answer's head, and the stream's two halves.
    pub(crate) async fn tunnel(
        &self,
        request: Request<()>,
    ) -> Result<(response::Parts, Stream), h2::Error> {
        let allowed = async {
            while !self.sender.is_extended_connect_protocol_enabled() {
                tokio::time::sleep(LOOK).await;
            }
        };
        within("SETTINGS_ENABLE_CONNECT_PROTOCOL", allowed).await;
        let (answer, sink) = self.open(request, false).await?;
        let (head, source) = within("a response", answer).await?.into_parts();
        Ok((head, Stream::new(source, sink)))
    }

    /// Open a stream; `end` if the request has no body.
    pub(crate) async fn open(
        &self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut sender = within("a stream", self.sender.clone().ready()).await?;
        sender.send_request(request, end)
    }

    /// Open a stream for `path`; the answer's head, its body to come.
    pub(crate) async fn begin(&self, path: &str) -> Result<Response<RecvStream>, h2::Error> {
        let (response, _) = self.open(Self::request(path), true).await?;
        within("a response", response).await
    }

    /// Ask for `path` and read the whole answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Reply, h2::Error> {
        Self::whole(self.begin(path).await?).await
    }

    /// Read an answer to its end.
    pub(crate) async fn whole(response: Response<RecvStream>) -> Result<Reply, h2::Error> {
        let (head, mut stream) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(data) = within("a body", stream.data()).await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers = within("trailers", stream.trailers()).await?;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: body.freeze(),
            trailers,
        })
    }

    /// Wait until `number` GOAWAYs have come.
    pub(crate) async fn goaways(&self, number: usize) -> Vec<GoAway> {
        let mut goaways = self.goaways.clone();
        let enough = goaways.wait_for(|seen| seen.len() >= number);
        within("GOAWAY", enough)
            .await
            .expect("the connection ended first")
            .clone()
    }

    /// Wait for the server to end the connection; also every GOAWAY that came.
    pub(crate) async fn closed(self) -> (Result<(), h2::Error>, Vec<GoAway>) {
        let Self {
            sender,
            driver,
            goaways,
        } = self;
        let ended = within("the connection's end", driver)
            .await
            .expect("the driver");
        drop(sender);
        let goaways = goaways.borrow().clone();
        (ended, goaways)
    }
}

const FRAME_HEAD: usize = 9;

/// Passes bytes through and reads along what comes from the server.
struct Tap {
    wire: BoxWire,
    seen: BytesMut,
    note: watch::Sender<Vec<GoAway>>,
}

impl Tap {
    fn read_along(&mut self, bytes: &[u8]) {
        self.seen.extend_from_slice(bytes);
        while let [a, b, c, kind, ..] = self.seen[..] {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if self.seen.len() < FRAME_HEAD + length {
                return;
            }
            let mut frame = self.seen.split_to(FRAME_HEAD + length);
            frame.advance(FRAME_HEAD);
            if kind == Frame::GOAWAY {
                let goaway = GoAway {
                    last_stream: frame.get_u32() & 0x7fff_ffff,
                    reason: frame.get_u32().into(),
                    debug: String::from_utf8_lossy(&frame).into_owned(),
                };
                self.note.send_modify(|seen| seen.push(goaway));
            }
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(cx, buffer))?;
        self.read_along(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
