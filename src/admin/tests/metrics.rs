//! A scrape.

use super::{House, schema, upstream};
use crate::admin::Admin;
use crate::control::{self, Status};
use crate::drain::{Orders, Plan, Protocol};
use crate::proxy::registry::Registry;
use crate::telemetry::metrics::{Family, Format, Metrics};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_scrape_has_the_fixed_names() {
    let house = House::open(None).await;
    let web = house.registry.scope("web".into(), Orders::default());
    let guard = house.registry.enter(&web, ([192, 0, 2, 7], 1).into());
    guard.set_protocol(Protocol::WebSocket);
    let _tunnel = guard.begin(Protocol::WebSocket);
    let accept = "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.3\r\n";
    let answer = house.client().ask("GET", "/metrics", accept, "").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.field("content-type"), Some(kind));
    for line in [
        "ebbtide_phase{phase=\"active\"} 1",
        "ebbtide_phase{phase=\"draining\"} 0",
        "ebbtide_ready 1",
        "ebbtide_connections{listener=\"web\",protocol=\"websocket\",state=\"in_flight\"} 1",
        "ebbtide_connections{listener=\"web\",protocol=\"unknown\",state=\"tls_handshake\"} 0",
        "ebbtide_requests_in_flight{listener=\"web\",protocol=\"websocket\"} 1",
        "ebbtide_requests_in_flight{listener=\"web\",protocol=\"tcp\"} 0",
        "ebbtide_farewells_total{kind=\"grpc_trailers\"} 0",
        "ebbtide_cuts_total{protocol=\"http1\",reason=\"operator\"} 0",
        "ebbtide_upstream_server_up{upstream=\"site\",server=\"127.0.0.1:1\"} 1",
        "ebbtide_upstream_server_draining{upstream=\"site\",server=\"127.0.0.1:1\"} 0",
        "ebbtide_upstream_in_flight{upstream=\"site\",server=\"127.0.0.1:1\"} 0",
        "ebbtide_upstream_drained_total{upstream=\"site\",server=\"127.0.0.1:1\",outcome=\"cut\"} 0",
        "ebbtide_cuts_total{protocol=\"tcp\",reason=\"server_drained\"} 0",
        "app_connections_drained_total{status=\"success\"} 0",
        "app_connections_drained_total{status=\"timeout\"} 0",
        "app_connections_drained_total{status=\"failed\"} 0",
        "app_lifecycle_shutdown_start_timestamp_seconds 0.0",
        "app_shutdown_duration_seconds_count 0",
        "ebbtide_requests_total{listener=\"web\",route=\"web/0\",upstream=\"site\",\
         protocol=\"http2\",code=\"200\"} 1",
    ] {
        let there = answer.body.lines().any(|one| one == line);
        assert!(there, "{line}\n{}", answer.body);
    }
    schema::check_exposition(&answer.body);
}

#[tokio::test]
async fn who_does_not_ask_for_openmetrics_gets_text() {
    let house = House::open(None).await;
    let answer = house.get("/metrics").await;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.field("content-type"), Some(kind));
    for line in [
        "# TYPE ebbtide_requests_total counter",
        "# TYPE ebbtide_request_duration_seconds histogram",
        "# TYPE ebbtide_connections gauge",
        "ebbtide_phase{phase=\"active\"} 1",
    ] {
        assert!(
            answer.body.lines().any(|one| one == line),
            "{}",
            answer.body
        );
    }
    assert!(!answer.body.contains("# EOF"));
}

/// The value of each series whose line begins so.
fn values(text: &str, beginning: &str) -> Vec<f64> {
    let lines = text.lines().filter(|line| line.starts_with(beginning));
    let value = |line: &str| line.rsplit_once(' ')?.1.parse().ok();
    lines.filter_map(value).collect()
}

#[tokio::test]
async fn a_drain_says_where_it_stands_and_until_when() {
    let house = House::open(None).await;
    let before = house.get("/metrics").await.body;
    let deadline = "ebbtide_drain_stage_deadline_timestamp_seconds{";
    assert_eq!(values(&before, "ebbtide_drain_stage{"), [0.0; 6]);
    assert_eq!(values(&before, deadline), [0.0]);
    assert_eq!(values(&before, "ebbtide_drain_planned_seconds "), [0.0]);
    house.post("/v1/drain", "").await;
    let text = house.get("/metrics").await.body;
    let stage = "ebbtide_drain_stage{listener=\"web\",stage=\"announce\"} 1";
    assert!(text.lines().any(|line| line == stage), "{text}");
    let all: f64 = values(&text, "ebbtide_drain_stage{").iter().sum();
    assert!((all - 1.0).abs() < f64::EPSILON, "{text}");
    // The plan of the house announces for an hour.
    let ends = values(&text, deadline)[0] - crate::clock::unix().as_secs_f64();
    assert!(ends > 3_500.0 && ends < 3_601.0, "{ends}");
    let lasted = "ebbtide_drain_stage_duration_seconds{stage=\"announce\"}";
    assert!(values(&text, lasted)[0] > 0.0, "{text}");
}

/// Traffic on every core: nothing may end before it was opened, and what is in
/// flight is what has not ended, in every scrape.
#[test]
fn the_books_balance_in_every_scrape() {
    let (admin, registry) = admin();
    let web = registry.scope("web".into(), Orders::default());
    let done = std::sync::atomic::AtomicBool::new(false);
    let sums = |text: &str, name: &str| values(text, name).iter().sum::<f64>();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for port in 0..5_000 {
                let guard = registry.enter(&web, ([192, 0, 2, 7], port).into());
                let _one = guard.begin(Protocol::Http2);
                let _other = guard.begin(Protocol::Grpc);
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            let text = admin.metrics_text(Format::Text);
            let opened = sums(&text, "ebbtide_requests_opened_total{");
            let closed = sums(&text, "ebbtide_requests_closed_total{");
            let in_flight = sums(&text, "ebbtide_requests_in_flight{");
            assert!((opened - closed - in_flight).abs() < 0.5, "{text}");
            let opened = sums(&text, "ebbtide_connections_opened_total{");
            assert!(opened >= sums(&text, "ebbtide_connections_closed_total{"));
        }
    });
    let text = admin.metrics_text(Format::Text);
    for (name, count) in [("requests", 10_000.0), ("connections", 5_000.0)] {
        for end in ["opened", "closed"] {
            let all = sums(&text, &format!("ebbtide_{name}_{end}_total{{"));
            assert!((all - count).abs() < 0.5, "{name} {end}: {all}");
        }
    }
    assert!(sums(&text, "ebbtide_connections{").abs() < 0.5);
}

/// A reload may take a listener away and put it back while it is being drained.
#[test]
fn listeners_of_one_name_are_one_series() {
    let (admin, registry) = admin();
    for _ in 0..2 {
        let scope = registry.scope("web".into(), Orders::default());
        drop(registry.enter(&scope, ([192, 0, 2, 7], 1).into()));
    }
    let text = admin.metrics_text(Format::OpenMetrics);
    schema::check_exposition(&text);
    let line = "ebbtide_connections_closed_total{listener=\"web\",outcome=\"finished\"} 2";
    assert!(text.lines().any(|one| one == line), "{text}");
}

/// An interface to a process with two listeners of one name.
fn admin() -> (Arc<Admin>, Arc<Registry>) {
    let mut status = Status::new(Plan::default());
    for port in [8080, 8081] {
        status.listeners.push(control::ListenerStatus {
            name: "web".into(),
            address: ([127, 0, 0, 1], port).into(),
            position: status.process.clone(),
            receipt: None,
        });
    }
    let (control, _inbox) = control::channel(status);
    let registry = Registry::new();
    let doorman = crate::admin::Doorman::default();
    let metrics = Metrics::new();
    let admin = Admin::new(control, Arc::clone(&registry), Vec::new(), metrics, doorman);
    (admin, registry)
}

/// Every family, each with a sample.
fn families() -> Vec<Family> {
    let mut status = Status::new(Plan::default());
    status.listeners.push(control::ListenerStatus {
        name: "web".into(),
        address: ([127, 0, 0, 1], 8080).into(),
        position: status.process.clone(),
        receipt: None,
    });
    let (control, _inbox) = control::channel(status);
    let metrics = Metrics::new();
    let route = metrics.route("web", "web/0", "site");
    route.record(Protocol::Http1, 200, Duration::from_millis(3));
    let registry = Registry::new();
    let upstreams = vec![upstream(&registry)];
    metrics.hook_ended("announce", "done");
    let admin = Admin::new(
        control,
        registry,
        upstreams,
        Arc::clone(&metrics),
        crate::admin::Doorman::default(),
    );
    metrics.families(admin.families())
}

/// The names that dashboards rely on, and their labels.
const FIXED: [(&str, &[&str]); 12] = [
    ("app_lifecycle_shutdown_start_timestamp_seconds", &[]),
    ("app_connections_drained", &["status"]),
    ("app_shutdown_duration_seconds", &[]),
    ("ebbtide_phase", &["phase"]),
    ("ebbtide_connections", &["listener", "protocol", "state"]),
    ("ebbtide_requests_in_flight", &["listener", "protocol"]),
    (
        "ebbtide_requests",
        &["listener", "route", "upstream", "protocol", "code"],
    ),
    (
        "ebbtide_request_duration_seconds",
        &["listener", "route", "upstream", "protocol"],
    ),
    ("ebbtide_farewells", &["kind"]),
    ("ebbtide_cuts", &["protocol", "reason"]),
    ("ebbtide_reload", &["result"]),
    ("ebbtide_upstream_server_up", &["upstream", "server"]),
];

/// `docs/metrics.md` is what the code says. Run with `EBBTIDE_BLESS=1` to write
/// it anew.
#[tokio::test]
async fn the_page_on_metrics_says_what_there_is() {
    let families = families();
    families.iter().for_each(Family::check_labels);
    let names: Vec<&str> = families.iter().map(Family::name).collect();
    for (name, labels) in FIXED {
        let family = families.iter().find(|family| family.name() == name);
        assert_eq!(family.map(Family::labels), Some(labels), "{name}");
    }
    for name in &names {
        assert_eq!(
            names.iter().filter(|other| *other == name).count(),
            1,
            "{name}"
        );
        let ours = ["ebbtide_", "app_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        assert!(ours, "{name}");
    }
    let mut pages: Vec<String> = families.iter().map(Family::page).collect();
    pages.sort();
    let page = format!("{}\n{}", include_str!("metrics_head.md"), pages.join("\n"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("EBBTIDE_BLESS").is_some() {
        std::fs::write(path, &page).expect("written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, page, "EBBTIDE_BLESS=1 writes docs/metrics.md anew");
}
