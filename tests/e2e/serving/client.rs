//! One client for both versions of HTTP, so that a test is written once.

use crate::support::clients::{Http1, Http2, Reply};
use crate::support::within;
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::header::{HOST, TE};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// What a request carries.
pub(crate) type Sent = UnsyncBoxBody<Bytes, Infallible>;
/// What a response carries; an error is a body that was broken off.
pub(crate) type Received = UnsyncBoxBody<Bytes, String>;

/// A client of either version, on one connection.
pub(crate) enum Client {
    Http1(Http1),
    Http2(Http2),
}

impl Client {
    /// Send a request with an absolute target; the answer's head, its body to
    /// come. An error is an exchange that did not get that far.
    pub(crate) async fn send(
        &mut self,
        request: Request<Sent>,
    ) -> Result<Response<Received>, String> {
        match self {
            Self::Http1(client) => {
                let sent = client.send(in_origin_form(request)).await;
                let response = sent.map_err(|error| format!("{error:?}"))?;
                Ok(response.map(|body| body.map_err(|error| format!("{error:?}")).boxed_unsync()))
            }
            Self::Http2(client) => {
                let (head, body) = request.into_parts();
                let end = http_body::Body::is_end_stream(&body);
                let opened = client.open(Request::from_parts(head, ()), end).await;
                let (response, stream) = opened.map_err(|error| error.to_string())?;
                if !end {
                    tokio::spawn(upload(stream, body));
                }
                let response = within("a response", response).await;
                let response = response.map_err(|error| error.to_string())?;
                Ok(response.map(|stream| Download(stream).boxed_unsync()))
            }
        }
    }

    /// Send a request and read the whole answer.
    pub(crate) async fn ask(&mut self, request: Request<Sent>) -> Result<Reply, String> {
        whole(self.send(request).await?).await
    }
}

/// Read an answer to its end.
pub(crate) async fn whole(response: Response<Received>) -> Result<Reply, String> {
    let (head, body) = response.into_parts();
    let body = within("a body", body.collect()).await?;
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        trailers: body.trailers().cloned(),
        body: body.to_bytes(),
    })
}

/// The next bytes of a body; `None` is its proper end.
pub(crate) async fn piece(body: &mut Received) -> Option<Result<Bytes, String>> {
    loop {
        match within("a piece", body.frame()).await? {
            Ok(frame) => {
                let data = frame.into_data().unwrap_or_default();
                if !data.is_empty() {
                    return Some(Ok(data));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

/// A request for `path` of the site whose name is `site`, without a body.
pub(crate) fn get(site: &str, path: &str) -> Request<Sent> {
    request(Method::GET, site, path, nothing())
}

/// A request that takes trailers.
pub(crate) fn request(method: Method, site: &str, path: &str, body: Sent) -> Request<Sent> {
    Request::builder()
        .method(method)
        .uri(format!("http://{site}.test{path}"))
        .header(TE, "trailers")
        .body(body)
        .expect("a request")
}

pub(crate) fn nothing() -> Sent {
    Empty::new().boxed_unsync()
}

/// A body in one piece, whose length is known.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Sent {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body that comes through a channel, and whose length nobody knows.
pub(crate) fn open() -> (mpsc::Sender<Result<Frame<Bytes>, Infallible>>, Sent) {
    let (frames, body) = mpsc::channel(1);
    let body = StreamBody::new(ReceiverStream::new(body)).boxed_unsync();
    (frames, body)
}

fn in_origin_form(request: Request<Sent>) -> Request<Sent> {
    let (mut head, body) = request.into_parts();
    let uri = std::mem::take(&mut head.uri).into_parts();
    if let Some(authority) = uri.authority {
        let host = authority.as_str().parse().expect("a host");
        head.headers.insert(HOST, host);
    }
    head.uri = uri.path_and_query.expect("a path").into();
    Request::from_parts(head, body)
}

async fn upload(mut stream: SendStream<Bytes>, mut body: Sent) -> Result<(), h2::Error> {
    while let Some(Ok(frame)) = body.frame().await {
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    stream.reserve_capacity(data.len());
                    while stream.capacity() == 0 {
                        match poll_fn(|cx| stream.poll_capacity(cx)).await {
                            Some(room) => room?,
                            None => return Ok(()),
                        };
                    }
                    let some = data.split_to(stream.capacity().min(data.len()));
                    stream.send_data(some, false)?;
                }
            }
            Err(frame) => {
                return stream.send_trailers(frame.into_trailers().unwrap_or_default());
            }
        }
    }
    stream.send_data(Bytes::new(), true)
}

struct Download(RecvStream);

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        let said = |error: h2::Error| error.to_string();
        if let Some(data) = ready!(self.0.poll_data(cx)) {
            let data = data.map_err(said)?;
            let released = self.0.flow_control().release_capacity(data.len());
            released.map_err(said)?;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(self.0.poll_trailers(cx)).map_err(said)?;
        Poll::Ready(trailers.map(Frame::trailers).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
