//! The forecast, as it is asked for and answered.

use super::*;
use crate::drain::Doing;

#[tokio::test]
async fn a_forecast_is_asked_for_with_and_without_a_time() {
    let house = House::open(None).await;
    let web = house.registry.scope("web".into(), Orders::default());
    let guard = house.registry.enter(&web, ([192, 0, 2, 7], 4711).into());
    guard.set_protocol(Protocol::WebSocket);
    let tunnel = guard.begin(Protocol::WebSocket);
    tunnel.enter(Doing::Tunnel);
    let idle = house.registry.enter(&web, ([192, 0, 2, 8], 4712).into());
    let path = "/v1/drain/forecast?finish=250ms";
    let forecast = house.get(path).await.schema("Forecast");
    assert_eq!(forecast["draining"], false);
    assert_eq!(forecast["all"]["farewell"], 1);
    assert_eq!(forecast["plan"]["finish"]["tcp_ms"], 250);
    let one = &forecast["exchanges"][0];
    assert_eq!(one["peer"], "192.0.2.7:4711");
    assert_eq!(
        (&one["route"], &one["doing"]),
        (&json!(""), &json!("tunnel"))
    );
    // An hour of announce, and what it was asked for.
    let deadline = one["deadline_ms"].as_f64().expect("there");
    assert!((3_600_200.0..=3_600_250.0).contains(&deadline), "{one}");
    let planned = house.get("/v1/drain/forecast").await.schema("Forecast");
    assert_eq!(planned["plan"]["finish"]["tcp_ms"], 20_000);
    drop((tunnel, idle));
    let nothing = house.get(path).await.schema("Forecast");
    assert_eq!(nothing["exchanges"], json!([]));
}

#[tokio::test]
async fn a_time_that_is_not_understood_is_refused() {
    let house = House::open(None).await;
    for (query, says) in [
        ("finish=30", "30s"),
        ("finish=", "duration"),
        ("finish=1.5s", "1500ms"),
        ("wait=true", "wait=true"),
        ("finish", "finish=30s"),
    ] {
        let path = format!("/v1/drain/forecast?{query}");
        let detail = house.get(&path).await.problem(400);
        assert!(detail.contains(says), "{query}: {detail}");
    }
}
