//! Hooks as they are written.
//!
//! Purpose: the tables `[[hook]]` and what stands inside them.
//!
//! Invariant: as in the module above: types and units are right, or reported.
//!
//! Deliberately absent: that a hook does exactly one thing (see `check`).

use super::super::model::Occasion;
use super::super::read::{At, Named, Node, OneOf, Read, Time};
use super::super::report::Reported;
use schemars::JsonSchema;

/// What runs on an occasion: one of `exec`, `http` and `file`.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Hook {
    /// What starts it: a stage of a drain, that a drain is cancelled or over, or
    /// that a reload is done or refused.
    pub(in crate::config) on: At<OneOf<Occasion>>,
    /// A program and its arguments; there is no shell.
    pub(in crate::config) exec: Option<At<Vec<At<String>>>>,
    /// An HTTP request.
    pub(in crate::config) http: Option<At<HookHttp>>,
    /// A file to write.
    pub(in crate::config) file: Option<At<HookFile>>,
    /// How long it may take before it counts as failed.
    #[schemars(extend("default" = "2s"))]
    pub(in crate::config) timeout: Option<At<Time>>,
}

impl Read for Hook {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("a hook", |table| Self {
            on: table.required("on", "on = \"announce\""),
            exec: table.key("exec"),
            http: table.key("http"),
            file: table.key("file"),
            timeout: table.key("timeout"),
        })
    }
}

/// The HTTP request of a hook.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct HookHttp {
    /// The request's method.
    #[schemars(extend("default" = "POST"))]
    pub(in crate::config) method: Option<At<String>>,
    /// An absolute `http` URL.
    pub(in crate::config) url: At<String>,
    /// Further fields; a value `file:PATH` is read from that file.
    #[schemars(extend("writeOnly" = true))]
    pub(in crate::config) headers: Option<At<Named<String>>>,
    /// What is sent with POST, PUT and PATCH, in place of what has happened as
    /// JSON.
    #[schemars(extend("writeOnly" = true))]
    pub(in crate::config) body: Option<At<String>>,
}

impl Read for HookHttp {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("a hook's `http`", |table| Self {
            method: table.key("method"),
            url: table.required("url", "url = \"http://127.0.0.1:8500/\""),
            headers: table.key("headers"),
            body: table.key("body"),
        })
    }
}

/// The file that a hook writes.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct HookFile {
    /// Where.
    pub(in crate::config) path: At<String>,
    /// What; without it the file is written empty.
    #[schemars(extend("writeOnly" = true))]
    pub(in crate::config) content: Option<At<String>>,
}

impl Read for HookFile {
    fn read(node: Node<'_>) -> Result<Self, Reported> {
        node.table("a hook's `file`", |table| Self {
            path: table.required("path", "path = \"/run/ebbtide/draining\""),
            content: table.key("content"),
        })
    }
}
