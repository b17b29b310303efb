//! Hooks, checked.
//!
//! Purpose: what runs when a drain reaches a stage.
//!
//! Invariant: see the module above; a hook does exactly one thing, in a
//! bounded time.
//!
//! Deliberately absent: running it.

use super::super::words::Word;
use crate::drain::{Plan, Stage};
use http::{Method, Uri};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What runs when a drain reaches a stage.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hook {
    /// The stage that starts it.
    pub on: Stage,
    /// What runs.
    pub run: HookRun,
    /// How long it may take before it counts as failed; never zero.
    pub timeout: Duration,
}

impl Stage {
    /// When it has begun at the latest, from the beginning of a drain that
    /// takes `total` by this plan.
    #[must_use]
    pub(in crate::config) fn latest(self, plan: &Plan, total: Duration) -> Duration {
        match self {
            Self::Announce => Duration::ZERO,
            Self::Refuse | Self::Retire | Self::Finish => plan.announce,
            Self::Farewell => total.saturating_sub(plan.farewell),
            Self::Cut => total,
        }
    }
}

impl Word for Stage {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("announce", Self::Announce),
        ("refuse", Self::Refuse),
        ("retire", Self::Retire),
        ("finish", Self::Finish),
        ("farewell", Self::Farewell),
        ("cut", Self::Cut),
    ];
}

/// What a hook runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HookRun {
    /// A program, without a shell.
    Exec {
        /// The program, then its arguments; never empty. A program named by
        /// a relative path has been resolved, a bare name is for `PATH`.
        command: Vec<String>,
    },
    /// An HTTP/1.1 request in clear text; any 2xx is success.
    Http {
        /// The request's method.
        method: Method,
        /// An absolute `http` URL.
        url: Uri,
    },
    /// A file that is written.
    File {
        /// Where; a relative path has been resolved.
        path: PathBuf,
        /// What is written; `None` writes an empty file.
        content: Option<String>,
    },
}

/// What it does, on one line; without arguments and content, which may be
/// nobody else's business.
impl fmt::Display for HookRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec { command } => write!(f, "exec {}", command[0]),
            Self::Http { method, url } => write!(f, "{method} {url}"),
            Self::File { path, .. } => write!(f, "write {}", path.display()),
        }
    }
}
