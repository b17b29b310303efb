//! When a connection must act next, and how: the decisions, without sockets.
//!
//! The loops ask [`http1`] or [`http2`] with a [`View`] of the connection and
//! the orders in force, arm one timer for the answer and carry it out. Limits
//! of everyday life (idle, head) and of a drain are one question here, so
//! that neither can be forgotten in a corner of a loop.
//!
//! Invariant: an exchange in flight is never ended from here, save by a cut;
//! its own task ends it, in its own protocol.

use super::rhythm::Rhythm;
use crate::config::Listener;
use crate::drain::{Orders, Protocol, Timestamp};
use crate::proxy::registry::{Limit, Record, Scope, State};
use std::time::Duration;

/// How long the answer to a retirement (the PING of RFC 9113, section 6.8) is
/// awaited from a client with nothing in flight.
pub(super) const GOAWAY_LIMIT: Duration = Duration::from_secs(1);

/// What the loop is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum Act {
    /// Tell the client to send no more requests here, for the sake of this
    /// limit or of a drain.
    Retire(Option<Limit>),
    /// Close: nothing is in flight. Likewise.
    Close(Option<Limit>),
    /// Answer 408 to a head that came too slowly, and close.
    TooSlow,
    /// The drain's word to a half-open connection, and close.
    Farewell,
    /// Close by force.
    Cut,
}

impl Act {
    /// Count the limit that it is done for, if it is one.
    pub(in crate::proxy) fn count(self, scope: &Scope) {
        if let Self::Retire(Some(limit)) | Self::Close(Some(limit)) = self {
            scope.limited(limit);
        }
    }

    /// What is left of it once the client of a half-open connection was told.
    pub(in crate::proxy) fn told(self) -> Self {
        match self {
            Self::Farewell => Self::Close(None),
            act => act,
        }
    }
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) id: u64,
    pub(super) accepted: Timestamp,
    pub(super) state: State,
    pub(super) since: Timestamp,
    pub(super) requests: u64,
    /// In flight, or with bytes of an answer that the client has not taken.
    pub(super) busy: bool,
    /// Whether nothing on it may be left.
    pub(super) over: bool,
    /// The limit for which it is to leave while it is half-open.
    pub(super) shed: Option<Limit>,
    /// When the client was told to send no more requests.
    pub(super) retired: Option<Timestamp>,
    /// When its client tends to come.
    pub(super) rhythm: Rhythm,
}

impl View {
    pub(super) fn of(record: &Record, streams: bool, retired: Option<Timestamp>) -> Self {
        Self {
            id: record.id,
            accepted: record.accepted,
            state: record.state(),
            since: record.since(),
            requests: record.requests(),
            busy: streams || record.blocked() || record.in_flight() > 0,
            over: record.is_over(),
            shed: record.shed_for(),
            retired,
            rhythm: Rhythm::default(),
        }
    }
}

/// The earliest of what is due, and when.
pub(super) type Due = Option<(Timestamp, Act)>;

fn earlier(due: Due, at: Option<Timestamp>, act: Act) -> Due {
    match (due, at) {
        (Some((first, _)), Some(at)) if first <= at => due,
        (_, Some(at)) => Some((at, act)),
        (_, None) => due,
    }
}

fn earlier_of(one: Due, other: Due) -> Due {
    match other {
        Some((at, act)) => earlier(one, Some(at), act),
        None => one,
    }
}

/// A connection that cannot carry a request yet: before its first byte it is
/// merely idle; once it has begun to speak, it has `head_time` to finish.
pub(super) fn half_open(view: &View, limits: &Listener, orders: &Orders) -> Due {
    if view.over {
        return Some((Timestamp::ZERO, Act::Cut));
    }
    if let Some(limit) = view.shed {
        return Some((Timestamp::ZERO, Act::Close(Some(limit))));
    }
    let (at, limit) = match view.state {
        State::Accepted => (view.accepted + limits.idle, Limit::Idle),
        _ => (view.since + limits.limits.head_time, Limit::HandshakeTime),
    };
    let due = Some((at, Act::Close(Some(limit))));
    earlier(due, orders.half_open_until(view.accepted), Act::Farewell)
}

/// When a connection is too old: up to a tenth after `max_age`, or those of one
/// moment leave as one.
pub(super) fn aged(limits: &Listener, id: u64, accepted: Timestamp) -> Option<Timestamp> {
    let part = u32::try_from(id % 64).unwrap_or_default();
    (!limits.max_age.is_zero()).then(|| accepted + limits.max_age + limits.max_age / 640 * part)
}

/// When this connection is retired: by the drain, by its age, or by the number
/// of its requests.
fn retirement(view: &View, limits: &Listener, orders: &Orders) -> Due {
    let aged = aged(limits, view.id, view.accepted);
    let due = earlier(None, orders.retire_at(view.id), Act::Retire(None));
    let due = earlier(due, aged, Act::Retire(Some(Limit::MaxAge)));
    let most = limits.limits.requests;
    // Likewise.
    if most > 0 && view.requests >= most.saturating_add(most / 640 * (view.id % 64)) {
        return earlier(
            due,
            Some(Timestamp::ZERO),
            Act::Retire(Some(Limit::Requests)),
        );
    }
    due
}

/// An HTTP/1 connection.
pub(super) fn http1(view: &View, limits: &Listener, orders: &Orders) -> Due {
    if view.over {
        return Some((Timestamp::ZERO, Act::Cut));
    }
    let mut due = None;
    if view.retired.is_none() {
        due = retirement(view, limits, orders);
    }
    if view.busy {
        return due;
    }
    match view.state {
        State::Head if view.requests == 0 && view.shed.is_some() => {
            Some((Timestamp::ZERO, Act::Close(view.shed)))
        }
        State::Head => {
            // The first head counts from the accept, a later one from its
            // first byte: an old connection is not a slow one.
            let from = if view.requests == 0 {
                view.accepted
            } else {
                view.since
            };
            due = earlier(
                due,
                Some(view.since + limits.limits.head_time),
                Act::TooSlow,
            );
            earlier(due, orders.half_open_until(from), Act::Farewell)
        }
        state if state.half_open() => earlier_of(due, half_open(view, limits, orders)),
        _ => {
            let idle = Some(view.since + limits.idle);
            due = earlier(due, idle, Act::Close(Some(Limit::Idle)));
            earlier(due, window(view, orders), Act::Close(None))
        }
    }
}

/// When a retired HTTP/1 connection that is idle has waited long enough for
/// its last request. A client is humoured within `finish`, not beyond it.
fn window(view: &View, orders: &Orders) -> Option<Timestamp> {
    let last_request = orders.plan.last_request;
    let least = view.retired?.max(view.since + last_request);
    let close = view.rhythm.clear_of_next(least, view.since, last_request);
    let finish = orders.deadline(Protocol::Http1).unwrap_or(Timestamp::MAX);
    Some(close.min(finish).max(least))
}

/// An HTTP/2 connection, after its preface.
pub(super) fn http2(view: &View, limits: &Listener, orders: &Orders) -> Due {
    if view.over {
        return Some((Timestamp::ZERO, Act::Cut));
    }
    let Some(retired) = view.retired else {
        let due = retirement(view, limits, orders);
        if view.busy {
            return due;
        }
        let idle = Some(view.since + limits.idle);
        return earlier(due, idle, Act::Retire(Some(Limit::Idle)));
    };
    if view.busy {
        return None;
    }
    Some((retired.max(view.since) + GOAWAY_LIMIT, Act::Close(None)))
}

/// Whether a client takes back `most` of its requests, and half of them, so that
/// serving it is nothing but cost (CVE-2023-44487). The engine sees those that
/// are taken back before they are accepted; these have reached a server.
pub(super) fn restless(record: &Record, most: u32) -> bool {
    let taken_back = record.taken_back();
    taken_back >= u64::from(most) && taken_back > record.requests() / 2
}

/// One timer for whatever is due next; it is set again only to fire earlier,
/// so a busy connection that puts its deadline off does not touch the wheel.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    sleep: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
    armed: Timestamp,
}

impl Alarm {
    /// What is due now, if anything; otherwise the task is woken in time.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut std::task::Context<'_>,
        due: Option<(Timestamp, T)>,
    ) -> Option<T> {
        use std::future::Future;
        let (at, act) = due?;
        if at == Timestamp::ZERO {
            return Some(act);
        }
        loop {
            let sleep = match &mut self.sleep {
                Some(sleep) if at >= self.armed => sleep,
                Some(sleep) => {
                    sleep.as_mut().reset(crate::clock::instant(at));
                    self.armed = at;
                    sleep
                }
                empty => {
                    self.armed = at;
                    empty.insert(Box::pin(tokio::time::sleep_until(crate::clock::instant(
                        at,
                    ))))
                }
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return None;
            }
            if crate::clock::now() >= at {
                // Set anew next time, whatever is due then.
                self.sleep = None;
                return Some(act);
            }
            sleep.as_mut().reset(crate::clock::instant(at));
            self.armed = at;
        }
    }
}

#[cfg(test)]
mod tests;
