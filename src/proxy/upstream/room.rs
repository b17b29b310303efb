//! How much room an upstream has for exchanges.
//!
//! Purpose: its limits, put in force over its seats (see the registry), and which
//! exchanges take up a connection that others may need.
//!
//! Invariant: limits hold from the moment on at which their config does. A reload
//! keeps the seats, so that those who are in flight count, and those who wait go on
//! waiting.
//!
//! Deliberately absent: who sits there, and in which order.

use super::Upstream;
use crate::config::UpstreamHttp;
use crate::drain::Protocol;
use crate::proxy::registry::{SeatLimits, Seats};
use std::sync::Arc;

impl Upstream {
    /// Put its limits in force, in a process that may have so many connections of
    /// clients, 0 being any number; `alone` if there is no other upstream.
    pub fn set_limits(&self, connections: usize, alone: bool) {
        let limits = &self.limits;
        self.seats.set(&SeatLimits {
            requests: limits.requests,
            share: limits.share_of(connections, alone),
            queue: limits.queue,
            queue_time: limits.queue_time,
            adaptive: self.adaptive.clone(),
        });
    }

    /// The seats that exchanges take up here.
    #[must_use]
    pub fn seats(&self) -> &Arc<Seats> {
        &self.seats
    }

    /// Whether an exchange on a connection of this protocol takes up a connection
    /// of the process: its client's, unless that carries others beside it, or one
    /// to a server.
    #[must_use]
    pub fn takes_connection(&self, client: Option<Protocol>) -> bool {
        let shares = match self.http {
            UpstreamHttp::H1 => false,
            UpstreamHttp::H2 => true,
            UpstreamHttp::Auto => self.tls,
        };
        client != Some(Protocol::Http2) || !shares || self.names_clients()
    }
}
