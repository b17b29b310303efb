//! The WebSocket server: every message comes back.
//!
//! It ends when its peer closes, and answers a Close with a Close, which the
//! library does by itself.
//!
//! Deliberately absent: pings of its own; an idle tunnel is part of the show.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async;

pub(super) async fn connection(stream: TcpStream) {
    let Ok(mut socket) = accept_async(stream).await else {
        return;
    };
    while let Some(Ok(message)) = socket.next().await {
        let echo = message.is_text() || message.is_binary();
        if echo && socket.send(message).await.is_err() {
            return;
        }
    }
}
