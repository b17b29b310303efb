//! The PROXY header of a connection, taken off its socket.
//!
//! The bytes are looked at where the kernel holds them, and those of the header
//! are taken out, no more: whatever follows in the same segment is there for
//! TLS, HTTP or the tunnel as if no header had been.
//!
//! Invariant: a header is awaited like every half-open kind, within a limit and
//! under the drain's orders. A connection without a good one is served nothing,
//! whatever else it sends, and ends with FIN; it is counted by its flaw and
//! logged with the balancer's address, so many in a second.
//!
//! Deliberately absent: the form of a header (see `proxy_header`).

use super::proxy_header::{Flaw, Header, Refused, Said};
use super::{Act, Ended, LINGER, first_byte, part};
use crate::clock;
use crate::proxy::connection::{bounded, unread};
use crate::proxy::registry::{ConnectionGuard, HeaderFlaw, Limit, State};
use crate::proxy::request::Site;
use crate::telemetry::Burst;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// Connections without a good header that are logged in a second.
static REFUSED: Burst = Burst::of(10);

/// Bytes that are looked at in one turn; a header without extensions fits.
const LOOK: usize = 256;

/// Take the header off the socket, and note whom it names.
pub(super) async fn receive(
    site: &Site,
    guard: &ConnectionGuard,
    socket: TcpStream,
) -> Result<TcpStream, Ended> {
    first_byte(site, guard, &socket).await?;
    let mut header = Header::default();
    let refused = loop {
        match bounded(guard, site.listener(), more(&socket, &mut header)).await {
            Ok(Ok(Some(Ok(said)))) => {
                if let Said::Ends(ends) = said {
                    guard.client.set_proxied(ends);
                }
                // Of its own the client has sent nothing yet.
                guard.enter(State::Accepted);
                return Ok(socket);
            }
            Ok(Ok(None)) => guard.enter(State::ProxyHeader),
            Ok(Ok(Some(Err(refused)))) => break refused,
            Ok(Err(error)) => {
                if header.seen() > 0 {
                    refuse(guard, HeaderFlaw::Incomplete, &error);
                }
                return Err(error.into());
            }
            // As of a first byte: what came in time is heard.
            Err(Act::Farewell | Act::Close(_)) if unread(&socket) => tokio::task::yield_now().await,
            Err(act) => {
                if matches!(act, Act::Close(_)) && header.seen() > 0 {
                    refuse(guard, HeaderFlaw::Incomplete, &"its time was over");
                }
                return Err(act.into());
            }
        }
    };
    let flaw = match refused.flaw {
        Flaw::Missing => HeaderFlaw::Missing,
        Flaw::Malformed => HeaderFlaw::Malformed,
        Flaw::Overlong => {
            guard.scope().limited(Limit::ProxyHeader);
            HeaderFlaw::Overlong
        }
    };
    refuse(guard, flaw, &refused);
    // What it sends further must not answer the FIN with a reset.
    part(site, guard, socket, LINGER).await;
    Err(Act::Close(None).into())
}

/// Wait for bytes of the header; `None` if it is not whole with them.
async fn more(
    socket: &TcpStream,
    header: &mut Header,
) -> io::Result<Option<Result<Said, Refused>>> {
    poll_fn(|cx| {
        loop {
            let mut room = [0; LOOK];
            let mut ahead = ReadBuf::new(&mut room);
            if ready!(socket.poll_peek(cx, &mut ahead))? == 0 {
                let ended = "it ended within its PROXY header";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, ended)));
            }
            let belong = header.clone().take(ahead.filled()).bytes;
            // Taken out as far as they were judged to belong: a read may give
            // fewer than were seen, and must not give more.
            match socket.try_read(&mut room[..belong]) {
                Ok(read) => return Poll::Ready(Ok(header.take(&room[..read]).said)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    })
    .await
}

fn refuse(guard: &ConnectionGuard, flaw: HeaderFlaw, why: &dyn fmt::Display) {
    guard.scope().header_refused(flaw);
    if let Some(held_back) = REFUSED.pass(clock::now()) {
        tracing::warn!(
            event = "proxy_header",
            connection = guard.id,
            listener = %guard.listener(),
            balancer = %guard.client.socket(),
            flaw = flaw.as_str(),
            %why,
            held_back,
            "a connection without a good PROXY header is ended"
        );
    }
}
