//! What a request asks for beyond its path: the query, and a JSON body.
//!
//! Invariant: nothing that is not understood is passed over. A member or a
//! value that this version does not know refuses the whole request: a drain
//! meant for one listener must not become one of the process.
//!
//! Deliberately absent: reading bytes, and doing anything.

use super::problem::Problem;
use crate::config::duration;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// The query of a request.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// Wait for the end of the drain.
    pub(super) wait: bool,
    /// The listener that is meant; none for the process.
    pub(super) listener: Option<String>,
    /// Say what would be done, and do nothing.
    pub(super) dry_run: bool,
}

impl Query {
    pub(super) fn read(query: &str) -> Result<Self, Problem> {
        let mut read = Self::default();
        let mut known: Vec<&str> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            if known.contains(&name) {
                return Err(Problem::bad_request(format!(
                    "the query has {name:?} twice; nothing was done"
                )));
            }
            known.push(name);
            match pair.split_once('=') {
                Some(("wait", "true")) => read.wait = true,
                Some(("wait", "false")) => read.wait = false,
                Some(("dry_run", "true")) => read.dry_run = true,
                Some(("dry_run", "false")) => read.dry_run = false,
                Some(("listener", name)) => read.listener = Some(name.to_owned()),
                _ => {
                    return Err(Problem::bad_request(format!(
                        "the query has {pair:?}; known are wait=true, listener=NAME and dry_run=true"
                    )));
                }
            }
        }
        Ok(read)
    }
}

/// What the query of a forecast would give everything to finish.
pub(super) fn finish_in(query: &str) -> Result<Option<Duration>, Problem> {
    let mut finish = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some(("finish", text)) = pair.split_once('=') else {
            return Err(Problem::bad_request(format!(
                "the query has {pair:?}; known is finish, as in finish=30s"
            )));
        };
        finish = Some(duration(text).map_err(Problem::bad_request)?);
    }
    Ok(finish)
}

/// Which form of an answer a query asks for, by its position in `offers`.
pub(super) fn format_in(query: &str, offers: &[&str]) -> Result<Option<usize>, Problem> {
    let mut format = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let asked = pair.strip_prefix("format=");
        let known = asked.and_then(|asked| offers.iter().position(|one| *one == asked));
        let Some(known) = known else {
            let offers = offers.join(" or ");
            return Err(Problem::bad_request(format!(
                "the query has {pair:?}; known is format={offers}"
            )));
        };
        format = Some(known);
    }
    Ok(format)
}

/// The members of the JSON object that a body is, or what is wrong with it. A
/// member that is there twice could be read in two ways (RFC 8259, section 4).
pub(super) fn members(body: &[u8]) -> Result<Map<String, Value>, String> {
    let read: Result<Members, _> = serde_json::from_slice(body);
    read.map(|members| members.0)
        .map_err(|error| format!("the body is no JSON object: {error}"))
}

struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Once).map(Self)
    }
}

/// Takes each member once.
struct Once;

impl<'de> Visitor<'de> for Once {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, value)) = object.next_entry::<String, Value>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(format!("it has {name:?} twice")));
            }
            members.insert(name, value);
        }
        Ok(members)
    }
}

/// The log level that a body names, as it is written.
pub(super) fn level_in(body: &[u8]) -> Result<String, Problem> {
    let example = "say which, as in {\"level\": \"info,ebbtide::proxy=debug\"}; nothing was done";
    let members =
        members(body).map_err(|what| Problem::bad_request(format!("{what}; {example}")))?;
    if let Some(unknown) = members.keys().find(|name| *name != "level") {
        let what = format!("the body has an unknown member {unknown:?}; {example}");
        return Err(Problem::bad_request(what));
    }
    let level = members.get("level").and_then(Value::as_str);
    level
        .map(str::to_owned)
        .ok_or_else(|| Problem::bad_request(example))
}

/// All that a request with a body asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) query: Query,
    /// By how much to extend.
    pub(super) by: Option<Duration>,
}

impl Asked {
    /// That nothing is asked for but what this call knows: `listener`,
    /// `dry_run` and `by` change what it would do, and `wait` does not.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        let said = [
            ("listener", self.query.listener.is_some()),
            ("dry_run", self.query.dry_run),
            ("by", self.by.is_some()),
        ];
        let mut said = said.into_iter().filter(|(_, said)| *said);
        match said.find(|(name, _)| !known.contains(name)) {
            None => Ok(self),
            Some((name, _)) => Err(Problem::bad_request(format!(
                "{name:?} has no meaning here; nothing was done"
            ))),
        }
    }

    /// Read the body; its `listener` counts like the query's.
    pub(super) fn read(body: &[u8], query: Query) -> Result<Self, Problem> {
        let mut asked = Self { query, by: None };
        if body.trim_ascii().is_empty() {
            return Ok(asked);
        }
        let members = members(body)
            .map_err(|what| Problem::bad_request(format!("{what}; nothing was done")))?;
        for (name, value) in members {
            match (name.as_str(), value.as_str()) {
                ("listener", Some(listener)) => {
                    let asked_before = asked.query.listener.replace(listener.to_owned());
                    if asked_before.is_some_and(|before| before != listener) {
                        return Err(Problem::bad_request(
                            "query and body name two listeners; nothing was done",
                        ));
                    }
                }
                ("by", Some(text)) => {
                    let by = duration(text).map_err(|what| {
                        Problem::bad_request(format!("`by`: {what}; nothing was done"))
                    })?;
                    asked.by = Some(by);
                }
                ("listener" | "by", _) => {
                    return Err(Problem::bad_request(format!(
                        "the member {name:?} of the body must be a string; nothing was done"
                    )));
                }
                _ => {
                    return Err(Problem::bad_request(format!(
                        "the body has an unknown member {name:?}; nothing was done"
                    )));
                }
            }
        }
        Ok(asked)
    }
}
