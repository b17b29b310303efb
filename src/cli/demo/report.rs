//! The report: the clients' account, the proxy's receipt, and whether the two
//! agree that nothing was lost.
//!
//! Agreement is by protocol: as many clients must have been told as the
//! receipt claims to have told. A receipt alone proves nothing.
//!
//! Deliberately absent: judging speed.

use super::account::{Account, Sums};
use crate::drain::{Protocol, Receipt};
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// What the demo has to say in the end.
pub(super) struct Report<'a> {
    accounts: &'a [Arc<Account>],
    receipt: &'a Receipt,
}

impl<'a> Report<'a> {
    pub(super) fn new(accounts: &'a [Arc<Account>], receipt: &'a Receipt) -> Self {
        Self { accounts, receipt }
    }

    /// Everything that is not as it should be; nothing, if nothing was lost.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for account in self.accounts {
            let sums = account.sums();
            if sums.begun == 0 {
                complaints.push(format!("{}: nothing was ever begun", account.name));
            }
            if sums.lost > 0 {
                let losses = account.losses().join("; ");
                complaints.push(format!("{}: {} lost ({losses})", account.name, sums.lost));
            }
        }
        if self.receipt.cut_anything() {
            complaints.push(format!(
                "the receipt says that {} exchanges and {} connections were cut",
                self.receipt.lost, self.receipt.connections.cut
            ));
        }
        for protocol in Protocol::ALL {
            let claimed = self
                .receipt
                .requests
                .get(&protocol)
                .map_or(0, |ledger| ledger.farewelled);
            let seen = self.told(protocol);
            if claimed != seen {
                complaints.push(format!(
                    "{}: the receipt says that {claimed} were told, the clients say {seen}",
                    protocol.as_str()
                ));
            }
        }
        complaints
    }

    fn told(&self, protocol: Protocol) -> u64 {
        let spoken = self
            .accounts
            .iter()
            .filter(|account| account.protocol == protocol);
        spoken.map(|account| account.sums().told).sum()
    }

    fn client_table(&self) -> Result<String, fmt::Error> {
        let mut table = String::new();
        writeln!(
            table,
            "{:<32}  {:>8}  {:>9}  {:>5}  {:>5}",
            "Traffic", "begun", "completed", "told", "lost"
        )?;
        let mut row = |name: &str, sums: Sums| {
            let Sums {
                begun,
                completed,
                told,
                lost,
            } = sums;
            writeln!(
                table,
                "{name:<32}  {begun:>8}  {completed:>9}  {told:>5}  {lost:>5}"
            )
        };
        let mut all = Sums::default();
        for account in self.accounts {
            let sums = account.sums();
            all = all.plus(sums);
            row(account.name, sums)?;
        }
        row("all", all)?;
        Ok(table)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "WHAT THE CLIENTS SAW, before and during the drain\n")?;
        writeln!(f, "{}", self.client_table()?)?;
        let told: Vec<_> = self
            .accounts
            .iter()
            .flat_map(|account| {
                account
                    .told()
                    .into_iter()
                    .map(|(words, number)| (account.name, words, number))
            })
            .collect();
        if !told.is_empty() {
            writeln!(f, "Told that their time was over, in their own protocol:")?;
            for (name, words, number) in told {
                writeln!(f, "  {number} x {name}: {words}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "WHAT THE PROXY SAYS, from the beginning of the drain\n")?;
        writeln!(f, "{}", self.receipt)?;
        let complaints = self.complaints();
        if complaints.is_empty() {
            return writeln!(f, "Clients and receipt agree: nothing was lost.");
        }
        writeln!(f, "This is not how it should be:")?;
        complaints
            .iter()
            .try_for_each(|complaint| writeln!(f, "  {complaint}"))
    }
}
