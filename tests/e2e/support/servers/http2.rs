//! HTTP/2, by the `h2` crate itself: it says why a stream was reset, and sends
//! no more than the window takes.

use super::super::BoxWire;
use super::super::seen::Desk;
use super::answer::{Body, answer};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub(super) async fn connection(stream: BoxWire, desk: Desk) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(exchange(request.map(Upload), respond, desk.clone()));
    }
}

async fn exchange(request: Request<Upload>, mut respond: SendResponse<Bytes>, desk: Desk) {
    let response = tokio::select! {
        response = answer(request, desk.clone()) => response,
        reset = poll_fn(|cx| respond.poll_reset(cx)) => return note(&desk, reset),
    };
    let (head, body) = response.into_parts();
    // What ends with its head must say so there: a 304 may carry the length
    // of another body, which h2 would miss in an empty DATA frame.
    let end = http_body::Body::is_end_stream(&body);
    let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), end) else {
        return;
    };
    if end {
        return;
    }
    if let Err(reset) = send(&mut stream, body).await {
        note(&desk, reset);
    }
}

fn note(desk: &Desk, reset: Result<Reason, h2::Error>) {
    let reason = match reset {
        Ok(reason) => format!("{reason:?}"),
        Err(error) => error.to_string(),
    };
    desk.note(|seen| seen.reasons.push(reason));
}

/// Send a body as the window takes it; the error is why the peer ended it.
async fn send(
    stream: &mut SendStream<Bytes>,
    mut body: Body,
) -> Result<(), Result<Reason, h2::Error>> {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            reset = poll_fn(|cx| stream.poll_reset(cx)) => return Err(reset),
        };
        match frame.map(|frame| frame.map(Frame::into_data)) {
            None => return stream.send_data(Bytes::new(), true).map_err(Err),
            Some(Ok(Ok(data))) => piece(stream, data).await?,
            Some(Ok(Err(frame))) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return stream.send_trailers(trailers).map_err(Err);
            }
        }
    }
}

async fn piece(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
) -> Result<(), Result<Reason, h2::Error>> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        // poll_capacity reports a reset as well, but not why.
        while stream.capacity() == 0 {
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(poll_fn(|cx| stream.poll_reset(cx)).await),
            }
        }
        let some = data.split_to(stream.capacity().min(data.len()));
        stream.send_data(some, false).map_err(Err)?;
    }
    Ok(())
}

/// A request body.
struct Upload(RecvStream);

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(data) = ready!(self.0.poll_data(cx)) {
            let data = data?;
            self.0.flow_control().release_capacity(data.len())?;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(self.0.poll_trailers(cx))?;
        Poll::Ready(trailers.map(Frame::trailers).map(Ok))
    }
}
