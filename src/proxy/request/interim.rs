//! The head of a server's answer over HTTP/2, and what is said before it.
//!
//! A server may say any number of interim answers first (RFC 9110, section 15.2),
//! and a proxy has to pass them on: 103 has a browser fetch what a page will need
//! while its server still thinks (RFC 8297). The HTTP/2 engine keeps each until
//! it is taken, without an end to them, so they are taken as they come, whoever
//! the client is.
//!
//! Invariant: of one answer no more than [`MOST`] are heard. 100 is not passed on,
//! as clients that wait for it were told before (see `http2`), and 101 is no answer
//! between frames (RFC 9113, section 8.6).
//!
//! Deliberately absent: clients of HTTP/1, to whom their engine can say no other
//! than 100; and servers of HTTP/1.1, whose engine hands interim answers on to a
//! callback, which would cost every request an allocation.

use super::pump::{End, Pump};
use super::{answered, headers};
use crate::proxy::error::{Error, Result};
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{Response, StatusCode};
use parking_lot::Mutex;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Interim answers before one answer; far more than anybody needs.
const MOST: usize = 16;

/// Interim answers on their way to a client that can hear them.
#[derive(Debug, Default)]
pub(super) struct Interims(Mutex<Vec<Response<()>>>);

impl Interims {
    /// Those that have come since this was last asked.
    pub(super) fn take(&self) -> Vec<Response<()>> {
        std::mem::take(&mut *self.0.lock())
    }

    fn add(&self, interim: Response<()>) -> Result<()> {
        let (mut head, ()) = interim.into_parts();
        answered::check_http2(&head)?;
        headers::response(&mut head.headers, &[]);
        let interim = Response::from_parts(head, ());
        self.0.lock().push(interim);
        Ok(())
    }
}

/// Take what was said before the answer, and pass it on if somebody hears it.
fn hear(
    response: &mut ResponseFuture,
    cx: &mut Context<'_>,
    heard: &mut usize,
    interims: Option<&Interims>,
) -> Result<()> {
    while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
        *heard += 1;
        if *heard > MOST {
            return Err(Error::Malformed("interim answers without an end"));
        }
        match (interim.status(), interims) {
            (StatusCode::SWITCHING_PROTOCOLS, _) => {
                return Err(Error::Malformed("101 between frames"));
            }
            (StatusCode::CONTINUE, _) | (_, None) => {}
            (_, Some(interims)) => interims.add(interim)?,
        }
    }
    Ok(())
}

/// Await the head of a response while the request's body is on its way.
pub(super) async fn answer(
    mut response: ResponseFuture,
    upload: &mut Option<Box<Pump>>,
    interims: Option<&Interims>,
) -> Result<Response<RecvStream>> {
    let mut heard = 0;
    let ended = poll_fn(|cx| {
        if let Some(pump) = upload
            && let Poll::Ready(end) = pump.poll(cx)
        {
            *upload = None;
            if let End::Broken(error) = end {
                return Poll::Ready(Err(error));
            }
        }
        if let Err(error) = hear(&mut response, cx, &mut heard, interims) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut response).poll(cx).map_err(Error::Http2)
    })
    .await;
    if ended.is_err() {
        // Its sender is gone before it may begin again.
        *upload = None;
    }
    ended
}
