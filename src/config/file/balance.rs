//! Servers and how one is chosen, as they are written.
//!
//! Purpose: both have a short form, a string, and a table for those who want
//! more.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: addresses and keys as anything but text.

use super::super::read::{At, Node, OneOf, Read};
use super::super::report::Reported;
use super::super::words::Word;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// One server: its address, or a table.
#[derive(Debug)]
pub(in crate::config) enum Server {
    Plain(String),
    Table(ServerTable),
}

/// A server with its share and its zone.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ServerTable {
    /// `host:port` or `unix:PATH`.
    pub(in crate::config) address: At<String>,
    /// Its share among the servers, from 1 to 100.
    #[schemars(extend("default" = 1))]
    pub(in crate::config) weight: Option<At<u64>>,
    /// The zone that it is in.
    pub(in crate::config) zone: Option<At<String>>,
}

impl Read for Server {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        if !node.is_table() {
            return String::read(node).map(Self::Plain);
        }
        let table = node.table("a server", |table| ServerTable {
            address: table.required("address", "address = \"10.0.0.11:8080\""),
            weight: table.key("weight"),
            zone: table.key("zone"),
        });
        table.map(Self::Table)
    }
}

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

impl JsonSchema for Server {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ServerOrTable".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<ServerTable>();
        json_schema!({ "anyOf": [table, { "type": "string" }] })
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
