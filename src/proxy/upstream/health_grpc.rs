//! The gRPC health check: `grpc.health.v1.Health/Check`.
//!
//! Purpose: one unary call over a connection of its own, on raw h2.
//!
//! Invariant: only a response that says SERVING, on a stream that ended with
//! `grpc-status: 0`, is good. What a server sends is bounded.
//!
//! Deliberately absent: `Watch`. A call that is made anew each time also
//! tests that connections can be made.

use super::health::{Bad, CHECK_AGENT, Check};
use super::health_message::{self, Serving};
use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OrErr};
use std::sync::Arc;

type Result<T, E = Box<Error>> = std::result::Result<T, E>;

const PATH: &str = "/grpc.health.v1.Health/Check";

/// The most that a response may hold, in bytes; one that is good has seven.
const RESPONSE_LIMIT: usize = 4096;

/// The check of one server.
pub(super) struct GrpcCheck {
    connector: Arc<TransportConnector>,
    peer: HttpPeer,
    uri: String,
    message: Bytes,
}

impl GrpcCheck {
    /// Ask the server at `peer` about `service`; empty is the whole server.
    pub(super) fn new(
        connector: Arc<TransportConnector>,
        mut peer: HttpPeer,
        authority: &str,
        service: &str,
    ) -> Self {
        // gRPC is HTTP/2 whatever the upstream's exchanges speak.
        peer.options.alpn = ALPN::H2;
        let scheme = if peer.is_tls() { "https" } else { "http" };
        Self {
            connector,
            uri: format!("{scheme}://{authority}{PATH}"),
            message: health_message::request(service),
            peer,
        }
    }

    async fn ask(&self) -> Result<u64> {
        let stream = self.connector.new_stream(&self.peer).await?;
        let (sender, connection) = h2::client::handshake(stream)
            .await
            .or_err(ErrorType::H2Error, "HTTP/2 handshake")?;
        tokio::select! {
            biased;
            answer = self.call(sender) => answer,
            ended = connection => {
                ended.or_err(ErrorType::H2Error, "connection")?;
                Error::e_explain(ErrorType::ConnectionClosed, "before the answer")
            }
        }
    }

    async fn call(&self, sender: h2::client::SendRequest<Bytes>) -> Result<u64> {
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(&self.uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", CHECK_AGENT)
            .body(())
            .or_err(ErrorType::InternalError, "request")?;
        let h2 = |step| move |error| Error::because(ErrorType::H2Error, step, error);
        let mut sender = sender.ready().await.map_err(h2("not ready"))?;
        let (response, mut body) = sender.send_request(request, false).map_err(h2("send"))?;
        body.send_data(self.message.clone(), true)
            .map_err(h2("send"))?;
        let (head, body) = response.await.map_err(h2("response"))?.into_parts();
        if head.status != StatusCode::OK {
            return explain(format!("HTTP status {}", head.status.as_u16()));
        }
        let (message, trailers) = read(body).await?;
        // Without a body the status stands in the head: trailers-only.
        status(trailers.as_ref().unwrap_or(&head.headers))?;
        health_message::answered(&message).map_or_else(|| explain("malformed message"), Ok)
    }
}

fn explain<T>(context: impl Into<pingora_core::ImmutStr>) -> Result<T> {
    Error::e_explain(ErrorType::Custom("gRPC health check"), context)
}

async fn read(mut body: RecvStream) -> Result<(Bytes, Option<HeaderMap>)> {
    let mut message = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.or_err(ErrorType::H2Error, "body")?;
        if message.len() + data.len() > RESPONSE_LIMIT {
            return explain("response too large");
        }
        // The limit is far below the window: nothing needs to be released.
        message.put(data);
    }
    let trailers = body
        .trailers()
        .await
        .or_err(ErrorType::H2Error, "trailers")?;
    Ok((message.freeze(), trailers))
}

fn status(fields: &HeaderMap) -> Result<()> {
    let text = |name| fields.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        Some("0") => Ok(()),
        Some(code) => explain(format!(
            "grpc-status {code} {}",
            text("grpc-message").unwrap_or_default()
        )),
        None => explain("no grpc-status"),
    }
}

#[async_trait]
impl Check for GrpcCheck {
    async fn look(&self) -> Result<(), Bad> {
        match self.ask().await? {
            serving if serving == Serving::Yes.number() => Ok(()),
            not if not == Serving::No.number() => Err(Bad::NotServing),
            other => Err(Bad::because(format!("serving status {other}"))),
        }
    }
}
