//! Room for an exchange at its upstream, before a server is chosen.
//!
//! Purpose: what may go on goes on at once; what has to wait does so in a future
//! of its own, since hardly any does.
//!
//! Invariant: an exchange that was given room keeps it to its end, also when it is
//! sent again.
//!
//! Deliberately absent: deadlines. Who drops the future leaves the line.

use super::route::Route;
use crate::drain::Protocol;
use crate::proxy::error::{Error, Result};
use crate::proxy::registry::{Full, RequestGuard, Seat};
use http::{HeaderName, HeaderValue};
use std::pin::Pin;

/// Who says why an answer is what it is (RFC 9209, section 2).
pub(super) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The wait for room.
type Waiting<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Take up room for an exchange; a wait, if there is none now.
///
/// # Errors
/// [`Error::Full`] if it is not to wait.
pub(super) fn take<'a>(
    route: &'a Route,
    exchange: &'a RequestGuard,
) -> Result<Option<Waiting<'a>>> {
    let client = exchange.record().protocol();
    let holds = route.pool.upstream().takes_connection(client);
    let row = route.pool.row();
    if exchange.take_seat(row, holds)? {
        return Ok(None);
    }
    Ok(Some(Box::pin(exchange.wait_for_seat(row, holds))))
}

/// Room for a second request beside the first, if nobody needs it. Its client has a
/// connection already.
pub(super) fn spare(route: &Route) -> Option<Seat> {
    let holds = route
        .pool
        .upstream()
        .takes_connection(Some(Protocol::Http2));
    route.pool.row().spare(holds)
}

/// What a client is told for whom there was none.
pub(super) const fn says(why: Full) -> &'static str {
    match why {
        Full::Share => "too much is in flight to this upstream; try again on another connection",
        Full::Requests => "as much is in flight to this upstream as may be; try again",
        Full::Queue => "too many wait for this upstream already; try again",
        Full::QueueTime => "no room came free at this upstream in time; try again",
    }
}

/// The same for programs: RFC 9209, section 2.3.12, and the limit's name.
pub(super) const fn status(why: Full) -> HeaderValue {
    HeaderValue::from_static(match why {
        Full::Share => "ebbtide; error=connection_limit_reached; details=\"share\"",
        Full::Requests => "ebbtide; error=connection_limit_reached; details=\"requests\"",
        Full::Queue => "ebbtide; error=connection_limit_reached; details=\"queue\"",
        Full::QueueTime => "ebbtide; error=connection_limit_reached; details=\"queue_time\"",
    })
}

/// Whether the connections of the process are what there were too few of.
pub(super) const fn lacks_connections(error: &Error) -> bool {
    matches!(
        error,
        Error::Full {
            why: Full::Share,
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_named_in_the_field() {
        for why in Full::ALL {
            let field = status(why);
            let named = format!("details=\"{}\"", why.as_str());
            let text = field.to_str().expect("text");
            assert!(text.ends_with(&named), "{text}");
        }
    }
}
