//! Ejection, and what servers say of their end.
//!
//! Purpose: each `eject` becomes an [`Eject`], each `going` a [`Going`].
//!
//! Invariant: no time is zero, so that whoever is out is out for a while.
//!
//! Deliberately absent: a relation between `time` and `longest`: who writes a
//! longer `time` means it.

use super::super::file;
use super::super::model::{Eject, Going, SuccessRate};
use super::super::read::{At, Percent, SwitchOr, value_or};
use super::super::report::{Fault, Reported, quote};
use super::Check;

/// More in a row than anybody waits for.
const MOST_IN_A_ROW: u64 = 10_000;

impl Check<'_> {
    pub(super) fn eject(
        &self,
        written: Option<At<SwitchOr<file::Eject>>>,
    ) -> Result<Option<Eject>, Reported> {
        let written = match written.map(|written| written.value).transpose()? {
            Some(SwitchOr::Switch(false)) => return Ok(None),
            Some(SwitchOr::With(table)) => table,
            Some(SwitchOr::Switch(true)) | None => file::Eject::default(),
        };
        let usual = Eject::default();
        let row = (0, MOST_IN_A_ROW);
        let connect = self.number(
            "connect_errors",
            written.connect_errors,
            row,
            usual.connect_errors,
        );
        let resets = self.number("resets", written.resets, row, usual.resets);
        let errors = self.number(
            "server_errors",
            written.server_errors,
            row,
            usual.server_errors,
        );
        let rate = self.success_rate(written.success_rate);
        let time = self.time("time", written.time, usual.time);
        let longest = self.time("longest", written.longest, usual.longest);
        let max = value_or(written.max, Percent(usual.max));
        Ok(Some(Eject {
            connect_errors: connect?,
            resets: resets?,
            server_errors: errors?,
            success_rate: rate?,
            time: time?,
            longest: longest?,
            max: max?.0,
        }))
    }

    fn success_rate(
        &self,
        written: Option<At<SwitchOr<file::SuccessRate>>>,
    ) -> Result<Option<SuccessRate>, Reported> {
        let written = match written.map(|written| written.value).transpose()? {
            Some(SwitchOr::Switch(false)) | None => return Ok(None),
            Some(SwitchOr::With(table)) => table,
            Some(SwitchOr::Switch(true)) => file::SuccessRate::default(),
        };
        let usual = SuccessRate::default();
        let every = self.time("every", written.every, usual.every);
        let servers = self.number("servers", written.servers, (2, 1000), usual.servers);
        let requests = self.number("requests", written.requests, (1, 1_000_000), usual.requests);
        let deviations = self.number(
            "deviations",
            written.deviations,
            (1, 1000),
            usual.deviations,
        );
        Ok(Some(SuccessRate {
            every: every?,
            servers: servers?,
            requests: requests?,
            deviations: deviations?,
        }))
    }

    pub(super) fn going(&self, written: Option<At<file::Going>>) -> Result<Going, Reported> {
        let written = value_or(written, file::Going::default())?;
        let usual = Going::default();
        let header = self.parse_or(written.header.as_ref(), usual.header, |text| {
            if text.is_empty() {
                return Ok(None);
            }
            let name = text.parse().map(Some);
            name.map_err(|_| {
                let help = "write the name of a field, e.g. `X-Going`, or `\"\"` for none";
                Fault::new(format!("{} names no field", quote(text)), help)
            })
        });
        let goaway = value_or(written.goaway, usual.goaway);
        let closes = self.number("closes", written.closes, (0, MOST_IN_A_ROW), usual.closes);
        let time = self.time("time", written.time, usual.time);
        Ok(Going {
            header: header?,
            goaway: goaway?,
            closes: closes?,
            time: time?,
        })
    }
}
