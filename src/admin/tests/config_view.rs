//! The config in force.

use super::House;
use crate::config;
use serde_json::json;

#[tokio::test]
async fn the_config_is_shown_in_either_form() {
    let house = House::open(None).await;
    let shown = house.get("/v1/config").await.schema("InForce");
    assert_eq!(
        (&shown["generation"], &shown["source"]),
        (&json!(1), &json!("conf/test.toml"))
    );
    assert_eq!(shown["config"]["admin"]["token"], "(hidden)");
    assert_eq!(shown["config"]["drain"]["announce"], "5s");
    let by_query = house.get("/v1/config?format=toml").await;
    let accept = "accept: application/json;q=0.5, application/toml\r\n";
    let by_accept = house.client().ask("GET", "/v1/config", accept, "").await;
    for answer in [by_query, by_accept] {
        assert_eq!(answer.field("content-type"), Some("application/toml"));
        let again = config::parse("conf/test.toml".as_ref(), &answer.body).expect("good");
        assert_eq!(*again.shown, shown["config"]);
    }
    let query = "/v1/config?format=json";
    let answer = house.client().ask("GET", query, accept, "").await;
    assert_eq!(answer.json()["generation"], 1);
    let detail = house.get("/v1/config?format=xml").await.problem(400);
    assert!(detail.contains("format=json or toml"), "{detail}");
}
