//! The log, as it is asked for: at which level, where to, and opened anew.
//!
//! Invariant: a level that is not understood changes nothing.
//!
//! Deliberately absent: a way to write a level to the config. What is set here
//! is for the next quarter of an hour; a reload ends it.

use super::Admin;
use super::ask::level_in;
use super::problem::Problem;
use super::view::Logs;
use crate::config;
use crate::telemetry::{Error, logs};
use http::StatusCode;
use std::time::Duration;
use tokio::time::timeout;

/// How long to wait for the file: it is opened behind the line that is being
/// written, and a disk may hang.
const REOPEN: Duration = Duration::from_secs(5);

impl Admin {
    /// The log as it is now.
    pub(super) fn logs_view() -> Result<Logs, Problem> {
        let log = logs::state().ok_or_else(|| {
            Problem::conflict("this process runs inside another program, which has the log")
        })?;
        Ok(Logs {
            level: log.levels.in_force,
            configured: log.levels.configured,
            file: log.path.map(|path| path.display().to_string()),
            access: log.access.map(|path| path.display().to_string()),
            lost: log.lost,
        })
    }

    /// Log at the level that a body names.
    pub(super) fn set_level(body: &[u8]) -> Result<Logs, Problem> {
        let level = level_in(body)?;
        config::level(&level)
            .map_err(|what| Problem::bad_request(format!("`level`: {what}; nothing was done")))?;
        let before = Self::logs_view()?;
        let before = before.level;
        let say = || {
            let why = "by the admin interface, until the next reload";
            tracing::warn!(event = "log_level", level, before, "{why}");
        };
        // By whichever of the two levels lets it through: who reads the log
        // must know why it changes.
        let said = tracing::enabled!(tracing::Level::WARN);
        if said {
            say();
        }
        logs::set_level(&level).map_err(|error| Problem::bad_request(error.to_string()))?;
        if !said {
            say();
        }
        Self::logs_view()
    }

    /// Open the log file anew.
    pub(super) async fn reopen_logs() -> Result<Logs, Problem> {
        let before = Self::logs_view()?;
        if before.file.is_none() && before.access.is_none() {
            let detail = "logs go to a stream, which has nothing to be opened anew";
            return Err(Problem::conflict(detail));
        }
        let opened = timeout(REOPEN, logs::reopen()).await;
        let late = |_| Problem::unavailable("the log file takes too long; it is tried on");
        let failed =
            |error: Error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
        let paths = opened.map_err(late)?.map_err(failed)?;
        tracing::info!(event = "logs_reopened", ?paths);
        Self::logs_view()
    }
}
