//! What a drain does where either choice is right, and the operator has it.
//!
//! Invariant: the defaults are what nobody notices: late requests are served,
//! and work may prove that it was not hopeless.
//!
//! Deliberately absent: times. Those are the plan's.

use serde::{Deserialize, Serialize};

/// What becomes of a request on a connection that was told to retire.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LateRequests {
    /// It is served: it raced the word.
    #[default]
    Serve,
    /// It is answered 503, or `grpc-status: 14`; health checks are served.
    Refuse,
}

/// What becomes of a request whose own deadline lies beyond the drain's.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hopeless {
    /// It may be done before its deadline: it has until the drain's.
    #[default]
    Wait,
    /// It gets its farewell as listeners refuse, so that its client can try
    /// elsewhere while there is time.
    End,
}
