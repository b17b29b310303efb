//! The log, as the admin interface shows it.
//!
//! Invariant: as in the module above. Absent: any line of it.

use serde::{Deserialize, Serialize};

/// Where the log goes, and at which level.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Logs {
    /// The level in force: `info`, or pairs such as `info,ebbtide::proxy=debug`.
    pub level: String,
    /// The level that the config asks for; the next reload brings it back.
    pub configured: String,
    /// The file; none if the log goes to a stream.
    pub file: Option<String>,
    /// The access log's own file, if it has one.
    pub access: Option<String>,
    /// Lines that could not be written since the process began.
    pub lost: u64,
}
