//! The rules and their cases, by promtool; and that the cases would notice.

use crate::server::{repository, shipped};
use serde_yaml::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn promtool(arguments: &[&str], directory: &Path) -> Output {
    Command::new("promtool")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("promtool: `make test-prometheus` installs it")
}

#[track_caller]
fn good(arguments: &[&str], directory: &Path) {
    let output = promtool(arguments, directory);
    assert!(output.status.success(), "{output:?}");
}

fn files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository(directory)).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.collect()
}

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a file");
    serde_yaml::from_str(&text).expect("YAML")
}

/// Everything that stands under this key, at any depth.
fn under(value: &Value, key: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Mapping(members) => {
            for (name, member) in members {
                if name.as_str() == Some(key) {
                    found.extend(member.as_str().map(str::to_owned));
                }
                under(member, key, found);
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| under(item, key, found)),
        _ => {}
    }
}

#[test]
fn promtool_finds_nothing_wrong() {
    let directory = repository("conf/prometheus");
    good(&["check", "config", "prometheus.yml"], &directory);
    for rules in files("conf/prometheus/rules") {
        let path = rules.to_str().expect("text");
        good(&["check", "rules", "--lint-fatal", path], &directory);
    }
    for tests in files("conf/prometheus/tests") {
        good(
            &["test", "rules", tests.to_str().expect("text")],
            &directory,
        );
    }
}

/// Each alert in turn never fires, and then always does: the cases must notice
/// either.
#[test]
fn the_cases_notice_an_alert_that_is_wrong() {
    let mut alerts = 0;
    for path in files("conf/prometheus/rules") {
        let text = fs::read_to_string(&path).expect("rules");
        let name = path.file_name().expect("a name");
        let case = name.to_str().expect("text").trim_start_matches("ebbtide-");
        let rules: Value = serde_yaml::from_str(&text).expect("YAML");
        for (group, rule) in places(&rules) {
            alerts += 1;
            for wrong in ["vector(1) > 2", "vector(1)"] {
                let mut broken = rules.clone();
                broken["groups"][group]["rules"][rule]["expr"] = wrong.into();
                let directory = shipped();
                let written = serde_yaml::to_string(&broken).expect("YAML");
                fs::write(directory.path().join("rules").join(name), written).expect("written");
                let tests = format!("tests/{case}");
                let output = promtool(&["test", "rules", &tests], directory.path());
                let alert = &rules["groups"][group]["rules"][rule]["alert"];
                assert!(!output.status.success(), "{alert:?} may be {wrong}");
            }
        }
    }
    assert!(alerts >= 14, "{alerts} alerts");
}

/// Where alerts stand among rules.
fn places(rules: &Value) -> Vec<(usize, usize)> {
    let groups = rules["groups"].as_sequence().expect("groups");
    let mut places = Vec::new();
    for (group, one) in groups.iter().enumerate() {
        let rules = one["rules"].as_sequence().expect("rules");
        let alerts = rules.iter().enumerate();
        let alerts = alerts.filter(|(_, rule)| rule.get("alert").is_some());
        places.extend(alerts.map(|(rule, _)| (group, rule)));
    }
    places
}

/// A metric that is asked for and that nobody has is an alert that never comes.
#[test]
fn rules_ask_for_what_there_is() {
    let known = known();
    for path in files("conf/prometheus/rules") {
        let mut expressions = BTreeSet::new();
        under(&yaml(&path), "expr", &mut expressions);
        assert!(!expressions.is_empty());
        for expression in &expressions {
            for name in names(expression) {
                assert!(known.contains(&name), "{name} in {expression}");
            }
        }
    }
}

/// Every metric of the page, its histograms' series, and what rules record.
pub(crate) fn known() -> BTreeSet<String> {
    let page = fs::read_to_string(repository("docs/metrics.md")).expect("the page");
    let mut known = BTreeSet::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let name = line
            .strip_prefix("### `")
            .and_then(|rest| rest.strip_suffix('`'));
        let Some(name) = name else {
            continue;
        };
        let kind = lines.find(|line| !line.is_empty()).expect("its kind");
        if kind.starts_with("A histogram") {
            known.extend(["_sum", "_count", "_bucket"].map(|end| format!("{name}{end}")));
        } else {
            known.insert(name.to_owned());
        }
    }
    assert!(known.len() > 20, "{known:?}");
    for path in files("conf/prometheus/rules") {
        under(&yaml(&path), "record", &mut known);
    }
    known
}

/// The names of metrics in an expression: ours can be told by their beginnings.
pub(crate) fn names(expression: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !part(c));
    let ours = ["app_", "ebbtide_", "instance:", "shutdown_"];
    let named = words.filter(|word| ours.iter().any(|start| word.starts_with(start)));
    named.map(str::to_owned).collect()
}
