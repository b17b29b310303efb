//! What the machine is told, and what it asks for.
//!
//! Events and actions are plain values without payload from the world: the
//! shell around the machine turns signals, timers and requests into events,
//! and actions into I/O. Both lists are complete: what is not in them, a drain
//! does not depend on or do.
//!
//! Deliberately absent: handles, channels, callbacks.

use super::phase::Phase;
use super::protocol::Protocol;
use super::stage::Stage;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What started a drain.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// SIGTERM.
    Sigterm,
    /// SIGINT.
    Sigint,
    /// The admin interface, and with it the command line.
    Api,
    /// A reload whose config has no place for it any more.
    Reload,
    /// A successor has its sockets, and serves.
    Handover,
    /// A server is not found any more where its upstream looks for servers.
    Discovery,
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 6] = [
        Self::Sigterm,
        Self::Sigint,
        Self::Api,
        Self::Reload,
        Self::Handover,
        Self::Discovery,
    ];

    /// The name used in logs and the admin interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sigterm => "sigterm",
            Self::Sigint => "sigint",
            Self::Api => "api",
            Self::Reload => "reload",
            Self::Handover => "handover",
            Self::Discovery => "discovery",
        }
    }

    /// What it was, in words for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Sigterm => "SIGTERM",
            Self::Sigint => "SIGINT",
            Self::Api => "the admin interface",
            Self::Reload => "a reload",
            Self::Handover => "a handover",
            Self::Discovery => "discovery",
        }
    }

    /// Whether somebody else goes on with the listening sockets: nothing is
    /// announced or refused then, and what is in flight has
    /// [`Plan::handover_finish`](super::Plan::handover_finish).
    #[must_use]
    pub const fn hands_over(self) -> bool {
        matches!(self, Self::Handover)
    }
}

/// What happened.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Event {
    /// Start-up got this far: Validating, Ready or Active. Other phases are
    /// the machine's own and do nothing here.
    Reached(Phase),
    /// Somebody asks for a drain. Repeats do nothing, but after a handover the
    /// first one puts an end to its patience: what is in flight has the times
    /// of the plan from then on. Before Active nothing has been accepted, and
    /// the machine terminates at once.
    Drain(Trigger),
    /// Somebody takes it back. Only while announcing.
    Cancel,
    /// Somebody gives work in flight this much more time, on top of the plan
    /// and of what was given before. Protocols whose deadline has come get
    /// nothing: their peers were told.
    Extend(Duration),
    /// Others are to be gone first: announce lasts until [`Event::Release`].
    /// Does nothing once refuse has begun.
    Hold,
    /// The others are gone.
    Release,
    /// Somebody wants everything cut at once (a second SIGINT); starts the
    /// drain if there is none.
    CutNow,
    /// Every listener has emptied its accept queue and closed.
    Refused,
    /// No listener and no connection is left. To be told while
    /// [`Machine::awaits_quiescence`](super::Machine::awaits_quiescence).
    Quiescent,
    /// Nothing; time passed.
    Elapsed,
}

/// What is to be done. Each comes at most once per drain.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Action {
    /// The phase has changed: publish, log, count, run hooks.
    EnterPhase(Phase),
    /// A stage has begun: log, run hooks.
    EnterStage(Stage),
    /// Say "not ready" to whoever asks.
    FailReadiness,
    /// Say "ready" again: the drain was cancelled, and its orders are void.
    RestoreReadiness,
    /// Empty the accept queues, close the listeners, then say
    /// [`Event::Refused`].
    Refuse,
    /// Connections begin to retire; the orders say when each does.
    Retire,
    /// The deadline of this protocol has come.
    Farewell(Protocol),
    /// Nothing of this protocol may be left.
    Cut(Protocol),
    /// It is over: close what is left, flush, exit.
    Terminate,
}

/// What to answer to whoever asked for something.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Answer {
    /// It will be done.
    Accepted,
    /// It was asked for before and is being done; asking again has no effect.
    Already,
    /// There is no drain to take back, or to extend.
    NotDraining,
    /// It cannot be done any more: the drain has passed refuse, or is over.
    TooLate,
    /// It is part of a drain of the process and cannot be taken back alone.
    OfProcess,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trigger_names_agree_with_serde() {
        for trigger in Trigger::ALL {
            let written = serde_json::to_string(&trigger).expect("a plain enum");
            assert_eq!(written, format!("\"{}\"", trigger.as_str()));
        }
    }
}
