//! gRPC, by tonic, without generated code.

use super::super::certificate::Certificate;
use super::super::servers::{Line, SERVICE};
use super::super::{BoxWire, within};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_stream::Stream;
use tonic::client::Grpc as Calls;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// One channel: a connection that tonic keeps.
#[derive(Clone)]
pub(crate) struct Grpc {
    calls: Calls<Channel>,
}

impl Grpc {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(channel(address).await)
    }

    /// Over TLS, `h2` agreed by ALPN.
    pub(crate) async fn connect_tls(address: SocketAddr, certificate: &Certificate) -> Self {
        Self::over(channel_tls(address, certificate).await)
    }

    fn over(channel: Channel) -> Self {
        Self {
            calls: Calls::new(channel),
        }
    }

    /// A unary call of any method, to be over in `deadline`.
    pub(crate) async fn call(
        &self,
        method: &'static str,
        text: &str,
        deadline: Option<Duration>,
    ) -> Result<Line, Status> {
        let mut calls = self.ready().await?;
        let mut request = Request::new(Line {
            text: text.to_owned(),
            number: 0,
        });
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        let called = calls.unary(request, path(method), codec());
        Ok(within("a response", called).await?.into_inner())
    }

    /// The line comes back.
    pub(crate) async fn echo(&self, text: &str) -> Result<Line, Status> {
        self.unary("Echo", text).await
    }

    /// The line comes back when the server lets go.
    pub(crate) async fn hold(&self, text: &str) -> Result<Line, Status> {
        self.unary("Hold", text).await
    }

    /// A stream of `number` lines.
    pub(crate) async fn count(&self, number: u32) -> Result<Streaming<Line>, Status> {
        self.stream("Count", number).await
    }

    /// A stream without an end.
    pub(crate) async fn watch(&self) -> Result<Streaming<Line>, Status> {
        self.stream("Watch", 0).await
    }

    /// The lines joined to one.
    pub(crate) async fn collect(
        &self,
        lines: impl Stream<Item = Line> + Send + 'static,
    ) -> Result<Line, Status> {
        let mut calls = self.ready().await?;
        let called = calls.client_streaming(Request::new(lines), path("Collect"), codec());
        Ok(within("a response", called).await?.into_inner())
    }

    /// The lines one by one.
    pub(crate) async fn chat(
        &self,
        lines: impl Stream<Item = Line> + Send + 'static,
    ) -> Result<Streaming<Line>, Status> {
        let mut calls = self.ready().await?;
        let called = calls.streaming(Request::new(lines), path("Chat"), codec());
        Ok(within("a response", called).await?.into_inner())
    }

    async fn unary(&self, method: &'static str, text: &str) -> Result<Line, Status> {
        self.call(method, text, None).await
    }

    async fn stream(&self, method: &'static str, number: u32) -> Result<Streaming<Line>, Status> {
        let mut calls = self.ready().await?;
        let line = Line {
            text: "line".to_owned(),
            number,
        };
        let called = calls.server_streaming(Request::new(line), path(method), codec());
        Ok(within("a response", called).await?.into_inner())
    }

    async fn ready(&self) -> Result<Calls<Channel>, Status> {
        let mut calls = self.calls.clone();
        let ready = within("the channel", calls.ready()).await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(calls)
    }
}

/// A channel in clear text.
pub(crate) async fn channel(address: SocketAddr) -> Channel {
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
    within("a channel", channel.connect())
        .await
        .expect("connect")
}

/// A channel over TLS, `h2` agreed by ALPN.
pub(crate) async fn channel_tls(address: SocketAddr, certificate: &Certificate) -> Channel {
    let wire = certificate.connect(address, "h2").await;
    let endpoint = Endpoint::from_static("http://localhost");
    let channel = endpoint.connect_with_connector(Connected(Some(TokioIo::new(wire))));
    within("a channel", channel).await.expect("connect")
}

fn path(method: &str) -> PathAndQuery {
    format!("/{SERVICE}/{method}").parse().expect("a path")
}

fn codec() -> ProstCodec<Line, Line> {
    ProstCodec::default()
}

/// Gives tonic a connection that is there already, once.
struct Connected(Option<TokioIo<BoxWire>>);

impl Service<Uri> for Connected {
    type Response = TokioIo<BoxWire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let wire = self.0.take().ok_or(io::ErrorKind::NotConnected.into());
        Box::pin(async { wire })
    }
}
