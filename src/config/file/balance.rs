//! How a server is chosen, as it is written.
//!
//! Purpose: there is a short form, a word, and a table for those who want more.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: keys as anything but text.

use super::super::read::{At, Node, OneOf, Read};
use super::super::report::Reported;
use super::super::words::Word;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// How a server is chosen, in one word.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::config) enum Method {
    #[default]
    RoundRobin,
    LeastInFlight,
    Hash,
}

impl Word for Method {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("round_robin", Self::RoundRobin),
        ("least_in_flight", Self::LeastInFlight),
        ("hash", Self::Hash),
    ];
}

/// How a server is chosen: a word, or a table.
#[derive(Debug)]
pub(in crate::config) enum Balance {
    Word(Method),
    By(BalanceTable),
}

/// How a server is chosen, with what by.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct BalanceTable {
    /// What a server is chosen by: `client` (its IP address), `header:NAME` or
    /// `cookie:NAME`.
    pub(in crate::config) hash: At<String>,
}

impl Read for Balance {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        if !node.is_table() {
            return OneOf::read(node).map(|OneOf(method)| Self::Word(method));
        }
        let table = node.table("`balance`", |table| BalanceTable {
            hash: table.required("hash", "hash = \"header:X-User\""),
        });
        table.map(Self::By)
    }
}

impl JsonSchema for Balance {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "BalanceOrTable".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<BalanceTable>();
        let word = generator.subschema_for::<OneOf<Method>>();
        json_schema!({ "anyOf": [table, word] })
    }
}
