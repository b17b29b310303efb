//! A config as it is in force, to be shown: what was written, and the default
//! of every key that was not.
//!
//! Purpose: an operator sees what holds, without a look into the manual.
//!
//! Invariant: no secret is in it: what the schema calls `writeOnly`, the
//! arguments of programs and the user of a URL are hidden. But for those it
//! loads again, and as the same config.
//!
//! Deliberately absent: a list of keys. They and their defaults come from the
//! schema, which tests hold equal to what the reader and the check do.

use super::schema::schema;
use super::units::show;
use crate::drain::Plan;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// What stands for what is not shown.
const HIDDEN: &str = "(hidden)";

/// Tables that hold also where they are not written. The others mean
/// something by being there.
const ALWAYS: [&str; 9] = [
    "admin", "process", "logs", "drain", "finish", "limits", "eject", "going", "discover",
];

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// The config that was read from `written`, whose plan came to be `plan`.
pub(super) fn shown(written: toml::Table, plan: &Plan) -> Value {
    let mut shown = serde_json::to_value(written).unwrap_or_default();
    fill(&SCHEMA, &mut shown);
    let listeners = shown.get_mut("listener").and_then(Value::as_object_mut);
    if let Some(listeners) = listeners {
        listeners.values_mut().for_each(take_back);
    }
    let upstreams = shown.get_mut("upstream").and_then(Value::as_object_mut);
    if let Some(upstreams) = upstreams {
        upstreams.values_mut().for_each(take_back_servers);
    }
    if let Some(tls) = shown.pointer_mut("/admin/tls") {
        take_back_tls(tls);
    }
    if let Some(logs) = shown.pointer_mut("/process/logs") {
        let logs = logs.as_object_mut();
        logs.map(|logs| logs.entry("access").or_insert(false.into()));
    }
    if let Some(drain) = shown.pointer_mut("/drain") {
        // These defaults give way to short deadlines.
        for (key, time) in [
            ("spread", plan.spread),
            ("handshake", plan.handshake),
            ("last_request", plan.last_request),
        ] {
            drain[key] = show(time).into();
        }
    }
    shown
}

/// Take back the defaults that mean nothing on this listener.
fn take_back(listener: &mut Value) {
    if listener["protocol"] == "tcp"
        && let Some(routes) = listener.get_mut("routes").and_then(Value::as_array_mut)
    {
        for route in routes.iter_mut().filter_map(Value::as_object_mut) {
            // Whatever is there was filled in: it cannot be written.
            route.retain(|key, _| ["sni", "upstream"].contains(&key.as_str()));
        }
    }
    if let Some(tls) = listener.get_mut("tls") {
        take_back_tls(tls);
    }
}

/// Take back the defaults that mean nothing on these servers.
fn take_back_servers(upstream: &mut Value) {
    let servers = upstream.get_mut("servers").and_then(Value::as_array_mut);
    let mut asks = false;
    for server in servers.into_iter().flatten() {
        let Some(server) = server.as_object_mut() else {
            continue;
        };
        let by = |key: &str| server.contains_key(key);
        let (named, weighed) = (by("dns") || by("srv"), by("dns") || by("address"));
        asks |= !by("address");
        server.retain(|key, _| match key.as_str() {
            "family" => named,
            "weight" => weighed,
            _ => true,
        });
    }
    if let Some(upstream) = upstream.as_object_mut().filter(|_| !asks) {
        upstream.remove("discover");
    }
}

/// The same of the TLS of a listener, or of several certificates.
fn take_back_tls(tls: &mut Value) {
    let pairs = match tls {
        Value::Array(pairs) => pairs.as_mut_slice(),
        one => std::slice::from_mut(one),
    };
    for (index, pair) in pairs.iter_mut().enumerate() {
        let Some(pair) = pair.as_object_mut() else {
            continue;
        };
        let asks = pair.contains_key("client_ca");
        pair.retain(|key, _| match key.as_str() {
            "client_auth" => asks,
            // These count for the listener, and stand with its first one.
            "tickets" | "keylog" => index == 0,
            _ => true,
        });
    }
}

/// The schema that says what a value is.
fn meant<'s>(schema: &'s Value, value: &Value) -> &'s Value {
    if let Some(name) = schema["$ref"].as_str() {
        let named = name.strip_prefix('#').and_then(|at| SCHEMA.pointer(at));
        return named.map_or(schema, |named| meant(named, value));
    }
    let choices = schema["anyOf"].as_array().into_iter().flatten();
    let mut choices = choices.map(|choice| meant(choice, value));
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        _ => return schema,
    };
    let fitting = choices.find(|choice| choice["type"] == kind);
    fitting.unwrap_or(schema)
}

fn fill(schema: &Value, value: &mut Value) {
    let schema = meant(schema, value);
    match value {
        Value::Array(items) => {
            for item in items {
                fill(&schema["items"], item);
            }
        }
        Value::Object(members) => {
            let free = &schema["additionalProperties"];
            if free.is_object() {
                return members.values_mut().for_each(|entry| fill(free, entry));
            }
            let known = schema["properties"].as_object().into_iter().flatten();
            for (key, schema) in known {
                if let Some(default) = default(key, schema) {
                    members.entry(key).or_insert(default);
                }
                if let Some(member) = members.get_mut(key) {
                    fill(schema, member);
                    hide(key, schema, member);
                }
            }
        }
        _ => {}
    }
}

fn default(key: &str, schema: &Value) -> Option<Value> {
    let table = || ALWAYS.contains(&key).then(|| Map::new().into());
    schema.get("default").cloned().or_else(table)
}

fn hide(key: &str, schema: &Value, value: &mut Value) {
    if schema["writeOnly"] == true {
        match &mut *value {
            // The names are no secret, and the table is to load again.
            Value::Object(members) => {
                members.values_mut().for_each(|one| *one = HIDDEN.into());
            }
            one => *one = HIDDEN.into(),
        }
    }
    match value {
        Value::Array(words) if key == "exec" => {
            words
                .iter_mut()
                .skip(1)
                .for_each(|word| *word = HIDDEN.into());
        }
        Value::String(url) if key == "url" => {
            let authority = url.find("://").map_or(0, |at| at + 3);
            let end = url[authority..]
                .find('/')
                .map_or(url.len(), |at| authority + at);
            if let Some(at) = url[authority..end].rfind('@') {
                url.replace_range(authority..authority + at, "hidden");
            }
        }
        _ => {}
    }
}
