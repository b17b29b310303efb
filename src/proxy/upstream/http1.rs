//! An HTTP/1.1 connection, leased to one exchange.
//!
//! Purpose: send one request and give the connection back.
//!
//! Invariant: a connection goes back only by [`Http1Lease::keep`]; whatever
//! else happens to a lease closes it, so that no answer can ever reach the
//! wrong exchange. A request of which nothing was sent comes back in the
//! error and may be sent again, whatever its method (RFC 9110, section
//! 9.2.2, forbids that only once the server may have seen it).
//!
//! Deliberately absent: the decision to send again.

use super::idle::Held;
use super::pool::Pool;
use crate::proxy::Error;
use crate::proxy::body::Body;
use futures_util::TryFutureExt as _;
use http::{Request, Response};
use hyper::body::Incoming;
use std::sync::Arc;

/// A connection that carries one exchange at a time.
pub struct Http1Lease {
    pub(super) pool: Arc<Pool>,
    pub(super) held: Held,
    pub(super) server: u32,
    pub(super) generation: u32,
    pub(super) reused: bool,
}

/// A request that got no response.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct SendError {
    /// What happened.
    pub error: Error,
    /// The request, if provably nothing of it was sent.
    pub request: Option<Box<Request<Body>>>,
}

impl Http1Lease {
    /// Whether the connection has carried an exchange before this one, so
    /// that the server may have closed it in the meantime.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Send a request and wait for the head of its final response.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`SendError`]: no response came. It has the request back if the
    /// connection had ended before anything of it was written.
    pub fn send(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + use<> {
        let sent = self.held.sender.try_send_request(request);
        sent.map_err(|mut failed| SendError {
            request: failed.take_message().map(Box::new),
            error: Error::Http1(failed.into_error()),
        })
    }

    /// Give the connection back for another exchange. To be called only when
    /// the response was read to its end and the request was wholly sent;
    /// dropping the lease instead closes the connection.
    pub fn keep(self) {
        self.pool.rest(self.server, self.generation, self.held);
    }

    pub(super) fn server(&self) -> usize {
        self.server as usize
    }
}
