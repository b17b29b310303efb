//! The clients before the proxy: good ones, who do what they are told.
//!
//! They honour `Connection: close`, GOAWAY and Close, open new connections as
//! long as they may, and stop for good when one is refused. None asks for
//! readiness: what they know of the drain their own connections tell them.
//! Leavers alone know that one was asked for, to be gone before its deadline.
//!
//! Each exchange goes on the [`Books`]; none is repeated in silence.

mod grpc;
mod half_open;
mod http1;
mod http2;
mod tunnel;

pub(crate) use grpc::{Call, calls};
pub(crate) use half_open::{Stop, half_open};
pub(crate) use http1::{Question, each_anew, keep_alive, once, sit};
pub(crate) use http2::{multiplexed, sit as sit_http2, stream_once};
pub(crate) use tunnel::{tcp, websocket};

use crate::books::{Books, End};
use crate::script::Script;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// How long a client waits for anything; far longer than a drain takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A byte stream, encrypted or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Where a client connects to, and how.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// With ALPN set to what the client speaks; `None` is clear text.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// When the drain was asked for, if it was.
pub(crate) type Asked = watch::Receiver<Option<Instant>>;

/// What every client has.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) kind: &'static str,
    pub(crate) target: Target,
    pub(crate) books: Books,
    pub(crate) asked: Asked,
    /// From the asking to the first refusal that is in order.
    pub(crate) refuses_after: Duration,
    /// Between two things that it does.
    pub(crate) pause: Duration,
}

/// A connection, and the port that it comes from.
pub(crate) struct Connected {
    wire: Box<dyn Wire>,
    port: u16,
}

impl Client {
    /// Whether the proxy may turn somebody away by now.
    fn may_be_refused(&self) -> bool {
        let asked = *self.asked.borrow();
        asked.is_some_and(|at| at.elapsed() >= self.refuses_after)
    }

    /// A new connection; `None` if it is refused and may be. Everything else
    /// that goes wrong goes on the books.
    async fn connect(&self) -> Option<Connected> {
        match self.reach().await {
            Ok(reached) => reached,
            Err((port, error)) => {
                let operation = self.books.begin(self.kind, None, port);
                operation.end(Err(format!("connecting: {error}")));
                None
            }
        }
    }

    async fn reach(&self) -> Result<Option<Connected>, (u16, String)> {
        let stream = match timeout(PATIENCE, TcpStream::connect(self.target.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if self.may_be_refused() {
                    return Ok(None);
                }
                return Err((0, "refused before listeners refuse".to_owned()));
            }
            Ok(Err(error)) => return Err((0, error.to_string())),
            Err(_) => return Err((0, format!("nothing for {PATIENCE:?}"))),
        };
        let accepted = Instant::now();
        let port = stream.local_addr().map_or(0, |address| address.port());
        // An option that could not be set costs speed, nothing else.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.target.tls else {
            let wire = Box::new(stream);
            return Ok(Some(Connected { wire, port }));
        };
        let name = ServerName::try_from("localhost").map_err(|error| (port, error.to_string()))?;
        let shaken = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
        match patiently(shaken).await {
            Ok(tls) => {
                let wire = Box::new(tls);
                Ok(Some(Connected { wire, port }))
            }
            // On a machine that is this slow it was told in order.
            Err(_) if self.may_be_refused() && accepted.elapsed() >= Script::handshake() => {
                Ok(None)
            }
            Err(error) => Err((port, format!("TLS handshake: {error}"))),
        }
    }

    /// Wait until `after` the drain was asked for; for ever, if that is
    /// `None`.
    async fn leave(&self, after: Option<Duration>) {
        let mut asked = self.asked.clone();
        let told = asked.wait_for(Option::is_some).await.is_ok();
        match after {
            Some(after) if told => sleep(after).await,
            _ => std::future::pending().await,
        }
    }
}

/// Wait for `work`, but not for ever.
async fn patiently<T, E: ToString>(work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("nothing for {PATIENCE:?}")),
    }
}

/// What an HTTP answer means to whoever expected `expected`.
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], expected: &[u8]) -> End {
    match status {
        StatusCode::OK if body == expected => End::Finished,
        StatusCode::OK => End::Lost(format!(
            "200 with {} bytes, not {}",
            body.len(),
            expected.len()
        )),
        StatusCode::SERVICE_UNAVAILABLE if headers.contains_key(RETRY_AFTER) => {
            End::Told("503".to_owned())
        }
        _ => End::Lost(format!(
            "status {status}: {}",
            String::from_utf8_lossy(body)
        )),
    }
}
