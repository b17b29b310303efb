//! Commands that name one listener.

use super::House;
use serde_json::json;

#[tokio::test]
async fn one_listener_is_drained_and_taken_back() {
    let house = House::open(None).await;
    let begun = house.post("/v1/drain", "{\"listener\":\"web\"}").await;
    let begun = begun.schema("Progress");
    assert_eq!(
        (&begun["listener"], &begun["draining"]),
        (&json!("web"), &json!(true))
    );
    let process = house.get("/v1/drain").await.schema("Progress");
    assert_eq!(process["draining"], false);
    house.get("/readyz?listener=web").await.problem(503);
    house.get("/readyz?listener=no").await.problem(404);
    house.get("/v1/drain?listener=no").await.problem(404);
    let more = house.post("/v1/drain/extend?listener=web", "{\"by\":\"30s\"}");
    let plan = &more.await.schema("Progress")["plan"];
    assert_eq!(plan["announce_ms"], 3_600_000);
    let back = house
        .client()
        .ask("DELETE", "/v1/drain?listener=web", "", "");
    assert_eq!(back.await.schema("Progress")["draining"], false);
    assert_eq!(house.get("/readyz?listener=web").await.status, 200);
}
