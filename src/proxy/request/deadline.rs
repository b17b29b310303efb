//! The time that a call has: what its client gave it, and what a drain leaves.
//!
//! A gRPC client may say how long it will wait (`grpc-timeout`). In a drain the
//! server is never promised more than there is: it would work for an answer
//! that nobody is left to pass on. What the client gave is noted with the
//! exchange, which ends then with `DEADLINE_EXCEEDED`, whatever its server does
//! or does not do; and a drain may end hopeless work early.
//!
//! Invariant: a call that a drain ends is told of the drain: where its time was
//! cut down to what that leaves, it is not held to a deadline of its own.

use super::grpc;
use crate::clock;
use crate::drain::Protocol;
use crate::proxy::registry::RequestGuard;
use http::request::Parts;

/// Note a call's own deadline, and cap it by the drain's.
pub(super) fn bound(head: &mut Parts, exchange: &mut RequestGuard) {
    if exchange.protocol() != Protocol::Grpc {
        return;
    }
    let Some(timeout) = grpc::timeout(&head.headers) else {
        return;
    };
    if let Some(ends) = exchange.record().grpc_ends() {
        let left = ends.saturating_since(clock::now());
        if timeout > left {
            grpc::set_timeout(&mut head.headers, left);
            return exchange.gives_up(exchange.began() + left);
        }
    }
    exchange.set_own_deadline(exchange.began() + timeout);
}
