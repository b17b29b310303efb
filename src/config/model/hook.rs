//! Hooks, checked.
//!
//! Purpose: what runs when a drain reaches a stage, or a reload is done.
//!
//! Invariant: see the module above; a hook does exactly one thing, in a
//! bounded time.
//!
//! Deliberately absent: running it.

use super::super::words::Word;
use crate::drain::{Plan, Stage};
use http::{HeaderName, HeaderValue, Method, Uri};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What runs at an occasion, and for how long.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hook {
    /// What starts it.
    pub on: Occasion,
    /// What runs.
    pub run: HookRun,
    /// How long it may take before it counts as failed; never zero.
    pub timeout: Duration,
}

/// What can start a hook.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Occasion {
    /// A drain of the process reaches this stage.
    Stage(Stage),
    /// Such a drain is taken back.
    Cancelled,
    /// Such a drain is over; the process is about to exit.
    Terminated,
    /// A reload has been carried out or refused.
    Reload,
}

impl Occasion {
    /// When it has come at the latest, from the beginning of a drain that takes
    /// `total` by this plan; `None` if it is no part of one.
    pub(in crate::config) fn latest(self, plan: &Plan, total: Duration) -> Option<Duration> {
        match self {
            Self::Stage(Stage::Announce) => Some(Duration::ZERO),
            Self::Stage(Stage::Refuse | Stage::Retire | Stage::Finish) => Some(plan.announce),
            Self::Stage(Stage::Farewell) => Some(total.saturating_sub(plan.farewell)),
            Self::Stage(Stage::Cut) | Self::Terminated => Some(total),
            Self::Cancelled | Self::Reload => None,
        }
    }
}

impl Word for Occasion {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("announce", Self::Stage(Stage::Announce)),
        ("cancelled", Self::Cancelled),
        ("refuse", Self::Stage(Stage::Refuse)),
        ("retire", Self::Stage(Stage::Retire)),
        ("finish", Self::Stage(Stage::Finish)),
        ("farewell", Self::Stage(Stage::Farewell)),
        ("cut", Self::Stage(Stage::Cut)),
        ("terminated", Self::Terminated),
        ("reload", Self::Reload),
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
        /// Further fields of the request; their values are not shown.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// What is sent; `None` sends what has happened, as JSON.
        body: Option<String>,
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
            Self::Http { method, url, .. } => write!(f, "{method} {url}"),
            Self::File { path, .. } => write!(f, "write {}", path.display()),
        }
    }
}
