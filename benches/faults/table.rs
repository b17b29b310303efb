//! One row for each fault, and whether it kept to its bar.

use super::books::Seen;
use anyhow::Result;
use std::io::Write as _;

/// What a case has to show.
pub(crate) struct Row {
    pub(crate) fault: String,
    pub(crate) seen: Seen,
    /// Requests that were sent again, by the proxy's own count.
    pub(crate) retried: u64,
    /// What has to hold, in words.
    pub(crate) bar: String,
    /// What did not.
    pub(crate) missed: Vec<String>,
}

impl Row {
    /// A row whose bar is that nobody saw an error.
    pub(crate) fn unseen(fault: impl Into<String>, seen: Seen, retried: u64) -> Self {
        let missed = (seen.bad() > 0).then(|| format!("{} errors", seen.bad()));
        Self {
            fault: fault.into(),
            seen,
            retried,
            bar: "0 errors".to_owned(),
            missed: missed.into_iter().collect(),
        }
    }

    /// Something more that has to hold.
    pub(crate) fn and(mut self, bar: &str, holds: bool, otherwise: String) -> Self {
        self.bar = if self.bar.is_empty() {
            bar.to_owned()
        } else {
            format!("{}, {bar}", self.bar)
        };
        if !holds {
            self.missed.push(otherwise);
        }
        self
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The head of the table.
pub(crate) fn head() -> Result<()> {
    say(
        "| fault | requests | as asked for | errors | sent again | p50, ms | p99, ms | bar | kept |",
    )?;
    say("|---|---|---|---|---|---|---|---|---|")
}

/// One row; whether its bar was kept.
pub(crate) fn print(row: &Row) -> Result<bool> {
    let kept = row.missed.is_empty();
    say(&format!(
        "| {} | {} | {} | {} | {} | {:.1} | {:.1} | {} | {} |",
        row.fault,
        row.seen.requests,
        row.seen.good,
        row.seen.errors(),
        row.retried,
        row.seen.part(50),
        row.seen.part(99),
        row.bar,
        if kept {
            "yes".to_owned()
        } else {
            format!("no: {}", row.missed.join("; "))
        },
    ))?;
    Ok(kept)
}
