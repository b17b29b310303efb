//! The loop of an HTTP/1.1 connection.
//!
//! The HTTP engine parses, answers and keeps alive; this loop owns the
//! connection's time: the idle and head limits, retirement, the farewell and
//! the cut. A connection that is to close while idle is first taken out of
//! the engine and looked at once more: if a request has come meanwhile, it is
//! put back and served. That closes the keep-alive race as far as this side
//! of the network can.

mod framing;
mod gate;
mod parting;

use super::edge::Edge;
use super::pace::{self, Act, Alarm, View};
use super::rhythm::Rhythm;
use super::websocket;
use crate::clock;
use crate::drain::{Farewell, Outcome, Protocol, Timestamp};
use crate::proxy::registry::{ConnectionGuard, Heard, State};
use crate::proxy::request::{Agreed, Answers, Sites, serve_http1};
use bytes::Bytes;
use framing::{Bounds, Framing, Refusal};
use gate::{Gate, Signs};
use hyper::server::conn::http1::Builder;
use hyper::upgrade::OnUpgrade;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// How long an answer that overtook its request is guarded from a reset.
const LINGER: Duration = Duration::from_secs(1);

/// The same for a head that a drain ends.
const LAST_LINGER: Duration = Duration::from_millis(200);

/// How the engine was left.
enum Left {
    /// It ended by itself; whether it had read what it did not serve.
    Ended(Gate, bool),
    /// The connection was taken out of it, idle, for this.
    Taken(Act, Gate),
    /// It gave the connection away to an upgrade.
    Upgraded,
}

struct Loop {
    sites: Arc<Sites>,
    guard: Arc<ConnectionGuard>,
    answers: Arc<Answers>,
    signs: Arc<Signs>,
    retired: Option<Timestamp>,
    rhythm: Rhythm,
    heard: Heard,
    alarm: Alarm,
}

/// Serve a connection that speaks HTTP/1.1 until it is over.
pub(super) async fn serve(sites: Arc<Sites>, guard: Arc<ConnectionGuard>, edge: Edge) {
    let limits = sites.look().listener().limits;
    let framing = Framing::new(Bounds {
        head: limits.head,
        target: limits.uri,
        fields: limits.headers,
    });
    let signs = Arc::<Signs>::default();
    let gate = Gate::new(edge, framing, Arc::clone(&signs));
    let mut this = Loop {
        heard: Heard::from(guard.scope()),
        sites,
        guard,
        answers: Arc::default(),
        signs,
        retired: None,
        rhythm: Rhythm::default(),
        alarm: Alarm::default(),
    };
    this.run(gate).await;
}

impl Loop {
    async fn run(&mut self, mut gate: Gate) {
        loop {
            gate = match self.engine(gate).await {
                // A request came between the decision and now: serve it.
                Left::Taken(Act::Close(_) | Act::Farewell, gate)
                    if !gate.mid_request() && gate.unread() =>
                {
                    gate
                }
                Left::Taken(act, gate) => return self.taken(act, gate).await,
                Left::Ended(gate, unserved) => return self.ended(gate, unserved).await,
                Left::Upgraded => return self.upgraded().await,
            };
        }
    }

    /// Run the engine until it ends or the connection is due for something.
    async fn engine(&mut self, gate: Gate) -> Left {
        let (sites, guard) = (Arc::clone(&self.sites), Arc::clone(&self.guard));
        let answers = Arc::clone(&self.answers);
        let service = hyper::service::service_fn(move |request| {
            serve_http1(sites.now(), &guard, Arc::clone(&answers), request)
        });
        let limits = self.sites.look().listener().limits;
        let mut conn = Builder::new()
            .header_read_timeout(None)
            .max_headers(limits.headers)
            .max_buf_size(limits.head.max(64 * 1024))
            .serve_connection(gate, service)
            .with_upgrades();
        let taken = poll_fn(|cx| self.poll_engine(cx, Pin::new(&mut conn))).await;
        match (taken, conn.into_parts()) {
            (Some(act), Some(parts)) => Left::Taken(act, parts.io),
            (None, Some(parts)) => Left::Ended(parts.io, !parts.read_buf.is_empty()),
            (_, None) => Left::Upgraded,
        }
    }

    fn poll_engine<F, E>(&mut self, cx: &mut Context<'_>, engine: Pin<&mut F>) -> Poll<Option<Act>>
    where
        F: Future<Output = Result<(), E>>,
        E: std::error::Error,
    {
        // Enlisted before the orders are read, or new ones go unnoticed.
        self.guard.waker.register(cx.waker());
        self.retire_in_time();
        if let Poll::Ready(ended) = engine.poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(connection = self.guard.id, %error, "HTTP/1.1 connection ended");
            }
            return Poll::Ready(None);
        }
        loop {
            let awaits_head = !matches!(self.guard.state(), State::InFlight | State::Closing);
            if self.signs.half_head() && awaits_head {
                self.guard.enter(State::Head);
            }
            let orders = self.heard.refresh(self.guard.scope());
            let mut view = View::of(&self.guard, false, self.retired);
            self.rhythm.note(view.state, view.since);
            view.rhythm = self.rhythm;
            if !view.busy && self.signs.refused(view.requests) {
                return Poll::Ready(None);
            }
            let due = pace::http1(&view, self.sites.look().listener(), orders);
            match self.alarm.poll(cx, due) {
                None => return Poll::Pending,
                Some(act @ Act::Retire(_)) => {
                    act.count(self.guard.scope());
                    self.retire();
                }
                Some(act) => return Poll::Ready(Some(act)),
            }
        }
    }

    /// Retire before the engine runs, if that is due: an answer that comes in
    /// the same turn as the order would go out without `Connection: close`,
    /// and the next request on the connection would race its end.
    fn retire_in_time(&mut self) {
        if self.retired.is_some() {
            return;
        }
        let orders = self.heard.refresh(self.guard.scope());
        let due = orders.retire_at(self.guard.id);
        if due.is_some_and(|at| at <= clock::now()) {
            self.retire();
        }
    }

    fn retire(&mut self) {
        self.retired = Some(clock::now());
        self.guard.retire();
        self.answers.retire();
    }

    /// The engine is done: answer what was refused, and close.
    async fn ended(&self, gate: Gate, unserved: bool) {
        if self.answers.broken_off() {
            return gate.into_edge().0.break_off();
        }
        if let Some(told) = self.answers.told()
            && self.unheeding(&gate)
        {
            self.guard
                .scope()
                .after_close(self.guard.client.address(), told);
        }
        match gate.refusal() {
            Some(refusal) if !self.answers.are_over() => refuse(gate, refusal).await,
            _ => close(gate, unserved).await,
        }
    }

    /// Whether the client has sent another request behind the last answer.
    fn unheeding(&self, gate: &Gate) -> bool {
        let read = self.signs.heads() > self.guard.requests();
        read || gate.in_head() && gate.unread()
    }

    /// The connection was idle or half-open, and its time has come.
    async fn taken(&self, act: Act, gate: Gate) {
        let half_head = self.guard.state() == State::Head;
        act.count(self.guard.scope());
        match act {
            Act::Cut => drop(gate),
            Act::Close(Some(_)) if half_head => refuse(gate, Refusal::Crowded).await,
            Act::Retire(_) | Act::Close(_) => close(gate, false).await,
            Act::TooSlow => refuse(gate, Refusal::TooSlow).await,
            Act::Farewell if half_head => {
                self.guard.conclude(Outcome::Farewelled(Farewell::HalfHead));
                refuse(gate, Refusal::Draining).await;
            }
            Act::Farewell => {
                self.guard.conclude(Outcome::Farewelled(Farewell::Fin));
                close(gate, false).await;
            }
        }
    }

    async fn upgraded(&self) {
        let Some(upgrade) = self.answers.take_upgrade() else {
            return self.not_upgraded().await;
        };
        self.guard.set_protocol(Protocol::WebSocket);
        if let Err(error) = tunnel(upgrade).await {
            tracing::debug!(connection = self.guard.id, %error, "upgrade failed");
        }
    }
}

impl Loop {
    /// A request only asked for an upgrade, but the engine gives the
    /// connection away all the same when it ends.
    async fn not_upgraded(&self) {
        let Some(asked) = self.answers.take_asked() else {
            return;
        };
        if let Ok(upgraded) = asked.await
            && let Ok(parts) = upgraded.downcast::<Gate>()
        {
            let unserved = !parts.read_buf.is_empty();
            self.ended(parts.io, unserved).await;
        }
    }
}

async fn tunnel(agreed: Agreed<OnUpgrade>) -> Result<(), hyper::Error> {
    let client = agreed.client.await?;
    let Ok(client) = client.downcast::<Gate>() else {
        // The transport is of our own making, so this is never reached.
        return Ok(());
    };
    let (mut edge, held) = client.io.into_edge();
    edge.set_patient();
    edge.set_tunnel();
    let from_client = join(client.read_buf, held);
    websocket::relay_to(agreed.server, agreed.exchange, edge, from_client).await
}

fn join(first: Bytes, second: Bytes) -> Bytes {
    if second.is_empty() {
        return first;
    }
    [first, second].concat().into()
}

async fn refuse(gate: Gate, refusal: Refusal) {
    let (mut edge, _) = gate.into_edge();
    // A client that was silent in the middle of a head says little more, and
    // an exit waits for it.
    let draining = refusal == Refusal::Draining;
    edge.set_linger(if draining { LAST_LINGER } else { LINGER });
    let record = Arc::clone(edge.record());
    if let Some(limit) = refusal.limit() {
        record.scope().limited(limit);
    }
    let answer = refusal.answer();
    let sent = edge.write_all(answer.as_bytes());
    let sent = tokio::select! {
        sent = tokio::time::timeout(LINGER, sent) => matches!(sent, Ok(Ok(()))),
        () = record.over() => false,
    };
    // A client that does not take the answer will not miss it.
    if sent {
        edge.close().await;
    }
}

/// Close, so that no answer is destroyed by a reset: a client that has sent,
/// or may be sending, what nobody will read is waited for. One that owes
/// nothing was told to send no more, or had nothing on its way to it.
async fn close(gate: Gate, unserved: bool) {
    let owes = unserved || gate.mid_request() || gate.unread();
    let (mut edge, _) = gate.into_edge();
    if owes {
        edge.set_linger(LINGER);
    }
    edge.close().await;
}
