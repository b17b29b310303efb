//! Occasions for hooks: what they are told, and what they came to.
//!
//! Invariant: the receipt that is published first is as early as the drain's
//! end; it is replaced once when the last hooks have ended, if that says more.
//!
//! Deliberately absent: running hooks (see `process::hooks`).

use super::{Conductor, millis};
use crate::clock;
use crate::config::{Occasion, Word};
use crate::control::Inbox;
use crate::drain::Receipt;
use crate::process::hooks::{Bound, Hooks, News, Outcome};
use std::sync::Arc;

impl Conductor {
    /// Start the hooks of an occasion.
    pub(super) fn occasion(
        &mut self,
        on: Occasion,
        reload: Option<Outcome<'_>>,
        receipt: Option<&Receipt>,
    ) {
        if !self.hooks.any(on) {
            return;
        }
        let registry = &self.admin.registry;
        let records = registry.records();
        let listeners = self.posts.iter().map(|post| Bound {
            name: post.scope.listener().to_string(),
            address: post.address(),
        });
        let news = News {
            event: on.word(),
            at_unix_ms: millis(clock::unix()),
            pid: std::process::id(),
            phase: self.group.phase(),
            trigger: self.group.trigger(),
            listeners: listeners.collect(),
            connections: registry.open(),
            in_flight: records.iter().map(|one| u64::from(one.in_flight())).sum(),
            reload,
            receipt,
        };
        let news = news.json();
        self.hooks.run(on, &news);
    }
}

/// Publish the receipt anew if hooks have come to more than it says.
pub(super) fn amend(receipt: &mut Option<Arc<Receipt>>, hooks: &Hooks, inbox: &Inbox) -> bool {
    let Some(told) = receipt.as_ref() else {
        return false;
    };
    let ran = hooks.ran();
    if told.hooks == ran {
        return false;
    }
    let amended = Arc::new(Receipt {
        hooks: ran,
        ..Receipt::clone(told)
    });
    *receipt = Some(Arc::clone(&amended));
    inbox.publish_receipt(amended);
    true
}
