//! The drain of one server: how it is asked for, and how far it is.
//!
//! Invariant: as for every command, the status that it led to is published
//! before it is answered.
//!
//! Deliberately absent: what is in flight, which the live table knows.

use super::Position;
use crate::drain::Receipt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A server, by its names in the config.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServerName {
    /// Its upstream.
    pub upstream: String,
    /// The server, as it is written there.
    pub server: String,
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.upstream, self.server)
    }
}

/// What can be asked of a server.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum ServerWish {
    /// Drain it; asked again, it changes nothing.
    Drain {
        /// What exchanges have to finish; the plan's times if it is not given.
        finish: Option<Duration>,
    },
    /// Give it exchanges again, whether its drain is over or not.
    TakeBack,
}

/// Why a wish was not carried out. Nothing was changed then.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum ServerRefusal {
    /// There is no such server.
    #[error("{0}")]
    Unknown(String),
    /// It is being drained by another time.
    #[error(
        "this server is being drained already, and its exchanges were given another time; \
         take that drain back first (DELETE), or leave `finish` out to join it"
    )]
    OtherTime,
    /// A reload took it out of the config.
    #[error("this server is in no config any more; put it back there and reload")]
    Removed,
    /// Nothing is served any more.
    #[error("the process has drained")]
    Terminated,
}

/// A wish that waits for its answer.
#[derive(Debug)]
pub struct ServerAsked {
    /// Of which server.
    pub name: ServerName,
    /// What.
    pub wish: ServerWish,
    answer: oneshot::Sender<Result<(), ServerRefusal>>,
}

impl ServerAsked {
    pub(super) const fn new(
        name: ServerName,
        wish: ServerWish,
        answer: oneshot::Sender<Result<(), ServerRefusal>>,
    ) -> Self {
        Self { name, wish, answer }
    }

    /// Answer it. The status that it led to is published before.
    pub fn answer(self, verdict: Result<(), ServerRefusal>) {
        // Who asked may have left: what was done holds all the same.
        let _ = self.answer.send(verdict);
    }
}

/// A server that is being drained, or has been and was not taken back.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerStatus {
    /// Which.
    pub name: ServerName,
    /// How far its drain is.
    pub position: Position,
    /// Whether it was asked back, and some who were told are awaited.
    pub returns: bool,
    /// Whether a reload took it out of the config.
    pub removed: bool,
    /// What its drain did, once that is over.
    pub receipt: Option<Arc<Receipt>>,
}
