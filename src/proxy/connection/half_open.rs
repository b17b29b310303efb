//! Bounding what cannot carry a request yet.
//!
//! Every wait between the accept and the first request (first byte, TLS
//! handshake, HTTP/2 preface) goes through [`bounded`]: it ends by itself, at
//! its limit, or when a drain says so, counted from the accept. Half a
//! handshake must never hold an exit, as it does where only whole connections
//! are tracked.

use super::pace::{self, Act, Alarm, View};
use crate::config::Listener;
use crate::proxy::registry::{ConnectionGuard, Heard};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Wait for `step`, or for what ends the half-open connection before it.
pub(in crate::proxy) async fn bounded<T>(
    guard: &ConnectionGuard,
    listener: &Listener,
    step: impl Future<Output = T>,
) -> Result<T, Act> {
    let mut step = pin!(step);
    let mut alarm = Alarm::default();
    let scope = guard.scope();
    let mut heard = Heard::from(scope);
    poll_fn(|cx| {
        // Enlisted before the orders are read, or new ones go unnoticed.
        guard.waker.register(cx.waker());
        if let Poll::Ready(value) = step.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        let view = View::of(guard, false, None);
        let due = pace::half_open(&view, listener, heard.refresh(scope));
        match alarm.poll(cx, due) {
            Some(act) => Poll::Ready(Err(act)),
            None => Poll::Pending,
        }
    })
    .await
}
