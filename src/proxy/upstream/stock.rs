//! What one worker has of one upstream: its connections, and the dials under way.
//!
//! Purpose: what a reload hands on from one pool to the next, if servers are still
//! connected to in the same way.
//!
//! Invariant: once it is closed, nothing is kept in it.
//!
//! Deliberately absent: what is kept and for how long: that is the policy of the
//! pool that asks.

use super::Upstream;
use super::connections::{Count, Idles};
use super::fleet::Fleet;
use super::idle::Idle;
use super::lifetime::Closed;
use super::warm::Warmth;
use crate::proxy::registry::{Mooring, Row};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Notify;

/// The connections of one worker to one upstream.
pub(super) struct Stock {
    pub(super) idle: Idle,
    pub(super) fleets: Box<[Fleet]>,
    /// With `http = "auto"`: whether each server chose HTTP/1.1 last.
    pub(super) chose_http1: Box<[AtomicBool]>,
    /// This worker's hold on each server's berth.
    pub(super) moorings: Box<[Arc<Mooring>]>,
    /// And on the upstream's seats.
    pub(super) row: Arc<Row>,
    pub(super) counts: Box<[Arc<Count>]>,
    pub(super) warmths: Box<[Mutex<Warmth>]>,
    /// Told when there is something to tend.
    pub(super) stirred: Arc<Notify>,
}

impl Stock {
    pub(super) fn new(upstream: &Upstream) -> Arc<Self> {
        let servers = upstream.servers.len();
        let berths = upstream.servers.iter().map(|server| &server.berth);
        let stirred = Arc::new(Notify::new());
        let count = || Count::new(&upstream.connections, &stirred);
        let streams = upstream.pool.streams;
        let stock = Arc::new(Self {
            idle: Idle::new(servers),
            fleets: (0..servers).map(|_| Fleet::new(streams)).collect(),
            chose_http1: (0..servers).map(|_| AtomicBool::new(false)).collect(),
            moorings: berths.map(Mooring::new).collect(),
            row: Row::new(&upstream.seats),
            counts: (0..servers).map(|_| count()).collect(),
            warmths: (0..servers).map(|_| Mutex::default()).collect(),
            stirred: Arc::clone(&stirred),
        });
        let idles: Arc<dyn Idles> = Arc::<Self>::clone(&stock);
        upstream.connections.enter(Arc::downgrade(&idles));
        stock
    }

    /// Let go of connections to a server that are of an earlier generation: those
    /// that are idle close, the others when their exchanges are over.
    pub(super) fn forget(&self, server: usize, generation: u32) {
        self.idle.forget(number(server), generation);
        self.fleets[server].forget(generation);
    }

    /// Let go of everything, and keep nothing from now on.
    pub(super) fn close(&self) {
        self.idle.close();
        for fleet in &self.fleets {
            fleet.clear(Closed::Drain);
        }
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        self.close();
    }
}

impl Idles for Stock {
    fn idle(&self) -> usize {
        let shared = self.fleets.iter().map(Fleet::idle);
        self.idle.len() + shared.sum::<usize>()
    }
}

/// A server's index as leases and keys have it.
pub(super) fn number(server: usize) -> u32 {
    u32::try_from(server).unwrap_or(u32::MAX)
}
