//! WebSocket tunnels: bytes that pass untouched, and an end in their protocol.
//!
//! A tunnel that knows where frames end ([`Frames`]) can be ended by Close
//! 1001 to both peers, in place of a broken stream (RFC 6455, section 5.5.1;
//! 1001 is "going away", section 7.4.1). In each direction the Close goes out
//! once the frame that is under way is through, unless the peers' own Close
//! went that way before; then each peer's Close, or its end, is awaited. To
//! the client we speak as a server, unmasked; to the server as a client, in a
//! mask, as section 5.1 demands.
//!
//! Deliberately absent: what the frames say. Nothing is unmasked, inflated,
//! reassembled or checked; Pings are the peers' to answer.

mod frames;

use super::tunnel::{Early, Grammar, Stream, Tunnel, Why};
use crate::drain::Farewell;
use crate::proxy::registry::RequestGuard;
use crate::proxy::request::{ServerEnd, StreamEnd};
use crate::proxy::upstream::ServerIo;
use bytes::Bytes;
use frames::Frames;
use tokio::io::{AsyncRead, AsyncWrite};

/// Going away: RFC 6455, section 7.4.1.
const GOING_AWAY: u16 = 1001;

/// What a person reads who looks why.
const REASON: &str = "server is draining";

/// The same if nobody said anything.
const REASON_IDLE: &str = "nothing was said for too long";

/// Relay a WebSocket connection, from the end of its opening handshake, until
/// both sides have ended. When the exchange's protocol is past its deadline
/// both peers get Close 1001 at a frame boundary. Both streams are closed when
/// it returns, and the exchange has ended.
pub(in crate::proxy) async fn relay<D, U>(
    exchange: RequestGuard,
    client: D,
    server: U,
    early: Early,
) where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let grammars = [Way::new(To::Server), Way::new(To::Client)];
    Tunnel::new(client, server, early, grammars)
        .run(exchange)
        .await;
}

/// The same with the server that agreed, whatever version it speaks.
/// `from_client` was read from the client before.
///
/// # Errors
/// If its connection is gone by now. The client's side is dropped then.
pub(super) async fn relay_to<D>(
    server: ServerEnd,
    exchange: RequestGuard,
    client: D,
    from_client: Bytes,
) -> Result<(), hyper::Error>
where
    D: AsyncRead + AsyncWrite + Unpin,
{
    let mut early = Early {
        from_client,
        from_server: Bytes::new(),
    };
    match server {
        ServerEnd::Http1(upgrade) => {
            // The transport is of our own making, so no other is ever met.
            if let Ok(server) = upgrade.await?.downcast::<ServerIo>() {
                early.from_server = server.read_buf;
                relay(exchange, client, server.io.into_inner(), early).await;
            }
        }
        ServerEnd::Http2(end) => {
            let (StreamEnd { source, sink }, _slot) = *end;
            relay(exchange, client, Stream::new(source, sink), early).await;
        }
    }
    Ok(())
}

/// Who receives the frames.
#[derive(Clone, Copy, Debug)]
enum To {
    Client,
    Server,
}

/// The frames that go one way.
#[derive(Debug)]
struct Way {
    frames: Frames,
    to: To,
}

impl Way {
    fn new(to: To) -> Self {
        Self {
            frames: Frames::default(),
            to,
        }
    }
}

impl Grammar for Way {
    const TOLD: Farewell = Farewell::WebSocketClose;

    fn pass(&mut self, bytes: &[u8]) {
        self.frames.follow(bytes);
    }

    fn pass_to_boundary(&mut self, bytes: &[u8]) -> usize {
        self.frames.follow_to_boundary(bytes)
    }

    fn at_boundary(&self) -> bool {
        // Where nothing is known, one place is as good as any other.
        self.frames.at_boundary() || self.frames.lost()
    }

    fn closed(&self) -> bool {
        self.frames.closed()
    }

    fn last_words(&self, why: Why) -> Option<Bytes> {
        if self.frames.closed() || self.frames.lost() {
            return None;
        }
        let mask = match self.to {
            To::Client => None,
            To::Server => Some(fastrand::u32(..).to_be_bytes()),
        };
        let reason = match why {
            Why::Due => REASON,
            Why::Idle => REASON_IDLE,
        };
        Some(close_frame(reason, mask))
    }
}

/// The payload of a control frame is at most so long (RFC 6455, section 5.5).
const LONGEST: u8 = 125;

/// A Close frame, masked if it has a key (RFC 6455, sections 5.2 and 5.3).
fn close_frame(reason: &'static str, mask: Option<[u8; 4]>) -> Bytes {
    const FIN_CLOSE: u8 = 0x88;
    const MASKED: u8 = 0x80;
    let code = GOING_AWAY.to_be_bytes();
    let length = u8::try_from(code.len() + reason.len()).unwrap_or(LONGEST);
    let length = length.min(LONGEST);
    let payload = code.iter().chain(reason.as_bytes());
    let payload = payload.take(usize::from(length));
    match mask {
        None => [FIN_CLOSE, length].iter().chain(payload).copied().collect(),
        Some(key) => [FIN_CLOSE, length | MASKED]
            .into_iter()
            .chain(key)
            .chain(
                payload
                    .zip(key.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            )
            .collect(),
    }
}

#[cfg(test)]
mod tests;
