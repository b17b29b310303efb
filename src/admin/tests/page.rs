//! The page, and what it may ask for.

use super::*;

/// What a browser sends for the page that came from here.
const OWN: &str =
    "origin: http://localhost\r\nsec-fetch-site: same-origin\r\nx-ebbtide-page: 1\r\n";

#[tokio::test]
async fn the_page_is_given_to_everybody_and_kept_by_nobody() {
    let house = House::open(Some("s3cret")).await;
    for page in [
        house.get("/").await,
        house.client().ask("HEAD", "/", "", "").await,
    ] {
        assert_eq!(page.status, 200);
        assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.field("cache-control"), Some("no-store"));
        assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
        let policy = page.field("content-security-policy").expect("a policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    }
    assert!(house.get("/").await.body.starts_with("<!doctype html>"));
    let stranger = house.post("/", "").await;
    assert_eq!(stranger.field("x-content-type-options"), Some("nosniff"));
    stranger.problem(401);
    let live = house.get("/livez").await;
    assert_eq!(live.field("x-content-type-options"), Some("nosniff"));
    house.get("/page.js").await.problem(401);
}

#[tokio::test]
async fn the_page_may_begin_a_drain_and_take_it_back() {
    let house = House::open(None).await;
    let asked = house.client().ask("POST", "/v1/drain", OWN, "").await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let back = house.client().ask("DELETE", "/v1/drain", OWN, "").await;
    assert_eq!(back.status, 200, "{}", back.body);
    for field in ["origin", "sec-fetch-site", "x-ebbtide-page"] {
        let others: String = OWN
            .split_inclusive("\r\n")
            .filter(|line| !line.starts_with(field))
            .collect();
        let refused = house.client().ask("POST", "/v1/drain", &others, "").await;
        refused.problem(403);
    }
    assert_eq!(house.get("/v1/drain").await.json()["draining"], false);
}

#[tokio::test]
async fn the_page_needs_the_token_like_anybody() {
    let house = House::open(Some("s3cret")).await;
    let without = house.client().ask("POST", "/v1/drain", OWN, "").await;
    without.problem(401);
    let with = format!("{OWN}authorization: Bearer s3cret\r\n");
    let asked = house.client().ask("POST", "/v1/drain", &with, "").await;
    assert_eq!(asked.status, 202, "{}", asked.body);
}
