//! The connection loops: one per protocol, each with the same duties.
//!
//! A loop serves what comes, keeps the connection's record truthful, obeys
//! the orders of its scope and ends with its socket closed. *When* something
//! is due is decided in [`pace`], without sockets; the loops carry it out.
//!
//! Deliberately absent: what a request means. That is `request`'s.

mod age;
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

use super::registry::{ConnectionGuard, RequestGuard};
use super::request::{Sites, TcpExchange};
use super::upstream::{Pool, Whose};
use crate::clock;
use crate::drain::{Farewell, Outcome, Protocol};
use crate::telemetry::Burst;
use bytes::Bytes;
use futures_util::future::select;
use std::pin::pin;
use std::sync::Arc;
use tunnel::Early;

/// Tunnels without a server that are logged in a second.
static REFUSED: Burst = Burst::of(10);

/// What the handshake found out: who speaks what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Spoken {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Bytes that are nobody's business, for the server of this name, if they
    /// ask for one.
    Tcp(Option<Box<str>>),
}

/// Serve a connection whose handshake is done until it is over.
pub(super) async fn serve(sites: Arc<Sites>, guard: ConnectionGuard, edge: Edge, spoken: Spoken) {
    let guard = Arc::new(guard);
    let outlived = age::outlived(sites.look().listener(), &guard);
    let record = Arc::clone(guard.record());
    let serving = pin!(async move {
        match spoken {
            Spoken::Http1 => {
                guard.set_protocol(Protocol::Http1);
                http1::serve(sites, guard, edge).await;
            }
            Spoken::Http2 => {
                guard.set_protocol(Protocol::Http2);
                http2::serve(sites, guard, edge).await;
            }
            Spoken::Tcp(name) => {
                guard.set_protocol(Protocol::Tcp);
                tcp(&sites, &guard, edge, name.as_deref()).await;
            }
        }
    });
    match outlived {
        None => serving.await,
        Some(at) => {
            // Boxed: rare, and every connection would have to have room for it.
            let aging = Box::pin(age::watch(record, at));
            select(serving, aging).await;
        }
    }
}

/// A TCP listener's connection: dial, then pass bytes.
async fn tcp(sites: &Sites, guard: &ConnectionGuard, mut edge: Edge, name: Option<&str>) {
    let begun = sites.look().begin_tcp(guard, name);
    let Some(TcpExchange { mut exchange, pool }) = begun else {
        // A reload took its route away a moment ago.
        return edge.close().await;
    };
    let server = tokio::select! {
        server = dial(&pool, &exchange) => server,
        () = exchange.due() => {
            exchange.conclude(Outcome::Farewelled(Farewell::HalfClose));
            return edge.close().await;
        }
    };
    // A tunnel may outlive what a reload replaces.
    drop(pool);
    match server {
        Ok(server) => {
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

/// A connection to a server that the exchange has boarded.
async fn dial(pool: &Pool, exchange: &RequestGuard) -> super::Result<super::upstream::Stream> {
    let row = pool.row();
    // A tunnel has a connection on either side.
    if !exchange.take_seat(row, true)? {
        exchange.wait_for_seat(row, true).await?;
    }
    let client = &exchange.record().client;
    let mut search = pool.upstream().search_of_client(client.address().ip());
    let client = client.ends();
    loop {
        let whose = Whose::noted(client.as_ref(), exchange.notes().map(|notes| &**notes));
        let (stream, server) = pool.dial(whose, &mut search).await?;
        if exchange.board(pool.mooring(server)) {
            if let Some(notes) = exchange.notes() {
                notes.asks(pool.upstream().server(server), None);
            }
            return Ok(stream);
        }
        // It was shut while it was dialled.
        search.mark(server);
    }
}
