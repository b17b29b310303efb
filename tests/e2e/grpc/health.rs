//! `grpc.health.v1.Health`, answered by the proxy itself.

use super::{
    Healthy, NOT_SERVING, SERVICE_UNKNOWN, SERVING, Scene, Watched, check, config, request,
};
use crate::support::clients::{Http2, channel};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::{SERVICE, Server};
use crate::support::within;
use bytes::Bytes;
use http::{Method, Request};
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn every_name_that_leads_to_an_upstream_is_known() {
    let scene = Scene::start("").await;
    for mut client in scene.clients().await {
        for service in ["", SERVICE, "lines", "orders", "orders.v1.Orders"] {
            let said = check(&mut client, service).await;
            assert_eq!(said.expect(service), SERVING, "{service:?}");
        }
        let unknown = check(&mut client, "nobody").await.expect_err("nobody");
        assert_eq!(unknown.code(), Code::NotFound);
        // Not told apart from what the route's own service says.
        let unknown = check(&mut client, "test").await.expect_err("a prefix");
        assert_eq!(unknown.code(), Code::NotFound);
    }
    assert_eq!(scene.lines.desk.seen().requests, 0, "no server is asked");
}

#[tokio::test]
async fn a_listener_without_the_key_asks_the_server() {
    let scene = Scene::start("").await;
    let mut client = HealthClient::new(channel(scene.proxy.address("plain")).await);
    assert_eq!(check(&mut client, "").await.expect("an answer"), SERVING);
    // The server knows what the proxy does not, and the other way round.
    let own = check(&mut client, "orders").await.expect_err("no such");
    assert_eq!(own.code(), Code::NotFound);
    scene.orders.says(false).await;
    let said = check(&mut client, "orders.v1.Orders").await;
    assert_eq!(said.expect("an answer"), NOT_SERVING);
}

#[tokio::test]
async fn a_service_is_as_its_upstream_is() {
    let scene = Scene::start("").await;
    let [mut clear, mut tls] = scene.clients().await;
    let mut watched = Vec::new();
    for service in ["orders.v1.Orders", "orders"] {
        for client in [&mut clear, &mut tls] {
            let mut one = Watched::begin(client, service).await;
            one.says(SERVING).await;
            watched.push(one);
        }
    }
    let mut process = Watched::begin(&mut clear, "").await;
    process.says(SERVING).await;
    for (serving, wanted) in [(false, NOT_SERVING), (true, SERVING), (false, NOT_SERVING)] {
        scene.orders.says(serving).await;
        for one in &mut watched {
            one.says(wanted).await;
        }
        let said = check(&mut clear, "orders").await;
        assert_eq!(said.expect("an answer"), wanted);
        let said = check(&mut tls, SERVICE).await;
        assert_eq!(said.expect("an answer"), SERVING, "the other upstream");
        let said = check(&mut clear, "").await;
        assert_eq!(said.expect("an answer"), SERVING, "the listener");
    }
}

#[tokio::test]
async fn a_drained_server_does_not_serve() {
    let scene = Scene::start("").await;
    let mut client = scene.client().await;
    let mut watched = Watched::begin(&mut client, SERVICE).await;
    watched.says(SERVING).await;
    let server = scene.lines.address;
    let path = format!("/v1/upstreams/lines/servers/{server}/drain");
    let asked = scene.proxy.ask(Method::POST, &path, "").await;
    assert_eq!(asked.status, 202, "{asked:?}");
    watched.says(NOT_SERVING).await;
    let taken_back = scene.proxy.ask(Method::DELETE, &path, "").await;
    assert_eq!(taken_back.status, 200, "{taken_back:?}");
    watched.says(SERVING).await;
}

#[tokio::test]
async fn a_watch_of_an_unknown_service_waits_for_it() {
    let (lines, orders) = (Server::grpc().await, Healthy::start().await);
    let proxy = Proxy::start(&config(&lines, &orders, "", "")).await;
    let mut client = HealthClient::new(channel(proxy.address("clear")).await);
    let mut watched = Watched::begin(&mut client, "new.v1.New").await;
    watched.says(SERVICE_UNKNOWN).await;
    let more = r#"{ path = "/new.v1.New/", upstream = "orders" }, "#;
    proxy.write_config(&config(&lines, &orders, more, ""));
    proxy.signal(Signal::HUP);
    watched.says(SERVING).await;
    orders.says(false).await;
    watched.says(NOT_SERVING).await;
    proxy.write_config(&config(&lines, &orders, "", ""));
    proxy.signal(Signal::HUP);
    watched.says(SERVICE_UNKNOWN).await;
}

/// A call as it is on the wire: its status, and the bytes of its answer.
async fn raw(proxy: &Proxy, method: &str, message: Bytes) -> (String, Bytes) {
    let client = Http2::connect(proxy.address("clear")).await;
    let request = Request::post(format!("http://localhost/grpc.health.v1.Health/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let (response, mut upload) = client.open(request, false).await.expect("a stream");
    upload.send_data(message, true).expect("room");
    let response = within("a head", response).await.expect("a head");
    let head = response.headers().clone();
    let reply = Http2::whole(response).await.expect("a reply");
    assert_eq!(head["content-type"], "application/grpc");
    let fields = reply.trailers.unwrap_or(head);
    let status = fields["grpc-status"].to_str().expect("a status").to_owned();
    (status, reply.body)
}

#[tokio::test]
async fn all_services_can_be_listed() {
    let scene = Scene::start("").await;
    let (status, body) = raw(&scene.proxy, "List", Bytes::from_static(&[0; 5])).await;
    assert_eq!(status, "0");
    let said = String::from_utf8_lossy(&body).into_owned();
    for service in [SERVICE, "lines", "orders", "orders.v1.Orders"] {
        assert!(said.contains(service), "{service} in {said:?}");
    }
}

#[tokio::test]
async fn what_is_no_call_to_it_is_refused_by_its_status() {
    let scene = Scene::start("").await;
    let long = [
        &[0, 0, 0, 0x20, 0, 0x0a, 0xfd, 0x3f][..],
        &[b'x'; 0x2000 - 3],
    ]
    .concat();
    for (method, message, status) in [
        ("Check", Bytes::from_static(&[0; 5]), "0"),
        ("Other", Bytes::from_static(&[0; 5]), "12"),
        ("Check", Bytes::from_static(b"\0\0\0\0\x02\x0a\x05"), "13"),
        ("Check", Bytes::new(), "13"),
        ("Watch", Bytes::from_static(b"\x01\0\0\0\0"), "12"),
        ("Check", Bytes::from(long), "8"),
    ] {
        let (said, body) = raw(&scene.proxy, method, message.clone()).await;
        assert_eq!(said, status, "{method} {message:?}");
        assert_eq!(body.is_empty(), status != "0");
    }
    let mut client = scene.client().await;
    let said = check(&mut client, "").await;
    assert_eq!(said.expect("an answer"), SERVING);
}

#[tokio::test]
async fn a_watch_that_its_client_drops_is_let_go_of() {
    let scene = Scene::start("").await;
    let mut client = scene.client().await;
    let mut watched = Watched::begin(&mut client, "").await;
    watched.says(SERVING).await;
    let in_flight = |count: u64| {
        move |status: &serde_json::Value| status["in_flight"]["grpc"] == serde_json::json!(count)
    };
    scene.proxy.until_status(in_flight(1)).await;
    drop(watched);
    let none = |status: &serde_json::Value| {
        let open = status["in_flight"]["grpc"].as_u64();
        open.unwrap_or(0) == 0
    };
    scene.proxy.until_status(none).await;
    let said = client.check(request("")).await;
    assert_eq!(said.expect("an answer").into_inner().status, SERVING);
}
