//! The trace of a drain while that is under way.
//!
//! Whoever is ended by the drain points to it, and it points back to the first
//! of them. The drain itself becomes spans when its receipt is known.
//!
//! Invariant: what is kept is bounded, whatever a drain ends.
//!
//! Deliberately absent: when its stages were, which the receipt says.

use super::context::Ids;
use super::{Span, begun};
use parking_lot::Mutex;
use std::sync::Arc;

/// Exchanges that a drain points to; the rest is counted.
const LINKS: usize = 128;

/// A drain that is recorded.
#[derive(Debug)]
pub struct DrainTrace {
    ids: Ids,
    ended: Mutex<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    kept: Vec<Ids>,
    more: u64,
}

impl DrainTrace {
    /// A drain begins; each is recorded, whatever part of the exchanges is.
    #[must_use]
    pub fn begin() -> Arc<Self> {
        Arc::new(Self {
            ids: begun(fastrand::u64(1..)).ids,
            ended: Mutex::default(),
        })
    }

    /// The names of its first span.
    #[must_use]
    pub const fn ids(&self) -> Ids {
        self.ids
    }

    /// It has ended this exchange.
    pub fn ends(&self, exchange: Ids) {
        let mut ended = self.ended.lock();
        if ended.kept.len() < LINKS {
            ended.kept.push(exchange);
        } else {
            ended.more += 1;
        }
    }

    /// Point to what it ended.
    pub fn link(&self, span: &mut Span) {
        let ended = self.ended.lock();
        for exchange in &ended.kept {
            span.link(*exchange, "ended");
        }
        span.links_left_out(ended.more);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn links_are_bounded_and_the_rest_is_counted() {
        let drain = DrainTrace::begin();
        for _ in 0..LINKS + 5 {
            drain.ends(begun(7).ids);
        }
        let time = std::time::Duration::ZERO;
        let mut span = Span::new(drain.ids(), Kind::Internal, "drain", (time, time));
        drain.link(&mut span);
        assert_eq!((span.0.links.len(), span.0.dropped_links_count), (LINKS, 5));
    }
}
