//! HTTP/1.1, by hyper.

use super::super::{BoxWire, within};
use super::{Reply, connect};
use bytes::Bytes;
use http::header::{HOST, TE};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::task::JoinHandle;

/// What a request may carry.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// One connection.
pub(crate) struct Http1 {
    sender: SendRequest<Body>,
    driver: JoinHandle<hyper::Result<()>>,
}

impl Http1 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(connect(address).await).await
    }

    pub(crate) async fn over(wire: BoxWire) -> Self {
        let (sender, connection) = within("a handshake", handshake(TokioIo::new(wire)))
            .await
            .expect("handshake");
        Self {
            sender,
            driver: tokio::spawn(connection),
        }
    }

    /// A GET for `path` that takes trailers.
    pub(crate) fn request(path: &str) -> Request<Body> {
        Request::get(path)
            .header(HOST, "localhost")
            .header(TE, "trailers")
            .body(Empty::new().boxed_unsync())
            .expect("a request")
    }

    /// Send a request; the answer's head, its body to come.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> hyper::Result<Response<Incoming>> {
        within("the connection", self.sender.ready()).await?;
        within("a response", self.sender.send_request(request)).await
    }

    /// Ask for `path` and read the whole answer.
    pub(crate) async fn get(&mut self, path: &str) -> hyper::Result<Reply> {
        let response = self.send(Self::request(path)).await?;
        Self::whole(response).await
    }

    /// Read an answer to its end.
    pub(crate) async fn whole(response: Response<Incoming>) -> hyper::Result<Reply> {
        let (head, body) = response.into_parts();
        let body = within("a body", body.collect()).await?;
        let trailers = body.trailers().cloned();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
            trailers,
        })
    }

    /// Whether the connection takes no more requests.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Wait for the server to end the connection.
    pub(crate) async fn closed(self) -> hyper::Result<()> {
        let Self { sender, driver } = self;
        let ended = within("the connection's end", driver)
            .await
            .expect("the driver");
        drop(sender);
        ended
    }
}
