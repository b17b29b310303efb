//! For whom a server is connected to.
//!
//! Purpose: who the client is, where servers are told, and where it is noted
//! which servers were tried in vain, where somebody wants to know.
//!
//! Deliberately absent: the request.

use crate::clock;
use crate::drain::Timestamp;
use crate::proxy::error::Error;
use crate::proxy::registry::{Ends, Notes};
use std::sync::Arc;

/// For whom a server is connected to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whose<'a> {
    pub(super) client: Option<&'a Ends>,
    notes: Option<&'a Notes>,
}

impl<'a> Whose<'a> {
    /// For this client's exchange, of which notes may be taken.
    #[must_use]
    pub fn noted(client: Option<&'a Ends>, notes: Option<&'a Notes>) -> Self {
        let notes = notes.filter(|notes| notes.is_traced());
        Self { client, notes }
    }

    /// When a try begins, if anybody wants to know.
    pub(super) fn since(self) -> Option<Timestamp> {
        self.notes.map(|_| clock::now())
    }

    /// Note that a server could not be connected to, and pass the reason on.
    pub(super) fn unreachable(
        self,
        server: &Arc<str>,
        since: Option<Timestamp>,
        error: Error,
    ) -> Error {
        if let (Some(notes), Some(since)) = (self.notes, since) {
            notes.unreachable(server, since, error.kind());
        }
        error
    }
}

impl<'a> From<Option<&'a Ends>> for Whose<'a> {
    fn from(client: Option<&'a Ends>) -> Self {
        Self {
            client,
            notes: None,
        }
    }
}
