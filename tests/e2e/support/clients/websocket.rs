//! WebSocket, by tokio-tungstenite.

use super::super::stream::Stream;
use super::super::{BoxWire, within};
use super::{Http2, connect};
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// A WebSocket as the library has it.
pub(crate) type Socket = WebSocketStream<BoxWire>;

/// One WebSocket.
pub(crate) struct WebSocket {
    pub(crate) socket: Socket,
}

impl WebSocket {
    pub(crate) async fn connect(address: SocketAddr, path: &str) -> Self {
        Self::over(connect(address).await, path).await
    }

    pub(crate) async fn over(wire: BoxWire, path: &str) -> Self {
        let asked = client_async(format!("ws://localhost{path}"), wire);
        let (socket, _) = within("the upgrade", asked).await.expect("101");
        Self { socket }
    }

    /// Over a stream of an HTTP/2 connection (RFC 8441).
    pub(crate) async fn over_stream(client: &Http2, path: &str) -> Self {
        let asked = client.tunnel(Http2::connect_to("websocket", path));
        let (head, stream) = asked.await.expect("an answer");
        assert_eq!(head.status, 200, "{head:?}");
        Self::on(stream).await
    }

    /// On a stream whose handshake is done.
    pub(crate) async fn on(stream: Stream) -> Self {
        let wire: BoxWire = Box::new(stream);
        let socket = WebSocketStream::from_raw_socket(wire, Role::Client, None).await;
        Self { socket }
    }

    /// Say `text` and hear what comes back.
    pub(crate) async fn echo(&mut self, text: &str) -> Result<String, Error> {
        within("a message sent", self.socket.send(Message::text(text))).await?;
        match within("a message", self.socket.next()).await {
            Some(message) => Ok(message?.into_text()?.to_string()),
            None => Err(Error::ConnectionClosed),
        }
    }

    /// Wait for a Close: its code and reason; `None` if the connection ended
    /// without one. It is answered, and the connection's end awaited.
    pub(crate) async fn closed(mut self) -> Option<(u16, String)> {
        let mut close = None;
        while let Some(Ok(message)) = within("a Close", self.socket.next()).await {
            if let Message::Close(frame) = message {
                close = Some(frame.map_or((0, String::new()), |frame| {
                    (frame.code.into(), frame.reason.to_string())
                }));
            }
        }
        close
    }

    /// Close it, and wait for the answer.
    pub(crate) async fn close(mut self) -> Result<(), Error> {
        within("a Close sent", self.socket.close(None)).await?;
        while let Some(message) = within("a Close", self.socket.next()).await {
            message?;
        }
        Ok(())
    }
}
