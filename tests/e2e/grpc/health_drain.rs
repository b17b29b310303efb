//! The health service in a drain: it says so first, is answered to the last,
//! and holds nothing up.

use super::web_client::{Form, Web};
use super::{NOT_SERVING, SERVING, Scene, Watched, check};
use crate::drain::scene::{Plan, ended, retire};
use crate::support::clients::channel;
use crate::support::proxy::Signal;
use crate::support::within;
use http::Method;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;

/// A plan in which only `announce` would ever pass by itself.
fn announcing() -> String {
    let plan = Plan {
        announce: "60s",
        ..Plan::CALM
    };
    plan.to_string()
}

#[tokio::test]
async fn announce_is_told_to_every_watch_and_taken_back() {
    let scene = Scene::start(&announcing()).await;
    let mut watched = Vec::new();
    for mut client in scene.clients().await {
        for service in ["", "lines", "orders.v1.Orders"] {
            let mut one = Watched::begin(&mut client, service).await;
            one.says(SERVING).await;
            watched.push(one);
        }
    }
    let asked = scene.proxy.ask(Method::POST, "/v1/drain", "").await;
    assert_eq!(asked.status, 202, "{asked:?}");
    for one in &mut watched {
        one.says(NOT_SERVING).await;
    }
    for mut client in scene.clients().await {
        for service in ["", "lines", "orders"] {
            let said = check(&mut client, service).await;
            assert_eq!(said.expect(service), NOT_SERVING, "{service:?}");
        }
    }
    // Everything else is served as before.
    let calls = scene.calls().await;
    assert_eq!(calls.echo("hello").await.expect("a line").text, "hello");
    let asked = scene.proxy.ask(Method::DELETE, "/v1/drain", "").await;
    assert_eq!(asked.status, 200, "{asked:?}");
    for one in &mut watched {
        one.says(SERVING).await;
    }
}

#[tokio::test]
async fn the_drain_of_a_listener_is_told_there_alone() {
    let scene = Scene::start(&announcing()).await;
    let [mut clear, mut tls] = scene.clients().await;
    let mut there = Watched::begin(&mut tls, "").await;
    there.says(SERVING).await;
    let body = r#"{"listener": "tls"}"#;
    let asked = scene.proxy.ask(Method::POST, "/v1/drain", body).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    there.says(NOT_SERVING).await;
    assert_eq!(check(&mut clear, "").await.expect("an answer"), SERVING);
    assert_eq!(check(&mut tls, "").await.expect("an answer"), NOT_SERVING);
}

#[tokio::test]
async fn a_watch_hears_of_the_drain_and_holds_no_exit() {
    // Its deadline is a minute away, so it is not that which ends it.
    let mut scene = Scene::start(&Plan::CALM.to_string()).await;
    let mut watched = Vec::new();
    for mut client in scene.clients().await {
        for service in ["", "orders", "nobody"] {
            let mut one = Watched::begin(&mut client, service).await;
            one.next().await.expect("a word");
            watched.push((service, one));
        }
    }
    scene.proxy.signal(Signal::TERM);
    for (service, mut one) in watched {
        if service != "nobody" {
            one.says(NOT_SERVING).await;
        }
        let ended = one.next().await.expect_err("its end");
        assert_eq!(ended.code(), Code::Unavailable, "{ended:?}");
    }
    let sums = ended(&mut scene.proxy).await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (6, 0, 0));
}

#[tokio::test]
async fn a_watch_is_no_reason_to_fear_a_drain() {
    let scene = Scene::start(&Plan::CALM.to_string()).await;
    let mut client = scene.client().await;
    let mut watched = Watched::begin(&mut client, "").await;
    watched.says(SERVING).await;
    let forecast = scene.proxy.json("/v1/drain/forecast?finish=1s").await;
    let exchanges = forecast["exchanges"].as_array().expect("a list");
    assert_eq!(exchanges[0]["verdict"], "finish", "{forecast:#}");
}

#[tokio::test]
async fn it_is_answered_where_late_requests_are_refused() {
    let plan = Plan {
        last_request: "30s",
        more: "late_requests = \"refuse\"",
        ..Plan::CALM
    };
    let mut scene = Scene::start(&plan.to_string()).await;
    let address = scene.proxy.address("clear");
    let mut asks = Web::http1(address, Form::Binary).await;
    let mut calls = Web::http1(address, Form::Binary).await;
    assert_eq!(asks.check("").await.said(), Some(SERVING));
    assert_eq!(calls.check("").await.said(), Some(SERVING));
    retire(&scene.proxy).await;
    let refused = calls.call("Echo", &[super::web_client::line("x", 0)]).await;
    assert_eq!(refused.status(), "14");
    let late = asks.check("").await;
    assert_eq!((late.status(), late.said()), ("0", Some(NOT_SERVING)));
    drop((asks, calls));
    ended(&mut scene.proxy).await;
}

#[tokio::test]
async fn after_a_handover_a_watch_is_not_told_that_nobody_serves() {
    let plan = format!("{}\n[handover]\nsocket = \"handover.sock\"\n", Plan::CALM);
    let scene = Scene::start(&plan).await;
    let mut client = HealthClient::new(channel(scene.proxy.address("clear")).await);
    let mut watched = Watched::begin(&mut client, "").await;
    watched.says(SERVING).await;
    let text = super::config(&scene.lines, &scene.orders, "", &plan);
    let mut successor = scene.proxy.successor(&text, "next.toml", &[]);
    successor.took_over(&text).await;
    let ended = within("its end", watched.next()).await;
    assert_eq!(ended.expect_err("no word before").code(), Code::Unavailable);
    let mut again = HealthClient::new(channel(scene.proxy.address("clear")).await);
    assert_eq!(check(&mut again, "").await.expect("an answer"), SERVING);
}
