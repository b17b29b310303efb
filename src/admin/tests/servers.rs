//! What is asked about servers.

use super::*;
use crate::control::{Position, ServerAsked, ServerName, ServerRefusal, ServerStatus, ServerWish};
use crate::drain::{ServerDrain, Trigger};

const DRAIN: &str = "/v1/upstreams/site/servers/127.0.0.1:1/drain";

/// Does as the real one does with the one server that there is.
pub(super) fn conduct(inbox: &Inbox, asked: &ServerAsked) -> Result<(), ServerRefusal> {
    if asked.name.server != "127.0.0.1:1" {
        return Err(ServerRefusal::Unknown("it has: 127.0.0.1:1".to_owned()));
    }
    let mut status = control::Status::new(plan());
    status.process.phase = Phase::Active;
    if let ServerWish::Drain { finish } = asked.wish {
        let plan = ServerDrain::plan(&plan(), finish);
        let drain = ServerDrain::begin(plan, Trigger::Api, clock::now());
        status.servers = vec![ServerStatus {
            name: asked.name.clone(),
            position: Position::of(drain.machine()),
            returns: false,
            removed: false,
            receipt: None,
        }];
    }
    inbox.publish(status);
    Ok(())
}

#[tokio::test]
async fn a_server_is_drained_watched_and_taken_back() {
    let house = House::open(None).await;
    let before = house.get(DRAIN).await;
    assert_eq!(before.status, 200);
    let before = before.schema("ServerProgress");
    assert_eq!(
        (&before["state"], &before["deadlines"]),
        (&json!("serving"), &json!(null))
    );
    let begun = house.post(DRAIN, "{\"finish\":\"30s\"}").await;
    assert_eq!(begun.status, 202);
    let begun = begun.schema("ServerProgress");
    assert_eq!(begun["state"], "draining");
    assert_eq!(begun["plan"]["finish"]["grpc_ms"], 30_000);
    assert_eq!(begun["in_flight"]["grpc"], 0);
    let left = begun["deadlines"]["farewell_in_ms"]["tcp"].as_u64();
    assert!(left.is_some_and(|left| left > 20_000 && left <= 30_000));
    let status = house.get("/v1/status").await.schema("Status");
    let server = &status["upstreams"][0]["servers"][0];
    assert_eq!(
        (&server["draining"], &server["state"], &server["up"]),
        (&json!(true), &json!("draining"), &json!(true))
    );
    let listed = house.get("/v1/upstreams").await.schema("Upstreams");
    assert_eq!(listed["upstreams"], status["upstreams"]);
    for _ in 0..2 {
        let back = house.client().ask("DELETE", DRAIN, "", "").await;
        assert_eq!(back.status, 200, "again is no error");
        assert_eq!(back.schema("ServerProgress")["state"], "serving");
    }
}

#[tokio::test]
async fn what_is_in_flight_on_a_server_is_told_by_protocol_and_age() {
    let house = House::open(None).await;
    let web = house.registry.scope("web".into(), Orders::default());
    let guard = house.registry.enter(&web, ([192, 0, 2, 7], 1).into());
    let berth = house.registry.berths().pop().expect("the server's");
    let mooring = crate::proxy::registry::Mooring::new(&berth);
    let call = guard.begin(Protocol::Grpc);
    assert!(call.board(&mooring));
    let progress = house.get(DRAIN).await.schema("ServerProgress");
    assert_eq!(progress["in_flight"]["grpc"], 1);
    assert!(progress["oldest_ms"].is_u64(), "{progress}");
    let metrics = house.get("/metrics").await.body;
    let line = "ebbtide_upstream_in_flight{upstream=\"site\",server=\"127.0.0.1:1\"} 1";
    assert!(metrics.lines().any(|one| one == line), "{metrics}");
}

#[tokio::test]
async fn a_forecast_knows_of_the_earlier_deadline_of_a_server() {
    let house = House::open(None).await;
    let web = house.registry.scope("web".into(), Orders::default());
    let guard = house.registry.enter(&web, ([192, 0, 2, 7], 1).into());
    let berth = house.registry.berths().pop().expect("the server's");
    let call = guard.begin(Protocol::Grpc);
    assert!(call.board(&crate::proxy::registry::Mooring::new(&berth)));
    let deadline = async || {
        let path = "/v1/drain/forecast?finish=30s";
        let forecast = house.get(path).await.schema("Forecast");
        let one = &forecast["exchanges"][0];
        one["deadline_ms"].as_f64().expect("there")
    };
    // An hour of announce, and what it was asked for.
    assert!(deadline().await > 3_600_000.0);
    for (finish, at_most) in [(1, 1_000.0), (7_200, 3_630_000.0)] {
        let plan = ServerDrain::plan(&plan(), Some(Duration::from_secs(finish)));
        let drain = ServerDrain::begin(plan, Trigger::Api, clock::now());
        house.registry.publish_to(&berth, drain.orders());
        let there = deadline().await;
        assert!(there <= at_most, "{there}");
    }
}

#[tokio::test]
async fn what_is_not_understood_about_a_server_does_nothing() {
    let house = House::open(None).await;
    let nobody = "/v1/upstreams/site/servers/nobody/drain";
    for (path, body, status, says) in [
        (nobody, "", 404, "127.0.0.1:1"),
        (DRAIN, "{\"finish\":\"30\"}", 400, "`finish`"),
        (DRAIN, "{\"listener\":\"web\"}", 400, "unknown member"),
        (
            "/v1/upstreams/site/servers/127.0.0.1:1/drain?listener=web",
            "",
            400,
            "wait=true only",
        ),
    ] {
        let detail = house.post(path, body).await.problem(status);
        assert!(detail.contains(says), "{path} {body}: {detail}");
    }
    let listener = "{\"listener\":\"web\"}";
    let back = house.client().ask("DELETE", DRAIN, "", listener).await;
    assert!(back.problem(400).contains("unknown member"));
    let detail = house.get(nobody).await.problem(404);
    assert!(detail.contains("site/127.0.0.1:1"), "{detail}");
    let early = house.get(&format!("{DRAIN}?wait=true")).await.problem(409);
    assert!(early.contains("not being drained"), "{early}");
    let page = "origin: http://elsewhere.example\r\n";
    let refused = house.client().ask("POST", DRAIN, page, "").await;
    refused.problem(403);
    let put = house.client().ask("PUT", DRAIN, "", "").await;
    assert_eq!(put.field("allow"), Some("GET, POST, DELETE, HEAD"));
    let progress = house.get(DRAIN).await.json();
    assert_eq!(progress["state"], "serving");
}

#[tokio::test]
async fn who_waits_for_a_server_learns_that_it_was_taken_back() {
    let house = House::open(None).await;
    let mut waiting = house.client();
    let path = format!("{DRAIN}?wait=true");
    waiting.send("POST", &path, "", "").await;
    while house.get(DRAIN).await.json()["state"] != "draining" {}
    house.client().ask("DELETE", DRAIN, "", "").await;
    let detail = waiting.receive().await.problem(409);
    assert!(detail.contains("taken back"), "{detail}");
}

#[test]
fn the_server_of_the_config_comes_before_one_that_was_removed() {
    let name = ServerName {
        upstream: "site".to_owned(),
        server: "a".to_owned(),
    };
    let one = |removed| ServerStatus {
        name: name.clone(),
        position: Position::new(plan()),
        returns: false,
        removed,
        receipt: None,
    };
    let mut status = control::Status::new(plan());
    assert!(status.server(&name).is_none());
    status.servers = vec![one(true), one(false), one(true)];
    assert!(status.server(&name).is_some_and(|found| !found.removed));
}
