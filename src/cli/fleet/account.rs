//! What a walk came to: who was drained, who took their place, who is left.
//!
//! Invariant: everybody in the fleet stands in it once, whatever stopped the
//! walk; the last line says what that was. Absent: any decision.

use super::walk::{Stand, Stop, Walk};
use crate::cli::output::Done;
use crate::cli::text::{Flush, columns};
use crate::drain::Receipt;
use serde_json::{Value, json};

/// A process: its number, and the lot that it drew.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) instance: String,
}

impl Process {
    fn json(&self) -> Value {
        json!({ "pid": self.pid, "instance": self.instance })
    }
}

/// What is known of a member.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) address: String,
    /// Who was there.
    pub(super) before: Process,
    /// What the drain did.
    pub(super) receipt: Option<Receipt>,
    /// Who came in its place.
    pub(super) after: Option<Process>,
}

/// The account as it is told, with its exit code.
pub(super) fn told(walk: &Walk, entries: &[Entry], as_json: bool) -> Done {
    let members = || walk.stands().iter().zip(entries);
    let result = if as_json {
        let instances: Vec<Value> = members()
            .map(|(stand, entry)| json_of(stand, entry))
            .collect();
        let stopped = walk.stopped().map(|stop| why(stop, entries));
        json!({ "stopped": stopped, "instances": instances }).to_string()
    } else {
        let header = ["ADDRESS", "PROCESS", "DRAIN", "TOOK", "SUCCESSOR"];
        let flush = [
            Flush::Left,
            Flush::Right,
            Flush::Left,
            Flush::Right,
            Flush::Right,
        ];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        rows.extend(members().map(|(stand, entry)| row(stand, entry)));
        format!("{}{}\n", columns(&flush, &rows), sum(walk, entries))
    };
    Done {
        code: walk.code(),
        ..Done::with(result)
    }
}

fn json_of(stand: &Stand, entry: &Entry) -> Value {
    let error = match stand {
        Stand::Failed(why) => Some(why),
        _ => None,
    };
    json!({
        "address": entry.address,
        "result": stand.as_str(),
        "error": error,
        "before": entry.before.json(),
        "after": entry.after.as_ref().map(Process::json),
        "receipt": entry.receipt,
    })
}

fn row(stand: &Stand, entry: &Entry) -> Vec<String> {
    let none = || "-".to_owned();
    let took = entry.receipt.as_ref();
    vec![
        entry.address.clone(),
        entry.before.pid.to_string(),
        stand.as_str().to_owned(),
        took.map_or_else(none, |receipt| format!("{:.1}s", receipt.duration_ms / 1e3)),
        entry
            .after
            .as_ref()
            .map_or_else(none, |process| process.pid.to_string()),
    ]
}

/// The last line.
fn sum(walk: &Walk, entries: &[Entry]) -> String {
    let count = |wanted: fn(&Stand) -> bool| {
        let stands = walk.stands().iter();
        stands.filter(|stand| wanted(stand)).count()
    };
    let back = count(|stand| *stand == Stand::Back);
    let left = count(|stand| *stand == Stand::Left);
    match walk.stopped() {
        None => format!("All {back} drained, and their successors are ready."),
        Some(stop) => format!(
            "Stopped: {}. {back} of {} drained and back, {left} left untouched.",
            why(stop, entries),
            entries.len()
        ),
    }
}

/// Why it stopped, in words.
pub(super) fn why(stop: &Stop, entries: &[Entry]) -> String {
    let at = |member: &usize| entries[*member].address.as_str();
    match stop {
        Stop::Cut(member) => {
            let verdict = entries[*member].receipt.as_ref().map(Receipt::verdict);
            let verdict = verdict.unwrap_or_default();
            format!(
                "{} cut something ({})",
                at(member),
                verdict.trim_end_matches('.')
            )
        }
        Stop::Missing(member) => format!("nobody was ready at {} in time", at(member)),
        Stop::Failed(member) => format!("{} could not be drained", at(member)),
        Stop::NotReady(who) => format!("{who}, and all others must be before the next is drained"),
        Stop::Asked => "by your wish".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk::Event;
    use super::*;
    use crate::cli::{exit, sample};

    fn process(pid: u32) -> Process {
        Process {
            pid,
            instance: format!("{pid:016x}"),
        }
    }

    fn entries(receipts: [Option<Receipt>; 3]) -> Vec<Entry> {
        let entries = receipts.into_iter().enumerate().map(|(at, receipt)| Entry {
            address: format!("10.0.0.{at}:9900"),
            before: process(42),
            receipt,
            after: (at == 0).then(|| process(43)),
        });
        entries.collect()
    }

    #[test]
    fn everybody_is_accounted_for() {
        let mut walk = Walk::new(3, 1);
        walk.begin(0);
        walk.handle(0, Event::Drained { cut: false });
        walk.handle(0, Event::Returned);
        walk.begin(1);
        walk.handle(1, Event::Drained { cut: true });
        let entries = entries([Some(sample::receipt(0)), Some(sample::receipt(2)), None]);
        let done = told(&walk, &entries, false);
        let expected = "\
ADDRESS        PROCESS  DRAIN    TOOK  SUCCESSOR
10.0.0.0:9900       42  drained  9.4s         43
10.0.0.1:9900       42  cut      9.4s          -
10.0.0.2:9900       42  left        -          -
Stopped: 10.0.0.1:9900 cut something (Lost 2: cut, still there when their time was over. \
7 finished, 0 told in their own protocol). 1 of 3 drained and back, 1 left untouched.
";
        assert_eq!((done.result.as_str(), done.code), (expected, exit::CUT));
        let document: Value =
            serde_json::from_str(&told(&walk, &entries, true).result).expect("JSON");
        let results = document["instances"].as_array().expect("an array");
        let results: Vec<&Value> = results.iter().map(|one| &one["result"]).collect();
        assert_eq!(results, ["drained", "cut", "left"]);
        assert_eq!(document["instances"][1]["receipt"]["lost"], 2);
        assert_eq!(document["instances"][0]["after"]["pid"], 43);
    }
}
