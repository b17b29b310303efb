//! WebSocket and TCP clients: they talk to somebody who repeats everything.
//!
//! One exchange is one connection. It is finished when its client ends it and
//! the other side follows, and told when the other side ends it in order: with
//! Close 1001, or on TCP, which has no words, with FIN.

use super::super::books::End;
use super::{Client, Connected, Wire, patiently};
use ebbtide::drain::Protocol;
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

type Socket = WebSocketStream<Box<dyn Wire>>;

const LINE: &[u8] = b"select 1;\n";

/// Say something from time to time (or nothing, if `talks` is false) until
/// `leaves` after the drain was asked for; or until sent away, if that is
/// `None`.
pub(crate) async fn websocket(client: Client, talks: bool, leaves: Option<Duration>) {
    let Some(Connected { wire, port }) = client.connect().await else {
        return;
    };
    let kind = Some(Protocol::WebSocket);
    let operation = client.books.begin(client.kind, kind, port);
    let socket = patiently(client_async("ws://localhost/chat", wire)).await;
    let end = match socket {
        Ok((socket, _)) => chat(&client, socket, talks, leaves).await,
        Err(error) => Err(format!("no 101: {error}")),
    };
    operation.end(end);
}

async fn chat(
    client: &Client,
    mut socket: Socket,
    talks: bool,
    leaves: Option<Duration>,
) -> Result<End, String> {
    let line = Message::text("anybody there?");
    let mut leave = std::pin::pin!(client.leave(leaves));
    loop {
        if talks {
            patiently(socket.send(line.clone())).await?;
            match hear(&mut socket).await? {
                Heard::Message(echo) if echo == line => {}
                Heard::Message(other) => return Err(format!("heard {other}")),
                Heard::Close(frame) => return farewell(&mut socket, frame).await,
            }
        }
        tokio::select! {
            () = sleep(client.pause), if talks => {}
            () = &mut leave => return goodbye(socket).await,
            heard = hear(&mut socket) => return match heard? {
                Heard::Close(frame) => farewell(&mut socket, frame).await,
                Heard::Message(other) => Err(format!("heard {other}, unasked")),
            },
        }
    }
}

enum Heard {
    Message(Message),
    Close(Option<CloseFrame>),
}

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

/// The other side closed: answer, and wait for the connection's end.
async fn farewell(socket: &mut Socket, frame: Option<CloseFrame>) -> Result<End, String> {
    rest(socket).await?;
    match frame {
        Some(frame) if frame.code == CloseCode::Away => Ok(End::Told("Close 1001".to_owned())),
        Some(frame) => Err(format!("Close {}", frame.code)),
        None => Err("Close without a code".to_owned()),
    }
}

async fn goodbye(mut socket: Socket) -> Result<End, String> {
    patiently(socket.close(None)).await?;
    rest(&mut socket).await?;
    Ok(End::Finished)
}

/// Read on to the end, which must be one in order.
async fn rest(socket: &mut Socket) -> Result<(), String> {
    let rest = async {
        while let Some(message) = socket.next().await {
            message?;
        }
        Ok::<_, tokio_tungstenite::tungstenite::Error>(())
    };
    patiently(rest)
        .await
        .map_err(|error| format!("after Close: {error}"))
}

/// The same over TCP, in lines.
pub(crate) async fn tcp(client: Client, talks: bool, leaves: Option<Duration>) {
    let Some(Connected { wire, port }) = client.connect().await else {
        return;
    };
    let kind = Some(Protocol::Tcp);
    let operation = client.books.begin(client.kind, kind, port);
    operation.end(lines(&client, wire, talks, leaves).await);
}

async fn lines(
    client: &Client,
    mut wire: Box<dyn Wire>,
    talks: bool,
    leaves: Option<Duration>,
) -> Result<End, String> {
    let mut line = [0; LINE.len()];
    let mut leave = std::pin::pin!(client.leave(leaves));
    loop {
        if talks {
            patiently(wire.write_all(LINE)).await?;
            match patiently(read_line(&mut wire, &mut line)).await? {
                read if read < LINE.len() => return told(wire).await,
                _ if line == LINE => {}
                _ => return Err("other bytes came back".to_owned()),
            }
        }
        tokio::select! {
            () = sleep(client.pause), if talks => {}
            () = &mut leave => break,
            read = wire.read(&mut line) => return match read {
                Ok(0) => told(wire).await,
                Ok(_) => Err("bytes that nobody asked for".to_owned()),
                Err(error) => Err(error.to_string()),
            },
        }
    }
    patiently(wire.shutdown()).await?;
    match patiently(wire.read(&mut line)).await? {
        0 => Ok(End::Finished),
        _ => Err("bytes after the end".to_owned()),
    }
}

/// A line, or less than one: the stream's end. TCP has no way to say more, so
/// a line on its way may go unanswered.
async fn read_line(wire: &mut Box<dyn Wire>, line: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < line.len() {
        match wire.read(&mut line[filled..]).await? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// The other side ended first: follow it.
async fn told(mut wire: Box<dyn Wire>) -> Result<End, String> {
    patiently(wire.shutdown()).await?;
    Ok(End::Told("FIN".to_owned()))
}
