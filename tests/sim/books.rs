//! What the simulation writes down: the ledgers as a shell would keep them,
//! and the facts of every exchange and connection to judge them by.

use crate::script::Kind;
use ebbtide::drain::{Ledger, Outcome, Protocol, Timestamp};

/// The life of one exchange.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) client: usize,
    pub(crate) protocol: Protocol,
    pub(crate) began: Timestamp,
    /// When it would have ended by itself.
    pub(crate) natural_end: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) outcome: Outcome,
}

/// What a connection was doing when it ended.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum While {
    /// Not yet able to carry a request; the proxy ended it.
    HalfOpen,
    /// Nothing in flight; the proxy ended it.
    Idle,
    /// It had given the answer that said so, or was a tunnel that ended.
    Answered,
    /// The client left.
    ClientLeft,
    /// Cut.
    Cut,
    /// Still there when the process exited.
    Exit,
}

/// The life of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    pub(crate) client: usize,
    pub(crate) kind: Kind,
    pub(crate) accepted: Timestamp,
    /// When it last began or ended an exchange, or became able to.
    pub(crate) last_activity: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) doing: While,
    /// Whether it was accepted after refuse.
    pub(crate) late: bool,
}

/// Ledgers and facts.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) exchanges: [Ledger; Protocol::ALL.len()],
    pub(crate) connections: Ledger,
    pub(crate) fates: Vec<Fate>,
    pub(crate) stays: Vec<Stay>,
}

impl Books {
    pub(crate) fn begin(&mut self, protocol: Protocol) {
        self.exchanges[protocol as usize].open_one();
    }

    pub(crate) fn end(&mut self, fate: Fate) {
        self.exchanges[fate.protocol as usize].close(fate.outcome);
        self.fates.push(fate);
    }

    pub(crate) fn leave(&mut self, stay: Stay, worst: Outcome) {
        self.connections.close(worst);
        self.stays.push(stay);
    }
}
