//! What the simulation writes down: the ledgers as a shell would keep them,
//! one for each listener, and the facts to judge them by.

use crate::script::Kind;
use ebbtide::drain::{Ledger, Outcome, Protocol, Timestamp};

/// The life of one exchange.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) client: usize,
    pub(crate) listener: usize,
    pub(crate) protocol: Protocol,
    pub(crate) began: Timestamp,
    /// When it would have ended by itself.
    pub(crate) natural_end: Timestamp,
    /// Until when its client waits, if it says so.
    pub(crate) own: Option<Timestamp>,
    /// What the server was told of that, if a drain changed it.
    pub(crate) promised: Option<Timestamp>,
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
    pub(crate) listener: usize,
    pub(crate) kind: Kind,
    pub(crate) accepted: Timestamp,
    /// When it last began or ended an exchange, or became able to.
    pub(crate) last_activity: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) doing: While,
    /// Whether it was accepted after refuse.
    pub(crate) late: bool,
}

/// The ledgers of one listener.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) exchanges: [Ledger; Protocol::ALL.len()],
    pub(crate) connections: Ledger,
}

impl Account {
    /// What happened since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut account = *self;
        for (ledger, before) in account.exchanges.iter_mut().zip(&earlier.exchanges) {
            *ledger = ledger.since(before);
        }
        account.connections = account.connections.since(&earlier.connections);
        account
    }

    pub(crate) fn plus(mut self, other: &Self) -> Self {
        for (ledger, more) in self.exchanges.iter_mut().zip(&other.exchanges) {
            *ledger = ledger.plus(more);
        }
        self.connections = self.connections.plus(&other.connections);
        self
    }
}

/// Ledgers and facts.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) accounts: Vec<Account>,
    pub(crate) fates: Vec<Fate>,
    pub(crate) stays: Vec<Stay>,
}

impl Books {
    pub(crate) fn new(listeners: usize) -> Self {
        Self {
            accounts: vec![Account::default(); listeners],
            fates: Vec::new(),
            stays: Vec::new(),
        }
    }

    pub(crate) fn arrive(&mut self, listener: usize) {
        self.accounts[listener].connections.open_one();
    }

    pub(crate) fn begin(&mut self, listener: usize, protocol: Protocol) {
        self.accounts[listener].exchanges[protocol as usize].open_one();
    }

    pub(crate) fn end(&mut self, fate: Fate) {
        let account = &mut self.accounts[fate.listener];
        account.exchanges[fate.protocol as usize].close(fate.outcome);
        self.fates.push(fate);
    }

    pub(crate) fn leave(&mut self, stay: Stay, worst: Outcome) {
        self.accounts[stay.listener].connections.close(worst);
        self.stays.push(stay);
    }

    /// All listeners' ledgers in one.
    pub(crate) fn sums(&self) -> Account {
        let accounts = self.accounts.iter();
        accounts.fold(Account::default(), Account::plus)
    }
}
