//! What is sent again of what a server may have processed.
//!
//! Purpose: the policy of a route that has one.
//!
//! Invariant: see the module above; the defaults are here.
//!
//! Deliberately absent: how often, and what no server processed: that is sent
//! again by every route that has `retries`.

use http::Method;
use std::time::Duration;

/// Which requests are sent again, when, and at what cost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retry {
    /// The status of an answer in place of which another server is asked.
    pub status: Vec<u16>,
    /// The same by the status of gRPC, where it is all of the answer.
    pub grpc: Vec<u16>,
    /// Methods besides the idempotent ones (RFC 9110, section 9.2.2) whose
    /// requests may be processed twice.
    pub methods: Vec<Method>,
    /// How long a server has to begin its answer once it has the request; zero
    /// is as long as the exchange has.
    pub try_timeout: Duration,
    /// How long a server has to begin its answer before the same request goes to
    /// another one as well; zero is never.
    pub hedge: Duration,
    /// The pause before the first retry, which doubles with each; to be jittered.
    /// Zero is none.
    pub backoff: Duration,
    /// The longest pause, also where a server asks for one.
    pub longest: Duration,
    /// Retries for a hundred requests that came.
    pub budget: u32,
    /// Retries in a second that are there without requests.
    pub least: u32,
    /// Bytes of a request's body that are kept.
    pub buffer: usize,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            status: vec![502, 503, 504],
            grpc: vec![14],
            methods: Vec::new(),
            try_timeout: Duration::ZERO,
            hedge: Duration::ZERO,
            backoff: Duration::from_millis(25),
            longest: Duration::from_secs(1),
            budget: 20,
            least: 3,
            buffer: 64 * 1024,
        }
    }
}
