//! Collectors that are down, slow, hang or answer garbage: what they cost.

use super::*;
use crate::support::certificate::Certificate;
use crate::support::collector::Answer;
use crate::support::proxy::Signal;

const FAILED: &str = "ebbtide_traces_dropped_total{reason=\"failed\"} ";
const FULL: &str = "ebbtide_traces_dropped_total{reason=\"queue_full\"} ";
const REJECTED: &str = "ebbtide_traces_dropped_total{reason=\"rejected\"} ";
const EXPORTED: &str = "ebbtide_traces_exported_total ";

/// Every request is recorded, and sent over HTTP.
const ALL: &str = "ratio = 1\nprotocol = \"http\"";

async fn proxied(collector: SocketAddr, more: &str) -> (Server, Proxy) {
    let server = Server::http1().await;
    let proxy = Proxy::start(&site(&process(collector, more), &server)).await;
    (server, proxy)
}

async fn exits(mut proxy: Proxy) -> Vec<serde_json::Value> {
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    proxy.log()
}

fn said(log: &[serde_json::Value], text: &str) -> usize {
    let said = |line: &&serde_json::Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["event"] == "traces" && message.contains(text)
    };
    log.iter().filter(said).count()
}

#[tokio::test]
async fn an_exit_does_not_wait_for_a_collector_that_hangs() {
    let hung = Collector::http(Answer::Nothing).await;
    let (_listener, hole) = black_hole().await;
    for (collector, protocol) in [(hung.address, "http"), (hole, "grpc"), (hole, "http")] {
        // Far longer than a test may take, were it waited for.
        let more =
            format!("ratio = 1\nprotocol = \"{protocol}\"\ntimeout = \"1h\"\nflush = \"100ms\"");
        let (_server, proxy) = proxied(collector, &more).await;
        assert_eq!(get(&proxy, "/", &[]).await.status, 200);
        let log = exits(proxy).await;
        assert_eq!(said(&log, "in time"), 1, "{log:#?}");
    }
}

#[tokio::test]
async fn what_finds_no_room_is_counted_and_costs_the_client_nothing() {
    let (_listener, hole) = black_hole().await;
    let more = format!("{ALL}\nqueue = 1\ntimeout = \"1h\"\nflush = \"0s\"");
    let (_server, proxy) = proxied(hole, &more).await;
    let asked = async {
        // One batch hangs, one exchange waits, and then there is no room.
        while counter(&proxy, FULL).await == 0 {
            assert_eq!(get(&proxy, "/", &[]).await.status, 200);
        }
    };
    crate::support::within("a full queue", asked).await;
    assert_eq!(counter(&proxy, EXPORTED).await, 0);
    exits(proxy).await;
}

#[tokio::test]
async fn what_a_collector_cannot_take_is_counted_and_said_once() {
    for answer in [Answer::Garbage, Answer::Status(400)] {
        let collector = Collector::http(answer).await;
        let (_server, proxy) = proxied(collector.address, ALL).await;
        get(&proxy, "/", &[]).await;
        until_counter(&proxy, FAILED, |count| count == 2).await;
        get(&proxy, "/", &[]).await;
        until_counter(&proxy, FAILED, |count| count == 4).await;
        let log = exits(proxy).await;
        assert_eq!(said(&log, "let go"), 1, "{log:#?}");
        // It would be as wrong again.
        assert_eq!(collector.got().batches, 3, "two requests and the drain");
    }
}

#[tokio::test]
async fn what_fails_in_passing_is_sent_again() {
    let collector = Collector::http(Answer::Status(503)).await;
    let (_server, proxy) = proxied(collector.address, ALL).await;
    get(&proxy, "/", &[]).await;
    collector.until("tries", |got| got.batches >= 3).await;
    assert_eq!(counter(&proxy, EXPORTED).await, 0);
    // An exit does not wait for tries to come.
    exits(proxy).await;
}

#[tokio::test]
async fn a_collector_that_is_down_costs_only_its_spans() {
    let (listener, nobody) = black_hole().await;
    drop(listener);
    for protocol in ["grpc", "http"] {
        let more = format!("ratio = 1\nprotocol = \"{protocol}\"");
        let (_server, proxy) = proxied(nobody, &more).await;
        get(&proxy, "/", &[]).await;
        until_counter(&proxy, FAILED, |count| count == 2).await;
        exits(proxy).await;
    }
}

#[tokio::test]
async fn what_a_collector_rejects_is_counted() {
    let collector = Collector::http(Answer::AllButOne).await;
    let (_server, proxy) = proxied(collector.address, ALL).await;
    get(&proxy, "/", &[]).await;
    until_counter(&proxy, REJECTED, |count| count == 1).await;
    assert_eq!(counter(&proxy, EXPORTED).await, 1);
    exits(proxy).await;
}

#[tokio::test]
async fn a_collector_behind_tls_proves_its_name() {
    for (protocol, alpn) in [("grpc", "h2"), ("http", "http/1.1")] {
        let collector = match protocol {
            "grpc" => Collector::grpc().await,
            _ => Collector::http(Answer::Good).await,
        };
        let (known, unknown) = (Certificate::new(), Certificate::new());
        let address = collector.over_tls(known.server(&[alpn])).await;
        let server = Server::http1().await;
        let more = format!("ratio = 1\nprotocol = \"{protocol}\"\nca = \"ca/site.pem\"");
        let config = site(&process(address, &more), &server);
        let config = config.replace("http://127.0.0.1", "https://localhost");
        let prepare = |of: &Certificate, directory: &std::path::Path| {
            let folder = directory.join("ca");
            std::fs::create_dir(&folder).expect("made");
            of.write(&folder);
        };
        let proxy = Proxy::start_in(&config, |directory| prepare(&known, directory)).await;
        get(&proxy, "/", &[]).await;
        collector.until("spans", |got| got.spans.len() == 2).await;
        exits(proxy).await;

        let before = collector.got().spans.len();
        let proxy = Proxy::start_in(&config, |directory| prepare(&unknown, directory)).await;
        get(&proxy, "/", &[]).await;
        until_counter(&proxy, FAILED, |count| count == 2).await;
        exits(proxy).await;
        assert_eq!(collector.got().spans.len(), before);
    }
}
