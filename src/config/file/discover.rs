//! Servers, and where they are found, as they are written.
//!
//! Purpose: a server has a short form, its address, and a table for those who
//! want more; a table may also name what is asked for servers. The table
//! `discover` says how.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: addresses and names as anything but text.

use super::super::model::Family;
use super::super::read::{At, Node, OneOf, Read, Time};
use super::super::report::Reported;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// One server: its address, or a table.
#[derive(Debug)]
pub(in crate::config) enum Server {
    Plain(String),
    Table(Box<ServerTable>),
}

/// A server with its share and its zone, or what is asked for servers: one of
/// `address`, `dns`, `srv` and `file`.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ServerTable {
    /// `host:port` or `unix:PATH`.
    pub(in crate::config) address: Option<At<String>>,
    /// A name each of whose addresses is a server; it is asked for again when
    /// its time to live is over. Needs `port`.
    pub(in crate::config) dns: Option<At<String>>,
    /// A name whose SRV records are servers, with their ports and weights; of
    /// those with the lowest priority.
    pub(in crate::config) srv: Option<At<String>>,
    /// A file that lists servers, and is read again when it changes.
    pub(in crate::config) file: Option<At<String>>,
    /// With `dns`: the port of all of its addresses.
    pub(in crate::config) port: Option<At<u64>>,
    /// With `dns` or `srv`: which addresses are asked for.
    #[schemars(extend("default" = "any"))]
    pub(in crate::config) family: Option<At<OneOf<Family>>>,
    /// Its share among the servers, from 1 to 100; with `dns` that of each.
    #[schemars(extend("default" = 1))]
    pub(in crate::config) weight: Option<At<u64>>,
    /// The zone that it is in; with `dns`, `srv` and `file` that of each.
    pub(in crate::config) zone: Option<At<String>>,
}

impl Read for Server {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        if !node.is_table() {
            return String::read(node).map(Self::Plain);
        }
        let table = node.table("a server", |table| ServerTable {
            address: table.key("address"),
            dns: table.key("dns"),
            srv: table.key("srv"),
            file: table.key("file"),
            port: table.key("port"),
            family: table.key("family"),
            weight: table.key("weight"),
            zone: table.key("zone"),
        });
        table.map(Box::new).map(Self::Table)
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

/// How servers are found.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Discover {
    /// The resolvers that are asked, `IP` or `IP:port`; without it those of the
    /// system, with its search domains and its hosts file.
    pub(in crate::config) resolvers: Option<At<Vec<At<String>>>>,
    /// A shorter time to live counts as this.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) least: Option<At<Time>>,
    /// A longer time to live counts as this.
    #[schemars(extend("default" = "5m"))]
    pub(in crate::config) longest: Option<At<Time>>,
    /// The longest time that an answer is waited for; when the process starts, too.
    #[schemars(extend("default" = "3s"))]
    pub(in crate::config) timeout: Option<At<Time>>,
    /// The pause after an answer that was none, doubled for each in a row, up to
    /// 30 s.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) retry: Option<At<Time>>,
    /// For how long a server must be missing in the answers of DNS before it is
    /// drained; 0 is at once.
    #[schemars(extend("default" = "0s"))]
    pub(in crate::config) hold: Option<At<Time>>,
    /// For how long an answer must name no server at all before the last ones
    /// are drained.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) empty: Option<At<Time>>,
    /// How often files are looked at.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) every: Option<At<Time>>,
}

impl Read for Discover {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`discover`", |table| Self {
            resolvers: table.key("resolvers"),
            least: table.key("least"),
            longest: table.key("longest"),
            timeout: table.key("timeout"),
            retry: table.key("retry"),
            hold: table.key("hold"),
            empty: table.key("empty"),
            every: table.key("every"),
        })
    }
}
