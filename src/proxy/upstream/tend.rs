//! What is done for a pool's connections while nobody asks for them.
//!
//! Purpose: close what was idle for too long or is too old, dial what takes its
//! place, and keep servers warm: so many connections open to each as the config
//! says. One task for each pool, on its worker.
//!
//! Invariant: nothing is dialled ahead once that was forbidden, as a drain of the
//! process does, nor to a server that is down, ejected, going or drained, nor
//! before there is a verdict on its health. A dial that is under way ends in time
//! and is let go of then. The task ends with its pool, or when another one has
//! the pool's connections.
//!
//! Deliberately absent: what exchanges dial for themselves.

use super::lifetime;
use super::pool::Pool;
use super::stock::number;
use crate::clock;
use crate::drain::Timestamp;
use crate::proxy::registry::Gate;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::time::sleep_until;

impl Pool {
    /// Tend its connections, for as long as there is somebody to use them. To be
    /// run by the worker that it is of.
    pub fn tend_for_ever(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        // Not held while asleep, or no pool would ever go.
        let weak = Arc::downgrade(self);
        let stirred = Arc::clone(&self.stock.stirred);
        let mut shifts = self.upstream.shifts.subscribe();
        async move {
            loop {
                let due = {
                    let Some(pool) = weak.upgrade() else { return };
                    if pool.replaced.load(Relaxed) || pool.stock.idle.closed() {
                        return;
                    }
                    shifts.mark_unchanged();
                    pool.tend(clock::now())
                };
                tokio::select! {
                    () = sleep_until(clock::instant(due)) => {}
                    () = stirred.notified() => {}
                    shifted = shifts.changed() => {
                        if shifted.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Do what is to be done at `now`; when to come again.
    pub(super) fn tend(self: &Arc<Self>, now: Timestamp) -> Timestamp {
        let mut due = now + lifetime::look(&self.upstream.pool);
        self.sweep(now);
        for server in 0..self.upstream.servers.len() {
            let renewed = self.tend_fleet(server, now);
            let warm = self.warm(server, now);
            due = [renewed, warm]
                .into_iter()
                .flatten()
                .fold(due, Timestamp::min);
        }
        due
    }

    /// Let go of idle HTTP/1.1 connections that are not to be kept.
    fn sweep(&self, now: Timestamp) {
        for (server, known) in self.upstream.servers.iter().enumerate() {
            let (generation, policy) = (known.generation(), &self.upstream.pool);
            self.stock
                .idle
                .sweep(number(server), generation, now, policy);
        }
    }

    fn tend_fleet(self: &Arc<Self>, server: usize, now: Timestamp) -> Option<Timestamp> {
        let upstream = &self.upstream;
        let generation = self.generation(server);
        let fleet = &self.stock.fleets[server];
        let policy = &upstream.pool;
        let warm = policy.warm > 0 && upstream.warms(server);
        let tended = fleet.tend(generation, now, policy, (upstream.connect_timeout, warm));
        if tended.renew {
            let (id, report) = fleet.begin();
            tokio::spawn(Arc::clone(self).dial_shared(server, id, report));
        }
        tended.due
    }

    /// Dial what is missing; when to see whether more is.
    fn warm(self: &Arc<Self>, server: usize, now: Timestamp) -> Option<Timestamp> {
        let upstream = &self.upstream;
        let wanted = upstream.pool.warm;
        if wanted == 0 || !upstream.warms(server) {
            return None;
        }
        let mut warmth = self.stock.warmths[server].lock();
        let open = self.stock.counts[server].usable();
        let draw = fastrand::u32(0..=lifetime::WHOLE);
        for _ in 0..warmth.begin(open, wanted, now, draw) {
            let pool = Arc::clone(self);
            tokio::spawn(async move {
                // How it failed is told to who asks for health and ejection.
                let _ = pool.stock_up(server).await;
                pool.stock.warmths[server].lock().ended(clock::now());
                pool.stock.stirred.notify_one();
            });
        }
        warmth.due(open, wanted)
    }

    /// Let go of all idle connections, and keep none from now on: the end of
    /// a drain. Exchanges in flight run on, and later leases still work.
    pub fn close(&self) {
        self.stock.close();
        self.stock.stirred.notify_one();
    }

    /// Leave the connections to the pool that shares them.
    pub fn give_over(&self) {
        self.replaced.store(true, Relaxed);
        self.stock.stirred.notify_one();
    }

    /// Let go of connections to servers that are being drained: those that are
    /// idle close, the others when their exchanges are over. From any thread.
    pub fn let_go_of_drained(&self) {
        for (server, known) in self.upstream.servers.iter().enumerate() {
            if known.berth.gate() != Gate::Open {
                self.stock.forget(server, known.generation());
            }
        }
    }
}
