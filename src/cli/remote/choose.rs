//! Which connections are shown, and in which order.
//!
//! Invariant: what is not asked for by an option changes nothing: the answer
//! stays as it came. What a newer proxy says of a connection, and this version
//! does not know, is kept in `--json`.
//!
//! Deliberately absent: asking the proxy for less. It has no words for it, and
//! a list is small beside what it lists.

use super::OTHER;
use crate::admin::view::{Connection, Connections};
use crate::cli::args;
use crate::cli::list::{Sort, listed};
use crate::drain::Protocol;
use anyhow::Context;
use serde_json::Value;
use std::collections::HashMap;

/// The answer with those that were asked for, in the order that was; none if
/// that is all of them as they came.
///
/// # Errors
/// If it is not an answer of this version.
pub(super) fn chosen(what: &args::Connections, body: &[u8]) -> anyhow::Result<Option<String>> {
    let order = Sort {
        by: what.sort,
        reverse: what.reverse,
    };
    let filters = [&what.listener, &what.protocol, &what.state];
    let filtered = filters.iter().any(|one| one.is_some());
    if order == Sort::default() && !filtered && what.limit.is_none() {
        return Ok(None);
    }
    let known: Connections = serde_json::from_slice(body).context(OTHER)?;
    let mut raw: Value = serde_json::from_slice(body).context(OTHER)?;
    let list = raw.get_mut("connections").and_then(Value::as_array_mut);
    let list = list.context(OTHER)?;
    let all = std::mem::take(list);
    let ids = known.connections.iter().map(|one| one.id);
    let mut by_id: HashMap<u64, Value> = ids.zip(all).collect();
    let wanted = listed(&known.connections, order, "");
    let wanted = wanted.into_iter().filter(|one| is_wanted(what, one));
    let wanted = wanted.take(what.limit.unwrap_or(usize::MAX));
    list.extend(wanted.filter_map(|one| by_id.remove(&one.id)));
    Ok(Some(raw.to_string()))
}

fn is_wanted(what: &args::Connections, one: &Connection) -> bool {
    let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|it| it == has);
    is(&what.listener, &one.listener)
        && is(&what.protocol, one.protocol.map_or("-", Protocol::as_str))
        && is(&what.state, &one.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Arguments, Command};
    use crate::cli::sample;
    use clap::Parser;

    /// The ids of those that this command line shows.
    fn ids(options: &str) -> Vec<u64> {
        let line = format!("ebbtide connections {options}");
        let parsed = Arguments::try_parse_from(line.split_whitespace()).expect("understood");
        let Command::Connections(what) = parsed.command else {
            panic!("another command: {line}");
        };
        let mut body = serde_json::to_value(sample::connections()).expect("plain");
        body["connections"][0]["news"] = "of a newer proxy".into();
        let body = body.to_string();
        let shown = chosen(&what, body.as_bytes()).expect("an answer");
        let shown = shown.unwrap_or(body);
        assert!(!shown.contains("\"id\":1,") || shown.contains("newer proxy"));
        let shown: Connections = serde_json::from_str(&shown).expect("an answer still");
        shown.connections.iter().map(|one| one.id).collect()
    }

    #[test]
    fn connections_are_chosen_sorted_and_limited() {
        for (options, expected) in [
            ("", &[1, 2, 3, 4, 5][..]),
            ("--listener db", &[3]),
            ("--listener nowhere", &[]),
            ("--state in_flight", &[3, 1, 2]),
            ("--protocol http1", &[2, 4]),
            ("--protocol http1 --state idle", &[4]),
            ("--sort bytes --limit 2", &[3, 1]),
            ("--sort requests", &[5, 4, 3, 2, 1]),
            ("--sort client -r", &[5, 4, 3, 2, 1]),
            ("--sort for --listener web --limit 1", &[1]),
            ("--sort age --reverse --limit 1", &[5]),
        ] {
            assert_eq!(ids(options), expected, "{options}");
        }
    }

    #[test]
    fn words_that_mean_nothing_are_refused_with_those_that_do() {
        for (option, word) in [
            ("--sort=size", "bytes"),
            ("--protocol=http", "http1"),
            ("--state=busy", "in_flight"),
        ] {
            let parsed = Arguments::try_parse_from(["ebbtide", "connections", option]);
            let error = parsed.expect_err("unknown").to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
