//! FLOOR 3: the admin interface: look at the process, ask it for a drain.
//!
//! [`Admin`] answers HTTP/1.1 on its own listener, on the main runtime, away
//! from the workers that carry traffic. It reads the live table, the status
//! and the counters, and hands commands to the conductor through `control`.
//! `/openapi.json` describes all of it.
//!
//! Invariant: it outlives the drain that it reports: the listener is the last
//! to close, and responses in flight then have [`LAST_ANSWERS`] to end, so
//! that whoever waits for the receipt gets it.
//!
//! Deliberately absent: HTTP/2, and any decision. A command is done by
//! the conductor or refused by it.

mod accept;
mod api;
mod ask;
mod auth;
mod browser;
mod census;
mod doorman;
mod dump;
mod events;
mod guests;
mod listener;
mod logs;
mod metrics;
mod openapi;
mod page;
mod problem;
mod reserve;
mod serve;
mod servers;
pub mod view;

pub use doorman::Doorman;
pub use listener::{AdminHold, AdminListener, LentSocket};
pub use problem::Problem;
pub use serve::LAST_ANSWERS;

use crate::clock::{self, Rfc3339};
use crate::config::{AdminAddr, Config};
use crate::control::{Control, SourceStatus};
use crate::proxy::registry::Registry;
use crate::proxy::upstream::Upstream;
use crate::telemetry::metrics::Metrics;
use arc_swap::{ArcSwap, ArcSwapOption};
use events::Events;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Result of this floor.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the admin floor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The admin listener's socket could not be had.
    #[error("admin: cannot listen on {address}: {cause}")]
    Bind {
        /// The address asked for.
        address: AdminAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A socket that another bound listens elsewhere.
    #[error(
        "admin: the socket that was handed over does not listen on {address}; let both say the same"
    )]
    Lent {
        /// The address asked for.
        address: AdminAddr,
    },
}

/// What the admin interface shows and whom it asks.
#[derive(Debug)]
pub struct Admin {
    /// Where commands go, and where the status comes from.
    pub control: Control,
    /// The live table.
    pub registry: Arc<Registry>,
    upstreams: ArcSwap<Vec<Arc<Upstream>>>,
    sources: ArcSwap<Vec<Arc<SourceStatus>>>,
    /// The counters that a scrape reads.
    pub metrics: Arc<Metrics>,
    doorman: ArcSwap<Doorman>,
    config: ArcSwapOption<view::InForce>,
    /// Which process this is, whatever number it has.
    instance: String,
    events: Arc<Events>,
    /// Has a permit if `/metrics` was read after the drain.
    scraped: Notify,
}

impl Admin {
    /// An interface to these, for whom the doorman lets in; `/livez` and
    /// `/readyz` are answered to all.
    #[must_use]
    pub fn new(
        control: Control,
        registry: Arc<Registry>,
        upstreams: Vec<Arc<Upstream>>,
        metrics: Arc<Metrics>,
        doorman: Doorman,
    ) -> Arc<Self> {
        Arc::new(Self {
            control,
            registry,
            upstreams: ArcSwap::from_pointee(upstreams),
            sources: ArcSwap::default(),
            metrics,
            doorman: ArcSwap::from_pointee(doorman),
            config: ArcSwapOption::empty(),
            instance: format!("{:016x}", fastrand::u64(..)),
            events: Arc::default(),
            scraped: Notify::new(),
        })
    }

    /// Show these upstreams from now on, and how the sources of their servers get
    /// on.
    pub fn show(&self, upstreams: Vec<Arc<Upstream>>, sources: Vec<Arc<SourceStatus>>) {
        self.upstreams.store(Arc::new(upstreams));
        self.sources.store(Arc::new(sources));
    }

    /// Have another doorman from now on.
    pub fn guarded_by(&self, doorman: Doorman) {
        let before = self.doorman.swap(Arc::new(doorman));
        if !self.doorman.load().admits_like(&before) {
            self.events.dismiss();
        }
    }

    /// Show this config as the one in force from now on.
    pub fn runs_by(&self, config: &Config) {
        let before = self.config.load().as_ref().map_or(0, |one| one.generation);
        self.config.store(Some(Arc::new(view::InForce {
            generation: before + 1,
            since: Rfc3339(clock::unix()).to_string(),
            source: config.source.display().to_string(),
            config: config.shown.as_ref().clone(),
        })));
    }

    /// Wait until `/metrics` is read when the drain is over, for so long at
    /// most.
    pub async fn linger(&self, time: Duration) {
        if !time.is_zero() {
            // Time passed or somebody came, the process may go.
            let _ = timeout(time, self.scraped.notified()).await;
        }
    }
}

#[cfg(test)]
mod tests;
