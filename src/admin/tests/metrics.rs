//! A scrape.

use super::{House, schema};
use crate::drain::{Orders, Protocol};

#[tokio::test]
async fn a_scrape_has_the_fixed_names() {
    let house = House::open(None).await;
    let web = house.registry.scope("web".into(), Orders::default());
    let guard = house.registry.enter(&web, ([192, 0, 2, 7], 1).into());
    guard.set_protocol(Protocol::WebSocket);
    let _tunnel = guard.begin(Protocol::WebSocket);
    let answer = house.get("/metrics").await;
    let kind = answer.field("content-type").expect("there");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
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
