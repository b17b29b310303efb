//! WebSocket, by tokio-tungstenite: every message comes back.
//!
//! A Close from the peer is noted with its code and answered. Over HTTP/2
//! (RFC 8441) only `/declined` is not a WebSocket.

use super::super::BoxWire;
use super::super::seen::Desk;
use super::super::stream::Stream;
use super::answer::text;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, accept_async};

pub(super) async fn connection(stream: BoxWire, desk: Desk) {
    if let Ok(socket) = accept_async(stream).await {
        echo(socket, desk).await;
    }
}

pub(super) async fn connection_http2(stream: BoxWire, desk: Desk) {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let Ok(mut connection) = builder.handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(over_stream(request, respond, desk.clone()));
    }
}

async fn over_stream(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, desk: Desk) {
    let (head, source) = request.into_parts();
    desk.note(|seen| seen.heads.push(text(&head)));
    let protocol = head.extensions.get().map(Protocol::as_str);
    let asked = head.method == Method::CONNECT && protocol == Some("websocket");
    let mut response = Response::new(());
    if !asked || head.uri.path() == "/declined" {
        *response.status_mut() = StatusCode::FORBIDDEN;
        let mut sink = respond.send_response(response, false).expect("sent");
        sink.send_data("not here".into(), true).expect("sent");
        return;
    }
    if let Some(spoken) = head.headers.get(SEC_WEBSOCKET_PROTOCOL) {
        let headers = response.headers_mut();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, spoken.clone());
    }
    let sink = respond.send_response(response, false).expect("sent");
    let stream = Stream::new(source, sink);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    echo(socket, desk).await;
}

async fn echo<S>(mut socket: WebSocketStream<S>, desk: Desk)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = desk.request();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Close(frame) = message {
            let code = frame.map_or(0, |frame| u16::from(frame.code));
            exchange.cancelled(format_args!("Close {code}"));
            // Reading on sends the answer and waits for the end.
            while let Some(Ok(_)) = socket.next().await {}
            // A peer that has ended already needs to be told nothing.
            let _ = socket.get_mut().shutdown().await;
            return exchange.finish();
        }
        let echo = message.is_text() || message.is_binary();
        if echo && socket.send(message).await.is_err() {
            return;
        }
    }
}
