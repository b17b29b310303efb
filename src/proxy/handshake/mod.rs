//! From an accepted socket to a connection that can carry a request.
//!
//! The PROXY header first, where the listener expects one of its peer; then TLS,
//! where the listener has it, with the protocol agreed by ALPN; on clear text
//! HTTP/2 with prior knowledge is told from HTTP/1 by its first bytes (RFC 9113,
//! section 3.3), and TLS that a server is to end is looked at for the name that
//! it asks for. Each wait is bounded and tracked under its
//! own name, and each has its own farewell: a FIN before the first byte or in
//! the middle of a preface, an alert in the middle of a TLS handshake.

mod flaw;
mod hello;
mod identity;
mod named;
mod proxied;
mod proxy_header;
mod shake;
mod tls;
mod traced;

pub(super) use tls::server_config;

use super::connection::{Act, Edge, PREFACE, Spoken, Transport, bounded, serve, unread};
use super::registry::{ConnectionGuard, HandshakeFlaw, Limit, State};
use super::request::{Site, Sites};
use crate::config::Serves;
use crate::drain::{Farewell, Outcome};
use crate::proxy::trickle::Least;
use bytes::{Bytes, BytesMut};
use rustls::ServerConfig;
use shake::Shaking;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use traced::Recording;

/// How long an alert is guarded from a reset.
const LINGER: Duration = Duration::from_secs(1);

/// Room for a first request, so that the usual one needs no second read.
const FIRST_READ: usize = 2048;

/// The handshake did not come to its end.
enum Ended {
    /// The peer left, or said what cannot be understood.
    Broken(io::Error),
    /// The connection's time was over.
    Due(Act),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Act> for Ended {
    fn from(act: Act) -> Self {
        Self::Due(act)
    }
}

/// Take a connection from its accept to its end.
pub(super) async fn run(sites: Arc<Sites>, guard: ConnectionGuard, socket: TcpStream) {
    match open(&sites.now(), &guard, socket).await {
        Ok((edge, spoken)) => serve(sites, guard, edge, spoken).await,
        Err(Ended::Due(Act::Farewell)) => {
            guard.conclude(Outcome::Farewelled(Farewell::Fin));
        }
        Err(Ended::Due(act)) => act.count(guard.scope()),
        Err(Ended::Broken(error)) => {
            tracing::debug!(connection = guard.id, peer = %guard.client.socket(), %error, "handshake failed");
        }
    }
}

async fn open(
    site: &Site,
    guard: &ConnectionGuard,
    mut socket: TcpStream,
) -> Result<(Edge, Spoken), Ended> {
    if let Ok(local) = socket.local_addr() {
        guard.client.set_local(local);
    }
    let peer = guard.client.socket().ip();
    if site.listener().proxy_protocol.expected_from(peer) {
        socket = Box::pin(proxied::receive(site, guard, socket)).await?;
    }
    if !guard.admit(site.listener().limits.per_client) {
        part(site, guard, socket, Duration::ZERO).await;
        return Err(Act::Close(Some(Limit::PerClient)).into());
    }
    match site.tls() {
        Some(config) => open_tls(site, guard, socket, Arc::clone(config)).await,
        None => open_plain(site, guard, socket).await,
    }
}

fn edge(site: &Site, guard: &ConnectionGuard, transport: Transport, early: Bytes) -> Edge {
    let patience = Least::to_take(&site.listener().limits);
    Edge::new(transport, early, Arc::clone(guard.record()), patience)
}

async fn open_plain(
    site: &Site,
    guard: &ConnectionGuard,
    mut socket: TcpStream,
) -> Result<(Edge, Spoken), Ended> {
    let (spoken, early) = match site.listener().serves {
        Serves::Tcp { .. } if site.listener().serves.by_name() => {
            let found = Box::pin(named::ask(site, guard, socket)).await?;
            let transport = Transport::Plain(found.socket);
            let spoken = Spoken::Tcp(found.name);
            return Ok((edge(site, guard, transport, found.early), spoken));
        }
        // A server may speak first, so nothing is awaited from the client.
        Serves::Tcp { .. } => (Spoken::Tcp(None), Bytes::new()),
        Serves::Http { .. } => sniff(site, guard, &mut socket).await?,
    };
    Ok((edge(site, guard, Transport::Plain(socket), early), spoken))
}

/// Wait until there is something to read, were it the end.
async fn first_byte(site: &Site, guard: &ConnectionGuard, socket: &TcpStream) -> Result<(), Ended> {
    loop {
        // Looked at, since readiness is but a hint: of a new socket it is
        // given before anything has come.
        let mut byte = [0];
        match bounded(guard, site.listener(), socket.peek(&mut byte)).await {
            Ok(seen) => return Ok(seen.map(drop)?),
            // The runtime learns of bytes a turn later than the kernel. What
            // came in time is heard, as far as this side can tell.
            Err(Act::Farewell | Act::Close(_)) if unread(socket) => tokio::task::yield_now().await,
            Err(act) => return Err(act.into()),
        }
    }
}

/// Read until the bytes cannot or must be the HTTP/2 preface.
async fn sniff(
    site: &Site,
    guard: &ConnectionGuard,
    socket: &mut TcpStream,
) -> Result<(Spoken, Bytes), Ended> {
    // Before the first byte there is no buffer: such connections are many.
    first_byte(site, guard, socket).await?;
    let mut early = BytesMut::with_capacity(FIRST_READ);
    loop {
        let read = bounded(guard, site.listener(), socket.read_buf(&mut early)).await??;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if early.starts_with(PREFACE) {
            return Ok((Spoken::Http2, early.freeze()));
        }
        if !PREFACE.starts_with(&early) {
            return Ok((Spoken::Http1, early.freeze()));
        }
        guard.enter(State::Preface);
    }
}

async fn open_tls(
    site: &Site,
    guard: &ConnectionGuard,
    socket: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<(Edge, Spoken), Ended> {
    first_byte(site, guard, &socket).await?;
    guard.enter(State::TlsHandshake);
    let recording = Recording::begin(site);
    let shaken = Box::pin(shake_hands(site, guard, socket, config)).await;
    if let Some(recording) = recording {
        recording.end(guard, &shaken);
    }
    let tls = shaken?;
    if let Some([shown, ..]) = tls.get_ref().1.peer_certificates() {
        guard.client.set_certificate(identity::of(shown));
    }
    let spoken = match site.listener().serves {
        Serves::Tcp { .. } => Spoken::Tcp(None),
        Serves::Http { .. } if tls.get_ref().1.alpn_protocol() == Some(b"h2") => Spoken::Http2,
        Serves::Http { .. } => {
            // The handshake is behind: it can carry a request.
            guard.enter(State::Idle);
            Spoken::Http1
        }
    };
    let transport = Transport::Tls(Box::new(tls));
    Ok((edge(site, guard, transport, Bytes::new()), spoken))
}

async fn shake_hands(
    site: &Site,
    guard: &ConnectionGuard,
    socket: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<TlsStream<TcpStream>, Ended> {
    let mut shaking = Shaking::new(socket);
    let shaken = shake_in_turn(site, guard, &mut shaking, &config).await;
    match shaken {
        Ok(Ok(())) => Ok(shaking.into_stream(config).await?),
        Ok(Err(error)) => {
            guard.scope().handshake_failed(flaw::of(&error));
            if flaw::is_overlong_in(&error) {
                guard.scope().limited(Limit::Hello);
            }
            // The alert that says why must not be destroyed by a reset, and
            // who spoke no TLS may have more to say.
            if error.kind() == io::ErrorKind::InvalidData {
                part(site, guard, shaking.into_socket(), LINGER).await;
            }
            Err(error.into())
        }
        Err(Act::Cut) => Err(Act::Cut.into()),
        Err(act) => {
            shaking.call_off();
            match act {
                Act::Farewell => guard.conclude(Outcome::Farewelled(Farewell::TlsAlert)),
                Act::Close(Some(Limit::HandshakeTime)) => {
                    guard.scope().handshake_failed(HandshakeFlaw::Timeout);
                }
                // Not the client's fault, and counted as that limit's.
                _ => {}
            }
            part(site, guard, shaking.into_socket(), Duration::ZERO).await;
            Err(act.told().into())
        }
    }
}

/// Wait for its turn, and shake hands: both within the handshake's time.
async fn shake_in_turn(
    site: &Site,
    guard: &ConnectionGuard,
    shaking: &mut Shaking,
    config: &Arc<ServerConfig>,
) -> Result<io::Result<()>, Act> {
    let listener = site.listener();
    // Half of its time is for the handshake itself.
    let turn = guard.handshake_turn(&listener.limits, listener.limits.head_time / 2);
    let wait = turn.map_err(|limit| Act::Close(Some(limit)))?;
    let shake = async {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        shaking.finish(config).await
    };
    bounded(guard, listener, shake).await
}

/// Close once the peer has what it was sent.
async fn part(site: &Site, guard: &ConnectionGuard, socket: TcpStream, settle: Duration) {
    let mut edge = edge(site, guard, Transport::Plain(socket), Bytes::new());
    edge.set_linger(settle);
    // A peer that acknowledges nothing is gone: whatever holds, not this.
    let _ = tokio::time::timeout(LINGER, edge.close()).await;
}
