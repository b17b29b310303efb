//! Whether a request that failed is sent once more, and after which pause.
//!
//! Purpose: the decision alone, over what the route's policy says, what this try
//! came to, and what the request has left: retries, its body, time.
//!
//! Invariant: what a server may have processed is sent again only by methods that
//! may be processed twice. A budget is asked last, and pays for nothing that does
//! not happen. A pause is never longer than the policy allows, and never so long
//! that nothing would be left of the exchange's time.
//!
//! Deliberately absent: doing it (see `retried`), and a client that has been told
//! something already: who calls has passed on nothing.

use crate::config::Retry;
use crate::proxy::upstream::{Forgone, Retried};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use std::time::{Duration, SystemTime};

/// How long a gRPC server wants its clients to wait (gRFC A6, "Pushback").
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// A pause that nobody takes.
const NEVER: Duration = Duration::MAX;

/// A wait that a server asks for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Wait {
    /// Before it is asked again itself.
    There(Duration),
    /// Before anybody is: it is the client that asks too much, or a server
    /// speaks for all.
    Anywhere(Duration),
}

impl Wait {
    /// What an answer says of it, at this time since the epoch.
    pub(super) fn of(status: StatusCode, fields: &HeaderMap, now: Duration) -> Option<Self> {
        if let Some(field) = fields.get(PUSHBACK) {
            // Anything that is no number says: not at all.
            let millis = field.to_str().ok().and_then(|text| text.parse().ok());
            return Some(Self::Anywhere(millis.map_or(NEVER, Duration::from_millis)));
        }
        let text = fields.get(RETRY_AFTER)?.to_str().ok()?;
        let wait = after(text, now)?;
        Some(if status == StatusCode::TOO_MANY_REQUESTS {
            Self::Anywhere(wait)
        } else {
            Self::There(wait)
        })
    }
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn after(text: &str, now: Duration) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(NEVER, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    // What is past is now.
    Some(since.saturating_sub(now))
}

/// What a try came to.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Happened {
    /// Nothing of it was processed.
    Unprocessed,
    /// It was broken off without an answer.
    BrokenOff,
    /// The answer did not begin in time.
    Late,
    /// It was answered so.
    Answered(StatusCode, Option<Wait>),
    /// It was answered by this status of gRPC, and nothing else.
    Grpc(u16, Option<Wait>),
}

/// What a request has left.
#[derive(Copy, Clone, Debug)]
pub(super) struct Left {
    /// How often it was sent again.
    pub(super) used: u32,
    /// Whether its body, if it has one, is at hand from its beginning.
    pub(super) body: bool,
    /// Whether there is a server that it was not sent to.
    pub(super) server: bool,
    /// Whether its upstream has not more in flight than it may have.
    pub(super) room: bool,
    /// Until it is over; `None` if that is open.
    pub(super) time: Option<Duration>,
}

/// What is to be done.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Nothing failed that is to be tried again: pass it on.
    Settled,
    /// Send it again after this pause.
    Again(Duration, Retried),
    /// Pass on what there is, for this reason.
    Enough(Forgone),
}

/// Whether a second request goes out beside the first.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Hedge {
    /// It does.
    Send,
    /// It does not: it would gain nothing, or may not be.
    Wait,
    /// It would, but there were too many already.
    Forgone,
}

/// The rules of one request.
#[derive(Copy, Clone, Debug)]
pub(super) struct Rules<'a> {
    pub(super) policy: &'a Retry,
    /// How often it may be sent again.
    pub(super) most: u32,
    /// Whether it may be processed twice.
    pub(super) twice: bool,
    /// Whether it may be processed twice at the same time.
    pub(super) beside: bool,
}

impl<'a> Rules<'a> {
    /// For a request of this method.
    pub(super) fn of(policy: &'a Retry, most: u32, method: &Method) -> Self {
        let twice = method.is_idempotent() || policy.methods.contains(method);
        Self {
            policy,
            most,
            twice,
            beside: false,
        }
    }

    /// The same with what may be hedged: a safe method (RFC 9110, section 9.2.1)
    /// without a body, or a call whose method the route names. To be idempotent is
    /// not enough: two requests that write come in any order.
    pub(super) fn hedging(mut self, method: &Method, body: bool, grpc: bool) -> Self {
        let safe = method.is_safe() && !body;
        let named = grpc && self.policy.methods.contains(method);
        self.beside = !self.policy.hedge.is_zero() && (safe || named);
        self
    }

    /// Whether a request that was not answered for a while goes to another server
    /// as well; its body is at hand only if it has come to its end. `spend` takes
    /// one retry of the budget, if there is one.
    pub(super) fn hedge(&self, left: &Left, spend: impl FnOnce() -> bool) -> Hedge {
        let over = left.time.is_some_and(|time| time.is_zero());
        let may = left.used < self.most && left.body && left.server && left.room;
        if !self.beside || !may || over {
            return Hedge::Wait;
        }
        if spend() { Hedge::Send } else { Hedge::Forgone }
    }

    /// Whether what happened is to be passed on, also while another try is under
    /// way.
    pub(super) fn settles(&self, happened: Happened) -> bool {
        match happened {
            Happened::Unprocessed | Happened::BrokenOff | Happened::Late => false,
            Happened::Answered(status, _) => !self.policy.status.contains(&status.as_u16()),
            Happened::Grpc(status, _) => !self.policy.grpc.contains(&status),
        }
    }

    /// Judge what happened. `draw` is random, from 0 to 1; `spend` takes one
    /// retry of the budget, if there is one.
    pub(super) fn judge(
        &self,
        happened: Happened,
        left: &Left,
        draw: f64,
        spend: impl FnOnce() -> bool,
    ) -> Verdict {
        let policy = self.policy;
        let (reason, wait) = match happened {
            Happened::Unprocessed => (Retried::Unprocessed, None),
            Happened::BrokenOff => (Retried::BrokenOff, None),
            Happened::Late => (Retried::Timeout, None),
            Happened::Answered(status, wait) if policy.status.contains(&status.as_u16()) => {
                (Retried::Answer, wait)
            }
            Happened::Grpc(status, wait) if policy.grpc.contains(&status) => {
                (Retried::Answer, wait)
            }
            Happened::Answered(..) | Happened::Grpc(..) => return Verdict::Settled,
        };
        let harmless = reason == Retried::Unprocessed;
        if !harmless && !self.twice {
            return Verdict::Enough(Forgone::Method);
        }
        if left.used >= self.most {
            return Verdict::Enough(Forgone::Tries);
        }
        if !left.room {
            return Verdict::Enough(Forgone::Room);
        }
        if !left.body {
            return Verdict::Enough(Forgone::Body);
        }
        let asked = match wait {
            Some(Wait::Anywhere(wait)) => wait,
            Some(Wait::There(wait)) if !left.server => wait,
            _ => Duration::ZERO,
        };
        let pause = if harmless && left.server {
            Duration::ZERO
        } else {
            self.backoff(left.used, draw).max(asked)
        };
        let over = left.time.is_some_and(|time| pause >= time);
        if over || asked > policy.longest {
            return Verdict::Enough(Forgone::Time);
        }
        if harmless || spend() {
            Verdict::Again(pause, reason)
        } else {
            Verdict::Enough(Forgone::Budget)
        }
    }

    /// Anything up to what doubles with each: requests that failed together do
    /// not come back together.
    fn backoff(&self, used: u32, draw: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(used);
        let most = self.policy.backoff.saturating_mul(doubled);
        most.min(self.policy.longest).mul_f64(draw.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests;
