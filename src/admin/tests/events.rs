//! Events over real sockets.

use super::*;
use tokio::time::timeout;

/// The data of the next event of this name.
async fn next(client: &mut Client, name: &str) -> serde_json::Value {
    let mark = format!("event: {name}\n");
    let found = async {
        loop {
            let event = client.event().await.expect("no end yet");
            if event.contains(&mark) {
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                return serde_json::from_str(data.expect("data")).expect("JSON");
            }
        }
    };
    let found = timeout(Duration::from_secs(30), found).await;
    found.unwrap_or_else(|_| panic!("no {name}"))
}

#[tokio::test]
async fn events_begin_with_a_snapshot_and_end_with_the_process() {
    let house = House::open(None).await;
    let mut listening = house.client();
    listening.send("GET", "/v1/events", "", "").await;
    let head = listening.head().await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    let snapshot = next(&mut listening, "snapshot").await;
    schema::check(&snapshot, "Snapshot");
    assert_eq!(snapshot["progress"]["phase"], "active");
    assert_eq!(snapshot["resumed"], false);
    assert_eq!(snapshot["role"], "operator");
    let web = house.registry.scope("web".into(), Orders::default());
    let busy = house
        .registry
        .enter(&web, SocketAddr::from(([192, 0, 2, 7], 4711)));
    busy.set_protocol(Protocol::Http2);
    let stream = busy.begin(Protocol::Grpc);
    house.post("/v1/drain", "").await;
    let drain = next(&mut listening, "drain").await;
    assert_eq!(
        (&drain["listener"], &drain["trigger"]),
        (&json!(null), &json!("api"))
    );
    assert_eq!(next(&mut listening, "stage").await["stage"], "announce");
    let picture = next(&mut listening, "picture").await;
    schema::check(&picture, "Picture");
    assert_eq!(picture["holders"][0]["peer"], "192.0.2.7:4711");
    assert_eq!(picture["connections"][0]["protocol"], "http2");
    assert_eq!(picture["connections"][0]["state"], "in_flight");
    drop((stream, busy));
    let _inbox = house.conductor.let_go().await;
    let receipt = next(&mut listening, "receipt").await;
    assert_eq!(receipt["complete"], true);
    drop(house.stop);
    let last = next(&mut listening, "terminated").await;
    assert_eq!(last["lost"], 0);
    assert!(
        last["verdict"]
            .as_str()
            .is_some_and(|one| one.starts_with("Nothing lost"))
    );
    assert_eq!(listening.event().await, None, "it ends whole");
    house.serving.await.expect("it returned");
}

#[tokio::test]
async fn who_is_not_let_in_hears_nothing() {
    let house = House::open(Some("s3cret")).await;
    house.get("/v1/events").await.problem(401);
    let mut listening = house.client();
    let right = "authorization: Bearer s3cret\r\n";
    listening.send("GET", "/v1/events", right, "").await;
    next(&mut listening, "snapshot").await;
    house
        .client()
        .ask("POST", "/v1/events", right, "")
        .await
        .problem(405);
}
