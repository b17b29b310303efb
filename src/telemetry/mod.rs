//! FLOOR 1: what the process tells about itself: metrics, logs and traces.
//!
//! They are written to from anywhere and read by others: metrics by a scrape,
//! logs by whoever keeps them, traces by a collector. None decides anything.
//!
//! Invariant: telling costs the way of the data no lock and no allocation; a
//! log line that would not be written is not put together either.
//!
//! Deliberately absent: gauges over what is alive. They are read off the live
//! table at the scrape (see the admin floor), since a count that is kept twice
//! is a count that disagrees.

mod burst;
pub mod logs;
pub mod metrics;
pub mod traces;

pub use burst::Burst;

/// An error of telemetry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log file could not be opened.
    #[error(
        "cannot log to {}: {cause}; let the user that runs ebbtide write there, or name another \
         `file` in `[process.logs]`",
        path.display()
    )]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The log file could not be opened anew.
    #[error("cannot open {} anew: {cause}; lines go on to the old file", path.display())]
    Reopen {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The standard stream could not be had; most likely it is closed.
    #[error(
        "cannot log to the standard stream: {0}; open it, or name a `file` in `[process.logs]`"
    )]
    Stream(std::io::Error),
    /// The thread that writes could not be started.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(std::io::Error),
    /// The filter of the log level was not understood.
    #[error("log level {level:?} is not a filter: {reason}")]
    Level {
        /// The filter as written.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
}
