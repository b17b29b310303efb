//! The farewell of gRPC calls: status 14, with the drain named, at once.

use super::scene::{Plan, Scene, Via, call, message};
use crate::support::clients::{Grpc, Http2};
use crate::support::proxy::Signal;
use crate::support::servers::Line;
use crate::support::within;
use bytes::Bytes;
use http::{HeaderMap, Request};
use tonic::Code;

/// Only gRPC comes to its deadline.
const SHORT: Plan = Plan {
    grpc: "600ms",
    ..Plan::CALM
};

fn assert_told(fields: &HeaderMap) {
    let text = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(text("grpc-status"), Some("14"), "{fields:?}");
    let message = text("grpc-message").expect("a message");
    assert!(message.contains("drain"), "{message}");
}

#[tokio::test]
async fn an_unanswered_call_is_told_in_trailers_only() {
    let scene = Scene::start(&SHORT).await;
    let client = Grpc::connect(scene.address("web")).await;
    let unary = tokio::spawn(async move { client.hold("later").await });
    let secure = scene.http2(Via::Tls).await;
    let (response, _upload) = call(&secure, "Hold").await;
    let desk = scene.grpc.desk.clone();
    desk.until("the calls", |seen| seen.requests == 2).await;
    scene.proxy.signal(Signal::TERM);
    let response = within("a head", response).await.expect("a head");
    assert_eq!(response.status(), 200);
    assert!(response.body().is_end_stream(), "trailers only");
    assert_told(response.headers());
    let status = within("the call", unary).await.expect("the task");
    let status = status.expect_err("a status");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("drain"), "{status:?}");
    desk.until("their ends", |seen| seen.cancelled == 2).await;
    assert_eq!(scene.over().await.farewelled, 2);
}

#[tokio::test]
async fn an_open_stream_is_told_in_its_trailers() {
    let scene = Scene::start(&SHORT).await;
    let client = Grpc::connect(scene.address("web")).await;
    let mut lines = client.watch().await.expect("a stream");
    let secure = scene.http2(Via::Tls).await;
    let (response, mut upload) = call(&secure, "Watch").await;
    upload.send_data(Bytes::new(), true).expect("an end");
    let response = within("a head", response).await.expect("a head");
    scene.proxy.signal(Signal::TERM);
    let reply = Http2::whole(response).await.expect("an end in order");
    assert!(!reply.body.is_empty());
    assert_told(&reply.trailers.expect("trailers"));
    let status = loop {
        match within("a line", lines.message()).await {
            Ok(line) => assert!(line.is_some(), "no end but the drain's"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("drain"), "{status:?}");
    let desk = scene.grpc.desk.clone();
    desk.until("their ends", |seen| seen.cancelled == 2).await;
    assert_eq!(scene.over().await.farewelled, 2);
}

#[tokio::test]
async fn a_client_whose_window_is_shut_is_told_all_the_same() {
    let scene = Scene::start(&SHORT).await;
    let mut small = h2::client::Builder::new();
    small.initial_window_size(100);
    let client = Http2::with(small, scene.wire(Via::Clear, "h2").await).await;
    let (response, mut upload) = call(&client, "Watch").await;
    upload.send_data(Bytes::new(), true).expect("an end");
    let response = within("a head", response).await.expect("a head");
    let mut stream = response.into_body();
    // Nothing is released: the window shuts, and stays shut.
    let mut taken = 0;
    while taken < 100 {
        let data = within("a piece", stream.data()).await.expect("a piece");
        taken += data.expect("a piece").len();
    }
    scene.proxy.signal(Signal::TERM);
    assert!(within("the end", stream.data()).await.is_none());
    let trailers = within("trailers", stream.trailers()).await;
    assert_told(&trailers.expect("in order").expect("trailers"));
    let desk = scene.grpc.desk.clone();
    desk.until("its end", |seen| seen.cancelled == 1).await;
    assert_eq!(scene.over().await.farewelled, 1);
}

#[tokio::test]
async fn a_client_in_the_middle_of_its_upload_is_told() {
    let scene = Scene::start(&SHORT).await;
    let client = scene.http2(Via::Clear).await;
    let (response, mut upload) = call(&client, "Chat").await;
    let response = within("a head", response).await.expect("a head");
    let mut stream = response.into_body();
    let uploading = tokio::spawn(async move {
        // One message for each that comes back, until none does.
        while let Some(data) = within("a piece", stream.data()).await {
            let size = data.expect("no reset").len();
            let released = stream.flow_control().release_capacity(size);
            released.expect("released");
            // Refused once the stream is over, which is seen above.
            let _ = upload.send_data(message(), false);
        }
        within("trailers", stream.trailers()).await
    });
    // Collect reads without answering: nothing of the response has begun.
    let grpc = Grpc::connect(scene.address("web")).await;
    let (lines, queue) = tokio::sync::mpsc::channel(1);
    let queue = tokio_stream::wrappers::ReceiverStream::new(queue);
    let collected = tokio::spawn(async move { grpc.collect(queue).await });
    lines.send(Line::default()).await.expect("sent");
    let desk = scene.grpc.desk.clone();
    desk.until("the calls", |seen| seen.requests == 2).await;
    scene.proxy.signal(Signal::TERM);
    let trailers = within("the upload's end", uploading).await;
    let trailers = trailers.expect("the task").expect("an end in order");
    assert_told(&trailers.expect("trailers"));
    let status = within("the call", collected).await.expect("the task");
    let status = status.expect_err("a status");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("drain"), "{status:?}");
    // The server's library takes CANCEL in a request for the request's end.
    desk.until("their ends", |seen| seen.cancelled + seen.finished == 2)
        .await;
    drop(lines);
    assert_eq!(scene.over().await.farewelled, 2);
}

#[tokio::test]
async fn the_server_is_told_to_cancel_and_siblings_go_on() {
    let scene = Scene::start(&SHORT).await;
    let client = Http2::connect(scene.address("multi")).await;
    let request = |path: &str, kind: &str| {
        Request::get(format!("http://localhost{path}"))
            .header("content-type", kind)
            .body(())
            .expect("a request")
    };
    let (grpc, _) = client
        .open(request("/begin", "application/grpc+proto"), true)
        .await
        .expect("a stream");
    let (unanswered, _) = client
        .open(request("/hold", "application/grpc"), true)
        .await
        .expect("a stream");
    let (sibling, _) = client
        .open(request("/begin", "text/plain"), true)
        .await
        .expect("a stream");
    let upload = Request::post("http://localhost/echo")
        .header("content-type", "application/grpc")
        .body(())
        .expect("a request");
    let (echo, mut upload) = client.open(upload, false).await.expect("a stream");
    upload
        .send_data(Bytes::from_static(b"half"), false)
        .expect("data");
    let echo = within("a head", echo).await.expect("a head");
    let grpc = within("a head", grpc).await.expect("a head");
    let sibling = within("a head", sibling).await.expect("a head");
    let desk = scene.http2.desk.clone();
    desk.until("the requests", |seen| seen.requests == 4).await;
    scene.proxy.signal(Signal::TERM);
    let echo = Http2::whole(echo).await.expect("an end in order");
    assert_eq!(echo.text(), "half");
    assert_told(&echo.trailers.expect("trailers"));
    let reply = Http2::whole(grpc).await.expect("an end in order");
    assert_eq!(reply.text(), "begun");
    assert_told(&reply.trailers.expect("trailers"));
    let unanswered = within("a head", unanswered).await.expect("a head");
    assert_told(unanswered.headers());
    // The upload among them: half a body must not look like a whole one.
    desk.until("CANCEL", |seen| {
        let cancel = seen.reasons.iter().filter(|reason| *reason == "CANCEL");
        seen.cancelled == 3 && cancel.count() >= 2
    })
    .await;
    desk.release();
    let reply = Http2::whole(sibling).await.expect("a reply");
    assert_eq!(reply.text(), "begundone");
    let sums = scene.over().await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (1, 3, 0));
}
