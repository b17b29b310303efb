//! A collector of traces: OTLP over gRPC, by tonic, or over HTTP, by hyper; and
//! some that are none.

use super::within;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as proto;
use prost::Message;
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tonic::metadata::AsciiMetadataValue as AsciiValue;
use tonic::transport::server::TcpIncoming;

/// A span, as a test looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) said: BTreeMap<String, String>,
    pub(crate) span: proto::Span,
}

impl Seen {
    /// What it says of this; empty if it says nothing.
    pub(crate) fn says(&self, key: &str) -> &str {
        self.said.get(key).map_or("", String::as_str)
    }

    /// The spans that it points to, as trace and span.
    pub(crate) fn links(&self) -> Vec<(String, String)> {
        let links = self.span.links.iter();
        links
            .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
            .collect()
    }

    pub(crate) fn failed(&self) -> bool {
        let status = self.span.status.as_ref();
        status.is_some_and(|status| status.code() == proto::status::StatusCode::Error)
    }
}

/// What a collector got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Got {
    pub(crate) spans: Vec<Seen>,
    /// Of the first batch: the resource, and the fields of the request.
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) authorization: String,
    pub(crate) batches: usize,
}

impl Got {
    /// Those of this name.
    pub(crate) fn named(&self, name: &str) -> Vec<&Seen> {
        let spans = self.spans.iter();
        spans.filter(|seen| seen.span.name == name).collect()
    }

    /// Exchanges, which are answered here.
    pub(crate) fn exchanges(&self) -> Vec<&Seen> {
        let spans = self.spans.iter();
        let kind = proto::span::SpanKind::Server;
        spans.filter(|seen| seen.span.kind() == kind).collect()
    }

    /// The children of a span, the earlier first.
    pub(crate) fn under(&self, parent: &Seen) -> Vec<&Seen> {
        let spans = self.spans.iter();
        let mut under: Vec<_> = spans.filter(|seen| seen.parent == parent.id).collect();
        under.sort_by_key(|seen| seen.span.start_time_unix_nano);
        under
    }

    fn take(&mut self, batch: ExportTraceServiceRequest, authorization: Option<&[u8]>) {
        self.batches += 1;
        if let Some(text) = authorization {
            self.authorization = String::from_utf8_lossy(text).into_owned();
        }
        for of_resource in batch.resource_spans {
            if let Some(resource) = &of_resource.resource {
                self.resource = said(&resource.attributes);
            }
            let spans = of_resource.scope_spans.into_iter();
            self.spans
                .extend(spans.flat_map(|scope| scope.spans).map(|span| Seen {
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    said: said(&span.attributes),
                    span,
                }));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn said(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |one: &KeyValue| match one.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(holds)) => holds.to_string(),
        other => panic!("nobody says {other:?}"),
    };
    let all = attributes.iter();
    all.map(|one| (one.key.clone(), text(one))).collect()
}

/// A running collector.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    got: watch::Receiver<Got>,
    task: JoinHandle<()>,
}

/// What an HTTP server answers to a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As a collector does.
    Good,
    /// It takes all but one span.
    AllButOne,
    /// This status.
    Status(u16),
    /// Something that is no answer.
    Garbage,
    /// Nothing, ever.
    Nothing,
}

#[derive(Clone)]
struct Service(watch::Sender<Got>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let authorization = request.metadata().get("authorization").cloned();
        let authorization = authorization.as_ref().map(AsciiValue::as_bytes);
        let batch = request.get_ref().clone();
        self.0.send_modify(|got| got.take(batch, authorization));
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Over gRPC.
    pub(crate) async fn grpc() -> Self {
        let (listener, address) = bind().await;
        let (note, got) = watch::channel(Got::default());
        let task = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(TraceServiceServer::new(Service(note)))
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .expect("a collector");
        });
        Self { address, got, task }
    }

    /// Over HTTP.
    pub(crate) async fn http(answer: Answer) -> Self {
        let (listener, address) = bind().await;
        let (note, got) = watch::channel(Got::default());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let note = note.clone();
                let serve = service_fn(move |request: Request<Incoming>| {
                    let note = note.clone();
                    async move { Ok::<_, hyper::Error>(take(request, note, answer).await) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                tokio::spawn(connection);
            }
        });
        Self { address, got, task }
    }

    /// Where it is found behind TLS.
    pub(crate) async fn over_tls(&self, tls: Arc<ServerConfig>) -> SocketAddr {
        let (listener, address) = bind().await;
        let behind = self.address;
        tokio::spawn(async move {
            let tls = TlsAcceptor::from(tls);
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    let Ok(mut front) = tls.accept(stream).await else {
                        return;
                    };
                    let mut back = TcpStream::connect(behind).await.expect("connected");
                    // Whoever leaves first ends it.
                    let _ = tokio::io::copy_bidirectional(&mut front, &mut back).await;
                });
            }
        });
        address
    }

    /// Wait until it has got what is wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Got) -> bool) -> Got {
        let mut got = self.got.clone();
        let found = within(what, got.wait_for(|got| wanted(got))).await;
        found.expect("it serves on").clone()
    }

    /// What it has got so far.
    pub(crate) fn got(&self) -> Got {
        self.got.borrow().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    request: Request<Incoming>,
    note: watch::Sender<Got>,
    answer: Answer,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a batch").to_bytes();
    let kind = head.headers.get("content-type");
    assert_eq!(head.uri.path(), "/v1/traces");
    assert_eq!(kind.expect("a type"), "application/x-protobuf");
    let batch = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let authorization = head.headers.get("authorization");
    note.send_modify(|got| got.take(batch, authorization.map(HeaderValue::as_bytes)));
    let mut taken = ExportTraceServiceResponse::default();
    if answer == Answer::AllButOne {
        taken.partial_success = Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "one is too many".to_owned(),
        });
    }
    let mut response = Response::new(Full::new(Bytes::from(taken.encode_to_vec())));
    match answer {
        Answer::Good | Answer::AllButOne => {}
        Answer::Status(code) => {
            *response.status_mut() = StatusCode::from_u16(code).expect("a status");
        }
        Answer::Garbage => *response.body_mut() = Full::new("<html>welcome</html>".into()),
        Answer::Nothing => std::future::pending().await,
    }
    response
}

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("known");
    (listener, address)
}
