//! The books of the storm's clients: what each began, and how it ended.
//!
//! A drain must not be judged by its own receipt alone, so the other side of
//! the wire keeps an account too: every exchange that a client begins ends as
//! finished, as told (in the words of its protocol), or as lost, with the time.
//!
//! Invariant: what is dropped without an end is lost. Deliberately absent:
//! knowing whether an end was in order; that is the judge's business.

use ebbtide::drain::Protocol;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How an exchange ended, in the eyes of its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it would have without a drain.
    Finished,
    /// Early, and the client was told so; what it was told.
    Told(String),
    /// In a way that a client cannot take for an answer; what it saw.
    Lost(String),
}

/// One exchange, or (without a protocol) one half-open connection.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What kind of client it was.
    pub(crate) kind: &'static str,
    pub(crate) protocol: Option<Protocol>,
    /// The port of its connection, by which the proxy's log knows it.
    pub(crate) port: u16,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) end: End,
}

/// The account of all clients of one drain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books(Arc<Mutex<Vec<Entry>>>);

impl Books {
    /// A client begins something on the connection from `port`.
    pub(crate) fn begin(
        &self,
        kind: &'static str,
        protocol: Option<Protocol>,
        port: u16,
    ) -> Operation {
        Operation {
            books: self.clone(),
            kind,
            protocol,
            port,
            began: Instant::now(),
            end: End::Lost("never ended".to_owned()),
        }
    }

    /// Everything that has ended so far.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Something begun and not yet ended.
#[derive(Debug)]
pub(crate) struct Operation {
    books: Books,
    kind: &'static str,
    protocol: Option<Protocol>,
    port: u16,
    began: Instant,
    end: End,
}

impl Operation {
    /// It ended; an error is a loss.
    pub(crate) fn end(mut self, end: Result<End, String>) {
        self.end = end.unwrap_or_else(End::Lost);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let entry = Entry {
            kind: self.kind,
            protocol: self.protocol,
            port: self.port,
            began: self.began,
            ended: Instant::now(),
            end: self.end.clone(),
        };
        let mut entries = self.books.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
    }
}
