//! What is known of the servers of one source: answers and the time come in,
//! the servers and the time of the next question come out.
//!
//! Purpose: an answer changes the servers, but no outage does. A resolver that is
//! gone, refuses or fails says nothing about servers: the last good ones stay,
//! for as long as it takes. A name that does not exist any more, or has no
//! address, has to say so for `empty`; a single server has to be missing for
//! `hold`. Both are counted from the first answer that says so and end with one
//! that still does, so that nobody is gone for want of a question.
//!
//! Invariant: servers change with an answer only. From one question to the next
//! there is always some time, and never more than an answer may hold, with its
//! jitter.
//!
//! Pure: no I/O, no clock, no chance. Deliberately absent: asking (see `seeker`),
//! and what becomes of who is gone.

use crate::config::{Server, ServerAddress};
use crate::drain::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The longest pause after questions that had no answer: a resolver that is back
/// is to be heard soon.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The greatest number that can be drawn.
const WHOLE: u32 = 1000;

/// An answer holds longer by this part of its time at most.
const JITTER: u32 = 10;

/// How answers are taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Patience {
    /// The shortest time to live.
    pub(super) least: Duration,
    /// The longest time to live.
    pub(super) longest: Duration,
    /// The first pause after an outage.
    pub(super) retry: Duration,
    /// For how long a server must be missing.
    pub(super) hold: Duration,
    /// For how long there must be none.
    pub(super) empty: Duration,
}

/// Which part of an answer a server stands in: a name and a kind of address.
pub(super) type Part = Arc<str>;

/// What came of a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// There are these.
    Found {
        /// Each with its part.
        servers: Vec<(Part, Server)>,
        /// Parts of which nothing is known: what they named before holds.
        silent: Vec<Part>,
        /// For how long that holds.
        ttl: Option<Duration>,
    },
    /// It is certain that there is none.
    Nothing {
        /// In words.
        why: Arc<str>,
        /// For how long that holds.
        ttl: Option<Duration>,
    },
    /// Nobody could say.
    Outage {
        /// In words.
        why: Arc<str>,
    },
}

/// What an answer changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Change {
    /// Servers that are new.
    pub(super) found: Vec<Arc<str>>,
    /// Servers that are gone.
    pub(super) gone: Vec<Arc<str>>,
    /// Whether one that stays has another weight or zone.
    pub(super) altered: bool,
}

impl Change {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug)]
struct Known {
    part: Part,
    server: Server,
    /// Since when answers have been without it.
    missing: Option<Timestamp>,
}

/// What is known.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    patience: Patience,
    /// In the order of their addresses.
    known: Vec<Known>,
    /// Since when answers have been empty.
    nothing: Option<Timestamp>,
    /// Outages in a row.
    outages: u32,
    /// When there was an answer last.
    answered: Option<Timestamp>,
    /// Why the last question had no answer, or an empty one.
    why: Option<Arc<str>>,
    /// When to ask next.
    next: Timestamp,
}

impl Findings {
    /// Nothing is known, and it is time to ask.
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            known: Vec::new(),
            nothing: None,
            outages: 0,
            answered: None,
            why: None,
            next: Timestamp::ZERO,
        }
    }

    /// What another process knew, until there is an answer.
    pub(super) fn begin_with(&mut self, servers: Vec<(Part, Server)>) {
        let known = servers.into_iter().map(|(part, server)| Known {
            part,
            server,
            missing: None,
        });
        self.known = known.collect();
    }

    /// The same, with other patience from now on.
    pub(super) fn with(&self, patience: Patience) -> Self {
        Self {
            patience,
            next: Timestamp::ZERO,
            ..self.clone()
        }
    }

    /// The servers, in the order of their addresses.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Server> {
        self.known.iter().map(|known| &known.server)
    }

    /// The servers, each with its part.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&Part, &Server)> {
        self.known.iter().map(|known| (&known.part, &known.server))
    }

    /// When to ask next.
    pub(super) const fn next(&self) -> Timestamp {
        self.next
    }

    /// When there was an answer last.
    pub(super) const fn answered(&self) -> Option<Timestamp> {
        self.answered
    }

    /// Why the last question had no answer, or an empty one.
    pub(super) const fn why(&self) -> Option<&Arc<str>> {
        self.why.as_ref()
    }

    /// Take in what came of a question, at `now`. `draw` is from 0 to 1000; by
    /// it the next question is put off a little.
    pub(super) fn take(&mut self, answer: Answer, now: Timestamp, draw: u32) -> Change {
        match answer {
            Answer::Found {
                servers,
                silent,
                ttl,
            } => {
                self.outages = 0;
                self.nothing = None;
                self.why = None;
                self.answered = Some(now);
                let change = self.merge(servers, &silent, now);
                let missing = self.known.iter().filter_map(|known| known.missing).min();
                let due = missing.map(|since| since + self.patience.hold);
                self.ask_after(self.time(ttl), due, now, draw);
                change
            }
            Answer::Nothing { why, ttl } => {
                self.outages = 0;
                self.why = Some(why);
                self.answered = Some(now);
                let since = *self.nothing.get_or_insert(now);
                let due = since + self.patience.empty;
                let change = if now >= due {
                    self.lose(|_| true)
                } else {
                    Change::default()
                };
                let due = (!self.known.is_empty()).then_some(due);
                // Who is to come is awaited more eagerly than who might go.
                let time = ttl.map_or(self.patience.retry, |ttl| self.time(Some(ttl)));
                self.ask_after(time.max(self.patience.least), due, now, draw);
                change
            }
            Answer::Outage { why } => {
                self.why = Some(why);
                let retry = self.patience.retry;
                let longest = LONGEST_RETRY.max(retry);
                let pause = retry.saturating_mul(1 << self.outages.min(16)).min(longest);
                self.outages = self.outages.saturating_add(1);
                self.ask_after(pause, None, now, draw);
                Change::default()
            }
        }
    }

    fn time(&self, ttl: Option<Duration>) -> Duration {
        let ttl = ttl.unwrap_or(self.patience.longest);
        ttl.clamp(self.patience.least, self.patience.longest)
    }

    /// Ask in `time`, or when something is `due` if that is earlier.
    fn ask_after(&mut self, time: Duration, due: Option<Timestamp>, now: Timestamp, draw: u32) {
        let due = due.map_or(time, |due| due.saturating_since(now));
        let time = due.clamp(self.patience.least.min(time), time);
        self.next = now + time + time / JITTER * draw.min(WHOLE) / WHOLE;
    }

    fn merge(&mut self, servers: Vec<(Part, Server)>, silent: &[Part], now: Timestamp) -> Change {
        let mut change = Change::default();
        let named = |one: &Known| {
            let mut servers = servers.iter();
            servers.any(|(_, server)| server.address == one.server.address)
        };
        for known in &mut self.known {
            known.missing = if named(known) {
                None
            } else if silent.contains(&known.part) {
                known.missing
            } else {
                known.missing.or(Some(now))
            };
        }
        for (part, server) in servers {
            let address = &server.address;
            let mut all = self.known.iter_mut();
            if let Some(known) = all.find(|known| known.server.address == *address) {
                known.part = part;
                change.altered |= known.server != server;
                known.server = server;
                continue;
            }
            change.found.push(Arc::clone(&server.name));
            self.known.push(Known {
                part,
                server,
                missing: None,
            });
        }
        self.known
            .sort_by(|a, b| order(&a.server.address).cmp(&order(&b.server.address)));
        let hold = self.patience.hold;
        let silent = |known: &Known| silent.contains(&known.part);
        change.gone = self
            .lose(|known| {
                let gone = known.missing.is_some_and(|since| now >= since + hold);
                gone && !silent(known)
            })
            .gone;
        change
    }

    fn lose(&mut self, gone: impl Fn(&Known) -> bool) -> Change {
        let lost = self.known.extract_if(.., |known| gone(known));
        Change {
            gone: lost.map(|known| known.server.name).collect(),
            ..Change::default()
        }
    }
}

fn order(address: &ServerAddress) -> (Option<std::net::SocketAddr>, Option<&std::path::Path>) {
    match address {
        ServerAddress::Inet(address) => (Some(*address), None),
        ServerAddress::Unix(path) => (None, Some(path)),
    }
}

#[cfg(test)]
mod tests;
