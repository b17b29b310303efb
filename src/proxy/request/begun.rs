//! Awaiting the answer to a stream's request.
//!
//! Three may come first: the client's reset, the deadline, and interim answers,
//! which are passed on as they come.
//!
//! Invariant: a request that was taken back as soon as it was sent is not sent
//! anywhere.
//!
//! Deliberately absent: what becomes of the answer.

use super::answer;
use super::forward::Forwarded;
use super::interim::Interims;
use crate::clock;
use crate::proxy::error::Result;
use crate::proxy::registry::RequestGuard;
use bytes::Bytes;
use h2::server::SendResponse;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

/// A request that lived shorter was taken back at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Await the response's head; `None` if the client left first.
pub(super) async fn begin(
    exchange: &RequestGuard,
    respond: &mut SendResponse<Bytes>,
    interims: Option<&Interims>,
    mut forwarding: Pin<&mut impl Future<Output = Result<Forwarded>>>,
) -> Option<Result<Forwarded>> {
    let mut due = pin!(exchange.due());
    let begun = poll_fn(|cx| {
        // First: a request that was taken back as soon as it was sent, as in a
        // flood of them, goes to no server.
        if respond.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        let forwarded = forwarding.as_mut().poll(cx);
        for interim in interims.into_iter().flat_map(Interims::take) {
            // A client that is gone hears nothing.
            let _ = respond.send_informational(interim);
        }
        if let Poll::Ready(forwarded) = forwarded {
            return Poll::Ready(Some(forwarded));
        }
        let late = |()| Some(Err(answer::unanswered(exchange)));
        due.as_mut().poll(cx).map(late)
    })
    .await;
    if begun.is_none() {
        taken_back(exchange);
    }
    begun
}

/// The client left before its answer; at once, as attackers do, or after a
/// wait, as clients with a deadline do.
fn taken_back(exchange: &RequestGuard) {
    let waited = clock::now().saturating_since(exchange.began());
    if waited < AT_ONCE {
        exchange.record().take_back();
    }
}
