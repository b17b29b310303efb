//! Whether new connections were held off while listeners closed.
//!
//! A word for the receipt: where the kernel did not take the filter, a client
//! may have been lost without a trace in the books, which begin at the accept.

use serde::{Deserialize, Serialize};

/// What became of the filter on the listening sockets; of several, the worst.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcceptFilter {
    /// Every listening socket had it before the first one closed.
    Attached,
    /// The sockets stay open with another (systemd), so there was none: who
    /// comes waits for the next process.
    LeftOpen,
    /// The kernel did not take it, on one socket at least.
    Unavailable,
}
