//! What became of the hooks that a drain started: for its receipt.
//!
//! Deliberately absent: running them.

use super::time::millis::in_millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a hook ended.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEnd {
    /// It has not yet.
    Running,
    /// Well.
    Done,
    /// It did not do what it should.
    Failed,
    /// Its time was over; a program was ended.
    Timeout,
    /// An operator cut the drain, and it with it.
    Abandoned,
}

impl HookEnd {
    /// The name used in receipts, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Abandoned => "abandoned",
        }
    }
}

/// One hook of a drain.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HookRan {
    /// What started it: a stage, or the drain's end.
    pub on: String,
    /// What it does, on one line.
    pub run: String,
    /// When it began.
    pub at_ms: f64,
    /// How long it took; none while it runs.
    pub took_ms: Option<f64>,
    /// How it ended.
    pub end: HookEnd,
    /// What went wrong, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl HookRan {
    /// One that begins so long after the drain did.
    #[must_use]
    pub fn begins(on: &str, run: String, after: Duration) -> Self {
        Self {
            on: on.to_owned(),
            run,
            at_ms: in_millis(after),
            took_ms: None,
            end: HookEnd::Running,
            error: None,
        }
    }

    /// It ended so after this time.
    pub fn ends(&mut self, took: Duration, end: HookEnd, error: Option<String>) {
        self.took_ms = Some(in_millis(took));
        self.end = end;
        self.error = error;
    }

    /// It runs no more, if it still did.
    pub fn is_abandoned(&mut self) {
        if self.end == HookEnd::Running {
            self.end = HookEnd::Abandoned;
        }
    }
}
