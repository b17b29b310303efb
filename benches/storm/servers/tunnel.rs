//! WebSocket and TCP: whatever is said comes back, and an end is answered by
//! an end.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async;

/// Every message comes back; a Close is answered by the library.
pub(super) async fn websocket(stream: TcpStream) {
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

/// Every byte comes back.
pub(super) async fn tcp(stream: TcpStream) {
    let (mut from, mut to) = stream.into_split();
    // A client that resets has left; there is nobody to tell.
    let _ = copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}
