//! The dashboard: its form, that Prometheus understands each of its questions,
//! and that what it asks for is there.

use crate::rules::{known, names};
use crate::server::{Prometheus, repository};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// The kinds of panels that Grafana brings and that are used here.
const KINDS: [&str; 9] = [
    "row",
    "stat",
    "table",
    "heatmap",
    "status-history",
    "state-timeline",
    "bargauge",
    "timeseries",
    "gauge",
];

/// The fields of the event that the table of drains is made of.
pub(crate) const FIELDS: [&str; 7] = [
    "duration_ms",
    "connections",
    "opened",
    "finished",
    "farewelled",
    "cut",
    "lost",
];

fn dashboard() -> Value {
    let text = fs::read_to_string(repository("conf/grafana/ebbtide.json")).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.unwrap_or_else(|| panic!("no list {pointer}: {value}"))
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text {pointer}: {value}"))
}

/// What is asked of this kind of source, panels, variables and annotations.
fn questions(dashboard: &Value, source: &str) -> Vec<String> {
    let panels = list(dashboard, "/panels").iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let annotations = list(dashboard, "/annotations/list").iter();
    let asked = targets.chain(annotations);
    let asked = asked.filter(|one| one["datasource"]["type"] == source);
    asked.map(|one| text(one, "/expr").to_owned()).collect()
}

/// With a value for each variable, as Grafana fills them in.
fn filled(question: &str) -> String {
    let filled = [
        ("$__rate_interval", "1m"),
        ("$__interval", "15s"),
        ("$__range", "6h"),
        ("$job", "ebbtide"),
        ("$instance", ".*"),
    ];
    let filled = filled
        .iter()
        .fold(question.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        });
    assert!(!filled.contains('$'), "an unknown variable: {filled}");
    filled
}

/// What Grafana's schema of a dashboard asks of the parts that are used.
#[test]
fn it_is_a_dashboard() {
    let dashboard = dashboard();
    assert_eq!(text(&dashboard, "/uid"), "ebbtide");
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36));
    let variables = list(&dashboard, "/templating/list").iter();
    let variables: BTreeSet<&str> = variables.map(|one| text(one, "/name")).collect();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "/panels") {
        let title = text(panel, "/title");
        assert!(KINDS.contains(&text(panel, "/type")), "{title}");
        assert!(
            ids.insert(panel["id"].as_u64().expect(title)),
            "{title}: its id"
        );
        let cell = |name: &str| panel["gridPos"][name].as_u64().expect(title);
        let (x, y, w, h) = (cell("x"), cell("y"), cell("w"), cell("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}: beyond the edge");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(place), "{title} lies on another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(!text(panel, "/description").is_empty(), "{title}");
        assert!(panel["fieldConfig"]["defaults"].is_object(), "{title}");
        assert!(panel["options"].is_object(), "{title}");
        let mut letters = BTreeSet::new();
        for target in list(panel, "/targets") {
            assert!(letters.insert(text(target, "/refId")), "{title}");
            assert_eq!(target["datasource"], panel["datasource"], "{title}");
        }
        let source = text(panel, "/datasource/uid");
        let source = source
            .strip_prefix("${")
            .and_then(|name| name.strip_suffix('}'));
        assert!(variables.contains(source.expect("a variable")), "{title}");
    }
}

#[test]
fn it_asks_for_what_there_is() {
    let (dashboard, known) = (dashboard(), known());
    let mut asked = questions(&dashboard, "prometheus");
    for variable in list(&dashboard, "/templating/list") {
        asked.extend(variable["definition"].as_str().map(str::to_owned));
    }
    assert!(asked.len() > 25, "{asked:?}");
    for question in &asked {
        for name in names(question) {
            assert!(known.contains(&name), "{name} in {question}");
        }
    }
    // What an operator looks for first is on it.
    let all = asked.concat();
    for name in [
        "app_shutdown_duration_seconds_bucket",
        "ebbtide_requests_closed_total",
        "ebbtide_requests_in_flight",
        "ebbtide_phase",
        "ebbtide_connections",
        "ebbtide_reload_total",
        "ebbtide_upstream_server_up",
        "shutdown_safety_ratio",
    ] {
        assert!(all.contains(name), "{name} is nowhere");
    }
    let [drains] = &questions(&dashboard, "loki")[..] else {
        panic!("one question to the log");
    };
    assert!(drains.contains("event=\"SHUTDOWN_COMPLETED\""), "{drains}");
    let written = serde_json::to_string(&dashboard).expect("JSON");
    for field in FIELDS {
        assert!(written.contains(&format!("\"{field}\"")), "{field}");
    }
}

/// Whether there is data does not matter: the server is one that knows nothing.
#[tokio::test]
async fn prometheus_understands_each_question() {
    let prometheus = Prometheus::start(([127, 0, 0, 1], 9).into()).await;
    for question in questions(&dashboard(), "prometheus") {
        let answer = prometheus.ask(&filled(&question)).await;
        assert_eq!(answer["status"], "success", "{question}: {answer}");
    }
    // One that it does not understand, it says so.
    let answer = prometheus.ask("sum by (").await;
    assert_eq!(answer["status"], "error", "{answer}");
}

/// The queries of the page on metrics, too.
#[tokio::test]
async fn prometheus_understands_the_page_on_metrics() {
    let page = fs::read_to_string(repository("docs/metrics.md")).expect("the page");
    let blocks = page.split("```promql\n").skip(1);
    let queries = blocks.filter_map(|block| Some(block.split_once("\n```")?.0));
    let queries: Vec<&str> = queries.collect();
    assert!(queries.len() > 20, "{queries:?}");
    let prometheus = Prometheus::start(([127, 0, 0, 1], 9).into()).await;
    for query in queries {
        let answer = prometheus.ask(query).await;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        for name in names(query) {
            assert!(known().contains(&name), "{name} in {query}");
        }
    }
}
