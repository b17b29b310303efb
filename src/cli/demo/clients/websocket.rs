//! WebSocket clients: a chat with somebody who repeats everything.
//!
//! One operation is one conversation. It is completed when the client closes
//! it, and told when a Close with code 1001 ("going away") comes from the other
//! side; the library answers that with a Close of its own. A connection that
//! ends without a Close is lost.
//!
//! Deliberately absent: reconnecting. Who was told to go elsewhere goes there.

use super::super::account::{Account, End};
use super::{Permit, Target, Wire, patiently};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

type Socket = WebSocketStream<Box<dyn Wire>>;

/// Say something every `pause`, until nothing new may be begun; then close.
/// A late client stays until it is sent away.
pub(in crate::cli::demo) async fn chat(
    account: Arc<Account>,
    target: Target,
    pause: Duration,
    permit: Permit,
) {
    let operation = account.begin();
    let end = match connect(&target).await {
        Ok(socket) => talk(socket, pause, permit).await.unwrap_or_else(End::Lost),
        Err(error) => End::Lost(error),
    };
    operation.end(end);
}

async fn connect(target: &Target) -> Result<Socket, String> {
    let stream = patiently(target.connect()).await?;
    let (socket, _) = patiently(client_async("ws://localhost/chat", stream)).await?;
    Ok(socket)
}

async fn talk(mut socket: Socket, pause: Duration, mut permit: Permit) -> Result<End, String> {
    let line = Message::text("anybody there?");
    loop {
        patiently(socket.send(line.clone())).await?;
        match hear(&mut socket).await? {
            Heard::Message(echo) if echo == line => {}
            Heard::Message(other) => return Ok(End::Lost(format!("heard {other}"))),
            Heard::Close(frame) => return Ok(farewell(&mut socket, frame).await),
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = permit.withdrawn() => return goodbye(socket).await,
            heard = hear(&mut socket) => if let Heard::Close(frame) = heard? {
                return Ok(farewell(&mut socket, frame).await);
            },
        }
    }
}

enum Heard {
    Message(Message),
    Close(Option<CloseFrame>),
}

/// The next message. Nothing is lost if it is dropped while it waits: what
/// follows a Close is up to the caller.
async fn hear(socket: &mut Socket) -> Result<Heard, String> {
    loop {
        let next = async { socket.next().await.ok_or("ended without a Close") };
        match patiently(next).await?.map_err(|error| error.to_string())? {
            Message::Close(frame) => return Ok(Heard::Close(frame)),
            message if message.is_text() || message.is_binary() => {
                return Ok(Heard::Message(message));
            }
            _ => {}
        }
    }
}

/// The other side closed: answer, and see what it said.
async fn farewell(socket: &mut Socket, frame: Option<CloseFrame>) -> End {
    // Reading on sends our own Close and waits for the connection's end.
    while let Ok(Some(Ok(_))) = patiently(async { Ok::<_, String>(socket.next().await) }).await {}
    match frame {
        Some(frame) if frame.code == CloseCode::Away => {
            End::Told(format!("Close 1001 going away, \"{}\"", frame.reason))
        }
        Some(frame) => End::Lost(format!("Close {}", frame.code)),
        None => End::Lost("Close without a code".to_owned()),
    }
}

async fn goodbye(mut socket: Socket) -> Result<End, String> {
    patiently(socket.close(None)).await?;
    while let Ok(Some(heard)) = patiently(async { Ok::<_, String>(socket.next().await) }).await {
        if heard.is_err() {
            break;
        }
    }
    Ok(End::Completed)
}
