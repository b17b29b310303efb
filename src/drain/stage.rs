//! The stages of a drain, and when each was.
//!
//! Stages begin in their order and never again within one drain. They may
//! overlap at the end: protocols have deadlines of their own, so farewell
//! begins with the first of them while finish lasts until the last.
//!
//! Deliberately absent: what a stage does. See `machine` for what begins it
//! and `orders` for what connections make of it.

use super::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One step of the timeline.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Stage {
    /// Readiness fails, everything is still served.
    Announce,
    /// Listeners empty their queues and close.
    Refuse,
    /// Connections are told to take no more requests.
    Retire,
    /// Work in flight runs on to its deadline.
    Finish,
    /// Work past its deadline is ended in its own protocol.
    Farewell,
    /// What did not leave is closed by force.
    Cut,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 6] = [
        Self::Announce,
        Self::Refuse,
        Self::Retire,
        Self::Finish,
        Self::Farewell,
        Self::Cut,
    ];

    /// The name used in logs, hooks and the admin interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Refuse => "refuse",
            Self::Retire => "retire",
            Self::Finish => "finish",
            Self::Farewell => "farewell",
            Self::Cut => "cut",
        }
    }

    /// What happens in it, in words for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Announce => "not ready any more, still serving everybody",
            Self::Refuse => "accept queues emptied and served, listeners closed",
            Self::Retire => "connections told to take no more requests",
            Self::Finish => "work in flight ran on",
            Self::Farewell => "work past its deadline ended in its own protocol",
            Self::Cut => "what had not left was closed by force",
        }
    }
}

/// When a stage was.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct StageSpan {
    /// Which.
    pub stage: Stage,
    /// Its beginning.
    pub began: Timestamp,
    /// Its end; none while it lasts.
    pub ended: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_stand_in_their_order_under_their_names() {
        assert!(Stage::ALL.is_sorted());
        for stage in Stage::ALL {
            let written = serde_json::to_string(&stage).expect("a plain enum");
            assert_eq!(written, format!("\"{}\"", stage.as_str()));
        }
    }
}
