//! `conf/full.toml`, the JSON Schema and the reader hold each other: they
//! know the same keys and the same defaults.

use crate::fixture::{Fixture, repository_text};
use ebbtide::config::schema;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use toml::Value as Toml;

/// A key of the file: the schema's name of its table, then its own.
type Key = (String, String);

/// Follows references, and the alternative that a value like this one takes, to
/// the schema that says what `schema` means, and the name of it.
fn resolved<'s>(root: &'s Json, schema: &'s Json, value: &Toml) -> (String, &'s Json) {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.strip_prefix('#').expect("a local reference");
        let (_, found) = resolved(root, root.pointer(pointer).expect(name), value);
        return (
            name.rsplit('/').next().unwrap_or_default().to_owned(),
            found,
        );
    }
    let title = schema["title"].as_str().unwrap_or_default().to_owned();
    let Some(choices) = schema["anyOf"].as_array() else {
        return (title, schema);
    };
    let fitting = choices.iter().find(|choice| match value {
        Toml::Array(_) => choice["type"] == "array",
        Toml::Table(_) => choice["type"] != "array" && choice["type"] != "boolean",
        _ => choice["type"] != "array",
    });
    fitting.map_or((title, schema), |choice| resolved(root, choice, value))
}

/// Walks `value` along `schema`, and hands each key with its schema to `seen`.
/// A key for which `seen` answers `false` is taken out of its table.
fn walk(
    root: &Json,
    schema: &Json,
    value: &mut Toml,
    seen: &mut impl FnMut(Key, &Json, &Toml) -> bool,
) {
    let (table, found) = resolved(root, schema, value);
    match value {
        Toml::Array(items) => {
            for item in items {
                walk(root, &found["items"], item, seen);
            }
        }
        Toml::Table(entries) => {
            let free = &found["additionalProperties"];
            let mut gone = Vec::new();
            for (key, value) in entries.iter_mut() {
                if free.is_object() {
                    walk(root, free, value, seen);
                    continue;
                }
                let inner = &found["properties"][key.as_str()];
                assert!(
                    inner.is_object(),
                    "the schema of {table} does not know {key}"
                );
                if seen((table.clone(), key.clone()), inner, value) {
                    walk(root, inner, value, seen);
                } else {
                    gone.push(key.clone());
                }
            }
            for key in gone {
                entries.remove(&key);
            }
        }
        _ => {}
    }
}

fn full() -> Toml {
    Toml::Table(repository_text("conf/full.toml").parse().expect("TOML"))
}

/// Every key that the schema knows.
fn keys_of_schema(root: &Json) -> BTreeSet<Key> {
    let definitions = root["$defs"].as_object().expect("definitions");
    let named = definitions
        .iter()
        .map(|(name, schema)| (name.clone(), schema));
    let all = named.chain([(root["title"].as_str().expect("a title").to_owned(), root)]);
    let keys = all.flat_map(|(name, schema)| {
        let properties = schema["properties"].as_object().into_iter().flatten();
        properties.map(move |(key, _)| (name.clone(), key.clone()))
    });
    keys.collect()
}

#[test]
fn full_shows_every_key_and_every_default() {
    let root = schema();
    let mut defaults: BTreeMap<Key, bool> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    walk(&root, &root, &mut full(), &mut |key, schema, value| {
        if let Some(default) = schema.get("default") {
            let same = serde_json::to_value(value).expect("JSON") == *default;
            *defaults.entry(key.clone()).or_default() |= same;
        }
        keys.insert(key);
        true
    });
    let known = keys_of_schema(&root);
    assert!(known.len() > 60, "only {} keys are known", known.len());
    let missing: Vec<_> = known.difference(&keys).collect();
    assert!(missing.is_empty(), "conf/full.toml lacks {missing:?}");
    let unseen: Vec<_> = defaults.iter().filter(|(_, seen)| !**seen).collect();
    assert!(
        unseen.is_empty(),
        "conf/full.toml does not show the defaults of {unseen:?}"
    );
}

#[test]
fn the_defaults_of_the_schema_are_the_real_ones() {
    let root = schema();
    let fixture = Fixture::new();
    let mut written = full();
    let mut taken = 0;
    let as_written = fixture.good(&toml::to_string(&written).expect("TOML"));
    walk(&root, &root, &mut written, &mut |_, schema, value| {
        let default = schema.get("default");
        let same = default.is_some_and(|it| serde_json::to_value(value).expect("JSON") == *it);
        taken += usize::from(same);
        !same
    });
    let with_defaults = fixture.good(&toml::to_string(&written).expect("TOML"));
    assert!(taken > 30, "only {taken} keys had their default");
    assert_eq!(format!("{with_defaults:#?}"), format!("{as_written:#?}"));
}

#[test]
fn full_loads_as_it_stands() {
    let config = Fixture::new().good(&repository_text("conf/full.toml"));
    assert_eq!(
        (
            config.listeners.len(),
            config.upstreams.len(),
            config.hooks.len()
        ),
        (3, 3, 5)
    );
}

#[test]
fn the_schema_asks_for_what_the_reader_needs_and_never_for_null() {
    let root = schema();
    assert_eq!(
        root["$defs"]["Listener"]["required"],
        serde_json::json!(["listen"])
    );
    assert_eq!(
        root["$defs"]["Upstream"]["required"],
        serde_json::json!(["servers"])
    );
    assert_eq!(root["$defs"]["Listener"]["additionalProperties"], false);
    assert!(!root.to_string().contains("\"null\""), "{root:#}");
    let described = root["$defs"]["Drain"]["properties"]["grace"]["description"].as_str();
    assert!(
        described.is_some_and(|text| text.contains("SIGKILL")),
        "{described:?}"
    );
}
