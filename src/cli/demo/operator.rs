//! The operator, and the balancer: what they ask over the admin interface.
//!
//! Everything here goes over the wire, as a user's would: readiness, the
//! drain's start, its progress, its receipt.
//!
//! Deliberately absent: any short cut into the process, although it is the
//! same one.

use crate::drain::Receipt;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{interval, timeout};

/// How often the balancer looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long a look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Somebody who knows the admin interface.
#[derive(Clone, Copy)]
pub(super) struct Operator {
    pub(super) admin: SocketAddr,
}

impl Operator {
    /// Begin the drain.
    pub(super) async fn drain(self) -> Result<()> {
        let (status, body) = self.ask(Method::POST, "/v1/drain").await?;
        if !status.is_success() {
            bail!(
                "POST /v1/drain: {status}: {}",
                String::from_utf8_lossy(&body)
            );
        }
        Ok(())
    }

    /// The stage that the drain is in; `None` before and after it.
    pub(super) async fn stage(self) -> Option<String> {
        let asked = timeout(LOOK_LIMIT, self.ask(Method::GET, "/v1/drain")).await;
        let (_, body) = asked.ok()?.ok()?;
        let progress: serde_json::Value = serde_json::from_slice(&body).ok()?;
        Some(progress.get("stage")?.as_str()?.to_owned())
    }

    /// Wait for the drain to be over, and take its receipt.
    pub(super) async fn receipt(self) -> Result<Receipt> {
        let (status, body) = self.ask(Method::GET, "/v1/drain?wait=true").await?;
        if status != StatusCode::OK {
            bail!("GET /v1/drain?wait=true: {status}");
        }
        serde_json::from_slice(&body).context("the receipt cannot be read")
    }

    /// Publish what the balancer sees, until nobody looks any more.
    pub(super) async fn watch_readiness(self, publish: watch::Sender<bool>) {
        let mut look = interval(LOOK);
        while !publish.is_closed() {
            look.tick().await;
            let asked = timeout(LOOK_LIMIT, self.ask(Method::GET, "/readyz")).await;
            let ready = matches!(asked, Ok(Ok((StatusCode::OK, _))));
            publish.send_if_modified(|before| std::mem::replace(before, ready) != ready);
        }
    }

    async fn ask(self, method: Method, path: &str) -> Result<(StatusCode, Bytes)> {
        let stream = TcpStream::connect(self.admin).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.admin.to_string())
            .header("connection", "close")
            .body(Empty::<Bytes>::new())?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        // The connection ends when the exchange does; only its answer counts.
        let (answer, _) = tokio::join!(exchange, connection);
        answer
    }
}
