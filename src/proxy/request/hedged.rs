//! Two tries of one request at the same time.
//!
//! Purpose: a server that is slow for once costs its client no more than the wait
//! that the route names. Then the same request goes to another server as well, and
//! the first answer is taken.
//!
//! Invariant: nothing of an answer was passed on before. Both tries are in flight
//! on their servers, and who comes second is ended: its stream is reset by CANCEL,
//! its connection of HTTP/1.1 closed. An answer in place of which the route asks
//! another server ends nothing while the other try is under way.
//!
//! Deliberately absent: whether there may be a second try (see `retry`), and what
//! is done when both have failed: that is as if the first alone had.

use super::forward::{Failed, Forwarded, of_server};
use super::retried::{Course, Taken, attempt, let_go};
use super::retry::{Hedge, Left};
use super::{headers, room};
use crate::clock;
use crate::proxy::body::{Body, Progress, Upload};
use crate::proxy::error::Error;
use crate::proxy::registry::{Ask, Beside, Seat};
use crate::proxy::upstream::{Hedged, Lease, Retried};
use http::Request;
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use tokio::time::timeout;

type Sent = Result<Forwarded, Failed>;

/// The request once more, and the room for it.
type Again = (Request<Body>, Seat);

/// A second try that came to something.
struct Second {
    taken: Taken,
    beside: Beside,
    sent: Sent,
}

/// What is passed on, and what the other try had come to, if it had.
enum Raced {
    First(Sent, Option<Second>),
    Second(Second, Option<Sent>),
}

/// Try once, and after a while at two servers; what came of it, and where.
pub(super) async fn send(
    course: &mut Course<'_>,
    taken: Taken,
    lease: Lease,
    request: Request<Body>,
) -> (Taken, Sent) {
    let mut first = pin!(attempt(course.way(), lease, request));
    if let Some(sent) = patiently(course, first.as_mut()).await {
        return (taken, sent);
    }
    let Some(again) = may(course, taken.server) else {
        return (taken, first.await);
    };
    let ask = course.notes.as_ref().map(|notes| notes.last());
    let asked = OnceLock::new();
    let raced = race(course, first.as_mut(), (taken.server, again), &asked).await;
    let asked = asked.into_inner();
    let retries = course.upstream().retries();
    match raced {
        Raced::First(sent, other) => {
            if let Some(second) = asked {
                retries.hedged(Hedged::Lost);
                let other = other.map(|other| (other.taken, other.sent));
                lose(course, second.as_ref(), other);
            }
            come_back(course, ask.as_ref());
            (taken, sent)
        }
        Raced::Second(second, first) => {
            retries.hedged(Hedged::Won);
            if first.is_none() {
                course.upstream().outrun(taken.server);
            }
            lose(course, ask.as_ref(), first.map(|sent| (taken, sent)));
            come_back(course, asked.flatten().as_ref());
            course.search.mark(taken.server);
            course.exchange.change_over(second.beside);
            (second.taken, second.sent)
        }
    }
}

/// What comes of it before it is time to ask somebody else. That time begins when
/// the request is through.
async fn patiently(
    course: &Course<'_>,
    mut first: Pin<&mut impl Future<Output = Sent>>,
) -> Option<Sent> {
    if !course.rules.beside {
        return Some(first.await);
    }
    let progress = course.rein.progress();
    loop {
        let under_way = progress.is_some_and(|progress| progress.get() == Upload::Running);
        match timeout(course.rules.policy.hedge, first.as_mut()).await {
            Ok(sent) => return Some(sent),
            Err(_) if under_way => {}
            Err(_) => return None,
        }
    }
}

/// The request once more, if it may go to another server beside this one.
fn may(course: &mut Course<'_>, server: usize) -> Option<Again> {
    let now = clock::now();
    let mut others = course.search;
    others.mark(server);
    let body = course
        .rein
        .progress()
        .map_or(Some(Body::Empty), Progress::copy);
    let left = Left {
        used: course.used,
        body: body.is_some(),
        server: course.upstream().has_other(&others),
        room: !course.exchange.is_overtaken(),
        time: course.until().map(|until| until.saturating_since(now)),
    };
    let retries = course.upstream().retries();
    let mut seat = None;
    let pay = || {
        seat = room::spare(course.route);
        seat.is_some() && retries.spend(course.rules.policy.least, now)
    };
    match course.rules.hedge(&left, pay) {
        Hedge::Wait => None,
        Hedge::Forgone => {
            retries.hedged(Hedged::Forgone);
            None
        }
        Hedge::Send => {
            course.used += 1;
            Some((course.again_with(body?)?, seat?))
        }
    }
}

/// Both at once, until one has an answer that is to be passed on, or each has come
/// to something.
async fn race(
    course: &Course<'_>,
    mut first: Pin<&mut impl Future<Output = Sent>>,
    (server, again): (usize, Again),
    asked: &OnceLock<Option<Ask>>,
) -> Raced {
    let mut second = pin!(ask_another(course, server, again, asked));
    let (mut came, mut other) = (None, None);
    let mut alone = false;
    loop {
        tokio::select! {
            biased;
            sent = first.as_mut(), if came.is_none() => {
                if alone || course.settles(&sent) {
                    return Raced::First(sent, other);
                }
                came = Some(sent);
            }
            ended = second.as_mut(), if !alone => {
                alone = true;
                match ended {
                    Some(second) if course.settles(&second.sent) => {
                        return Raced::Second(second, came);
                    }
                    ended => other = ended,
                }
                if let Some(sent) = came.take() {
                    return Raced::First(sent, other);
                }
            }
        }
    }
}

/// The second try. `None` if no other server takes it, or none any more.
async fn ask_another(
    course: &Course<'_>,
    server: usize,
    (mut request, room): Again,
    asked: &OnceLock<Option<Ask>>,
) -> Option<Second> {
    let mut search = course.search;
    search.mark(server);
    let lease = course.lease(&mut search).await.ok()?;
    let taken = Taken::of(&lease);
    let mooring = course.route.pool.mooring(taken.server);
    let beside = course.exchange.board_beside(mooring, room)?;
    headers::name_host(&mut request, lease.server());
    let notes = course.notes.as_ref();
    let ask = notes.map(|notes| {
        notes.asks(lease.server(), Some(request.headers_mut()));
        notes.last()
    });
    // Nobody else sets it.
    let _ = asked.set(ask);
    course.upstream().retries().retried(Retried::Hedge);
    // Its body is a copy, and comes from nobody.
    let mut way = course.way();
    way.progress = None;
    // Who is told of both could not tell which of them goes with the answer.
    way.interims = None;
    tokio::select! {
        sent = attempt(way, lease, request) => Some(Second { taken, beside, sent }),
        () = beside.unwelcome() => None,
    }
}

/// A try is not what is passed on: it came to this, or to nothing yet.
fn lose(course: &Course<'_>, ask: Option<&Ask>, came: Option<(Taken, Sent)>) {
    come_back(course, ask);
    let notes = course.notes.as_deref();
    match came {
        None => {
            if let Some(notes) = notes {
                notes.failed("cancelled");
            }
        }
        Some((taken, Ok(mut answer))) => {
            course.upstream().answered(taken.server, &mut answer.head);
            if let Some(notes) = notes {
                notes.answered(answer.head.status.as_u16());
            }
            let_go(answer);
        }
        Some((taken, Err(failed))) => {
            if let Some(notes) = notes {
                notes.failed(failed.error.kind());
            }
            let late = matches!(failed.error, Error::Timeout(_));
            if late || failed.request.is_none() && of_server(&failed.error) {
                course.upstream().broke_off(taken.server);
            }
        }
    }
}

/// What is noted from now on is of this try.
fn come_back(course: &Course<'_>, ask: Option<&Ask>) {
    if let (Some(notes), Some(ask)) = (&course.notes, ask) {
        notes.back_to(ask);
    }
}
