//! The clients that the demo brings with it: what stands before the proxy.
//!
//! They behave as good clients do. They keep connections and open new ones
//! when told to (`Connection: close`, GOAWAY, Close), and when the balancer
//! before the proxy sees its readiness fail they begin nothing new. Some are
//! late on purpose: they go by what their own connection says, as a client
//! without a balancer would.
//!
//! Every operation ends in an [`End`](super::account::End); none is repeated
//! in silence. Deliberately absent: reading the proxy's own account.

mod grpc;
mod http1;
mod http2;
mod tcp;
mod websocket;

pub(super) use grpc::{Call, calls, watch};
pub(super) use http1::{Question, keep_alive, one_request};
pub(super) use http2::multiplexed;
pub(super) use tcp::echo;
pub(super) use websocket::chat;

use super::account::End;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a client waits for anything; far longer than the demo runs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A byte stream, encrypted or not.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Where a client connects to, and how.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// With ALPN set to what the client speaks; `None` is clear text.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Target {
    pub(super) fn clear(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    async fn connect(&self) -> io::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(name, stream)
            .await?;
        Ok(Box::new(stream))
    }
}

/// Whether a client may begin something new.
#[derive(Clone)]
pub(super) struct Permit {
    ready: watch::Receiver<bool>,
    /// A late client does not ask the balancer, only its own connection.
    late: bool,
    retired: bool,
}

impl Permit {
    /// The permit of a client behind a balancer that publishes readiness.
    pub(super) fn new(ready: watch::Receiver<bool>) -> Self {
        Self {
            ready,
            late: false,
            retired: false,
        }
    }

    /// The permit of a client that learns of the drain on its connection only.
    pub(super) fn late(&self) -> Self {
        Self {
            late: true,
            ..self.clone()
        }
    }

    fn granted(&self) -> bool {
        if self.late {
            !self.retired
        } else {
            *self.ready.borrow()
        }
    }

    /// The proxy has told this client's connection to take no more requests.
    fn retire(&mut self) {
        self.retired = true;
    }

    /// Wait until nothing new may be begun; for ever, if that is never told.
    async fn withdrawn(&mut self) {
        if self.late || self.ready.wait_for(|ready| !ready).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Wait for `work`, but not for ever.
async fn patiently<T, E: ToString>(work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("nothing for {} s", PATIENCE.as_secs())),
    }
}

/// What an HTTP answer means to whoever expected `expected`.
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], expected: &[u8]) -> End {
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    match (status, retry_after) {
        (StatusCode::OK, _) if body == expected => End::Completed,
        (StatusCode::OK, _) => End::Lost(format!(
            "200 with {} bytes, not {}",
            body.len(),
            expected.len()
        )),
        (StatusCode::SERVICE_UNAVAILABLE, Some(after)) => {
            End::Told(format!("503 Service Unavailable, Retry-After: {after}"))
        }
        _ => End::Lost(format!("status {status}")),
    }
}
