//! A collector of traces, and how batches get there: OTLP over gRPC, or as
//! protobuf over HTTP/1.1.
//!
//! Invariant: whatever a collector answers, its answer is read no further than
//! [`LONGEST_ANSWER`]; what it did not take is known for certain, or may be sent
//! again.
//!
//! Deliberately absent: time. The caller gives up on a batch that takes too
//! long, by dropping the future, and forgets the connection by
//! [`Collector::forget`]. And `OTEL_EXPORTER_*` variables: where traces go
//! stands in the config, where it can be read and reloaded.

use crate::config::{Traces, TracesProtocol};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

/// Bytes of an answer that are read.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Who sends.
const AGENT: &str = concat!("ebbtide/", env!("CARGO_PKG_VERSION"));

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) why: String,
    /// Whether it may be taken if it is sent again (OTLP, "Failures").
    pub(super) passing: bool,
}

impl Failure {
    fn passing(why: &impl ToString) -> Self {
        Self {
            why: why.to_string(),
            passing: true,
        }
    }

    fn lasting(why: &impl ToString) -> Self {
        Self {
            why: why.to_string(),
            passing: false,
        }
    }
}

/// Where batches go.
pub(super) struct Collector {
    place: Place,
    fields: HeaderMap,
    protocol: TracesProtocol,
    grpc: Option<TraceServiceClient<Channel>>,
    http: Option<SendRequest<Full<Bytes>>>,
}

impl Collector {
    pub(super) fn of(settings: &Traces) -> Self {
        let protocol = settings.protocol;
        let mut fields = HeaderMap::new();
        for (name, value) in &settings.headers {
            fields.insert(name, value.clone());
        }
        Self {
            place: Place {
                tls: (settings.otlp.scheme_str() == Some("https")).then(|| tls(settings)),
                uri: settings.otlp.clone(),
            },
            fields,
            protocol,
            grpc: None,
            http: None,
        }
    }

    /// Where it is.
    pub(super) fn uri(&self) -> &Uri {
        &self.place.uri
    }

    /// Begin anew with the next batch: nobody knows what became of the last.
    pub(super) fn forget(&mut self) {
        self.grpc = None;
        self.http = None;
    }

    /// Send a batch; how many of its spans were rejected.
    pub(super) async fn send(&mut self, batch: ExportTraceServiceRequest) -> Result<u64, Failure> {
        let answer = match self.protocol {
            TracesProtocol::Grpc => self.over_grpc(batch).await?,
            TracesProtocol::Http => {
                let answer = self.over_http(batch).await;
                if answer.is_err() {
                    self.http = None;
                }
                answer?
            }
        };
        let rejected = answer.partial_success.map_or(0, |part| part.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or_default())
    }

    async fn over_grpc(
        &mut self,
        batch: ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Failure> {
        let client = self.grpc.get_or_insert_with(|| {
            let channel = Channel::builder(self.place.uri.clone())
                .connect_with_connector_lazy(self.place.clone());
            TraceServiceClient::new(channel).max_decoding_message_size(LONGEST_ANSWER)
        });
        let mut request = tonic::Request::new(batch);
        *request.metadata_mut() = MetadataMap::from_headers(self.fields.clone());
        match client.export(request).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(of_status(&status)),
        }
    }

    async fn over_http(
        &mut self,
        batch: ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Failure> {
        let mut known = self.http.take();
        let mut ready = false;
        if let Some(sender) = &mut known {
            ready = sender.ready().await.is_ok();
        }
        let mut sender = match known.filter(|_| ready) {
            Some(sender) => sender,
            None => self
                .place
                .dial_http()
                .await
                .map_err(|error| Failure::passing(&error))?,
        };
        let body = Bytes::from(batch.encode_to_vec());
        let request = self
            .request(body)
            .map_err(|error| Failure::lasting(&error))?;
        let answer = sender.send_request(request).await;
        let (head, body) = answer
            .map_err(|error| Failure::passing(&error))?
            .into_parts();
        let read = Limited::new(body, LONGEST_ANSWER).collect().await;
        match head.status {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => return Err(Failure::passing(&head.status)),
            status => return Err(Failure::lasting(&status)),
        }
        let read = read.map_err(|error| Failure::lasting(&error))?.to_bytes();
        let answer = ExportTraceServiceResponse::decode(read);
        let answer = answer.map_err(|_| Failure::lasting(&"it does not answer in OTLP"))?;
        self.http = Some(sender);
        Ok(answer)
    }

    fn request(&self, body: Bytes) -> http::Result<Request<Full<Bytes>>> {
        let uri = &self.place.uri;
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, host)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_LENGTH, body.len())
            .body(Full::new(body))?;
        let fields = request.headers_mut();
        fields.extend(self.fields.clone());
        let kind = HeaderValue::from_static("application/x-protobuf");
        fields.insert(CONTENT_TYPE, kind);
        Ok(request)
    }
}

fn of_status(status: &tonic::Status) -> Failure {
    let source = std::error::Error::source(status);
    let why = match source.map(innermost) {
        Some(cause) => format!("{cause} ({:?})", status.code()),
        None => format!("{} ({:?})", status.message(), status.code()),
    };
    let passing = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    );
    Failure { why, passing }
}

/// What it came from in the end: the layers above only pass it on.
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> String {
    let mut last: &'a dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// An address, and the TLS that is spoken there.
#[derive(Clone)]
struct Place {
    uri: Uri,
    tls: Option<Arc<ClientConfig>>,
}

/// A stream to a collector.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Place {
    async fn dial(self) -> io::Result<TokioIo<Box<dyn Wire>>> {
        let host = self.uri.host().unwrap_or_default();
        // An IPv6 address stands in brackets there.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let port = self.uri.port_u16().unwrap_or(usual);
        let socket = TcpStream::connect((host, port)).await?;
        let wire: Box<dyn Wire> = match self.tls {
            None => Box::new(socket),
            Some(config) => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                Box::new(TlsConnector::from(config).connect(name, socket).await?)
            }
        };
        Ok(TokioIo::new(wire))
    }

    async fn dial_http(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let wire = self.clone().dial().await?;
        let shaken = http1::handshake(wire).await;
        let (sender, connection) = shaken.map_err(io::Error::other)?;
        // Whoever sends on it is told of its end.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

impl tower_service::Service<Uri> for Place {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().dial())
    }
}

fn tls(settings: &Traces) -> Arc<ClientConfig> {
    let roots = settings.ca.clone().unwrap_or_else(|| Arc::new(system()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    // The provider has what the usual versions need.
    let builder = match builder.with_safe_default_protocol_versions() {
        Ok(builder) => builder,
        Err(_) => ClientConfig::builder(),
    };
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = match settings.protocol {
        TracesProtocol::Grpc => vec![b"h2".to_vec()],
        TracesProtocol::Http => vec![b"http/1.1".to_vec()],
    };
    Arc::new(config)
}

/// The system's authorities; with none of them no collector can prove itself.
fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    match rustls_native_certs::load_native_certs() {
        Ok(known) => drop(roots.add_parsable_certificates(known)),
        Err(error) => {
            tracing::warn!(event = "traces", %error, "the system's authorities cannot be read");
        }
    }
    roots
}
