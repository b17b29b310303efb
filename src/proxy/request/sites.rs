//! The site of a listener as it is now: what a reload changes in one step.
//!
//! Each connection holds on to [`Sites`] and looks there once per request, so
//! that a request is served by one site from its head to its end, and the next
//! one by the new site if there is one by then. Nothing is locked, and nobody
//! waits but who wants to hear of a change.
//!
//! Deliberately absent: what changed.

use super::route::Site;
use arc_swap::{ArcSwap, Guard};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// One listener, as one worker sees it, now and after reloads.
#[derive(Debug)]
pub struct Sites {
    site: ArcSwap<Site>,
    replaced: Notify,
    /// Itself: each site knows where the next one will be found.
    home: Weak<Self>,
}

impl Sites {
    /// Begin with this site.
    #[must_use]
    pub fn new(site: Site) -> Arc<Self> {
        Arc::new_cyclic(|home| Self {
            site: ArcSwap::from_pointee(site.at(Weak::clone(home))),
            replaced: Notify::new(),
            home: Weak::clone(home),
        })
    }

    /// The site, to be kept for a request.
    pub fn now(&self) -> Arc<Site> {
        self.site.load_full()
    }

    /// The site, for a look that is over at once.
    pub(in crate::proxy) fn look(&self) -> Guard<Arc<Site>> {
        self.site.load()
    }

    /// Let requests to come be served by this one.
    pub fn replace(&self, site: Site) {
        self.site.store(Arc::new(site.at(Weak::clone(&self.home))));
        self.replaced.notify_waiters();
    }

    /// Wait until there is another site than this one.
    pub(super) async fn other_than(&self, known: &Arc<Site>) {
        loop {
            let replaced = self.replaced.notified();
            tokio::pin!(replaced);
            // Enlisted before the look, or a change between the two is lost.
            replaced.as_mut().enable();
            if !Arc::ptr_eq(&self.now(), known) {
                return;
            }
            replaced.await;
        }
    }
}
