//! A gRPC service, on tonic: `Echo` returns its line, `Count` sends as many as it
//! is asked for. Told to stop, it says GOAWAY and serves what it has to the end.

use anyhow::Result;
use http::{Request as HttpRequest, Response as HttpResponse};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// The name of the service.
pub(crate) const SERVICE: &str = "faults.Lines";

/// Between two lines of a stream.
const PAUSE: Duration = Duration::from_millis(4);

/// The one message: a line, or how many of them.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Line {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint32, tag = "2")]
    pub(crate) number: u32,
}

type Called<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

/// A server that can be told to stop.
pub(crate) struct Stoppable {
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Result<(), tonic::transport::Error>>>,
}

impl Stoppable {
    /// Serve there, on that thread.
    pub(crate) async fn start(thread: &Handle, address: SocketAddr) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let listener = thread
            .spawn(async move { super::listen(address) })
            .await??;
        let serving = thread.spawn(serve(listener, Duration::ZERO, async {
            let _ = stopped.await;
        }));
        Ok(Self {
            stop: Some(stop),
            serving: Some(serving),
        })
    }

    /// Take no more, and wait until what there is has ended.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            serving.await??;
        }
        Ok(())
    }
}

/// Serve until `stop`; an `Echo` takes up to `thought`.
pub(crate) async fn serve(
    listener: TcpListener,
    thought: Duration,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder().add_service(Methods(thought));
    server.serve_with_incoming_shutdown(incoming, stop).await
}

/// The service, as tonic's router calls it.
#[derive(Clone)]
struct Methods(Duration);

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
        let thought = self.0;
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Line, Line>::default());
            let path = request.uri().path();
            Ok(if path.ends_with("/Echo") {
                grpc.unary(Method(thought, echo), request).await
            } else if path.ends_with("/Count") {
                grpc.server_streaming(Method(thought, count), request).await
            } else {
                Status::unimplemented("no such method").into_http()
            })
        })
    }
}

/// A function as a service, which is how tonic takes a method.
struct Method<U>(Duration, fn(Duration, Line) -> Called<U>);

impl<U> Service<Request<Line>> for Method<U> {
    type Response = Response<U>;
    type Error = Status;
    type Future = Called<U>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Line>) -> Called<U> {
        (self.1)(self.0, request.into_inner())
    }
}

fn echo(thought: Duration, line: Line) -> Called<Line> {
    Box::pin(async move {
        if !thought.is_zero() {
            sleep(thought.mul_f64(fastrand::f64())).await;
        }
        Ok(Response::new(line))
    })
}

fn count(_: Duration, line: Line) -> Called<ReceiverStream<Result<Line, Status>>> {
    let (lines, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        for _ in 0..line.number {
            if lines.send(Ok(line.clone())).await.is_err() {
                return;
            }
            sleep(PAUSE).await;
        }
    });
    Box::pin(async { Ok(Response::new(ReceiverStream::new(stream))) })
}
