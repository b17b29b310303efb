//! A scrape.

use super::{House, schema, upstream};
use crate::admin::Admin;
use crate::control::{self, Status};
use crate::drain::{Orders, Plan, Protocol};
use crate::proxy::registry::Registry;
use crate::telemetry::metrics::{Family, Metrics};
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

/// The names that dashboards rely on.
const FIXED: [&str; 12] = [
    "app_lifecycle_shutdown_start_timestamp_seconds",
    "app_connections_drained",
    "app_shutdown_duration_seconds",
    "ebbtide_phase",
    "ebbtide_connections",
    "ebbtide_requests_in_flight",
    "ebbtide_requests",
    "ebbtide_request_duration_seconds",
    "ebbtide_farewells",
    "ebbtide_cuts",
    "ebbtide_reload",
    "ebbtide_upstream_server_up",
];

/// `docs/metrics.md` is what the code says. Run with `EBBTIDE_BLESS=1` to write
/// it anew.
#[tokio::test]
async fn the_page_on_metrics_says_what_there_is() {
    let families = families();
    families.iter().for_each(Family::check_labels);
    let names: Vec<&str> = families.iter().map(Family::name).collect();
    for name in FIXED {
        assert!(names.contains(&name), "{name} is gone");
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
