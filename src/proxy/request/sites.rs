//! The site of a listener as it is now: what a reload changes in one step.
//!
//! Each connection holds on to [`Sites`] and looks there once per request, so
//! that a request is served by one site from its head to its end, and the next
//! one by the new site if there is one by then. Nobody waits, and nothing is
//! locked.
//!
//! Deliberately absent: what changed.

use super::route::Site;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// One listener, as one worker sees it, now and after reloads.
#[derive(Debug)]
pub struct Sites(ArcSwap<Site>);

impl Sites {
    /// Begin with this site.
    #[must_use]
    pub fn new(site: Site) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(site)))
    }

    /// The site, to be kept for a request.
    pub fn now(&self) -> Arc<Site> {
        self.0.load_full()
    }

    /// The site, for a look that is over at once.
    pub(in crate::proxy) fn look(&self) -> Guard<Arc<Site>> {
        self.0.load()
    }

    /// Let requests to come be served by this one.
    pub fn replace(&self, site: Site) {
        self.0.store(Arc::new(site));
    }
}
