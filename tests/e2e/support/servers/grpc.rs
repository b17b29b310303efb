//! gRPC, by tonic, without generated code: the service is put together from
//! its four kinds of call.
//!
//! `Echo` and `Hold` are unary, `Count` sends as many lines as it is asked
//! for, `Watch` sends one every [`TICK`] and never ends, `Collect` joins what
//! its client sends, `Chat` repeats it line by line.

use super::super::seen::{Desk, Exchange};
use super::answer::text;
use http::{Request as HttpRequest, Response as HttpResponse};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// The name of the service.
pub(crate) const SERVICE: &str = "test.Lines";
const TICK: Duration = Duration::from_millis(20);

/// The one message: a line, or how many of them.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Line {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint32, tag = "2")]
    pub(crate) number: u32,
}

type Lines = ReceiverStream<Result<Line, Status>>;
type Called<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

pub(super) async fn serve(listener: TcpListener, desk: Desk) {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .add_service(Methods(desk))
        .serve_with_incoming(incoming)
        .await
        .expect("a gRPC server");
}

/// The service, as tonic's router calls it.
#[derive(Clone)]
struct Methods(Desk);

impl NamedService for Methods {
    const NAME: &'static str = SERVICE;
}

impl Service<HttpRequest<Body>> for Methods {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let desk = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            desk.note(|seen| seen.heads.push(text(&head)));
            let request = HttpRequest::from_parts(head, body);
            let exchange = desk.request();
            let mut grpc = Grpc::new(ProstCodec::<Line, Line>::default());
            let called = request
                .uri()
                .path()
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            Ok(match called.as_str() {
                "Echo" => {
                    grpc.unary(method(|line| echo(line, exchange)), request)
                        .await
                }
                "Hold" => {
                    grpc.unary(method(|line| hold(line, exchange, desk)), request)
                        .await
                }
                "Count" => {
                    grpc.server_streaming(method(|line| count(line, exchange)), request)
                        .await
                }
                "Watch" => {
                    grpc.server_streaming(method(|line| watch(line, exchange)), request)
                        .await
                }
                "Collect" => {
                    grpc.client_streaming(method(|lines| collect(lines, exchange)), request)
                        .await
                }
                "Chat" => {
                    grpc.streaming(method(|lines| chat(lines, exchange)), request)
                        .await
                }
                _ => Status::unimplemented(called).into_http(),
            })
        })
    }
}

/// A function as a service, which is how tonic takes a method.
struct Method<T, U>(Option<Function<T, U>>);

type Function<T, U> = Box<dyn FnOnce(Request<T>) -> Called<U> + Send>;

fn method<T, U>(function: impl FnOnce(Request<T>) -> Called<U> + Send + 'static) -> Method<T, U> {
    Method(Some(Box::new(function)))
}

impl<T, U> Service<Request<T>> for Method<T, U> {
    type Response = Response<U>;
    type Error = Status;
    type Future = Called<U>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<T>) -> Called<U> {
        let function = self.0.take().expect("a method is called once");
        function(request)
    }
}

fn echo(line: Request<Line>, exchange: Exchange) -> Called<Line> {
    exchange.finish();
    Box::pin(async { Ok(Response::new(line.into_inner())) })
}

fn hold(line: Request<Line>, exchange: Exchange, desk: Desk) -> Called<Line> {
    Box::pin(async move {
        desk.released().await;
        exchange.finish();
        Ok(Response::new(line.into_inner()))
    })
}

fn count(line: Request<Line>, exchange: Exchange) -> Called<Lines> {
    let Line { text, number } = line.into_inner();
    stream(exchange, Duration::from_millis(1), move |at| {
        (at < number).then(|| Line {
            text: text.clone(),
            number: at,
        })
    })
}

fn watch(line: Request<Line>, exchange: Exchange) -> Called<Lines> {
    let text = line.into_inner().text;
    stream(exchange, TICK, move |number| {
        Some(Line {
            text: text.clone(),
            number,
        })
    })
}

/// A server stream of what `next` gives, `pause` apart.
fn stream(
    exchange: Exchange,
    pause: Duration,
    mut next: impl FnMut(u32) -> Option<Line> + Send + 'static,
) -> Called<Lines> {
    let (lines, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut pause = tokio::time::interval(pause);
        for number in 0.. {
            pause.tick().await;
            match next(number) {
                None => return exchange.finish(),
                Some(line) => {
                    if lines.send(Ok(line)).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    Box::pin(async { Ok(Response::new(ReceiverStream::new(stream))) })
}

fn collect(lines: Request<Streaming<Line>>, exchange: Exchange) -> Called<Line> {
    Box::pin(async move {
        let mut lines = lines.into_inner();
        let mut all = Line::default();
        while let Some(line) = lines.next().await {
            all.text.push_str(&line?.text);
            all.number += 1;
        }
        exchange.finish();
        Ok(Response::new(all))
    })
}

fn chat(lines: Request<Streaming<Line>>, exchange: Exchange) -> Called<Lines> {
    let (echo, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut lines = lines.into_inner();
        while let Some(line) = lines.next().await {
            match line {
                Err(status) if status.code() == Code::Cancelled => {
                    return exchange.cancelled("CANCEL");
                }
                Err(status) => return exchange.cancelled(status.code()),
                line => {
                    if echo.send(line).await.is_err() {
                        return;
                    }
                }
            }
        }
        exchange.finish();
    });
    Box::pin(async { Ok(Response::new(ReceiverStream::new(stream))) })
}
