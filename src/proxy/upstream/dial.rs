//! From an address to a connection that can carry an exchange.
//!
//! Purpose: pingora dials (TCP or Unix, TLS, ALPN, limits), then hyper's or
//! h2's client handshake, and the task that drives the connection.
//!
//! Invariant: nothing here takes longer than the upstream's connect timeout,
//! TLS and the HTTP/2 preface included, and nothing of a request has been
//! sent when it fails. How a dial went is reported once, however many wait
//! for it. A future of this module is large and rare: whoever
//! awaits one boxes it.
//!
//! Deliberately absent: choice of the server, and any reuse.

use super::Upstream;
use super::connections::{Count, Life, Lot, Stream};
use super::http2;
use super::idle::Held;
use super::multiplex::{Multiplexer, Origin};
use super::proxy_header;
use crate::clock;
use crate::config::UpstreamHttp;
use crate::proxy::Error;
use crate::proxy::registry::Ends;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pingora_core::ErrorType;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::{ALPN, Stream as Dialled};
use std::sync::Arc;
use tokio::time::timeout;

/// The most that a response head may take, in bytes. The number of its fields
/// is left at hyper's 100: another number would cost an allocation for each
/// response.
const HEAD_LIMIT: usize = 64 * 1024;

/// Why a server could not be connected to. Unlike an [`Error`] it can be told
/// to everybody who waited for the same connection.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// It took longer than the upstream's connect timeout.
    Timeout,
    /// Anything else, in words.
    Reason(Arc<str>),
}

impl Failure {
    pub(super) fn reason(text: impl Into<Arc<str>>) -> Self {
        Self::Reason(text.into())
    }

    /// The error that an exchange sees.
    pub(super) fn into_error(self, upstream: &Upstream, server: usize) -> Error {
        let name = Arc::clone(&upstream.name);
        let server = Arc::clone(&upstream.servers[server].name);
        match self {
            Self::Timeout => Error::ConnectTimeout {
                upstream: name,
                server,
                limit: upstream.connect_timeout,
            },
            Self::Reason(reason) => Error::Connect {
                upstream: name,
                server,
                reason: reason.to_string(),
            },
        }
    }
}

impl From<Box<pingora_core::Error>> for Failure {
    fn from(error: Box<pingora_core::Error>) -> Self {
        match error.root_etype() {
            ErrorType::ConnectTimedout => Self::Timeout,
            ErrorType::ConnectRefused => Self::reason("connection refused"),
            ErrorType::ConnectNoRoute => Self::reason("no route to it"),
            _ => Self::reason(innermost(&error)),
        }
    }
}

/// What happened, in words, without the layers that passed it on.
pub(super) fn innermost(error: &pingora_core::Error) -> String {
    let cause = error.cause.as_deref();
    if let Some(inner) = cause.and_then(|cause| cause.downcast_ref::<Box<pingora_core::Error>>()) {
        return innermost(inner);
    }
    match (cause, &error.context) {
        // A failed handshake is told in the context; its "cause" is only the
        // local address.
        (_, Some(context)) if *error.etype() == ErrorType::TLSHandshakeFailure => {
            context.as_str().to_owned()
        }
        (Some(cause), _) => cause.to_string(),
        (None, Some(context)) => context.as_str().to_owned(),
        (None, None) => error.etype().as_str().to_owned(),
    }
}

/// A connection on which nothing has been sent yet.
pub(super) enum Connected {
    /// HTTP/1.1: one exchange at a time.
    Http1(Held),
    /// HTTP/2: a number of streams.
    Http2(Arc<Multiplexer>),
}

/// Connect to a server, for a client if the upstream names them, and agree on
/// the HTTP version. Whose it becomes is the count's and the lot.
pub(super) async fn connect(
    upstream: &Upstream,
    (server, count, lot): (usize, &Arc<Count>, Lot),
    client: Option<&Ends>,
) -> Result<Connected, Failure> {
    // One limit over all steps, as the preface is not the connector's to time.
    let connected = timeout(upstream.connect_timeout, async {
        let target = &upstream.servers[server];
        let origin = Origin {
            name: Arc::clone(&target.name),
            server,
            generation: target.generation(),
            standing: Arc::clone(&target.standing),
        };
        let stream = match naming(upstream, client) {
            None => upstream.connector.new_stream(&target.peer).await?,
            named => {
                let mut peer = target.peer.clone();
                peer.options.custom_l4 = named;
                upstream.connector.new_stream(&peer).await?
            }
        };
        let shared = speaks_http2(upstream, &stream)?;
        let life = Life::begin(count, lot, clock::now(), &upstream.pool);
        let stream = Stream::new(stream, life);
        if shared {
            let pool = &upstream.pool;
            let silence = pool.ping.map(Into::into);
            http2::handshake(stream, origin, pool.streams, silence)
                .await
                .map(Connected::Http2)
        } else {
            handshake(stream).await.map(Connected::Http1)
        }
    })
    .await
    .unwrap_or(Err(Failure::Timeout));
    upstream.dialled(server, connected.is_ok());
    connected
}

/// Connect to a server for a tunnel: bytes, without ALPN.
pub(super) async fn open(
    upstream: &Upstream,
    (server, count): (usize, &Arc<Count>),
    client: Option<&Ends>,
) -> Result<Stream, Failure> {
    let peer = &upstream.servers[server].opaque;
    let opened = match naming(upstream, client) {
        None => upstream.connector.new_stream(peer).await,
        named => {
            let mut peer = peer.clone();
            peer.0.options.custom_l4 = named;
            upstream.connector.new_stream(&peer).await
        }
    };
    upstream.dialled(server, opened.is_ok());
    let stream = opened?;
    let life = Life::begin(count, Lot::Alone, clock::now(), &upstream.pool);
    Ok(Stream::new(stream, life))
}

/// What names the client to the server, where servers are told.
fn naming(upstream: &Upstream, client: Option<&Ends>) -> Option<Arc<dyn L4Connect + Send + Sync>> {
    let version = upstream.proxy_protocol?;
    client.map(|client| proxy_header::first(version, Some(client)))
}

/// Whether HTTP/2 is spoken on a connection: prior knowledge in clear text
/// (RFC 9113, section 3.3), the choice of ALPN over TLS (section 3.2).
fn speaks_http2(upstream: &Upstream, stream: &Dialled) -> Result<bool, Failure> {
    let chosen = stream.selected_alpn_proto();
    match upstream.http {
        UpstreamHttp::H1 => Ok(false),
        UpstreamHttp::Auto => Ok(matches!(chosen, Some(ALPN::H2))),
        UpstreamHttp::H2 if !upstream.tls || matches!(chosen, Some(ALPN::H2)) => Ok(true),
        UpstreamHttp::H2 => Err(Failure::reason("it does not offer HTTP/2 (ALPN)")),
    }
}

async fn handshake(stream: Stream) -> Result<Held, Failure> {
    let life = Arc::clone(stream.life());
    let (sender, connection) = http1::Builder::new()
        .max_header_size(HEAD_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::reason(error.to_string()))?;
    tokio::spawn(async move {
        // Whoever has an exchange on it is told by the sender; this is for
        // those who read traces.
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "HTTP/1.1 connection to a server ended");
        }
    });
    Ok(Held::new(sender, life))
}
