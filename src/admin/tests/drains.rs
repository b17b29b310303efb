//! A drain that is asked for, waited for, and taken back.

use super::*;

#[tokio::test]
async fn a_drain_begins_once_and_can_be_taken_back() {
    let house = House::open(None).await;
    let cancel = || async { house.client().ask("DELETE", "/v1/drain", "", "").await };
    assert!(cancel().await.problem(409).contains("no drain"));
    let first = house.post("/v1/drain", "{}").await.schema("Progress");
    assert_eq!(first["draining"], true);
    assert_eq!(first["stage"], "announce");
    assert_eq!(first["trigger"], "api");
    let again = house.post("/v1/drain", "").await;
    assert_eq!(again.status, 202);
    let again = again.schema("Progress");
    let since_began = again["elapsed_ms"].as_f64() >= first["elapsed_ms"].as_f64();
    assert!(since_began, "one drain, not two: {first} {again}");
    let deadlines = &again["deadlines"];
    assert!(deadlines["refuse_in_ms"].as_u64().expect("there") > 3_500_000);
    let taken_back = cancel().await;
    assert_eq!(taken_back.status, 200);
    let progress = taken_back.schema("Progress");
    assert_eq!(progress["draining"], false);
    assert_eq!(progress["deadlines"], json!(null));
    assert_eq!(house.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn who_waits_gets_the_receipt_though_the_interface_stops() {
    let house = House::open(None).await;
    let mut waiting = house.client();
    waiting.send("POST", "/v1/drain?wait=true", "", "").await;
    while house.get("/v1/drain").await.json()["draining"] != true {}
    drop(house.stop);
    let _inbox = house.conductor.let_go().await;
    let receipt = waiting.receive().await.schema("Receipt");
    assert_eq!(receipt["complete"], true);
    assert_eq!(receipt["trigger"], "api");
    house.serving.await.expect("it returned");
}

#[tokio::test]
async fn a_slow_body_is_not_waited_for_past_the_drain() {
    let house = House::open(None).await;
    let mut slow = house.client();
    let part = "POST /v1/drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{";
    slow.send_part(part).await;
    house.post("/v1/drain", "").await;
    let _inbox = house.conductor.let_go().await;
    let detail = slow.receive().await.problem(409);
    assert!(detail.contains("drained"), "{detail}");
}

#[tokio::test]
async fn others_may_wait_for_a_drain_that_they_did_not_begin() {
    let house = House::open(None).await;
    let early = house.get("/v1/drain?wait=true").await.problem(409);
    assert!(early.contains("no drain"), "{early}");
    assert_eq!(house.post("/v1/drain", "").await.status, 202);
    let (mut waiting, mut late) = (house.client(), house.client());
    waiting.send("GET", "/v1/drain?wait=true", "", "").await;
    let _inbox = house.conductor.let_go().await;
    waiting.receive().await.schema("Receipt");
    late.send("GET", "/v1/drain?wait=true", "", "").await;
    late.receive().await.schema("Receipt");
}

#[tokio::test]
async fn a_waiter_learns_that_the_drain_was_cancelled() {
    let house = House::open(None).await;
    let mut waiting = house.client();
    waiting.send("POST", "/v1/drain?wait=true", "", "").await;
    while house.get("/v1/drain").await.json()["draining"] != true {}
    let cancelled = house.client().ask("DELETE", "/v1/drain", "", "").await;
    assert_eq!(cancelled.status, 200);
    assert!(waiting.receive().await.problem(409).contains("cancelled"));
}

#[tokio::test]
async fn what_is_past_refuse_stays_and_leaves_a_receipt() {
    let house = House::open(None).await;
    let early = house.get("/v1/drain/receipt").await.problem(404);
    assert!(early.contains("yet"), "{early}");
    let address = house.address.clone();
    house.post("/v1/drain", "").await;
    let _inbox = house.conductor.let_go().await;
    let client = || Client::to(&address);
    let receipt = client().ask("GET", "/v1/drain/receipt", "", "").await;
    assert_eq!(receipt.status, 200);
    let table: Receipt = serde_json::from_str(&receipt.body).expect("readable");
    assert!(!table.cut_anything());
    let progress = client().ask("GET", "/v1/drain", "", "").await;
    assert_eq!(progress.schema("Progress")["phase"], "terminated");
    let detail = client().ask("GET", "/readyz", "", "").await.problem(503);
    assert!(detail.contains("drained"), "{detail}");
}
