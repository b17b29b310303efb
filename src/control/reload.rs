//! A reload: how it is asked for, and what is answered.
//!
//! Invariant: who is answered with an error knows that nothing was changed.
//!
//! Deliberately absent: doing it.

use super::ServerName;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// A reload that was asked for.
#[derive(Debug)]
pub struct Reload {
    /// Only say what it would do.
    pub dry_run: bool,
    /// Who waits for the answer; nobody, if a signal asked.
    answer: Option<oneshot::Sender<Result<Reloaded, NotReloaded>>>,
}

impl Reload {
    /// Asked for by somebody who does not wait.
    #[must_use]
    pub const fn by_signal() -> Self {
        Self {
            dry_run: false,
            answer: None,
        }
    }

    /// Asked for by somebody who waits.
    pub(super) const fn awaited(
        dry_run: bool,
        answer: oneshot::Sender<Result<Reloaded, NotReloaded>>,
    ) -> Self {
        Self {
            dry_run,
            answer: Some(answer),
        }
    }

    /// Whether somebody waits for the answer.
    #[must_use]
    pub const fn is_awaited(&self) -> bool {
        self.answer.is_some()
    }

    /// Answer it.
    pub fn answer(self, verdict: Result<Reloaded, NotReloaded>) {
        if let Some(answer) = self.answer {
            // Who asked may have left: what was done is done all the same.
            let _ = answer.send(verdict);
        }
    }
}

/// What a reload did, or would do.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether it was done; not, if it was only to be told, or nothing is to
    /// be done.
    pub applied: bool,
    /// A line for each change, in words.
    pub changes: Vec<String>,
    /// Connections that it leaves alone.
    pub untouched: u64,
    /// Listeners that are being drained by it.
    pub drains: Vec<String>,
    /// Servers that are being drained by it.
    #[serde(default)]
    pub servers: Vec<ServerName>,
}

/// Why nothing was changed.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum NotReloaded {
    /// The process is draining.
    #[error("the process is draining; a reload is refused")]
    Draining,
    /// Somebody is about to take over.
    #[error("{0}")]
    Handover(String),
    /// The config is wrong: its report.
    #[error("{0}")]
    Config(String),
    /// It asks for what only a new process can have.
    #[error("{0}")]
    Fixed(String),
    /// What it asks for could not be had.
    #[error("{0}")]
    Failed(String),
}

impl NotReloaded {
    /// The name used in metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Draining | Self::Handover(_) | Self::Fixed(_) => "refused",
            Self::Config(_) => "invalid",
            Self::Failed(_) => "failed",
        }
    }
}
