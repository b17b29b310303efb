//! What is asked in words that are not understood, or mean nothing where they
//! stand, or could mean two things.

use super::*;

#[tokio::test]
async fn bodies_and_queries_that_are_not_understood_do_nothing() {
    let house = House::open(None).await;
    for (path, body, status, says) in [
        ("/v1/drain", "{\"listener\":\"no\"}", 404, "no listener"),
        ("/v1/drain", "{\"listener\":1}", 400, "string"),
        (
            "/v1/drain?listener=web",
            "{\"listener\":\"db\"}",
            400,
            "two listeners",
        ),
        ("/v1/drain/extend", "", 400, "by how much"),
        ("/v1/drain/extend", "{\"by\":\"5\"}", 400, "`by`"),
        ("/v1/drain/extend", "{\"by\":\"5s\"}", 409, "no drain"),
        ("/v1/drain", "{\"after\":1}", 400, "after"),
        ("/v1/drain?listener=db&listener=web", "", 400, "twice"),
        ("/v1/drain?dry_run=true", "", 400, "\"dry_run\""),
        ("/v1/drain", "{\"by\":\"5s\"}", 400, "\"by\""),
        (
            "/v1/drain/extend?dry_run=true",
            "{\"by\":\"5s\"}",
            400,
            "\"dry_run\"",
        ),
        ("/v1/reload?listener=web", "", 400, "\"listener\""),
        (
            "/v1/handover",
            "{\"listener\":\"web\"}",
            400,
            "\"listener\"",
        ),
        (
            "/v1/drain",
            "{\"listener\":\"db\",\"listener\":\"web\"}",
            400,
            "\"listener\" twice",
        ),
        ("/v1/drain", "[]", 400, "no JSON object"),
        ("/v1/drain", "{", 400, "no JSON object"),
        ("/v1/drain?wait=yes", "", 400, "wait=yes"),
        ("/v1/drain?listener=no", "", 404, "no listener"),
        ("/v1/drain", &"x".repeat(65_537), 413, "65536"),
    ] {
        let detail = house.post(path, body).await.problem(status);
        assert!(detail.contains(says), "{path} {body}: {detail}");
    }
    assert_eq!(house.get("/v1/drain").await.json()["draining"], false);
}
