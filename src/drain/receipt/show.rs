//! The receipt as a table, for people.
//!
//! Invariant: the last line is the verdict, so that it is what is seen first
//! on a terminal. Given a width (`{receipt:80}`), its tables fit it.
//!
//! Deliberately absent: colour, and anything that is not in the receipt as
//! programs have it.

use super::Receipt;
use crate::drain::accept_filter::AcceptFilter;
use crate::drain::stage::Stage;
use crate::drain::table::{Give, Side, Table, wrap};
use std::fmt;

/// What is said where the kernel did not take the accept filter.
const UNFILTERED: &str = "New connections could not be held off while listeners closed \
    (no accept filter): clients that connected in that instant may have been lost.";

impl Receipt {
    fn stage_table(&self) -> Table {
        let mut table = Table::new([
            ("Stage", Side::Left),
            ("began", Side::Right),
            ("took", Side::Right),
            ("what happened", Side::Left),
        ])
        .gives("what happened", Give::Shortened(20));
        for times in &self.stages {
            let meaning = match times.stage {
                Stage::Cut if !self.cut_anything() => "nothing was left to cut",
                stage => stage.meaning(),
            };
            table.row([
                times.stage.as_str().to_owned(),
                seconds(times.began_ms),
                seconds(times.ended_ms - times.began_ms),
                meaning.to_owned(),
            ]);
        }
        table
    }

    fn book_table(&self) -> Table {
        let mut table = Table::new([
            ("Work", Side::Left),
            ("opened", Side::Right),
            ("finished", Side::Right),
            ("farewelled", Side::Right),
            ("cut", Side::Right),
        ]);
        let requests = self.requests.iter();
        let rows = requests.map(|(protocol, ledger)| (protocol.as_str(), ledger));
        for (name, ledger) in rows.chain([("connections", &self.connections)]) {
            table.row([
                name.to_owned(),
                ledger.opened.to_string(),
                ledger.finished.to_string(),
                ledger.farewelled.to_string(),
                ledger.cut.to_string(),
            ]);
        }
        table
    }

    fn told_table(&self) -> Table {
        let mut table = Table::new([
            ("At", Side::Right),
            ("listener", Side::Left),
            ("client", Side::Left),
            ("protocol", Side::Left),
            ("route", Side::Left),
            ("age", Side::Right),
            ("doing", Side::Left),
            ("why", Side::Left),
            ("outcome", Side::Left),
            ("what the client saw", Side::Left),
        ])
        .gives("what the client saw", Give::Shortened(14))
        .gives("age", Give::LeftOut(1))
        .gives("listener", Give::LeftOut(2))
        .gives("why", Give::LeftOut(3))
        .gives("doing", Give::LeftOut(4))
        .gives("route", Give::LeftOut(5));
        for told in &self.told {
            table.row([
                seconds(told.at_ms),
                told.listener.clone(),
                told.peer.clone(),
                told.protocol.as_str().to_owned(),
                told.route.as_deref().unwrap_or("-").to_owned(),
                seconds(told.age_ms),
                told.doing.meaning().to_owned(),
                told.why.meaning().to_owned(),
                told.outcome.as_str().to_owned(),
                told.outcome.meaning().to_owned(),
            ]);
        }
        table
    }

    fn hook_table(&self) -> Table {
        let mut table = Table::new([
            ("Hook", Side::Left),
            ("began", Side::Right),
            ("took", Side::Right),
            ("result", Side::Left),
            ("does", Side::Left),
        ])
        .gives("result", Give::Shortened(16))
        .gives("does", Give::Shortened(16));
        for hook in &self.hooks {
            let result = match &hook.error {
                Some(error) => format!("{}: {error}", hook.end.as_str()),
                None => hook.end.as_str().to_owned(),
            };
            table.row([
                hook.on.clone(),
                seconds(hook.at_ms),
                hook.took_ms.map_or_else(|| "-".to_owned(), seconds),
                result,
                hook.run.clone(),
            ]);
        }
        table
    }

    fn forecast_table(&self) -> Table {
        let mut table = Table::new([
            ("Forecast at", Side::Left),
            ("work", Side::Left),
            ("finish", Side::Right),
            ("did", Side::Right),
            ("be told", Side::Right),
            ("were", Side::Right),
            ("unknown", Side::Right),
            ("finished", Side::Right),
        ])
        .gives("unknown", Give::LeftOut(2))
        .gives("finished", Give::LeftOut(1));
        for foretold in &self.foretold {
            for (protocol, compared) in &foretold.protocols {
                table.row([
                    foretold.stage.as_str().to_owned(),
                    protocol.as_str().to_owned(),
                    compared.finish.to_string(),
                    compared.finish_came_true.to_string(),
                    compared.told.to_string(),
                    compared.told_came_true.to_string(),
                    compared.unknown.to_string(),
                    compared.unknown_finished.to_string(),
                ]);
            }
        }
        table
    }

    /// How long it was thought to take.
    fn foretold_length(&self) -> String {
        let said = self.foretold.iter().map(|foretold| {
            let stage = foretold.stage.as_str();
            format!("{} at {stage}", seconds(foretold.duration_ms))
        });
        format!("Foretold to take {}.", said.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = f.width();
        let took = seconds(self.duration_ms);
        let trigger = self.trigger.meaning();
        let whose = match (&self.listener, &self.server) {
            (Some(name), _) => format!(" of listener {name}"),
            (None, Some(name)) => format!(" of server {name}"),
            (None, None) => String::new(),
        };
        if self.complete {
            write!(f, "Drain receipt{whose}: started by {trigger}, took {took}")?;
        } else {
            write!(f, "Drain{whose} so far: started by {trigger}, {took} ago")?;
        }
        if self.extended_ms > 0.0 {
            write!(f, ", extended by {}", seconds(self.extended_ms))?;
        }
        writeln!(f, "\n")?;
        if !self.stages.is_empty() {
            writeln!(f, "{}", self.stage_table().within(width))?;
        }
        writeln!(f, "{}", self.book_table().within(width))?;
        if self.foretold.iter().any(|one| !one.protocols.is_empty()) {
            writeln!(f, "{}", self.forecast_table().within(width))?;
        }
        if !self.told.is_empty() {
            write!(f, "{}", self.told_table().within(width))?;
            if self.told_omitted > 0 {
                writeln!(f, "... and {} more", self.told_omitted)?;
            }
            writeln!(f)?;
        }
        if !self.hooks.is_empty() {
            writeln!(f, "{}", self.hook_table().within(width))?;
        }
        if !self.foretold.is_empty() {
            writeln!(f, "{}", wrap(&self.foretold_length(), width))?;
        }
        for remark in self.compliance.remarks() {
            writeln!(f, "{}", wrap(&remark, width))?;
        }
        if self.accept_filter == Some(AcceptFilter::Unavailable) {
            writeln!(f, "{}\n", wrap(UNFILTERED, width))?;
        }
        writeln!(f, "{}", wrap(&self.verdict(), width))
    }
}

/// Milliseconds as seconds, to the millisecond.
fn seconds(millis: f64) -> String {
    format!("{:.3} s", millis / 1e3)
}
