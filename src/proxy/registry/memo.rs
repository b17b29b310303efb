//! What is remembered of an exchange for whoever is told of it at its end: the
//! access log, and traces.
//!
//! Invariant: an exchange that neither wants has no memo, and costs nothing
//! here. What grows with tries at servers is bounded.
//!
//! Deliberately absent: what is made of it (see `access` and `traced`).

use super::access::AccessLog;
use super::record::Record;
use super::traced::Attempts;
use crate::clock;
use crate::drain::{Outcome, Protocol, Timestamp};
use crate::telemetry::metrics::RouteMetrics;
use crate::telemetry::traces::{Begun, Tracer};
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What was asked.
#[derive(Debug)]
pub struct Asked {
    pub(super) method: Method,
    pub(super) host: Box<str>,
    pub(super) uri: Uri,
    pub(super) agent: Option<HeaderValue>,
    pub(super) secure: bool,
    /// In the order of the log's own list.
    pub(super) fields: Box<[Option<HeaderValue>]>,
}

impl Asked {
    /// What will be told of a request to this host, by whom it is told.
    #[must_use]
    pub fn of(head: &Parts, host: &str, secure: bool, log: Option<&AccessLog>) -> Self {
        Self {
            method: head.method.clone(),
            host: host.into(),
            uri: head.uri.clone(),
            agent: head.headers.get(USER_AGENT).cloned(),
            secure,
            fields: log.map_or_else(Box::default, |log| log.fields(&head.headers)),
        }
    }
}

/// What is found out on the way of an exchange to its server.
#[derive(Debug, Default)]
pub struct Notes {
    received: AtomicU64,
    way: Mutex<Way>,
    /// Each try, where a trace has a span for it.
    pub(super) attempts: Option<Mutex<Attempts>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    pub(super) server: Option<Arc<str>>,
    pub(super) tries: u64,
    asked: Option<Timestamp>,
    pub(super) took: Option<Duration>,
}

/// One of several tries that are under way at the same time.
#[derive(Clone, Debug)]
pub struct Ask {
    way: Way,
    attempt: Option<usize>,
}

impl Notes {
    /// So many bytes of the request's body came.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// It goes to this server now, by a head with these fields; they name the
    /// span that asks, if there is one.
    pub fn asks(&self, server: &Arc<str>, fields: Option<&mut HeaderMap>) {
        let now = clock::now();
        let mut way = self.way.lock();
        way.server = Some(Arc::clone(server));
        way.tries += 1;
        way.asked = Some(now);
        way.took = None;
        drop(way);
        if let Some(attempts) = &self.attempts {
            attempts.lock().begin(server, now, fields);
        }
    }

    /// The try that was begun last, to come back to.
    #[must_use]
    pub fn last(&self) -> Ask {
        let attempts = self.attempts.as_ref();
        Ask {
            way: self.way(),
            attempt: attempts.and_then(|attempts| attempts.lock().current()),
        }
    }

    /// What is noted from now on is of this try again, while another one is over.
    pub fn back_to(&self, ask: &Ask) {
        let mut way = self.way.lock();
        way.server.clone_from(&ask.way.server);
        way.asked = ask.way.asked;
        way.took = ask.way.took;
        drop(way);
        if let Some(attempts) = &self.attempts {
            attempts.lock().back_to(ask.attempt);
        }
    }

    /// The server's response has begun.
    pub fn answered(&self, code: u16) {
        let now = clock::now();
        let mut way = self.way.lock();
        way.took = way.asked.map(|asked| now.saturating_since(asked));
        drop(way);
        if let Some(attempts) = &self.attempts {
            attempts.lock().answered(code, now);
        }
    }

    /// The server that it went to could not serve it, for this reason.
    pub fn failed(&self, why: &'static str) {
        if let Some(attempts) = &self.attempts {
            attempts.lock().failed(why, clock::now());
        }
    }

    /// This server could not be connected to, as was found out since then.
    pub fn unreachable(&self, server: &Arc<str>, since: Timestamp, why: &'static str) {
        if let Some(attempts) = &self.attempts {
            let mut attempts = attempts.lock();
            attempts.begin(server, since, None);
            attempts.failed(why, clock::now());
        }
    }

    /// The call came to this gRPC status.
    pub fn came_to(&self, status: u16) {
        if let Some(attempts) = &self.attempts {
            attempts.lock().status = Some(status);
        }
    }

    /// Whether a trace wants to know what a call came to.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.attempts.is_some()
    }

    pub(super) fn way(&self) -> Way {
        self.way.lock().clone()
    }
}

/// An exchange that is told of at its end.
#[derive(Debug)]
pub struct Memo {
    pub(super) log: Option<Arc<AccessLog>>,
    pub(super) asked: Option<Asked>,
    pub(super) notes: Arc<Notes>,
    pub(super) trace: Option<(Arc<Tracer>, Begun)>,
    /// What the connection had carried before.
    before: [u64; 2],
}

impl Memo {
    /// Told to these; there is nothing asked in a tunnel.
    #[must_use]
    pub fn new(
        log: Option<&Arc<AccessLog>>,
        trace: Option<(Arc<Tracer>, Begun)>,
        asked: Option<Asked>,
        record: &Record,
    ) -> Box<Self> {
        let attempts = trace.as_ref().map(|(_, begun)| Attempts::of(begun));
        Box::new(Self {
            log: log.cloned(),
            asked,
            notes: Arc::new(Notes {
                attempts: attempts.map(Mutex::new),
                ..Notes::default()
            }),
            trace,
            before: carried(record),
        })
    }

    /// Bytes of bodies; through a tunnel that has its connection for itself,
    /// what that carried. A tunnel on a stream of HTTP/2 is not counted.
    pub(super) fn bytes(&self, record: &Record, answered: &Answered<'_>) -> Option<[u64; 2]> {
        match answered.protocol {
            Protocol::Tcp | Protocol::WebSocket => {
                let alone = record.protocol() != Some(Protocol::Http2);
                let now = carried(record);
                alone.then(|| [0, 1].map(|way| now[way].saturating_sub(self.before[way])))
            }
            _ => Some([self.notes.received.load(Relaxed), answered.sent]),
        }
    }
}

/// Bytes from and to the client.
fn carried(record: &Record) -> [u64; 2] {
    [&record.received, &record.sent].map(|count| count.load(Relaxed))
}

/// What is told of the end.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    pub(super) protocol: Protocol,
    pub(super) code: u16,
    /// Bytes of the response's body.
    pub(super) sent: u64,
    pub(super) began: Timestamp,
    pub(super) took: Duration,
    pub(super) outcome: Outcome,
    pub(super) route: Option<&'a Arc<RouteMetrics>>,
}

impl Answered<'_> {
    /// Which farewell, why it was cut, or that its client left.
    pub(super) fn what(&self) -> Option<&'static str> {
        match self.outcome {
            Outcome::Farewelled(farewell) => Some(farewell.as_str()),
            Outcome::Cut(reason) => Some(reason.as_str()),
            Outcome::Finished => (self.code == CLIENT_LEFT).then_some("client_left"),
        }
    }
}

/// What stands for the status of an exchange whose client left before it had
/// one; nginx's word for it.
pub(super) const CLIENT_LEFT: u16 = 499;
