//! Real drains, as a real Prometheus sees them: scraped every two seconds, until
//! the process is gone.

use crate::dashboard::FIELDS;
use crate::server::{Prometheus, sample};
use crate::support::clients::{Http1, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use crate::support::within;
use serde_json::Value;

/// From a cut to its alert, in seconds, by Prometheus' own clock.
const ALERT_WITHIN: f64 = 8.3;

/// What must be answered as it is written here.
const CLASSIC: [&str; 2] = [
    "rate(app_shutdown_duration_seconds_sum[5m]) > 0",
    "sum(rate(app_connections_drained_total[1h])) by (status)",
];

struct Scene {
    proxy: Proxy,
    http1: Server,
    _tcp: Server,
    prometheus: Prometheus,
}

impl Scene {
    /// A proxy that was scraped twice.
    async fn start() -> Self {
        let (http1, tcp) = (Server::http1().await, Server::tcp().await);
        let config = format!(
            r#"
[admin]
listen = "127.0.0.1:0"
linger = "20s"

[listener.web]
listen = "127.0.0.1:0"
routes = [{{ upstream = "site" }}]

[listener.tcp]
listen   = "127.0.0.1:0"
protocol = "tcp"
upstream = "tcp"

[upstream.site]
servers = ["{}"]

[upstream.tcp]
servers = ["{}"]

[drain]
grace    = "10m"
announce = "500ms"
spread   = "0s"
farewell = "500ms"
receipt  = "receipt.json"
finish   = {{ http = "60s", grpc = "60s", websocket = "500ms", tcp = "500ms" }}
"#,
            http1.address, tcp.address
        );
        let proxy = Proxy::start(&config).await;
        let prometheus = Prometheus::start(proxy.admin()).await;
        prometheus
            .until("count_over_time(app_shutdown_duration_seconds_count[1m]) >= 2")
            .await;
        Self {
            proxy,
            http1,
            _tcp: tcp,
            prometheus,
        }
    }

    /// Drain with a request in flight, which finishes, to the exit: one scrape
    /// ends it, long before `linger` does.
    async fn drain(&mut self) -> Value {
        let mut client = Http1::connect(self.proxy.address("web")).await;
        let held = tokio::spawn(async move { client.get("/hold").await });
        let desk = self.http1.desk.clone();
        desk.until("the request", |seen| seen.requests == 1).await;
        self.proxy.signal(Signal::TERM);
        let finish = |line: &Value| line["stage"] == "finish";
        self.proxy.until_event("stage", finish).await;
        desk.release();
        let reply = within("the answer", held).await.expect("no panic");
        assert_eq!(reply.expect("an answer").text(), "held");
        assert_eq!(self.proxy.exit().await.code(), Some(0));
        let over = |line: &Value| line["event"] == "SHUTDOWN_COMPLETED";
        let over = self.proxy.until_log("the end", over).await;
        for field in FIELDS {
            assert!(over[field].is_u64(), "the dashboard has {field}: {over}");
        }
        let receipt = std::fs::read(self.proxy.path("receipt.json")).expect("kept");
        serde_json::from_slice(&receipt).expect("a receipt")
    }

    /// The last value of each series of a metric, summed up: the process that
    /// had them is gone.
    async fn last(&self, metric: &str) -> f64 {
        let query = format!("sum(last_over_time({metric}[5m]))");
        self.prometheus.value(&query).await
    }

    /// Nothing is lost with a process that exits: what the last scrape saw is
    /// what the receipt says.
    async fn agrees(&self, receipt: &Value) {
        for outcome in ["finished", "farewelled", "cut"] {
            let books = receipt["requests"].as_object().expect("books");
            let counts = books.values().map(|one| one[outcome].as_f64());
            let counted: f64 = counts.map(|count| count.expect("a number")).sum();
            let metric = format!("ebbtide_requests_closed_total{{outcome=\"{outcome}\"}}");
            let scraped = self.last(&metric).await;
            assert!((scraped - counted).abs() < 0.1, "{outcome}: {scraped}");
        }
        let took = receipt["duration_ms"].as_f64().expect("a number") / 1000.0;
        let scraped = self.last("app_shutdown_duration_seconds_sum").await;
        assert!((scraped - took).abs() < 0.002, "{scraped} {took}");
        for left in ["ebbtide_requests_in_flight", "ebbtide_connections"] {
            assert!(self.last(left).await.abs() < 0.1, "{left}");
        }
        for query in CLASSIC {
            let found = self.prometheus.query(query).await;
            assert!(!found.is_empty(), "{query} yields nothing");
        }
        let kept = self
            .prometheus
            .until("shutdown_safety_ratio{window=\"1h\"}");
        let ratio = sample(&kept.await[0]["value"]).1;
        let status = |status: &str| format!("app_connections_drained_total{{{status}}}");
        let good = self.last(&status("status=\"success\"")).await;
        let all = self.last(&status("")).await;
        assert!(
            (ratio - good / all).abs() < 0.01,
            "{ratio}: {good} of {all}"
        );
    }
}

#[tokio::test]
async fn a_clean_drain_alerts_nobody_and_its_end_is_seen() {
    let mut scene = Scene::start().await;
    let receipt = scene.drain().await;
    assert_eq!(receipt["lost"], 0, "{receipt}");
    // Sixteen seconds and more after its end, by failed scrapes: every alert that
    // could wait for something has had the time.
    let gone = "count_over_time(up[5m]) - sum_over_time(up[5m]) >= 8";
    scene.prometheus.until(gone).await;
    let alerts = scene.prometheus.query("ALERTS[10m]").await;
    assert!(alerts.is_empty(), "{alerts:?}");
    let rules = scene.prometheus.api("/api/v1/rules").await;
    for group in rules["data"]["groups"].as_array().expect("groups") {
        for rule in group["rules"].as_array().expect("rules") {
            // Slow groups may not have had their first turn.
            assert_ne!(rule["health"], "err", "{rule}");
        }
    }
    scene.agrees(&receipt).await;
}

#[tokio::test]
async fn a_cut_is_alerted_in_time_though_the_process_is_gone() {
    let mut scene = Scene::start().await;
    let mut stays = Raw::connect(scene.proxy.address("tcp")).await;
    stays.send("hello\n").await.expect("sent");
    stays.read_until("hello\n").await.expect("an echo");
    let receipt = scene.drain().await;
    let cut = |one: &&Value| one["outcome"] == "cut";
    let told = receipt["told"].as_array().expect("a list");
    let cut = told.iter().find(cut).expect("the tunnel");
    let millis = |value: &Value| value.as_f64().expect("a time");
    let at = (millis(&receipt["started_unix_ms"]) + millis(&cut["at_ms"])) / 1000.0;
    let alert = scene.prometheus.until_alert("EbbtideCut").await;
    assert_eq!(alert["labels"]["protocol"], "tcp", "{alert}");
    assert_eq!(alert["labels"]["reason"], "farewell", "{alert}");
    let firing = "ALERTS{alertname=\"EbbtideCut\",alertstate=\"firing\"}[5m]";
    let series = scene.prometheus.until(firing).await;
    let first = sample(&series[0]["values"][0]).0;
    let took = first - at;
    assert!(
        (0.0..=ALERT_WITHIN).contains(&took),
        "alerted after {took} s"
    );
    // Nothing but the cut is wrong with this drain.
    let others = "ALERTS{alertname!=\"EbbtideCut\",alertname!~\"ShutdownSafety.*\"}[5m]";
    let others = scene.prometheus.query(others).await;
    assert!(others.is_empty(), "{others:?}");
    scene.agrees(&receipt).await;
    drop(stays);
}
