//! The access log as it is written.
//!
//! Purpose: `access` is a word of yes or no, or a table that says more.
//!
//! Invariant: as in the module above: types are right, or reported.
//!
//! Deliberately absent: which fields there are (see `check`).

use super::super::read::{At, Node, Read};
use super::super::report::Reported;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// Whether every exchange gets a line, and of which kind.
#[derive(Debug)]
pub(in crate::config) enum Access {
    /// The usual lines, or none.
    Usual(bool),
    /// Lines of this kind.
    Set(AccessTable),
}

impl Read for Access {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        if node.is_table() {
            return AccessTable::read(node).map(Self::Set);
        }
        let example = "`access = true`, or `access = { template = \"{client} {status}\" }`";
        node.boolean("a boolean or a table", example)
            .map(Self::Usual)
    }
}

impl JsonSchema for Access {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Access".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<AccessTable>();
        json_schema!({ "anyOf": [table, { "type": "boolean" }] })
    }
}

/// Where the lines of the access log go, and what they are.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Access", deny_unknown_fields)]
pub(in crate::config) struct AccessTable {
    /// The path of a file; without it, where the log goes.
    pub(in crate::config) file: Option<At<String>>,
    /// A line of text with fields in braces, or a list of fields for a JSON
    /// object.
    pub(in crate::config) template: Option<At<Template>>,
}

impl Read for AccessTable {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("`access`", |table| Self {
            file: table.key("file"),
            template: table.key("template"),
        })
    }
}

/// What a line is.
#[derive(Debug)]
pub(in crate::config) enum Template {
    /// Text with fields in it.
    Text(String),
    /// The fields of a JSON object.
    Fields(Vec<At<String>>),
}

impl Read for Template {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        if node.is_array() {
            return Vec::read(node).map(Self::Fields);
        }
        String::read(node).map(Self::Text)
    }
}

impl JsonSchema for Template {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let field = json_schema!({ "type": "string" });
        json_schema!({ "anyOf": [
            field.clone(),
            { "type": "array", "items": field, "minItems": 1 },
        ] })
    }
}
