//! The seats of an upstream: how many exchanges may be in flight to it at once,
//! and who waits for the next to end.
//!
//! An exchange takes a [`Seat`] before a server is chosen and keeps it until its
//! end, whatever it is sent again for in between: so what is in flight to an
//! upstream never exceeds what may be, and a retry never waits behind those who
//! have not been sent once. If all seats are taken it waits in line; who came
//! first sits down first.
//!
//! Invariant: a seat that gets free wakes exactly the first in line, and none
//! stays free while somebody waits. Whoever gives up leaves the line, and passes
//! on the seat that it was given a moment ago. The numbers of those who wait
//! change only with the line in hand; nobody else locks anything.
//!
//! Deliberately absent: servers, and what else a limit is on.

mod adapting;
mod adaptive;
mod counts;
mod full;
mod samples;
#[cfg(test)]
mod tests;

pub use full::Full;

use super::guard::RequestGuard;
use crate::clock;
use crate::config::Adaptive;
use crate::drain::{Protocol, Timestamp};
use crate::proxy::error::{Error, Result};
use adapting::Adapting;
use counts::{Bounds, Counts, Entry, MOST, MOST_WAITING, one};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// What holds for the seats of an upstream; 0 is any number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatLimits {
    /// In flight at once.
    pub requests: usize,
    /// Exchanges that take up a connection of this process, in flight or waiting.
    pub share: usize,
    /// Waiting at once; 0 is nobody.
    pub queue: usize,
    /// How long one waits.
    pub queue_time: Duration,
    /// How fewer may be in flight, as servers get busy; `None` is never.
    pub adaptive: Option<Adaptive>,
}

/// Who waits, by when it came.
#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// Not beside what others only read.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Alone(AtomicU64);

/// The seats of one upstream, over all workers. They outlive a reload.
#[derive(Debug)]
pub struct Seats {
    upstream: Arc<str>,
    /// The lesser of what the config allows and what adapts.
    most: AtomicU32,
    fixed: AtomicU32,
    share: AtomicU32,
    queue: AtomicU32,
    /// In milliseconds.
    patience: AtomicU64,
    counts: Alone,
    adapting: Adapting,
    line: Mutex<Line>,
    waited: AtomicU64,
    refused: [AtomicU64; Full::ALL.len()],
}

/// What coming to the line led to.
enum Lined {
    Seated,
    Waits(u64, oneshot::Receiver<()>),
    Refused(Full),
}

impl Seats {
    /// As many as anybody wants, until there are limits.
    #[must_use]
    pub fn new(upstream: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            upstream,
            most: AtomicU32::new(MOST),
            fixed: AtomicU32::new(MOST),
            share: AtomicU32::new(MOST),
            queue: AtomicU32::new(0),
            patience: AtomicU64::new(0),
            counts: Alone::default(),
            adapting: Adapting::default(),
            line: Mutex::default(),
            waited: AtomicU64::new(0),
            refused: Default::default(),
        })
    }

    /// These limits hold from now on. Nobody is sent away for it: who waits sits
    /// down if there are more seats, and goes on waiting if there are fewer.
    pub fn set(&self, limits: &SeatLimits) {
        let number = |number: usize| match number {
            0 => MOST,
            number => u32::try_from(number).unwrap_or(MOST).min(MOST),
        };
        let queue = u32::try_from(limits.queue).unwrap_or(MOST_WAITING);
        let patience = u64::try_from(limits.queue_time.as_millis()).unwrap_or(u64::MAX);
        self.share.store(number(limits.share), Relaxed);
        self.queue.store(queue.min(MOST_WAITING), Relaxed);
        self.patience.store(patience, Relaxed);
        self.fixed.store(number(limits.requests), Relaxed);
        let adaptive = limits.adaptive.as_ref();
        let adapted = self.adapting.set(adaptive, clock::now());
        self.adapt(adapted.unwrap_or(MOST));
    }

    /// So many may be in flight from now on, if the config allows it.
    fn adapt(&self, limit: u32) {
        self.most
            .store(limit.min(self.fixed.load(Relaxed)), Relaxed);
        self.seat_all();
    }

    /// An exchange has an answer that tells how busy servers are, or has none and
    /// waits no more.
    fn heard(&self, since: u64, answered: bool) {
        let now = clock::now();
        let since = Timestamp::from_start(Duration::from_micros(since));
        let took = now.saturating_since(since);
        let in_flight = Counts(self.counts.0.load(Relaxed)).in_flight();
        let limit = if answered {
            self.adapting.heard(took, in_flight, now)
        } else {
            self.adapting.gave_up(took, in_flight, now)
        };
        if let Some(limit) = limit {
            self.adapt(limit);
        }
    }

    /// How many are in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        Counts(self.counts.0.load(Relaxed)).in_flight().into()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        Counts(self.counts.0.load(Relaxed)).waiting().into()
    }

    /// How many may be in flight; `None` is any number.
    #[must_use]
    pub fn most(&self) -> Option<u64> {
        let most = self.most.load(Relaxed);
        (most < MOST).then(|| most.into())
    }

    /// How many had to wait, so far.
    #[must_use]
    pub fn waited(&self) -> u64 {
        self.waited.load(Relaxed)
    }

    /// How many were refused for this, so far.
    #[must_use]
    pub fn refused(&self, why: Full) -> u64 {
        self.refused[why as usize].load(Relaxed)
    }

    /// How many were refused, so far.
    #[must_use]
    pub fn refused_in_all(&self) -> u64 {
        Full::ALL.iter().map(|why| self.refused(*why)).sum()
    }

    /// Whether more are in flight than may be, since fewer may be now.
    fn are_overtaken(&self) -> bool {
        Counts(self.counts.0.load(Relaxed)).in_flight() > self.most.load(Relaxed)
    }

    /// Count one that is refused, and say why.
    fn refuse(&self, why: Full) -> Error {
        self.refused[why as usize].fetch_add(1, Relaxed);
        Error::Full {
            upstream: Arc::clone(&self.upstream),
            why,
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            most: self.most.load(Relaxed),
            share: self.share.load(Relaxed),
            queue: self.queue.load(Relaxed),
        }
    }

    /// Sit down, if that needs no line; else what it led to, without effect.
    fn enter(&self, holds: bool) -> Entry {
        let bounds = self.bounds();
        let mut now = self.counts.0.load(Acquire);
        loop {
            let entry = Counts(now).enter(bounds, holds);
            let Entry::Seated(Counts(next)) = entry else {
                return entry;
            };
            let counts = &self.counts.0;
            match counts.compare_exchange_weak(now, next, AcqRel, Acquire) {
                Ok(_) => return entry,
                Err(other) => now = other,
            }
        }
    }

    /// Sit down, or stand in line.
    fn line_up(&self, holds: bool) -> Lined {
        let mut line = self.line.lock();
        let bounds = self.bounds();
        let mut now = self.counts.0.load(Acquire);
        loop {
            let (next, seated) = match Counts(now).enter(bounds, holds) {
                Entry::Seated(next) => (next, true),
                Entry::Waits(next) => (next, false),
                Entry::Refused(why) => return Lined::Refused(why),
            };
            let counts = &self.counts.0;
            match counts.compare_exchange_weak(now, next.0, AcqRel, Acquire) {
                Ok(_) if seated => return Lined::Seated,
                Ok(_) => break,
                Err(other) => now = other,
            }
        }
        let (call, called) = oneshot::channel();
        let ticket = line.next;
        line.next += 1;
        line.waiting.insert(ticket, call);
        self.waited.fetch_add(1, Relaxed);
        Lined::Waits(ticket, called)
    }

    /// Leave the line; `false` if it was given a seat before.
    fn give_up(&self, ticket: u64, holds: bool) -> bool {
        let mut line = self.line.lock();
        let waits = line.waiting.remove(&ticket).is_some();
        if waits {
            let fewer = |now| Some(Counts(now).give_up(holds).0);
            // Never refused: `fewer` always has one.
            let _ = self.counts.0.fetch_update(AcqRel, Acquire, fewer);
        }
        waits
    }

    /// A seat gets free.
    fn leave(&self, holds: bool) {
        let before = self.counts.0.fetch_sub(one(holds), AcqRel);
        // Who comes to the line from now on finds the seat itself.
        if Counts(before).waiting() > 0 {
            self.seat_all();
        }
    }

    /// Give the seats that are free to those who wait.
    fn seat_all(&self) {
        while let Some(call) = self.seat_next() {
            // One that has given up since passes the seat on.
            let _ = call.send(());
        }
    }

    fn seat_next(&self) -> Option<oneshot::Sender<()>> {
        let mut line = self.line.lock();
        let bounds = self.bounds();
        let next = |now| Counts(now).seat_next(bounds).map(|next| next.0);
        let seated = self.counts.0.fetch_update(AcqRel, Acquire, next);
        seated.ok()?;
        line.waiting.pop_first().map(|(_, call)| call)
    }
}

/// One worker's hold on an upstream's seats. Each exchange holds the hold, so
/// that workers do not contend for the count of the seats' holders.
#[derive(Debug)]
pub struct Row(Arc<Seats>);

impl Row {
    /// A hold for one worker.
    #[must_use]
    pub fn new(seats: &Arc<Seats>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(seats)))
    }

    /// A seat at once; `None` if one is to be waited for.
    fn sit(self: &Arc<Self>, holds: bool) -> Option<Result<Seat>> {
        match self.0.enter(holds) {
            Entry::Seated(_) => Some(Ok(self.seat(holds))),
            Entry::Waits(_) => None,
            Entry::Refused(why) => Some(Err(self.0.refuse(why))),
        }
    }

    /// A seat for what could as well not be, while nobody else needs it.
    pub(in crate::proxy) fn spare(self: &Arc<Self>, holds: bool) -> Option<Seat> {
        let seated = matches!(self.0.enter(holds), Entry::Seated(_));
        seated.then(|| self.seat(holds))
    }

    /// A seat, after those who wait already.
    async fn wait(self: &Arc<Self>, holds: bool) -> Result<Seat> {
        let (ticket, called) = match self.0.line_up(holds) {
            Lined::Seated => return Ok(self.seat(holds)),
            Lined::Refused(why) => return Err(self.0.refuse(why)),
            Lined::Waits(ticket, called) => (ticket, called),
        };
        let mut waiting = Waiting {
            row: self,
            ticket,
            holds,
            over: false,
        };
        let patience = Duration::from_millis(self.0.patience.load(Relaxed));
        let called = timeout(patience, called).await;
        waiting.over = true;
        if called.is_err() && self.0.give_up(ticket, holds) {
            return Err(self.0.refuse(Full::QueueTime));
        }
        // Called, if only in the moment in which it gave up.
        Ok(self.seat(holds))
    }

    fn seat(self: &Arc<Self>, holds: bool) -> Seat {
        Seat {
            row: Arc::clone(self),
            holds,
            since: AtomicU64::new(NEVER),
        }
    }
}

/// No time.
const NEVER: u64 = u64::MAX;

/// A place in line, left when this is dropped.
struct Waiting<'a> {
    row: &'a Row,
    ticket: u64,
    holds: bool,
    over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Row(seats) = self.row;
        if !self.over && !seats.give_up(self.ticket, self.holds) {
            seats.leave(self.holds);
        }
    }
}

/// What an exchange takes up at its upstream, as long as this is there.
#[derive(Debug)]
pub struct Seat {
    row: Arc<Row>,
    holds: bool,
    /// When it was taken, in microseconds, while its answer is awaited and somebody
    /// wants to know how long that takes.
    since: AtomicU64,
}

impl Seat {
    fn time(&self) {
        let now = clock::now().since_start().as_micros();
        let now = u64::try_from(now).unwrap_or(NEVER);
        self.since.store(now, Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Row(seats) = &*self.row;
        let since = *self.since.get_mut();
        if since != NEVER {
            seats.heard(since, false);
        }
        seats.leave(self.holds);
    }
}

impl RequestGuard {
    /// Take a seat of its upstream until its end, if there is one: `false` if it
    /// is to be waited for. One that has a seat keeps it. `holds` if a connection
    /// of this process is its own meanwhile.
    ///
    /// # Errors
    /// [`Error::Full`] if it is not to wait either. It is counted there.
    pub(in crate::proxy) fn take_seat(&self, row: &Arc<Row>, holds: bool) -> Result<bool> {
        if self.seat.get().is_some() {
            return Ok(true);
        }
        match row.sit(holds) {
            None => Ok(false),
            Some(seat) => {
                self.sit(row, seat?);
                Ok(true)
            }
        }
    }

    /// The same after those who wait already. Dropping the future leaves the line.
    ///
    /// # Errors
    /// [`Error::Full`] if as many wait as may, or it waited for as long as one may.
    pub(in crate::proxy) async fn wait_for_seat(&self, row: &Arc<Row>, holds: bool) -> Result<()> {
        let seat = row.wait(holds).await?;
        self.sit(row, seat);
        Ok(())
    }

    fn sit(&self, row: &Row, seat: Seat) {
        let tunnel = matches!(self.protocol, Protocol::Tcp | Protocol::WebSocket);
        if row.0.adapting.is_on() && !tunnel {
            seat.time();
        }
        // It has none: this is its only task, and it has looked.
        let _ = self.seat.set(seat);
    }

    /// An answer to it has begun; `tells` if how long that took says something of
    /// how busy servers are. The first counts.
    pub(in crate::proxy) fn heard(&self, tells: bool) {
        let Some(seat) = self.seat.get() else { return };
        if seat.since.load(Relaxed) == NEVER {
            return;
        }
        let since = seat.since.swap(NEVER, Relaxed);
        if tells {
            seat.row.0.heard(since, true);
        }
    }

    /// Whether more are in flight to its upstream than may be, since fewer may be
    /// now.
    pub(in crate::proxy) fn is_overtaken(&self) -> bool {
        let seat = self.seat.get();
        seat.is_some_and(|seat| seat.row.0.are_overtaken())
    }
}
