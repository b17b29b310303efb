//! Whose headers are believed.

use super::{Header, Scene, connect_from};
use crate::support::clients::{Ended, Raw};
use http::Method;
use serde_json::json;
use std::net::Ipv4Addr;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 7, 1);

impl Scene {
    async fn from(&self, source: Ipv4Addr, listener: &str) -> Raw {
        connect_from(source, self.proxy.address(listener)).await
    }

    /// Whom the server takes for the client of its latest request.
    fn seen(&self) -> Option<String> {
        let seen = self.http1.desk.seen();
        let mut fields = seen.heads.last()?.lines();
        let field = fields.find_map(|line| line.strip_prefix("x-forwarded-for: "));
        field.map(str::to_owned)
    }
}

#[tokio::test]
async fn only_peers_in_the_networks_are_believed_and_they_must_send_one() {
    let scene = Scene::start(r#"{ from = ["127.0.7.0/24"] }"#).await;
    let header = Header::line();
    let with_header = [&header.bytes, REQUEST.as_bytes()].concat();

    let mut balancer = scene.from(BALANCER, "web").await;
    balancer.send(&with_header).await.expect("sent");
    balancer.read_until("\r\n\r\nok").await.expect("an answer");
    assert_eq!(scene.seen(), Some(header.ip()));

    let mut outsider = scene.from(Ipv4Addr::LOCALHOST, "web").await;
    outsider.send(REQUEST).await.expect("sent");
    outsider.read_until("\r\n\r\nok").await.expect("an answer");
    assert_eq!(scene.seen(), Some("127.0.0.1".to_owned()));

    let mut liar = scene.from(Ipv4Addr::LOCALHOST, "web").await;
    liar.send(&with_header).await.expect("sent");
    let (answer, _) = liar.rest().await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");

    let mut silent = scene.from(BALANCER, "web").await;
    silent.send(REQUEST).await.expect("sent");
    assert_eq!(silent.rest().await, (Vec::new(), Ended::Fin));
    assert_eq!(scene.refused("web", "missing").await, 1);
    assert_eq!(scene.http1.desk.seen().requests, 2);
}

#[tokio::test]
async fn an_outsiders_tunnel_carries_its_header_as_bytes_like_any() {
    let scene = Scene::start(r#"{ from = ["127.0.7.1"] }"#).await;
    let line = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
    let mut outsider = scene.from(Ipv4Addr::LOCALHOST, "db").await;
    outsider.send(line).await.expect("sent");
    assert_eq!(outsider.read_until(line).await.expect("an echo"), line);
    let mut balancer = scene.from(BALANCER, "db").await;
    balancer.send(format!("{line}hello")).await.expect("sent");
    assert_eq!(
        balancer.read_until("hello").await.expect("an echo"),
        "hello"
    );
}

#[tokio::test]
async fn a_reload_acts_on_the_next_connection() {
    let scene = Scene::start("false").await;
    let header = Header::binary();
    let with_header = [&header.bytes, REQUEST.as_bytes()].concat();
    let mut before = scene.from(BALANCER, "web").await;
    before.send(REQUEST).await.expect("sent");
    before.read_until("\r\n\r\nok").await.expect("an answer");

    let plan = crate::drain::scene::Plan::CALM;
    let config = super::config("true", &plan, &scene.http1, &scene.tcp);
    scene.proxy.write_config(&config);
    let reply = scene.proxy.ask(Method::POST, "/v1/reload", "").await;
    let done: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    let changes =
        ["web", "secure", "db"].map(|name| format!("changes listener {name}: proxy_protocol"));
    assert_eq!(done["changes"], json!(changes), "{done}");

    // It had no header, and needs none.
    before.send(REQUEST).await.expect("sent");
    before.read_until("\r\n\r\nok").await.expect("an answer");
    assert_eq!(scene.seen(), Some(BALANCER.to_string()));
    let mut after = scene.from(BALANCER, "web").await;
    after.send(&with_header).await.expect("sent");
    after.read_until("\r\n\r\nok").await.expect("an answer");
    assert_eq!(scene.seen(), Some(header.ip()));
}
