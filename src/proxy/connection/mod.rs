//! The connection loops: one per protocol, each with the same duties.
//!
//! A loop serves what comes, keeps the connection's record truthful, obeys
//! the orders of its scope and ends with its socket closed. *When* something
//! is due is decided in [`pace`], without sockets; the loops carry it out.
//!
//! Deliberately absent: what a request means. That is `request`'s.

mod edge;
mod half_open;
mod http1;
mod http2;
mod pace;
mod rhythm;
mod tunnel;
mod websocket;

pub(super) use edge::{Edge, Transport, unread};
pub(super) use half_open::bounded;
pub(super) use http2::PREFACE;
pub(super) use pace::Act;

use super::registry::ConnectionGuard;
use super::request::{Site, Sites, TcpExchange};
use super::upstream::Tried;
use crate::clock;
use crate::drain::{Farewell, Outcome, Protocol};
use crate::telemetry::Burst;
use bytes::Bytes;
use std::sync::Arc;
use tunnel::Early;

/// Tunnels without a server that are logged in a second.
static REFUSED: Burst = Burst::of(10);

/// What the handshake found out: who speaks what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spoken {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Bytes that are nobody's business.
    Tcp,
}

/// Serve a connection whose handshake is done until it is over.
pub(super) async fn serve(sites: Arc<Sites>, guard: ConnectionGuard, edge: Edge, spoken: Spoken) {
    let guard = Arc::new(guard);
    match spoken {
        Spoken::Http1 => {
            guard.set_protocol(Protocol::Http1);
            http1::serve(sites, guard, edge).await;
        }
        Spoken::Http2 => {
            guard.set_protocol(Protocol::Http2);
            http2::serve(sites, guard, edge).await;
        }
        Spoken::Tcp => {
            guard.set_protocol(Protocol::Tcp);
            tcp(&sites.now(), &guard, edge).await;
        }
    }
}

/// A TCP listener's connection: dial, then pass bytes.
async fn tcp(site: &Site, guard: &ConnectionGuard, mut edge: Edge) {
    let TcpExchange { mut exchange, pool } = site.begin_tcp(guard);
    let mut tried = Tried::default();
    let client = guard.client.ends();
    let server = tokio::select! {
        server = pool.dial(client.as_ref(), &mut tried) => server,
        () = guard.due(Protocol::Tcp) => {
            exchange.conclude(Outcome::Farewelled(Farewell::HalfClose));
            return edge.close().await;
        }
    };
    match server {
        Ok((server, index)) => {
            if let Some(notes) = exchange.notes() {
                notes.asks(pool.upstream().server(index));
            }
            edge.set_tunnel();
            let early = Early {
                from_client: Bytes::new(),
                from_server: Bytes::new(),
            };
            tunnel::opaque(exchange, edge, server, early).await;
        }
        Err(error) => {
            if let Some(held_back) = REFUSED.pass(clock::now()) {
                tracing::warn!(connection = guard.id, listener = %guard.listener(), %error, held_back, "tunnel refused");
            }
            edge.close().await;
        }
    }
}
