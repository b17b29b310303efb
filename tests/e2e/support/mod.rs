//! The harness of the end-to-end tests: the built binary between servers and
//! clients that are the tests' own.
//!
//! The servers do what a request's path asks and tell what they saw; the
//! clients are the plainest that each protocol has, so that a test sees what
//! is on the wire. Nothing here is shared with the demo: what hides a bug
//! there must not hide it here.
//!
//! No test sleeps. It waits for a condition, with a limit ([`within`]).

pub(crate) mod authority;
pub(crate) mod certificate;
pub(crate) mod clients;
pub(crate) mod collector;
pub(crate) mod consul;
pub(crate) mod load;
pub(crate) mod manager;
pub(crate) mod proxy;
pub(crate) mod resolver;
pub(crate) mod seen;
pub(crate) mod servers;
pub(crate) mod stream;

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long anything may take before a test fails; far more than it needs.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Wait for `work`; fail if it takes longer than [`LIMIT`].
#[track_caller]
pub(crate) fn within<T>(what: &str, work: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let done = tokio::time::timeout(LIMIT, work).await;
        done.unwrap_or_else(|_| panic!("{caller}: waited {LIMIT:?} in vain for {what}"))
    }
}

/// A byte stream, encrypted or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A byte stream whose kind does not matter.
pub(crate) type BoxWire = Box<dyn Wire>;
