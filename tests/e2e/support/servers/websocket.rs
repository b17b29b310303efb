//! WebSocket, by tokio-tungstenite: every message comes back.
//!
//! A Close from the peer is noted with its code and answered.

use super::super::BoxWire;
use super::super::seen::Desk;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

pub(super) async fn connection(stream: BoxWire, desk: Desk) {
    let Ok(mut socket) = accept_async(stream).await else {
        return;
    };
    let exchange = desk.request();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Close(frame) = message {
            let code = frame.map_or(0, |frame| u16::from(frame.code));
            exchange.cancelled(format_args!("Close {code}"));
            // Reading on sends the answer and waits for the end.
            while let Some(Ok(_)) = socket.next().await {}
            return exchange.finish();
        }
        let echo = message.is_text() || message.is_binary();
        if echo && socket.send(message).await.is_err() {
            return;
        }
    }
}
