//! The gRPC health check: `grpc.health.v1.Health/Check`.
//!
//! Purpose: one unary call over a connection of its own, on raw h2, with a
//! message encoded by hand: the protocol has one string field each way that
//! matters, and a code generator would weigh more than the check.
//!
//! Invariant: only a response that says SERVING, on a stream that ended with
//! `grpc-status: 0`, is good. What a server sends is bounded.
//!
//! Deliberately absent: `Watch`. A call that is made anew each time also
//! tests that connections can be made.

use super::health::{CHECK_AGENT, FALL, RISE};
use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;
use std::sync::Arc;

const PATH: &str = "/grpc.health.v1.Health/Check";

/// The most that a response may hold, in bytes; one that is good has seven.
const RESPONSE_LIMIT: usize = 4096;

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

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
            message: encode(service),
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
        decode(&message).map_or_else(|| explain("malformed message"), Ok)
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

/// A `HealthCheckRequest` (field 1, a string) behind gRPC's five bytes of
/// framing: not compressed, and the length.
fn encode(service: &str) -> Bytes {
    let mut field = BytesMut::new();
    if !service.is_empty() {
        field.put_u8(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            field.put_u8(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        field.put_u8(length.to_le_bytes()[0]);
        field.put(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + field.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(field.len()).unwrap_or(u32::MAX));
    framed.put(field);
    framed.freeze()
}

/// The status in a framed `HealthCheckResponse` (field 1, a varint; absent
/// means 0, UNKNOWN), or `None` if it is none.
fn decode(framed: &[u8]) -> Option<u64> {
    let (frame, message) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]);
    if frame[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut rest = message;
    let mut status = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut rest)?,
            (_, 0) => drop(varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[async_trait]
impl HealthCheck for GrpcCheck {
    async fn check(&self, _: &Backend) -> Result<()> {
        match self.ask().await? {
            SERVING => Ok(()),
            other => explain(format!("serving status {other}")),
        }
    }

    fn health_threshold(&self, success: bool) -> usize {
        if success { RISE } else { FALL }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_framed() {
        assert_eq!(&encode("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&encode("a.B")[..], b"\0\0\0\0\x05\x0a\x03a.B");
        let long = encode(&"x".repeat(300));
        assert_eq!(&long[..8], [0, 0, 0, 1, 47, 10, 0xac, 2]);
        assert_eq!(long.len(), 5 + 303);
    }

    #[test]
    fn response_is_read_or_refused() {
        assert_eq!(decode(b"\0\0\0\0\x02\x08\x01"), Some(SERVING));
        assert_eq!(decode(b"\0\0\0\0\x02\x08\x02"), Some(2));
        assert_eq!(decode(b"\0\0\0\0\0"), Some(0), "absent is UNKNOWN");
        // Unknown fields of every wire type are stepped over.
        let padded =
            b"\0\0\0\0\x19\x10\x05\x1a\x02hi\x21\0\0\0\0\0\0\0\0\x2d\0\0\0\0\x08\x01\x10\x80\x01";
        assert_eq!(decode(padded), Some(SERVING));
        for malformed in [
            &b""[..],
            b"\0\0\0\0",
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x03\x08\x01",
            b"\0\0\0\0\x01\x08",
            b"\0\0\0\0\x03\x12\x05a",
            b"\0\0\0\0\x02\x0b\x01",
        ] {
            assert_eq!(decode(malformed), None, "{malformed:?}");
        }
    }
}
