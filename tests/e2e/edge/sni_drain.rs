//! The same in a drain: half a hello is told, a whole one gets its tunnel, and
//! a tunnel ends as tunnels do.

use super::sni::hello;
use crate::drain::scene::{Plan, ended, kept, retire, until_connections};
use crate::support::clients::{Ended, Raw};
use crate::support::proxy::{Proxy, Signal};
use crate::support::servers::Server;
use serde_json::Value;

const CANCEL: [u8; 14] = [21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 0];

async fn start(plan: &Plan, listener: &str) -> (Proxy, Server) {
    let server = Server::tcp().await;
    let address = server.address;
    let config = format!(
        "[listener.named]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n{listener}\
         routes = [{{ sni = \"a.example.com\", upstream = \"a\" }}]\n\
         [upstream.a]\nservers = [\"{address}\"]\n{plan}"
    );
    (Proxy::start(&config).await, server)
}

/// Wait until there are so many connections in this state.
async fn until(proxy: &Proxy, state: &str, count: usize) {
    let so = |view: &[Value]| view.iter().filter(|one| one["state"] == state).count() == count;
    until_connections(proxy, state, so).await;
}

#[tokio::test]
async fn half_a_hello_is_seen_and_told_by_an_alert() {
    let (mut proxy, server) = start(&Plan::CALM, "").await;
    let bytes = hello("a.example.com");
    let mut half = Raw::connect(proxy.address("named")).await;
    half.send(&bytes[..bytes.len() / 2]).await.expect("sent");
    let silent = Raw::connect(proxy.address("named")).await;
    until(&proxy, "tls_handshake", 1).await;
    until(&proxy, "accepted", 1).await;
    proxy.signal(Signal::TERM);
    assert_eq!(half.rest().await, (CANCEL.to_vec(), Ended::Fin));
    assert_eq!(silent.rest().await, (Vec::new(), Ended::Fin));
    assert_eq!(ended(&mut proxy).await.cut, 0);
    let receipt = kept(&proxy);
    let told = receipt["told"].as_array().expect("a list");
    let mut what: Vec<_> = told.iter().map(|one| one["what"].as_str()).collect();
    what.sort_unstable();
    assert_eq!(what, [Some("fin"), Some("tls_alert")]);
    assert_eq!(server.desk.seen().connections, 0);
}

#[tokio::test]
async fn a_hello_that_completes_in_the_drain_gets_its_tunnel() {
    let plan = Plan {
        handshake: "20s",
        ..Plan::CALM
    };
    let (mut proxy, _server) = start(&plan, "").await;
    let bytes = hello("a.example.com");
    let mut client = Raw::connect(proxy.address("named")).await;
    client.send(&bytes[..bytes.len() / 2]).await.expect("sent");
    until(&proxy, "tls_handshake", 1).await;
    retire(&proxy).await;
    client.send(&bytes[bytes.len() / 2..]).await.expect("sent");
    client.send("\nstill\n").await.expect("sent");
    let back = client.read_until("\nstill\n").await.expect("an echo");
    assert!(back.len() > "\nstill\n".len());
    client.finish().await.expect("FIN");
    assert_eq!(client.rest().await.1, Ended::Fin);
    let sums = ended(&mut proxy).await;
    assert_eq!((sums.finished, sums.farewelled, sums.cut), (1, 0, 0));
}

#[tokio::test]
async fn a_named_tunnel_is_half_closed_at_its_deadline() {
    let plan = Plan {
        tcp: "100ms",
        ..Plan::CALM
    };
    let (mut proxy, server) = start(&plan, "").await;
    let bytes = hello("a.example.com");
    let mut client = Raw::connect(proxy.address("named")).await;
    client
        .send([&bytes[..], b"\nx\n"].concat())
        .await
        .expect("sent");
    client.read_until("\nx\n").await.expect("an echo");
    proxy.signal(Signal::TERM);
    assert_eq!(client.rest().await, (Vec::new(), Ended::Fin));
    let sums = ended(&mut proxy).await;
    assert_eq!((sums.farewelled, sums.cut), (1, 0));
    let seen = server.desk.until("FIN", |seen| seen.finished == 1).await;
    assert_eq!(seen.reasons, ["FIN"]);
}

#[tokio::test]
async fn a_proxy_header_comes_before_the_hello() {
    let (mut proxy, _server) = start(&Plan::CALM, "proxy_protocol = true\n").await;
    let bytes = hello("a.example.com");
    let mut client = Raw::connect(proxy.address("named")).await;
    let line = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
    client
        .send([line, &bytes[..]].concat())
        .await
        .expect("sent");
    let named = |view: &[Value]| view.len() == 1 && view[0]["peer"] == "192.0.2.7:4711";
    until_connections(&proxy, "the client by its name", named).await;
    client.finish().await.expect("FIN");
    assert_eq!(client.rest().await, (bytes, Ended::Fin));
    proxy.signal(Signal::TERM);
    assert_eq!(ended(&mut proxy).await.cut, 0);
}
