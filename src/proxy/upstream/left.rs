//! Servers that an upstream has no more, while something is left of them.
//!
//! Purpose: one that is found again while it drains is the same server: what was
//! known of it, its health above all, is known again. Without that one that is
//! down and comes and goes in answers of DNS would be given exchanges each time.
//!
//! Invariant: nothing is kept of who has nothing in flight and is forgotten by its
//! drain.
//!
//! Deliberately absent: the drain, and taking it back.

use super::Upstream;
use super::standing::Standing;
use crate::config;
use crate::proxy::registry::Berth;
use std::sync::{Arc, Weak};

/// Those servers.
#[derive(Debug, Default)]
pub(super) struct Left(Vec<(Weak<Berth>, Arc<Standing>)>);

impl Left {
    /// Those that `before` had, or had had, and that this config does not have.
    pub(super) fn of(before: &Upstream, config: &config::Upstream) -> Self {
        let kept = |berth: &Berth| {
            let mut servers = config.servers.iter();
            servers.any(|server| server.name == *berth.server())
        };
        let own = before.servers.iter();
        let own = own.map(|server| (Arc::downgrade(&server.berth), &server.standing));
        let earlier = before.left.0.iter();
        let earlier = earlier.map(|(berth, standing)| (Weak::clone(berth), standing));
        let all = own.chain(earlier);
        let left = all.filter(|(berth, _)| berth.upgrade().is_some_and(|berth| !kept(&berth)));
        Self(
            left.map(|(berth, standing)| (berth, Arc::clone(standing)))
                .collect(),
        )
    }

    /// How the server with this berth stood.
    pub(super) fn standing(&self, berth: &Arc<Berth>) -> Option<Arc<Standing>> {
        let mut left = self.0.iter();
        let found = left.find(|(one, _)| std::ptr::eq(one.as_ptr(), Arc::as_ptr(berth)));
        found.map(|(_, standing)| Arc::clone(standing))
    }
}
