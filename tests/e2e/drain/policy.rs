//! What the operator may choose: late requests refused, hopeless work ended.

use super::scene::{Plan, Scene, Via};
use crate::support::clients::{Http1, Http2};
use crate::support::servers::SERVICE;
use crate::support::within;
use http::{Request, Response};

/// A gRPC call that the server holds, of which its client waits so long.
async fn call(client: &Http2, method: &str, timeout: &str) -> h2::client::ResponseFuture {
    let request = Request::post(format!("http://localhost/{SERVICE}/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(())
        .expect("a request");
    let (response, mut upload) = client.open(request, false).await.expect("a stream");
    upload
        .send_data(super::scene::message(), true)
        .expect("room");
    response
}

fn status(response: &Response<h2::RecvStream>) -> Option<&str> {
    response.headers().get("grpc-status")?.to_str().ok()
}

#[tokio::test]
async fn late_requests_are_refused_where_the_operator_says_so() {
    let plan = Plan {
        last_request: "30s",
        more: "late_requests = \"refuse\"",
        ..Plan::CALM
    };
    let scene = Scene::start(&plan).await;
    let mut client = Http1::connect(scene.address("web")).await;
    assert_eq!(client.get("/").await.expect("a reply").status, 200);
    scene.drain().await;
    let late = client.get("/").await.expect("a reply");
    assert_eq!(late.status, 503);
    assert_eq!(late.header("connection"), Some("close"));
    assert!(late.header("retry-after").is_some());
    assert_eq!(scene.http1.desk.seen().requests, 1);
    scene.over().await;
}

#[tokio::test]
async fn by_default_they_are_served() {
    let plan = Plan {
        last_request: "30s",
        ..Plan::CALM
    };
    let scene = Scene::start(&plan).await;
    let mut client = Http1::connect(scene.address("web")).await;
    assert_eq!(client.get("/").await.expect("a reply").status, 200);
    scene.drain().await;
    let late = client.get("/").await.expect("a reply");
    assert_eq!(
        (late.status.as_u16(), late.header("connection")),
        (200, Some("close"))
    );
    scene.over().await;
}

#[tokio::test]
async fn hopeless_calls_are_ended_as_listeners_refuse() {
    let plan = Plan {
        grpc: "50s",
        more: "hopeless = \"end\"",
        ..Plan::CALM
    };
    let scene = Scene::start(&plan).await;
    let client = scene.http2(Via::Clear).await;
    let hopeless = call(&client, "Hold", "1H").await;
    let hopeful = call(&client, "Hold", "30S").await;
    let desk = scene.grpc.desk.clone();
    desk.until("two calls", |seen| seen.requests == 2).await;
    scene.drain().await;
    let ended = within("its end", hopeless).await.expect("a head");
    assert_eq!(status(&ended), Some("14"));
    desk.release();
    let served = within("its answer", hopeful).await.expect("a head");
    assert_eq!(status(&served), None, "a message comes first");
    drop((served, client));
    let sums = scene.over().await;
    assert_eq!((sums.farewelled, sums.cut), (1, 0));
}

#[tokio::test]
async fn a_call_is_never_promised_more_than_the_drain_has_left() {
    let plan = Plan {
        spread: "50s",
        ..Plan::CALM
    };
    let scene = Scene::start(&plan).await;
    let client = scene.http2(Via::Clear).await;
    let early = call(&client, "Hold", "1H").await;
    let desk = scene.grpc.desk.clone();
    desk.until("a call", |seen| seen.requests == 1).await;
    scene.proxy.signal(crate::support::proxy::Signal::TERM);
    scene.stage("retire").await;
    let late = call(&client, "Hold", "1H").await;
    desk.until("both", |seen| seen.requests == 2).await;
    let heads = desk.seen().heads;
    let timeout = |index: usize| {
        let head: &str = &heads[index];
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix("grpc-timeout: "));
        line.expect("the field").to_owned()
    };
    assert_eq!(timeout(0), "1H");
    let left = timeout(1);
    let millis = left.strip_suffix('m').expect("milliseconds");
    assert!(millis.parse::<u32>().expect("a number") <= 60_000, "{left}");
    desk.release();
    within("an answer", early).await.expect("a head");
    within("an answer", late).await.expect("a head");
    drop(client);
    scene.over().await;
}
