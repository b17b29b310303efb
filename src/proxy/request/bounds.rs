//! What a request's body may be: how large, how slow, how long silent; and
//! whether it may become a tunnel.
//!
//! A call of gRPC, in both directions, is a talk: it may last for days, be
//! silent for hours and carry any number of messages, whose size its server
//! bounds. So of all this only the size that its very route names holds for
//! it. Everything else has the listener's bounds.
//!
//! Invariant: a body that is declared too large, or a tunnel too many, is refused
//! before a server is chosen.

use super::route::{Route, Site};
use crate::drain::Protocol;
use crate::proxy::body::Bounds;
use crate::proxy::registry::RequestGuard;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use std::sync::Arc;
use std::time::Duration;

/// How large a body may be; 0 is no limit.
fn most(site: &Site, route: &Route, protocol: Protocol) -> u64 {
    route.rule.body.unwrap_or(match protocol {
        Protocol::Grpc => 0,
        _ => site.listener().limits.body,
    })
}

/// Whether the head declares a body beyond its limit.
pub(super) fn is_too_large(parts: &Parts, site: &Site, route: &Route, protocol: Protocol) -> bool {
    let Some(declared) = parts.headers.get(CONTENT_LENGTH) else {
        return false;
    };
    let most = most(site, route, protocol);
    let declared = declared.to_str().ok().and_then(|text| text.parse().ok());
    most > 0 && declared.is_some_and(|declared: u64| declared > most)
}

/// What a client is told whose WebSocket would be a tunnel too many.
pub(super) const NO_ROOM: &str = "too many tunnels are open; try again later";

/// Whether an exchange would become a tunnel beyond their limit. One within it is
/// counted from now on.
pub(super) fn is_one_too_many(exchange: &mut RequestGuard, site: &Site) -> bool {
    let most = site.listener().limits.per_client;
    exchange.protocol() == Protocol::WebSocket && exchange.take_tunnel(most).is_err()
}

/// The bounds on the body of this exchange, if it has any.
pub(super) fn of(site: &Site, route: &Route, exchange: &RequestGuard) -> Option<Bounds> {
    let limits = &site.listener().limits;
    let most = most(site, route, exchange.protocol());
    let (silence, rate) = match exchange.protocol() {
        Protocol::Grpc => (Duration::ZERO, 0),
        _ => (limits.body_idle, limits.body_rate),
    };
    let bounded = most > 0 || !silence.is_zero();
    bounded.then(|| Bounds {
        silence,
        rate,
        most,
        record: Arc::clone(exchange.record()),
    })
}
