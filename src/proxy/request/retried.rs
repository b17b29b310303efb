//! To a server and back, on a route that says what may be sent again.
//!
//! Purpose: what `forward` does for every route, and around it what `retry`
//! decides: a pause, another server, the body once more, until an answer is one
//! to be passed on.
//!
//! Invariant: nothing of an answer is passed on before it is the last one. What a
//! try came to is held until the next one is on its way: where that cannot be sent
//! after all, the client gets what there is.
//!
//! Deliberately absent: deadlines of a drain. The caller drops the future when the
//! exchange is due, in a pause like in a try. Tunnels go the plain way.

use super::forward::{
    Carrier, Failed, Forwarded, Outgoing, STALE_TRIES, blame, copy, of_server, over_http1,
    over_http2, unprocessed, watch,
};
use super::grpc::GRPC_STATUS;
use super::interim::Interims;
use super::retry::{Happened, Left, Rules, Verdict, Wait};
use super::route::Route;
use super::{headers, hedged, room};
use crate::clock;
use crate::config::Retry;
use crate::drain::{Protocol, Timestamp};
use crate::proxy::body::{Body, Progress, Rein, Upload};
use crate::proxy::error::{Error, Result};
use crate::proxy::registry::{Ends, Notes, RequestGuard};
use crate::proxy::upstream::{Lease, Retried, Search, Upstream, Whose};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Of an answer that is not passed on, what is read so that its connection serves
/// again.
const READ: usize = 16 * 1024;

/// An exchange in the course of its tries.
pub(super) struct Course<'a> {
    pub(super) route: &'a Route,
    pub(super) rules: Rules<'a>,
    pub(super) exchange: &'a RequestGuard,
    client: Option<Box<Ends>>,
    pub(super) notes: Option<Arc<Notes>>,
    pub(super) interims: Option<&'a Interims>,
    pub(super) rein: Rein,
    pub(super) search: Search,
    stale: u32,
    pub(super) used: u32,
    began: Timestamp,
    /// The head, for as long as it may be sent again.
    spare: Option<Request<()>>,
}

/// The connection of a try, once that has been leased.
#[derive(Copy, Clone)]
pub(super) struct Taken {
    pub(super) server: usize,
    reused: bool,
    /// It carries one exchange at a time.
    alone: bool,
}

impl Taken {
    pub(super) fn of(lease: &Lease) -> Self {
        Self {
            server: lease.server_index(),
            reused: lease.reused(),
            alone: matches!(lease, Lease::Http1(_)),
        }
    }
}

/// What a try needs to know of its course.
pub(super) struct Way<'a> {
    pub(super) progress: Option<Progress>,
    pub(super) interims: Option<&'a Interims>,
    secure: bool,
    limit: Duration,
}

/// Send a request along its route until an answer is one to be passed on, and
/// await that one's head.
///
/// # Errors
/// What the last try failed for.
pub(super) async fn send(
    route: &Route,
    policy: &Retry,
    outgoing: Outgoing<'_>,
    exchange: &RequestGuard,
) -> Result<Forwarded> {
    let Outgoing {
        head,
        body,
        bounds,
        client,
        notes,
        interims,
        ..
    } = outgoing;
    let (body, progress) = watch(body, bounds, notes.as_ref(), policy.buffer);
    let request = Request::from_parts(head, body);
    let grpc = exchange.protocol() == Protocol::Grpc;
    let method = request.method();
    let rules = Rules::of(policy, route.rule.retries, method);
    let rules = rules.hedging(method, progress.is_some(), grpc);
    let upstream = route.pool.upstream();
    let address = exchange.record().client.address().ip();
    upstream.retries().earn(policy.budget, policy.least);
    let mut course = Course {
        route,
        rules,
        exchange,
        client,
        notes,
        interims,
        rein: Rein::on(progress),
        search: upstream.search(request.headers(), address),
        stale: STALE_TRIES,
        used: 0,
        began: clock::now(),
        spare: rules.twice.then(|| copy(&request).map(drop)),
    };
    let sent = course.run(request).await;
    if sent.is_ok() {
        if let Some(progress) = course.rein.progress() {
            progress.settle();
        }
        course.rein.slip();
    }
    sent
}

/// An answer that is passed on only if there comes no other: whether the request
/// was through is to be known when another server has it.
fn hold(mut answer: Forwarded) -> Forwarded {
    if let Carrier::Http1(_, progress) = &mut answer.carrier
        && progress
            .as_ref()
            .is_some_and(|progress| progress.get() == Upload::Done)
    {
        *progress = None;
    }
    answer
}

/// An answer that is not passed on. If the little that it is has come, its
/// connection serves again.
pub(super) fn let_go(answer: Forwarded) {
    let Forwarded {
        mut body, carrier, ..
    } = answer;
    let mut read = 0;
    while matches!(carrier, Carrier::Http1(..)) && !body.is_end_stream() {
        match body.frame().now_or_never() {
            Some(Some(Ok(frame))) => read += frame.data_ref().map_or(0, Bytes::len),
            Some(None) => break,
            Some(Some(Err(_))) | None => return,
        }
        if read > READ {
            return;
        }
    }
    carrier.done();
}

impl<'a> Course<'a> {
    async fn run(&mut self, request: Request<Body>) -> Result<Forwarded> {
        if let Some(waiting) = room::take(self.route, self.exchange)? {
            waiting.await?;
        }
        let mut ready = Some(request);
        let mut held: Option<Result<Forwarded>> = None;
        loop {
            let mut search = self.search;
            let leased = self.lease(&mut search).await;
            self.search = search;
            let lease = match leased {
                Ok(lease) => lease,
                Err(error) => return held.unwrap_or(Err(error)),
            };
            let Some(mut request) = ready.take().or_else(|| self.once_more()) else {
                return held.unwrap_or(Err(Error::Unwanted));
            };
            let taken = Taken::of(&lease);
            if !self.exchange.board(self.route.pool.mooring(taken.server)) {
                // It was shut after it had been chosen.
                self.search.mark(taken.server);
                ready = Some(request);
                continue;
            }
            if let Some(Ok(answer)) = held.take() {
                let_go(answer);
            }
            headers::name_host(&mut request, lease.server());
            if let Some(notes) = &self.notes {
                notes.asks(lease.server(), Some(request.headers_mut()));
            }
            let (taken, sent) = hedged::send(self, taken, lease, request).await;
            let (sent, happened) = match sent {
                Ok(forwarded) => {
                    let (forwarded, happened) = self.answered(taken.server, forwarded);
                    (Ok(forwarded), happened)
                }
                Err(failed) => match self.failed(taken, failed) {
                    Failing::Stale(request) => {
                        ready = Some(*request);
                        continue;
                    }
                    Failing::Unprocessed(error, request) => {
                        ready = Some(*request);
                        (Err(error), Happened::Unprocessed)
                    }
                    Failing::Broken(error, happened) => (Err(error), happened),
                    Failing::Client(error) => return Err(error),
                },
            };
            let Some(pause) = self.again(taken.server, happened, ready.is_some()) else {
                return sent;
            };
            held = Some(sent.map(hold));
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }

    /// A connection for one more try.
    pub(super) async fn lease(&self, search: &mut Search) -> Result<Lease> {
        let pool = &self.route.pool;
        if let Some(lease) = pool.lease_idle(search) {
            return Ok(lease);
        }
        let whose = Whose::noted(self.client.as_deref(), self.notes.as_deref());
        pool.lease(whose, search).await
    }

    /// What a try needs to know.
    pub(super) fn way(&self) -> Way<'a> {
        Way {
            progress: self.rein.progress().cloned(),
            interims: self.interims,
            secure: self.upstream().secure(),
            limit: self.rules.policy.try_timeout,
        }
    }

    /// The request from its beginning; `None` if that is not at hand any more.
    fn once_more(&self) -> Option<Request<Body>> {
        let body = match self.rein.progress() {
            None => Body::Empty,
            Some(progress) => progress.again()?,
        };
        self.again_with(body)
    }

    /// The same with this body.
    pub(super) fn again_with(&self, body: Body) -> Option<Request<Body>> {
        self.spare.as_ref().map(|spare| copy(spare).map(|_| body))
    }

    /// Whether what came of a try is to be passed on, whatever else is under way.
    pub(super) fn settles(&self, sent: &Result<Forwarded, Failed>) -> bool {
        let happened = |forwarded: &Forwarded| self.happened(&forwarded.head);
        sent.as_ref()
            .is_ok_and(|forwarded| self.rules.settles(happened(forwarded)))
    }

    /// What an answer is to a retry.
    fn answered(&self, server: usize, mut forwarded: Forwarded) -> (Forwarded, Happened) {
        let tells = self.upstream().answered(server, &mut forwarded.head);
        self.exchange.heard(tells);
        if let Some(notes) = &self.notes {
            notes.answered(forwarded.head.status.as_u16());
        }
        let happened = self.happened(&forwarded.head);
        (forwarded, happened)
    }

    fn happened(&self, head: &response::Parts) -> Happened {
        let (status, fields) = (head.status, &head.headers);
        let wait = || Wait::of(status, fields, clock::unix());
        let grpc = self.exchange.protocol() == Protocol::Grpc;
        let code = grpc.then(|| fields.get(GRPC_STATUS)).flatten();
        let code = code.and_then(|code| code.to_str().ok()?.parse().ok());
        match code {
            Some(code) if status.is_success() => Happened::Grpc(code, wait()),
            _ if status.is_success() => Happened::Answered(status, None),
            _ => Happened::Answered(status, wait()),
        }
    }

    /// What a failure is to a retry.
    fn failed(&mut self, taken: Taken, mut failed: Failed) -> Failing {
        let Taken {
            server,
            reused,
            alone,
        } = taken;
        if let Some(notes) = &self.notes {
            notes.failed(failed.error.kind());
        }
        // HTTP/1.1 has no word for a connection that its server closes in the moment
        // in which it is used. What may be processed twice goes on another one.
        if failed.request.is_none() && reused && alone && self.stale > 0 && self.rules.twice {
            let broken = matches!(failed.error, Error::Http1(_));
            failed.request = broken.then(|| self.once_more()).flatten().map(Box::new);
        }
        if let Some(request) = failed.request {
            // A pooled connection that had closed says nothing of its server, nor
            // does one that its server is leaving.
            if (reused || unprocessed(&failed.error)) && self.stale > 0 {
                self.stale -= 1;
                self.upstream().retries().retried(Retried::Unprocessed);
                return Failing::Stale(request);
            }
            return Failing::Unprocessed(failed.error, request);
        }
        let late = matches!(failed.error, Error::Timeout(_));
        let error = blame(self.route, server, failed.error, self.rein.progress());
        if late && matches!(error, Error::Timeout("the server's answer")) {
            self.upstream().broke_off(server);
            return Failing::Broken(error, Happened::Late);
        }
        if of_server(&error) {
            Failing::Broken(error, Happened::BrokenOff)
        } else {
            Failing::Client(error)
        }
    }

    /// The pause after which it is sent again, if it is.
    fn again(&mut self, server: usize, happened: Happened, ready: bool) -> Option<Duration> {
        self.search.mark(server);
        let others = self.upstream().has_other(&self.search);
        let now = clock::now();
        let left = Left {
            used: self.used,
            body: ready || self.rein.progress().is_none_or(Progress::is_at_hand),
            server: others,
            room: !self.exchange.is_overtaken(),
            time: self.until().map(|until| until.saturating_since(now)),
        };
        let retries = self.upstream().retries();
        let spend = || retries.spend(self.rules.policy.least, now);
        match self.rules.judge(happened, &left, fastrand::f64(), spend) {
            Verdict::Settled => None,
            Verdict::Enough(why) => {
                retries.forgone(why);
                None
            }
            Verdict::Again(pause, reason) => {
                retries.retried(reason);
                self.used += 1;
                if !others {
                    // Each was asked: from the beginning.
                    self.search.forget();
                }
                Some(pause)
            }
        }
    }

    /// When the exchange is over, as far as that is known.
    pub(super) fn until(&self) -> Option<Timestamp> {
        let limit = self.route.rule.timeout;
        let by_route = (!limit.is_zero()).then(|| self.began + limit);
        let grpc = self.exchange.protocol() == Protocol::Grpc;
        let by_drain = grpc.then(|| self.exchange.record().grpc_ends()).flatten();
        let ends = [by_route, self.exchange.own_deadline(), by_drain];
        ends.into_iter().flatten().min()
    }

    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        self.route.pool.upstream()
    }
}

/// One try. Its time begins when the request is through: how long that takes may be
/// the client's doing.
pub(super) async fn attempt(
    way: Way<'_>,
    lease: Lease,
    request: Request<Body>,
) -> Result<Forwarded, Failed> {
    let progress = way.progress.as_ref();
    let mut sending = pin!(async {
        match lease {
            Lease::Http1(lease) => over_http1(lease, request, false, progress).await,
            Lease::Http2(lease) => {
                over_http2(lease, request, way.secure, (progress, way.interims)).await
            }
        }
    });
    if way.limit.is_zero() {
        return sending.await;
    }
    loop {
        let under_way = progress.is_some_and(|progress| progress.get() == Upload::Running);
        match timeout(way.limit, &mut sending).await {
            Ok(sent) => return sent,
            Err(_) if under_way => {}
            Err(_) => return Err(Failed::of(Error::Timeout("the server's answer"))),
        }
    }
}

/// Why a try failed, for a retry.
enum Failing {
    /// Its connection was not there any more: to be sent at once.
    Stale(Box<Request<Body>>),
    /// Nothing was processed; here it is.
    Unprocessed(Error, Box<Request<Body>>),
    /// By its server.
    Broken(Error, Happened),
    /// Not by its server: to be told to the client.
    Client(Error),
}
