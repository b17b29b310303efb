//! Holding answers to their description: as much of JSON Schema and of the
//! metrics text's grammar as they need.

use crate::admin::openapi::DESCRIPTION;
use serde_json::Value;
use std::collections::HashSet;

/// Fail unless `value` is as the schema of this name says.
pub(super) fn check(value: &Value, name: &str) {
    let document: Value = serde_json::from_str(DESCRIPTION).expect("JSON");
    let schema = &document["components"]["schemas"][name];
    assert!(schema.is_object(), "no schema {name}");
    if let Err(why) = fits(value, schema, &document) {
        panic!("{name}: {why}\n{value:#}");
    }
}

fn fits(value: &Value, schema: &Value, document: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("local");
        let target = document.pointer(pointer).expect("it exists");
        return fits(value, target, document);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices
            .iter()
            .filter(|one| fits(value, one, document).is_ok());
        return match fitting.count() {
            1 => Ok(()),
            count => Err(format!("{value} fits {count} of the choices")),
        };
    }
    let allowed = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => return Err(format!("a schema without a type: {schema}")),
    };
    if !allowed.iter().any(|kind| is_of(value, kind)) {
        return Err(format!("{value} is none of {allowed:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{value} is not among {words:?}"));
    }
    match value {
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| fits(item, &schema["items"], document)),
        Value::Object(members) => {
            for required in schema["required"].as_array().into_iter().flatten() {
                let required = required.as_str().expect("a name");
                if !members.contains_key(required) {
                    return Err(format!("{required} is missing"));
                }
            }
            members.iter().try_for_each(|(name, member)| {
                if schema["properties"][name].is_null() && schema["additionalProperties"] == true {
                    return Ok(());
                }
                let expected = match (&schema["properties"][name], &schema["additionalProperties"])
                {
                    (Value::Null, Value::Bool(_) | Value::Null) => {
                        return Err(format!("{name} is not described"));
                    }
                    (Value::Null, other) => other,
                    (known, _) => known,
                };
                fits(member, expected, document).map_err(|why| format!("{name}: {why}"))
            })
        }
        _ => Ok(()),
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.as_f64().is_some_and(|number| number >= 0.0),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// Fail unless `text` is an exposition: each sample belongs to the family
/// described last, no series comes twice, and it ends with its mark.
pub(super) fn check_exposition(text: &str) {
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.pop(), Some("# EOF"));
    let (mut family, mut kind) = ("", "");
    let (mut families, mut series) = (HashSet::new(), HashSet::new());
    for line in lines {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            (family, kind) = rest.split_once(' ').expect("name and type");
            assert!(families.insert(family), "twice: {family}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("series and value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(series.insert(name), "twice: {name}");
        let bare = name.split('{').next().expect("a name");
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_sum", "_count", "_bucket"],
            other => panic!("an unknown type {other}"),
        };
        let belongs = suffixes
            .iter()
            .any(|suffix| bare.strip_suffix(suffix) == Some(family));
        assert!(belongs, "{line} is not of {family} ({kind})");
    }
}
