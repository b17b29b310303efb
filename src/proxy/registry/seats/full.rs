//! Why an exchange found no room at its upstream.
//!
//! Invariant: a fixed list, each named by the key of the config that acts.
//!
//! Deliberately absent: what a client is told beside the name.

/// What had no room left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// The part of the process's room that one upstream may take up.
    Share,
    /// As many were in flight as may be, and nobody may wait.
    Requests,
    /// As many waited as may.
    Queue,
    /// It had waited for as long as one may.
    QueueTime,
}

impl Full {
    /// Every reason; the position is `full as usize`.
    pub const ALL: [Self; 4] = [Self::Share, Self::Requests, Self::Queue, Self::QueueTime];

    /// The name used in metrics, and told to clients.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Requests => "requests",
            Self::Queue => "queue",
            Self::QueueTime => "queue_time",
        }
    }
}
